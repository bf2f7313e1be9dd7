"""``referral-stream import``: what a row of a table says of a customer, and what it is not taken for."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from referral_stream.contracts.addresses import email_hmac
from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import DAY, parse_instant, rfc3339
from referral_stream.ops.importing.columns import ColumnsProblem, Plan, named_column, parse_columns
from referral_stream.ops.importing.fields import FIELDS, guessed
from referral_stream.ops.importing.history import RowFacts, cloud_events, told
from referral_stream.ops.importing.looks import looks_protective, suggested
from referral_stream.ops.importing.process import HEADERS
from referral_stream.ops.importing.table import reading
from referral_stream.ops.importing.values import Ambiguous, ReadInstant, moment, time_zone, truth

KEY = b"tests"
EXPORTED = ReadInstant(*(parse_instant(f"2026-06-30T{time}Z")[0] for time in ("00:00:00", "23:59:59.999")))


def row(cells: Mapping[str, str], *named: str) -> RowFacts:
    """What a row of the customer ``c`` says, by its well-known columns and those named."""
    plan = Plan(map(named_column, named))
    return told({"customer_id": "c", **cells}, plan, EXPORTED, KEY)


def facts(cells: Mapping[str, str], *named: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [(said.type, rfc3339(said.time), said.data) for said in row(cells, *named).facts]


def day(text: str) -> ReadInstant:
    first = parse_instant(f"{text}T00:00:00Z")[0]
    return ReadInstant(first, first + DAY - 1)


# ---- values


@pytest.mark.parametrize(
    ("cell", "means"),
    [
        ("2024-03-04", day("2024-03-04")),
        ("2024/03/04", day("2024-03-04")),
        ("20240304", day("2024-03-04")),
        ("25/12/2024", day("2024-12-25")),
        ("12/25/2024", day("2024-12-25")),
        ("03.03.2024", day("2024-03-03")),
        ("4 Mar 2024", day("2024-03-04")),
        ("March 4, 2024", day("2024-03-04")),
        ("2024-03-04T10:00:00Z", "2024-03-04T10:00:00Z"),
        ("2024-03-04 10:00:00", "2024-03-04T10:00:00Z"),
        ("2024-03-04 10:00:00 UTC", "2024-03-04T10:00:00Z"),
        ("2024-03-04 10:00:00 +0200", "2024-03-04T08:00:00Z"),
        ("2024-03-04T10:00:00.123456789+02:00", "2024-03-04T08:00:00.123Z"),
        ("1709546400", "2024-03-04T10:00:00Z"),
        ("1709546400.5", "2024-03-04T10:00:00.500Z"),
        ("1709546400000", "2024-03-04T10:00:00Z"),
        ("1709546400000000", "2024-03-04T10:00:00Z"),
    ],
)
def test_dates_that_can_be_read_in_one_way_are_read(cell: str, means: ReadInstant | str) -> None:
    if isinstance(means, str):
        means = ReadInstant(*[parse_instant(means)[0]] * 2)
    assert moment(cell) == means


@pytest.mark.parametrize("cell", ["03/04/2024", "3/4/2024", "03.04.2024", "03-04-2024 10:00", "03/04/24", "25/12/24"])
def test_a_date_that_can_be_read_in_two_ways_is_not_read(cell: str) -> None:
    with pytest.raises(Ambiguous):
        moment(cell)


@pytest.mark.parametrize(
    ("cell", "form", "means"),
    [
        ("03/04/2024", "day-first", "2024-04-03"),
        ("03/04/2024", "month-first", "2024-03-04"),
        ("3.4.24", "day-first", "2024-04-03"),
        ("45355", "excel", "2024-03-04"),
        ("04|03|2024", "%d|%m|%Y", "2024-03-04"),
        ("2024-03-04", "day-first", "2024-03-04"),
    ],
)
def test_a_format_says_how(cell: str, form: str, means: str) -> None:
    assert moment(cell, form) == day(means)


def test_the_time_of_a_day_is_in_its_zone() -> None:
    assert (
        moment("3/4/2024 1:05 PM", "month-first", "America/New_York").first == parse_instant("2024-03-04T18:05:00Z")[0]
    )
    assert moment("2024-03-04", None, "Europe/Berlin").first == parse_instant("2024-03-03T23:00:00Z")[0]


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "soon",
        "0000-00-00",
        "1970-01-01",
        "2024-13-01",
        "31/02/2024",
        "9" * 40,
        "2024",
        "45355",
    ],
)
def test_what_is_no_date_is_none(cell: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any)
        moment(cell)


@pytest.mark.parametrize(
    ("cell", "means"),
    [
        ("Yes", True),
        (" TRUE ", True),
        ("1", True),
        ("t", True),
        ("Ja", True),
        ("no", False),
        ("F", False),
        ("0.0", False),
        ("x", None),
        ("maybe", None),
        ("refused", None),
        ("", None),
        ("2", None),
    ],
)
def test_yes_and_no_are_clear_or_neither(cell: str, means: bool | None) -> None:
    assert truth(cell) is means


@pytest.mark.parametrize(
    ("cell", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("UTC", "UTC"),
        ("+02:00", "Etc/GMT-2"),
        ("UTC-5", "Etc/GMT+5"),
        ("-0300", "Etc/GMT+3"),
        ("+00:00", "Etc/UTC"),
        ("+05:30", None),
        ("Berlin", None),
        ("+25:00", None),
    ],
)
def test_zones_have_a_name_or_whole_hours(cell: str, zone: str | None) -> None:
    assert time_zone(cell) == zone


# ---- columns


def test_every_name_is_taken_for_one_field() -> None:
    named = [name for field in FIELDS.values() for name in {field.name, *field.names}]
    assert len(named) == len(set(named))
    without_meaning = {"consent", "consent_email", "consent_in_app", "consent_phone", "consent_at"}  # to what?
    assert {name for name in named if guessed(name) is None} == without_meaning


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("Customer ID", "customer"),
        ("customerId", "customer"),
        ("E-Mail", "email"),
        ("Open ticket IDs", "open_ticket_ids"),
        ("Opted-Out", "opted_out"),
        ("hs_email_optout", "opted_out"),
        ("Time Zone", "time_zone"),
        ("Plan", None),
        ("consent", None),
        ("Consent email", None),
        ("referral_consent", "consent"),
        ("Marketing consent", None),
        ("GDPR consent", None),
        ("Status", None),
    ],
)
def test_well_known_columns_are_recognised(column: str, field: str | None) -> None:
    found = guessed(column)
    assert (found and found.name) == field


@pytest.mark.parametrize(
    "column",
    [
        "Unsubscribed from newsletter",
        "emailOptOutReason",
        "Marketing consent",
        "DoNotCall",
        "GDPR",
        "is_blocked",
        "deleted_at",
        "Refunds",
        "Hard bounced",
        "Open tickets (all)",
        "Cancellation date",
        "opt in source",
        "Werbesperre",
        "unsub_date",
        "noemail",
        "Objected",
        "Consent withdrawn",
        "Löschung beantragt",
        "DSGVO-Löschung",
        "Kontaktsperre",
        "nicht kontaktieren",
        "Désabonnement",
        "Ne pas contacter",
        "Dado de baja",
        "Consent",
        "consent_email",
        *(
            "Mail-Sperre,Mailsperre,Sperrvermerk,Robinson,Robinsonliste,Kein Kontakt,Keine E-Mails,keine Werbung,"
            "Werbeverbot,Kontaktverbot,Nicht anschreiben,Bitte nicht anrufen,E-Mail erlaubt,Darf kontaktiert werden,"
            "Verstorben,Inkasso,Mahnung,Reklamation,Beschwerde,Kündigungsdatum,Kuendigungsdatum,KÜNDIGUNG,Storniert,"
            "Ausgetreten,Inaktiv,Opposition,Ne pas appeler,Réclamation,Reclamation,Résilié,Overleden,Klacht,Opgezegd,"
            "Niet mailen,Fallecido,Queja,Reclamo,No llamar,Disdetto,Reachable,Suspended,Terminated,Left company,"
            "No survey,NoSurvey,nosurvey,keinkontakt,May be contacted,Sans démarchage,Opt-In Status,Double Opt In"
        ).split(","),
    ],
)
def test_a_column_that_may_hold_somebody_back_is_no_column_to_leave_out(column: str) -> None:
    plan = Plan([named_column("id=customer")])
    for name in ("id", column):
        plan.column(name)
    (problem,) = plan.problems()
    assert f"column {column!r} is not used, and what it may hold is a reason not to ask" in problem
    said = Plan([named_column("id=customer"), named_column(f"{column}=ignore")])
    assert [said.column(name).why for name in ("id", column)] == ["named", "ignored"]
    assert list(said.problems()) == []


@pytest.mark.parametrize(
    ("column", "example"),
    [
        ("Consent", "subscribed"), ("Marketing permission", "subscribed"), ("Consent withdrawn", "opted_out"),
        ("No marketing", "opted_out"), ("newsletter_unsub", "opted_out"), ("marketing objection", "opted_out"),
        ("GDPR", "opted_out"), ("Opt-In Status", "subscribed"), ("Double Opt In", "subscribed"),
        ("Opt in date", "subscribed"), ("DoubleOptIn", "subscribed"), ("SMS Opt-In", "subscribed"),
        ("No opt in", "opted_out"), ("Opt-in revoked", "opted_out"), ("Opted out of opt-in mails", "opted_out"),
        ("E-Mail erlaubt", "subscribed"), ("E-Mail nicht erlaubt", "opted_out"), ("Kein Kontakt", "opted_out"),
        ("Einwilligung Empfehlung", "consent"), ("Consent to recommendation mail", "consent"),
        ("Keine Einwilligung Empfehlung", "opted_out"), ("Kündigungsdatum", "ended_at"), ("Mahnung", "trouble"),
    ],
)  # fmt: skip
def test_whoever_follows_the_example_holds_back_those_who_refused(column: str, example: str) -> None:
    plan = Plan([named_column("id=customer")])
    for name in ("id", column):
        plan.column(name)
    (problem,) = plan.problems()
    assert f"={example}, or leave it out" in problem


HARMLESS = (
    "Plan,Name,Owner,MRR,Notes,City,Optimised,Phone,Company,Created,Last login,Country,Newsletter topic,Job title,"
    "Website,Email domain,Contact owner,Last contacted,Number of employees,No. of employees,No. of calls,Phone No,"
    "Mobile,Lifecycle stage,Lead source,Industry,Nächster Termin,Kundennummer,Kundenstatus,Ansprechpartner,"
    "Vertragsbeginn,Straße,Objective,Resilience score,Anonymous ID,Composition,Subscription plan,Nonprofit,"
    "Non-profit reference,Seats left,Canal,Position,Tasks,Referrer,Referral source,Abteilung,Umsatz,Mailing address,"
    "Order no,Anrede"
)


@pytest.mark.parametrize("column", HARMLESS.split(","))
def test_other_columns_are_left_out_in_peace(column: str) -> None:
    assert not looks_protective(column)
    assert suggested(column) is None


def test_two_columns_for_one_thing_have_to_be_told_apart() -> None:
    plan = Plan()
    for name in ("id", "user_id"):
        plan.column(name)
    assert list(plan.problems()) == ["'id' and 'user_id' are both read as customer; name one: --column id=customer"]
    named = Plan([named_column("user_id=customer")])
    assert [named.column(name).why for name in ("id", "user_id")] == ["not used", "named"]
    assert list(named.problems()) == []


def test_a_column_that_is_not_there_is_said_with_the_nearest() -> None:
    plan = Plan([named_column("Custmer=customer")])
    plan.column("Customer")
    assert list(plan.problems()) == [
        "no column 'Custmer' in the file; did you mean 'Customer'?",
        "no column says who the customer is: for example --column Customer=customer",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a=consnt", "did you mean 'consent'?"),
        ("a=signed_up_at:dmy", "format: one of day-first"),
        ("a=signed_up_at:%H:%M", "format: one of day-first"),
        ("consent", "write 'Name of the column'=field"),
    ],
)
def test_a_column_is_named_so_that_it_can_be_read(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        named_column(text)


def test_all_faults_of_a_file_are_told_at_once() -> None:
    content = b'[columns]\n"a" = "consnt"\n"b" = { field = "time_zone", zone = "Berlin", shape = 1 }\n[other]\n'
    with pytest.raises(ColumnsProblem) as problem:
        parse_columns(content)
    assert len(problem.value.faults) == 4


# ---- rows


def test_a_row_is_the_history_of_a_customer() -> None:
    cells = {
        "email": "Ana@Brook.example", "company_id": "acme", "segment": "SMB", "tz": "Europe/Berlin", "locale": "de-DE",
        "created_at": "2024-03-04", "onboarded": "yes", "first_success_at": "2024-04-01", "nps": "9",
        "nps_date": "2026-06-01T10:00:00Z", "referral_consent": "yes", "last_asked_at": "2026-05-01",
        "review_asked_at": "2026-06-20", "champion": "yes", "testimonial": "2025-01-01",
    }  # fmt: skip
    found = facts(cells)
    profile = found[0][2]
    assert profile.pop("email_hmac") == email_hmac("ana@brook.example", KEY)
    assert len(profile.pop("domain_hmac")) == 64
    assert found == [
        ("customer.profile_changed", "2026-06-30T00:00:00.000Z", {
            "account_id": "acme", "segment": "smb", "time_zone": "Europe/Berlin", "locale": "de-DE", "champion": True,
        }),
        ("customer.signed_up", "2024-03-04T23:59:59.999Z", {}),
        ("onboarding.completed", "2026-06-30T00:00:00.000Z", {}),
        ("milestone.reached", "2024-04-01T00:00:00.000Z", {"milestone": "first_success", "first_success": True}),
        ("nps.responded", "2026-06-01T10:00:00.000Z", {"response_id": "imported-2026-06-01", "score": 9}),
        ("testimonial.given", "2025-01-01T00:00:00.000Z", {}),
        ("customer.consent_changed", "2026-06-30T00:00:00.000Z", {
            "purpose": "referral_ask", "channel": "all", "granted": True,
        }),
        ("advocacy.asked", "2026-05-01T23:59:59.999Z", {"kind": "referral", "by": "imported"}),
        ("advocacy.asked", "2026-06-20T23:59:59.999Z", {"kind": "other", "by": "imported"}),
    ]  # fmt: skip


SUPPRESSED = "customer.suppressed"
LATE = "2026-06-30T23:59:59.999Z"


@pytest.mark.parametrize(
    ("cells", "holds"),
    [
        ({"opted_out": "yes"}, [(SUPPRESSED, LATE)]),
        ({"opted_out": "2025-01-01"}, [(SUPPRESSED, "2025-01-01T23:59:59.999Z")]),
        ({"opted_out": "please stop"}, [(SUPPRESSED, LATE)]),
        ({"opted_out": "0000-00-00"}, [(SUPPRESSED, LATE)]),
        ({"opted_out": "2099-01-01"}, [(SUPPRESSED, LATE)]),
        ({"opted_out": "03/04/2024"}, [(SUPPRESSED, LATE)]),
        ({"opted_out": "no"}, []),
        ({"opted_out": "0"}, []),
        ({"opted_out": " "}, []),
        ({"subscribed": "no"}, [(SUPPRESSED, LATE)]),
        ({"subscribed": "cleaned"}, [(SUPPRESSED, LATE)]),
        ({"subscribed": "yes"}, []),
        ({"subscribed": ""}, []),
        ({"erased": "yes", "created_at": "2024-01-01"}, [("customer.erasure_requested", LATE)]),
        ({"erased": "perhaps"}, [(SUPPRESSED, LATE)]),
        ({"open_ticket_ids": "4711; 4712"}, [("ticket.opened", LATE), ("ticket.opened", LATE)]),
        ({"open_ticket_ids": "yes"}, [("complaint.made", LATE)]),
        ({"open_ticket_ids": "no"}, []),
        ({"open_tickets": "2"}, [("complaint.made", LATE)]),
        ({"open_tickets": "0"}, []),
        ({"last_complaint_at": "2026-06-01"}, [("complaint.made", "2026-06-01T23:59:59.999Z")]),
        ({"churned": "yes"}, [("subscription.ended", LATE)]),
        ({"requires_approval": "perhaps"}, [("customer.profile_changed", LATE)]),
        ({"trial": "perhaps"}, [("customer.signed_up", LATE)]),
        ({"referral_consent": "no"}, [("customer.consent_changed", LATE)]),
        ({"last_asked_at": "last spring"}, [("advocacy.asked", LATE)]),
        ({"referral_answer": "Please remove me", "ask_answered_at": "2025-01-01"},
         [("ask.answered", "2025-01-01T23:59:59.999Z")]),
        ({"referral_answer": "hm"}, [("ask.answered", LATE)]),
        ({"nps": "3"}, [("nps.responded", LATE)]),
    ],
)  # fmt: skip
def test_what_holds_back_is_never_dropped(cells: dict[str, str], holds: list[tuple[str, str]]) -> None:
    assert [(kind, time) for kind, time, _ in facts(cells)] == holds


@pytest.mark.parametrize(
    ("cells", "granted"),
    [
        ({"referral_consent": "yes"}, True),
        ({"referral_consent": "no"}, False),
        ({"referral_consent": "x"}, False),
        ({"referral_consent": "pending"}, False),
        ({"referral_consent": ""}, None),
        ({"referral_consent": "yes", "referral_consent_at": "soon"}, None),
    ],
)
def test_consent_is_only_what_the_column_says(cells: dict[str, str], granted: bool | None) -> None:
    found = [data["granted"] for kind, _, data in facts(cells) if kind == "customer.consent_changed"]
    assert found == ([] if granted is None else [granted])


@pytest.mark.parametrize(
    "cells",
    [
        {"created_at": "soon"},
        {"created_at": "2099-01-01"},
        {"onboarded": "perhaps"},
        {"first_success_at": "2099-01-01"},
        {"nps": "9"},
        {"nps": "11", "nps_date": "2026-06-01"},
        {"segment": "platinum"},
        {"tz": "Berlin"},
        {"champion": "perhaps"},
    ],
)
def test_what_speaks_for_asking_has_to_be_clear(cells: dict[str, str]) -> None:
    found = row(cells)
    assert found.facts == []
    assert found.faults
    assert not any(value in fault.reason for fault in found.faults for value in cells.values() if len(value) > 2)


def test_the_opt_out_in_a_column_that_nobody_named_is_seen() -> None:
    found = row({"Status": "Unsubscribed", "Notes": "wants a bouncy castle for the office, optimistic"})
    assert [(fault.column, fault.stops) for fault in found.faults] == [("Status", "words")]
    assert row({"Status": "Unsubscribed"}, "Status=ignore").faults == []


@pytest.mark.parametrize(
    ("cell", "left"),
    [
        ("unsub", True), ("remove me from your list", True), ("abgemeldet", True), ("Do Not Email", True),
        ("STOP", True), ("blacklisted", True), ("complained", True), ("erased", True), ("withdrawn", True),
        ("ne pas contacter", True), ("no-email", True), ("No marketing", True), ("suppressions", True),
        ("Berlin", False), ("17", False), ("bus stop 12", False), ("team", False), ("active", False), ("no", False),
    ],
)  # fmt: skip
def test_the_words_of_somebody_who_has_left_are_known_in_any_column(cell: str, left: bool) -> None:
    assert [fault.stops for fault in row({"Remarks": cell}).faults] == (["words"] if left else [])


def test_a_refusal_counts_from_its_own_date_if_it_is_clear() -> None:
    def refused(cell: str, date: str) -> str:
        cells = {"referral_consent": cell, "referral_consent_at": date}
        (found,) = [time for kind, time, _ in facts(cells) if kind == "customer.consent_changed"]
        return found

    assert refused("no", "2026-01-02") == "2026-01-02T23:59:59.999Z"
    assert refused("perhaps", "2026-01-02") == refused("no", "soon") > "2026-06-01"


def test_an_opt_out_holds_whatever_its_column_is_for() -> None:
    found = row({"segment": "Do not contact", "email": "spam@b.example", "company_id": "bounce"})
    assert [fact.type for fact in found.facts][1:] == [SUPPRESSED]
    assert [(fault.column, fault.held) for fault in found.faults] == [("segment", False), ("segment", True)]
    assert SUPPRESSED in [fact.type for fact in row({"churned": "opted out"}).facts]


def test_values_may_have_a_meaning_of_their_own() -> None:
    columns = parse_columns(
        b'[columns]\n"Status" = { field = "opted_out", values = { "Active" = "no", "Gone" = "yes" } }\n'
    )
    said = [
        [fact.type for fact in told({"id": "c", "Status": word}, Plan(columns), EXPORTED, KEY).facts]
        for word in ("active", "GONE", "on holiday")
    ]
    assert said == [[], [SUPPRESSED], [SUPPRESSED]]


NO_IDS = (
    "#N/A|#NV|#REF!|#BEZUG!|#VALUE!|#WERT!|#NAME?|#DIV/0!|#NULL!|#NUM!|#ZAHL!|#GETTING_DATA|#SPILL!|#ÜBERLAUF!|#CALC!|"
    "#NOMBRE?|#VALOR!|#####|?|unbekannt|Unbekannt|inconnu|desconocido|(leer)|(blank)|n.v.|n. v.|k.a.|k. A.|<empty>|--"
).split("|")


@pytest.mark.parametrize(
    ("cells", "who"),
    [
        ({"customer_id": " 17 "}, ("17", None)),
        ({"customer_id": "undefined"}, (None, None)),
        *(({"customer_id": cell}, (None, None)) for cell in NO_IDS),
        ({"customer_id": "#1234"}, ("#1234", None)),
        ({"customer_id": "#REF2"}, ("#REF2", None)),
        ({"customer_id": "NV-1"}, ("NV-1", None)),
        ({"customer_id": "", "email": "a@b.example"}, (None, f"email:{email_hmac('a@b.example', KEY)}")),
        ({"customer_id": "", "email": "noreply@b.example"}, (None, None)),
        ({"customer_id": "a@b.example"}, ("a@b.example", None)),
    ],
)
def test_who_is_meant(cells: dict[str, str], who: tuple[str | None, str | None]) -> None:
    found = row(cells)
    assert (found.subject, found.link) == who


def test_an_id_that_is_an_address_is_one() -> None:
    assert facts({"customer_id": "a@b.example"})[0][2]["email_hmac"] == email_hmac("a@b.example", KEY)


# ---- events


def events(said: RowFacts, latest: int = EXPORTED.last) -> list[dict[str, Any]]:
    return [json.loads(event) for event in cloud_events(said, latest=latest)]


def test_the_same_row_is_the_same_events_whenever_it_is_imported() -> None:
    cells = {"opted_out": "yes", "created_at": "2024-01-01", "referral_consent": "no"}
    first, again = events(row(cells)), events(row(cells), latest=EXPORTED.last + DAY)
    assert first == again
    early = events(row(cells), latest=EXPORTED.first + 1)
    assert [event["id"] for event in early] == [event["id"] for event in first]
    assert max(event["time"] for event in early) == rfc3339(EXPORTED.first + 1)


def test_the_same_of_two_customers_is_two_events() -> None:
    both = [events(row({"customer_id": who, "opted_out": "yes"}))[0]["id"] for who in ("a", "b")]
    assert len(set(both)) == 2


def test_the_boundary_takes_all_of_it_as_history() -> None:
    cells = {
        "email": "a@b.example",
        "company_id": "acme",
        "segment": "smb",
        "tz": "+02:00",
        "created_at": "2024-03-04",
        "trial": "yes",
        "onboarded": "yes",
        "first_success": "yes",
        "nps": "3",
        "referral_consent": "yes",
        "testimonial": "yes",
        "champion": "no",
        "requires_approval": "yes",
        "opted_out": "yes",
        "open_tickets": "1",
        "open_ticket_ids": "4711",
        "churned": "yes",
        "asked_at": "yes",
        "review_asked_at": "yes",
        "referral_answer": "no",
    }
    boundary, types = Boundary(email_key=KEY), []
    for who in ({}, {"customer_id": ""}):
        for event in cloud_events(row({**cells, **who}), latest=EXPORTED.last):
            record = RawRecord(
                topic="profile", partition=0, offset=0, timestamp=EXPORTED.last, key=None, value=event, headers=HEADERS
            )
            found = adapt(record, EXPORTED.last, boundary)
            assert isinstance(found, Accepted), found
            assert [(e.historical, e.flags) for e in found.events] == [(True, ())]
            types.append(found.events[0].type)
            assert b"a@b.example" not in event
    assert set(types) == {field.becomes for field in FIELDS.values()} - {"subject", "customer.erasure_requested"}


# ---- files


def rows_of(path: Path, encoding: str | None = None) -> list[tuple[int, dict[str, str], bool]]:
    with reading(path, encoding) as table:
        return [(found.line, dict(found.cells), found.problem is not None) for found in table.rows]


@pytest.mark.parametrize(
    "content",
    [
        b"id,name\na,Ana\nb,Ben\n",
        b"\xef\xbb\xbfid;name\r\na;Ana\r\nb;Ben",
        b"sep=;\nid;name\na;Ana\nb;Ben\n",
        b"id\tname\na\tAna\n\nb\tBen\n",
        '"id"|name\na|Ana\nb|Ben\n'.encode("utf-16"),
        gzip.compress(b"id,name\na,Ana\nb,Ben\n", mtime=0),
        b'{"id": "a", "name": "Ana"}\n\n{"id": "b", "name": "Ben", "more": null}\n',
        gzip.compress(b'\xef\xbb\xbf{"id": "a", "name": "Ana"}\n{"id": "b", "name": "Ben"}', mtime=0),
    ],
)
def test_tables_are_read_as_people_export_them(tmp_path: Path, content: bytes) -> None:
    (file := tmp_path / "table").write_bytes(content)
    assert [cells for _, cells, _ in rows_of(file)] == [{"id": "a", "name": "Ana"}, {"id": "b", "name": "Ben"}]


def test_a_line_end_in_quotes_is_part_of_its_cell(tmp_path: Path) -> None:
    (file := tmp_path / "table.csv").write_text('id,notes\na,"two\nlines"\nb,"a ""quote"""\n')
    assert rows_of(file) == [
        (2, {"id": "a", "notes": "two\nlines"}, False),
        (4, {"id": "b", "notes": 'a "quote"'}, False),
    ]


@pytest.mark.parametrize(
    "content", [b"id,name\na,Ana,more\nb\nc,Carla\n", b'{"id":"a"\n[1]\n{"id":"c","name":"Carla"}\n']
)
def test_a_row_that_cannot_be_told_apart_is_a_problem_of_its_own(tmp_path: Path, content: bytes) -> None:
    (file := tmp_path / "table").write_bytes(content)
    found = rows_of(file)
    assert [wrong for _, _, wrong in found] == [True, True, False]
    assert found[2][1] == {"id": "c", "name": "Carla"}


def test_a_quote_that_is_never_closed_is_a_problem_and_no_customer(tmp_path: Path) -> None:
    (file := tmp_path / "table.csv").write_text('id,notes\na,fine\nb,"never closed\nc,x\n' + "d,y\n" * 50_000)
    found = rows_of(file)
    assert found[0][1] == {"id": "a", "notes": "fine"}
    assert found[1][0] == 3
    assert found[1][2]


def test_another_encoding_has_to_be_named(tmp_path: Path) -> None:
    (file := tmp_path / "table.csv").write_bytes("id,name\na,Jürgen\n".encode("cp1252"))
    with pytest.raises(UnreadableLog, match="--encoding"):
        rows_of(file)
    assert rows_of(file, "cp1252")[0][1]["name"] == "Jürgen"


@pytest.mark.parametrize("content", [b"", b"\n", b";;\n"])
def test_a_file_without_a_header_is_none(tmp_path: Path, content: bytes) -> None:
    (file := tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(UnreadableLog):
        rows_of(file)


def test_columns_of_one_name_stay_two(tmp_path: Path) -> None:
    (file := tmp_path / "table.csv").write_text("id,Email,Email,\na,x,y,z\n")
    assert rows_of(file)[0][1] == {"id": "a", "Email": "x", "Email (3)": "y", "column 4": "z"}


def test_objects_in_json_are_columns_by_their_path(tmp_path: Path) -> None:
    (file := tmp_path / "t.jsonl").write_text('{"id": 7.0, "properties": {"opted_out": true}, "tickets": [1, "a"]}\n')
    assert rows_of(file)[0][1] == {"id": "7", "properties.opted_out": "true", "tickets": "1,a"}
