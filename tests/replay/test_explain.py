"""One customer's story, and what is next. The week is that of Monday, 15 June 2026, in Berlin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from referral_stream.cli.render.explanation import as_text
from referral_stream.core import events as ev
from referral_stream.core.policy import Policy
from referral_stream.demo.world import demo_world
from referral_stream.explain.changes import Change
from referral_stream.explain.document import as_json
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.of_log import UnknownCustomer, explain
from referral_stream.explain.prospects import Prospect
from referral_stream.words.decisions import in_the_way
from tests.builders import (
    POLICY,
    Told,
    a_customer,
    a_policy,
    acknowledged,
    answered,
    arriving,
    at,
    command_of,
    compliment,
    consent,
    fact,
    first_success,
    nps,
    opportunity_of,
    pause,
    renewed,
    replay,
    shown,
    ticket_opened,
    ticket_solved,
)
from tests.replay.logs import BOUNDARY, fact_lines, recorded_lines, write
from tests.rules import rule
from tests.worlds.customers import BERLIN

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "explain.txt"
OPEN_TICKET = ticket_opened("Wed 10:00", "4711")


def explained(
    folder: Path, *told: Told, when: str | None = None, who: str = "ana", exact: bool = False, policy: Policy = POLICY
) -> Explanation:
    """The explanation of ana (with her history, unless another is asked for) as of ``when``."""
    lines = recorded_lines(a_customer(), *told) if exact else fact_lines(a_customer(), *told)
    return explain(write(folder / "log", lines), who, policy, BOUNDARY, at=None if when is None else at(when))


def story(explanation: Explanation, since: str = "Mon 00:00") -> list[tuple[str, str, str]]:
    """(wall time, kind, text) of the entries of the week."""
    return [
        (shown(entry.instant), entry.kind, entry.text) for entry in explanation.entries if entry.instant >= at(since)
    ]


def the_next(explanation: Explanation) -> Prospect:
    (prospect,) = explanation.outlook
    return prospect


# ---- the story


@pytest.mark.parametrize("exact", [False, True])
def test_the_story_tells_what_came_in_what_it_opened_and_what_was_decided(tmp_path: Path, exact: bool) -> None:
    told = (OPEN_TICKET, nps(9, "Thu 12:30"), ticket_solved("Thu 15:00", "4711", "positive"))
    assert story(explained(tmp_path, *told, exact=exact)) == [
        ("Wed 10:00", "came in", "ticket 4711 was opened"),
        ("Thu 12:30", "came in", "answered an NPS survey with 9"),
        ("Thu 12:30", "opened", "gave a top score: an occasion to ask, until Fri 19 Jun 12:30"),
        ("Thu 12:30", "decided", "gave a top score: held back, ticket 4711 is open, waiting for it to be solved"),
        ("Thu 15:00", "came in", "ticket 4711 was solved and rated positive"),
        (
            "Thu 15:00",
            "asked",
            "gave a top score: asked, by e-mail, a direct ask, score 100; not to be sent after Thu 18 Jun 20:00",
        ),
        (
            "Thu 15:00",
            "decided",
            "gave good feedback: superseded, one ask at a time: another occasion to ask came first",
        ),
    ]


def test_who_was_asked_long_ago_has_a_next_ask_to_come_also_where_only_the_moment_is_in_the_way(tmp_path: Path) -> None:
    """On a Saturday nothing but quiet hours stands in the way, and no gate names an end."""
    saturday = fact(ev.UsageRecorded(feature="exports"), "2026-10-03 10:00")
    said = as_text(explained(tmp_path, nps(9, "Thu 12:30"), saturday))
    assert "a top score now would not be followed by an ask" in said


def test_an_ask_that_is_taken_back_says_why_in_local_time(tmp_path: Path) -> None:
    complaint = fact(ev.ComplaintMade(reference="mail-7"), "Thu 13:00")
    told = story(explained(tmp_path, nps(9, "Thu 12:30"), complaint), "Thu 13:00")
    assert told == [
        ("Thu 13:00", "came in", "complained (mail-7)"),
        ("Thu 13:00", "cancelled", "the ask was taken back: complaint or frustration on Thu 18 Jun 13:00"),
    ]


def test_a_corrected_answer_cancels_in_the_story(tmp_path: Path) -> None:
    told = story(explained(tmp_path, nps(9, "Thu 12:30"), nps(8, "Thu 12:40")), "Thu 12:40")
    assert told[-1] == ("Thu 12:40", "cancelled", "gave a top score: cancelled, the survey answer was corrected")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (nps(9, "Thu 12:30"), "answered an NPS survey with 9, on Thu 18 Jun 12:30: a duplicate"),
        (nps(3, "Thu 12:00"), "answered an NPS survey with 3, on Thu 18 Jun 12:00: older than what is known"),
    ],
)
def test_what_changes_nothing_is_told_as_ignored(tmp_path: Path, event: ev.Event, text: str) -> None:
    told = story(explained(tmp_path, nps(9, "Thu 12:30"), arriving(event, "Thu 12:40"), when="Thu 12:45"))
    assert told[-1] == ("Thu 12:40", "ignored", text)


def test_an_event_after_the_erasure_is_ignored(tmp_path: Path) -> None:
    told = explained(tmp_path, fact(ev.ErasureRequested(), "Tue 10:00"), nps(9, "Thu 12:30"))
    assert story(told)[-1] == ("Thu 12:30", "ignored", "answered an NPS survey with 9: erased")
    assert the_next(told).text == "erased: will never be asked again"


def test_history_is_told_as_history(tmp_path: Path) -> None:
    told = story(explained(tmp_path, first_success("Thu 12:30", historical=True)))
    assert told == [
        ("Thu 12:30", "came in", "reached the first success 'first report' (history)"),
        ("Thu 12:30", "decided", "reached a milestone: not acted on, it is part of the history"),
    ]


@rule("I3.12")
@pytest.mark.parametrize("exact", [False, True], ids=["facts", "exact"])
@pytest.mark.parametrize("who", ["ana", "ana-old"])
def test_each_id_of_a_customer_is_explained_as_the_customer_with_the_story_of_all(
    tmp_path: Path, who: str, exact: bool
) -> None:
    told = (
        a_customer(),
        nps(9, "Mon 10:00", customer="ana-old"),
        fact(ev.Aliased(alias="ana-old"), "Mon 10:05"),
        ticket_opened("Mon 11:00", "4711", customer="ana-old"),
        nps(9, "Mon 12:00", "r2"),
    )
    lines = recorded_lines(*told) if exact else fact_lines(*told)
    explanation = explain(write(tmp_path / "log", lines), who, POLICY, BOUNDARY, at=at("Mon 13:00"))
    assert explanation.customer_id == "ana"
    assert [(when, text) for when, kind, text in story(explanation) if kind == "came in"] == [
        ("Mon 10:00", "answered an NPS survey with 9 (as ana-old)"),
        ("Mon 10:05", "is also known as ana-old (as ana)"),
        ("Mon 11:00", "ticket 4711 was opened (as ana-old)"),
        ("Mon 12:00", "answered an NPS survey with 9 (as ana)"),
    ]
    cancelled = [text for when, kind, text in story(explanation) if kind == "cancelled"]
    assert len(cancelled) == 1
    assert "another id of the same customer goes on" in cancelled[0]


def test_an_id_that_has_not_been_merged_yet_is_explained_by_itself(tmp_path: Path) -> None:
    told = (nps(9, "Mon 10:00", customer="ana-old"), fact(ev.Aliased(alias="ana-old"), "Mon 10:05"))
    explanation = explained(tmp_path, *told, who="ana-old", when="Mon 10:04")
    assert explanation.customer_id == "ana-old"
    assert all("(as " not in entry.text for entry in explanation.entries)


def test_from_stdin_the_other_ids_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = (nps(9, "Mon 10:00", customer="ana-old"), fact(ev.Aliased(alias="ana-old"), "Mon 10:05"))
    log = write(tmp_path / "log", fact_lines(a_customer(), *told))
    with log.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        explanation = explain(Path("-"), "ana", POLICY, BOUNDARY)
    assert explanation.entries[-1].text.startswith("also known as ana-old: ")


def test_the_past_is_looked_at_without_what_came_later(tmp_path: Path) -> None:
    told = (nps(9, "Thu 12:30"), compliment("Fri 10:00"))
    assert story(explained(tmp_path, *told, when="Thu 12:40")) == story(explained(tmp_path, *told))[:3]


def test_time_passes_up_to_a_later_instant(tmp_path: Path) -> None:
    told = explained(tmp_path, nps(9, "Thu 12:30"), when="Thu 13:00")
    assert story(told)[-1][:2] == ("Thu 12:50", "asked")
    assert told.at == at("Thu 13:00")


# ---- what is next


def test_a_planned_ask_is_foretold(tmp_path: Path) -> None:
    prospect = the_next(explained(tmp_path, renewed("Tue 10:00")))
    assert (prospect.text, prospect.asked_at) == ("as things stand, asked on Fri 19 Jun 13:00", at("Fri 13:00"))
    assert (prospect.changes, prospect.by, prospect.before) == ((), None, None)


@pytest.mark.parametrize("exact", [False, True])
def test_an_open_ticket_says_until_when_it_has_to_be_solved(tmp_path: Path, exact: bool) -> None:
    """The Friday slot is the moment, whenever before it the ticket is solved; within the slot it would still help."""
    prospect = the_next(explained(tmp_path, OPEN_TICKET, renewed("Wed 11:00"), when="Thu 09:00", exact=exact))
    assert prospect == Prospect(
        opportunity_id=opportunity_of("renewal", "in-1"),
        trigger="renewal",
        text=prospect.text,
        asked_at=at("Fri 13:00"),
        changes=("ticket 4711 is solved well",),
        at=at("Thu 09:00"),
        by=at("Fri 13:00") + 1,
        before=at("next Wed 11:00"),
        events=(Change("ana", ev.TicketSolved(ticket_id="4711", rating="positive")),),
        kind="would",
        brief=prospect.brief,
        about=opportunity_of("positive_feedback", "4711"),
    )
    assert prospect.text.startswith(prospect.brief)
    assert prospect.text == (
        "would be asked because of another occasion (gave good feedback) on Fri 19 Jun 13:00 if ticket 4711 is solved "
        "well by then; just before Wed 24 Jun 11:00 that would still lead to an ask, at once (Wed 24 Jun 10:59)"
    )


def test_what_is_foretold_comes_true(tmp_path: Path) -> None:
    """At the last millisecond it still helps, a millisecond later it does not."""
    told = [*a_customer(), OPEN_TICKET, nps(9, "Thu 12:30")]
    prospect = the_next(explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"), when="Thu 13:00"))
    assert prospect.text == (
        "would be asked at once (Thu 18 Jun 13:00) if ticket 4711 is solved well now; just before Fri 19 Jun 12:30 "
        "that would still lead to an ask, at once (Fri 19 Jun 12:29)"
    )
    assert prospect.before is not None
    for late, asks in ((-1, 1), (0, 0)):
        solved = ticket_solved(prospect.before + late, "4711", "positive")
        assert len([ask for ask in replay(*told, solved).asks if ask.trigger == "nps_promoter"]) == asks


def test_all_that_stands_in_the_way_has_to_change(tmp_path: Path) -> None:
    told = (OPEN_TICKET, ticket_opened("Wed 11:00", "4712"), nps(9, "Thu 12:30"))
    prospect = the_next(explained(tmp_path, *told, when="Thu 13:00"))
    assert prospect.changes == ("ticket 4711 is solved well", "ticket 4712 is solved well")


def test_only_what_is_needed_is_named(tmp_path: Path) -> None:
    """The ticket that was solved without a word is no obstacle any more when the slot comes."""
    told = (ticket_opened("Mon 09:00", "7"), ticket_solved("Mon 10:00", "7"), OPEN_TICKET, renewed("Wed 11:00"))
    assert the_next(explained(tmp_path, *told, when="Wed 12:00")).changes == ("ticket 4711 is solved well",)


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ([fact(ev.Suppressed(reason="bounce"), "Wed 10:00")], "they are taken off the suppression list"),
        ([fact(ev.InvoicePaymentFailed(invoice_id="in-9"), "Wed 10:00")], "invoice in-9 is paid"),
        ([fact(ev.ChargeDisputed(charge_id="ch-1"), "Wed 10:00")], "the dispute of charge ch-1 is won"),
        ([fact(ev.TrialStarted(subscription_id="sub-1"), "Wed 10:00")], "the trial ends with a purchase"),
        (
            [fact(ev.ProfileChanged(requires_approval=True), "Wed 10:00")],
            "somebody approves it",
        ),
        (
            [fact(ev.ProfileChanged(channels=ev.ReachableChannels(email=False)), "Wed 10:00")],
            "they can be reached by e-mail",
        ),
        (
            [fact(ev.ProfileChanged(channels=ev.ReachableChannels(email=False, in_app=True)), "Wed 10:00")],
            "they complete a workflow in the app",
        ),
        (
            [fact(ev.ControlPaused(scope="trigger", name="expansion", by="ops", why="test"), "Wed 10:00")],
            "asks for the trigger expansion are resumed",
        ),
    ],
)
def test_each_gate_that_waits_for_an_event_names_it(tmp_path: Path, told: list[ev.Event], change: str) -> None:
    expanded = fact(ev.SubscriptionExpanded(deal_id="d1"), "Thu 12:30")
    prospect = the_next(explained(tmp_path, *told, expanded, when="Fri 14:30"))
    assert prospect.changes == (change,)
    assert prospect.asked_at is not None


def test_unknown_consent_and_onboarding_are_named_together(tmp_path: Path) -> None:
    new = a_customer(without=("customer.consent_changed", "onboarding.completed"))
    log = write(tmp_path / "log", fact_lines(new, nps(9, "Thu 12:30")))
    prospect = the_next(explain(log, "ana", POLICY, BOUNDARY))
    assert prospect.changes == ("consent is given", "onboarding is completed")


def test_a_low_score_names_the_likeliest_signal_that_would_do(tmp_path: Path) -> None:
    shy = a_customer(champion=False, without=("usage.compared", "interaction.recorded", "feedback.shared"))
    log = write(tmp_path / "log", fact_lines(shy, first_success("Wed 09:00")))
    prospect = the_next(explain(log, "ana", a_policy(), BOUNDARY, at=at("Wed 09:30")))
    assert prospect.changes == ("they share positive feedback",)


def test_a_reason_that_cannot_be_asked_about_any_more_says_what_is_in_the_way(tmp_path: Path) -> None:
    cancelling = fact(ev.CancellationScheduled(), "Wed 10:00")
    prospect = the_next(explained(tmp_path, cancelling, nps(9, "Thu 12:30"), when="Thu 13:00"))
    assert prospect.asked_at is None
    assert prospect.text == (
        "can no longer lead to an ask: cancellation scheduled, waiting for it to be reverted; "
        "its window ends Fri 19 Jun 12:30"
    )


def test_of_two_reasons_the_one_that_is_asked_about_first_is_named(tmp_path: Path) -> None:
    told = explained(tmp_path, renewed("Tue 10:00"), nps(9, "Thu 12:30"), when="Thu 12:40")
    assert [prospect.text for prospect in told.outlook] == [
        "not asked: another occasion to ask comes first (gave a top score)",
        "as things stand, asked on Thu 18 Jun 12:50",
    ]


def test_another_contact_of_the_account_counts_in_what_is_foretold(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log",
        fact_lines(
            a_customer("ana", account="acme"),
            a_customer("ben", account="acme"),
            nps(9, "Thu 12:20", customer="ben", response="r2"),
            nps(9, "Thu 12:30", customer="ana"),
        ),
    )
    told = explain(log, "ana", POLICY, BOUNDARY, at=at("Thu 12:45"))
    ben = command_of(subject="r2", customer="ben")
    assert the_next(told).text == (
        f"would be asked on Thu 18 Jun 12:50 if the messaging worker reports that the ask {ben} has failed by then"
    )


def test_nothing_open_says_what_a_top_score_would_bring(tmp_path: Path) -> None:
    prospect = the_next(explained(tmp_path, nps(8, "Thu 12:30")))
    assert prospect.text == "nothing is open now; a top score now would be followed by an ask on Thu 18 Jun 12:50"
    assert prospect.asked_at == at("Thu 12:50")


def test_after_an_ask_the_next_possible_one_is_named(tmp_path: Path) -> None:
    prospect = the_next(explained(tmp_path, nps(9, "Thu 12:30"), when="Fri 10:00"))
    assert prospect.text == (
        "nothing is open now; a top score now would not be followed by an ask: asked on Thu 18 Jun 12:50 "
        "(one ask in 90 days), no ask before Wed 16 Sep 12:50. "
        "As things stand, the next ask is possible on Wed 16 Sep 12:50 at the earliest"
    )


SUPPRESSED = fact(ev.Suppressed(), "Thu 13:00")
NEXT = "As things stand, the next ask is possible"


@rule("11.26")
@pytest.mark.parametrize(
    ("then", "says", "possible"),
    [
        (SUPPRESSED, "an ask on Thu 18 Jun 12:50 was taken back, and counts until its worker reports", False),
        (SUPPRESSED, "on the suppression list, until taken off the list", False),
        (pause("Thu 13:00"), "paused: all, until resumed", False),
        ([acknowledged("sent", "Thu 12:51", command_of()), pause("Thu 13:00")], "asked on Thu 18 Jun 12:50", False),
        (acknowledged("sent", "Thu 12:51", command_of()), "asked on Thu 18 Jun 12:50 (one ask in 90 days)", True),
    ],
)
def test_the_next_ask_is_possible_where_nothing_but_time_is_in_the_way(
    tmp_path: Path, then: Told, says: str, possible: bool
) -> None:
    text = the_next(explained(tmp_path, nps(9, "Thu 12:30"), then, when="Fri 10:00")).text
    assert says in text
    assert (NEXT in text) is possible


@rule("11.26")
@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (a_policy(shadow=True), "an ask on Thu 18 Jun 12:50 in shadow mode counts, although nothing was sent"),
        (a_policy(holdout={"percent": 50, "salt": "b"}), "held out on Thu 18 Jun 12:50, which counts as an ask"),
    ],
)
def test_what_only_counts_as_an_ask_is_not_told_as_one(tmp_path: Path, policy: Policy, says: str) -> None:
    text = the_next(explained(tmp_path, nps(9, "Thu 12:30"), when="Fri 10:00", policy=policy)).text
    assert f"would not be followed by an ask: {says} (one ask in 90 days)" in text


def test_withdrawn_consent_stands_in_the_way_of_any_ask(tmp_path: Path) -> None:
    prospect = the_next(explained(tmp_path, consent(False, "Wed 10:00")))
    assert prospect.text.endswith("would not be followed by an ask: consent withdrawn")


def test_a_referral_that_converted_is_a_reason_to_come(tmp_path: Path) -> None:
    told = explained(
        tmp_path,
        nps(9, "Thu 12:30"),
        answered("yes", "Thu 14:00", command_of()),
        fact(ev.ReferralGiven(referral_id="ref-1", contact=ev.Contact(ref="c1", consented=False)), "Thu 15:00"),
        fact(ev.ReferralStatusChanged(referral_id="ref-1", status="converted"), "Fri 10:00"),
    )
    assert the_next(told).text == (
        "becomes an occasion to ask on Sun 19 Jul 10:00; as things stand, no ask follows: asked on Thu 18 Jun 12:50 "
        "(one ask in 90 days), no ask before Wed 16 Sep 12:50; the window closes Sun 26 Jul 10:00"
    )


def test_a_top_score_that_would_end_a_wait_is_told_apart_from_other_reasons(tmp_path: Path) -> None:
    """A detractor's wait ends with a 9 or 10; a compliment would have to wait for it."""
    prospect = the_next(explained(tmp_path, nps(3, "Thu 12:30", response="r9"), when="Thu 13:00"))
    assert prospect.text.startswith("nothing is open now; a top score now would be followed by an ask on ")
    assert prospect.text.endswith(
        "; after a compliment now there would be none: detractor on Thu 18 Jun 12:30, no ask before Wed 16 Sep 12:30"
    )


@rule("11.26")
def test_at_night_the_instant_that_is_named_is_the_next_morning(tmp_path: Path) -> None:
    prospect = the_next(explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"), when="Thu 21:00"))
    assert prospect.asked_at == at("Fri 08:00")
    assert prospect.text.startswith("would be asked on Fri 19 Jun 08:00 if ticket 4711 is solved well by then")


@rule("11.26")
def test_in_shadow_mode_nothing_is_told_as_an_ask(tmp_path: Path) -> None:
    shadow = a_policy(shadow=True)
    planned = the_next(explained(tmp_path, renewed("Tue 10:00"), policy=shadow))
    assert (planned.asked_at, planned.text) == (
        None, "shadow mode, so nothing is sent, only counted: as things stand, asked on Fri 19 Jun 13:00",
    )  # fmt: skip
    for told in ([OPEN_TICKET, nps(9, "Thu 12:30")], [nps(8, "Thu 12:30")]):
        prospect = the_next(explained(tmp_path, *told, when="Thu 13:00", policy=shadow))
        assert (prospect.asked_at, prospect.text.partition(":")[0]) == (
            None, "shadow mode, so nothing is sent, only counted",
        )  # fmt: skip


@rule("11.26")
def test_who_is_held_out_is_told_so_whatever_else_is_in_the_way(tmp_path: Path) -> None:
    held_out = a_policy(holdout={"percent": 50, "salt": "b"})
    free = the_next(explained(tmp_path, renewed("Tue 10:00"), policy=held_out))
    assert free.text == "in the holdout group: not asked, and counted as asked on Fri 19 Jun 13:00"
    assert free.asked_at is None
    stuck = the_next(explained(tmp_path, OPEN_TICKET, renewed("Tue 10:00"), when="Thu 13:00", policy=held_out))
    assert (stuck.asked_at, "in the holdout group" in stuck.text) == (None, True)


@rule("11.26")
def test_several_causes_are_told_each_with_its_own_remedy(tmp_path: Path) -> None:
    unpaid = fact(ev.InvoicePaymentFailed(invoice_id="in-9"), "Wed 10:30")
    told = story(explained(tmp_path, OPEN_TICKET, unpaid, nps(9, "Thu 12:30")), "Thu 12:30")
    assert told[-1][2] == (
        "gave a top score: held back, ticket 4711 is open, waiting for it to be solved; "
        "payment of invoice in-9 failed, waiting for the payment"
    )


@rule("11.26")
def test_strict_zones_are_named(tmp_path: Path) -> None:
    strict = a_policy(time_zone={"default": BERLIN, "strict": True, "zones": [BERLIN, "Asia/Tokyo"]})
    log = write(tmp_path / "log", fact_lines(a_customer(zone=None), nps(9, "Thu 12:30")))
    told = explain(log, "ana", strict, BOUNDARY)
    assert "only hours that suit every one of Asia/Tokyo, Europe/Berlin count" in as_text(told)
    assert as_json(told)["time_zone"]["zones"] == ["Asia/Tokyo", "Europe/Berlin"]


@rule("11.26")
def test_a_moment_comes_after_what_would_lose_it(tmp_path: Path) -> None:
    """In the app alone, with an approval to come first."""
    told = [*a_customer(channels=("in_app",), requires_approval=True), nps(9, "Thu 12:30")]
    prospect = the_next(explain(write(tmp_path / "log", fact_lines(told)), "ana", POLICY, BOUNDARY, at=at("Thu 13:00")))
    assert prospect.changes == ("somebody approves it", "they complete a workflow in the app")
    assert prospect.asked_at == at("Thu 13:00")


# ---- records that became no events


def a_log_with(folder: Path, *records: dict[str, object]) -> Path:
    lines = fact_lines(a_customer(), nps(9, "Thu 12:30"))
    return write(folder / "log", [*lines, *(json.dumps(record).encode() for record in records)])


def cloud_event(kind: str, subject: str, **data: object) -> dict[str, object]:
    value = {"specversion": "1.0", "id": "x", "source": "s", "type": kind, "subject": subject, "data": data}
    return {"topic": "nps", "timestamp": at("Thu 12:35"), "value": value}


def test_a_record_that_cannot_be_used_is_in_the_story_of_its_customer_alone(tmp_path: Path) -> None:
    log = a_log_with(
        tmp_path, *(cloud_event("nps.responded", who, response_id="r", score="10") for who in ("ana", "ben"))
    )
    told = story(explain(log, "ana", POLICY, BOUNDARY, at=at("Thu 12:40")), "Thu 12:35")
    assert told == [
        (
            "Thu 12:35",
            "unusable",
            "a record could not be used: invalid: score: Input should be a valid integer (line 15, nps)",
        )
    ]


def test_a_misspelt_type_is_in_the_story_with_the_type_that_was_meant(tmp_path: Path) -> None:
    log = a_log_with(tmp_path, cloud_event("nps.answered", "ana"))
    told = story(explain(log, "ana", POLICY, BOUNDARY, at=at("Thu 12:40")), "Thu 12:35")
    assert told == [
        (
            "Thu 12:35",
            "skipped",
            "a record was skipped: unknown type nps.answered (line 15, nps); did you mean nps.responded?",
        )
    ]


def test_a_vendor_payload_concerns_the_customer_whose_id_stands_in_it(tmp_path: Path) -> None:
    strange = {"topic": "billing", "timestamp": at("Thu 12:35"), "value": {"who": {"ids": ["ana"]}, "what": "x"}}
    only_in_a_text = {"topic": "billing", "timestamp": at("Thu 12:35"), "value": {"text": "banana"}}
    log = a_log_with(tmp_path, strange, only_in_a_text)
    told = story(explain(log, "ana", POLICY, BOUNDARY, at=at("Thu 12:40")), "Thu 12:35")
    ((_, kind, text),) = told
    assert (kind, "unrecognised" in text, "(line 15, billing)" in text) == ("unusable", True, True)


def test_what_came_in_after_the_instant_looked_at_is_left_out(tmp_path: Path) -> None:
    log = a_log_with(tmp_path, cloud_event("nps.answered", "ana"))
    told = explain(log, "ana", POLICY, BOUNDARY, at=at("Thu 12:34"))
    later = explain(log, "ana", POLICY, BOUNDARY, at=at("Thu 12:36"))
    assert "skipped" in {entry.kind for entry in later.entries}
    assert "skipped" not in {entry.kind for entry in told.entries}


def test_a_customer_with_unusable_records_only_is_told_so(tmp_path: Path) -> None:
    log = a_log_with(tmp_path, cloud_event("nps.responded", "mia", response_id="r", score="10"))
    with pytest.raises(
        UnknownCustomer, match=r"no usable event about 'mia', only 1 that cannot be used: .*\(line 15, nps\)"
    ):
        explain(log, "mia", POLICY, BOUNDARY)


# ---- the burst breaker


def test_a_pause_by_the_burst_breaker_is_told_where_it_stopped_an_ask(tmp_path: Path) -> None:
    policy = a_policy(breaker={"floor": 1, "factor": 1})
    names = ("ana", "ben", "eva")
    facts = [*(a_customer(name) for name in names)]
    scores = [nps(9, f"Thu 12:3{n}", customer=name, response=f"r-{name}") for n, name in enumerate(names)]
    log = write(tmp_path / "log", fact_lines(*facts, *scores))
    told = story(explain(log, "eva", policy, BOUNDARY, at=at("Thu 14:00")), "Thu 12:30")
    assert [(kind, text) for _, kind, text in told if kind == "paused"] == [
        (
            "paused",
            (
                "asks for the trigger nps_promoter were paused by the burst breaker: 2 openings since Thu 18 Jun "
                "12:00, more than 1; it ends by itself, or with control.resumed"
            ),
        )
    ]


# ---- how it is told


def test_a_customer_nobody_knows_is_named_with_those_that_look_alike(tmp_path: Path) -> None:
    with pytest.raises(UnknownCustomer, match=r"'anna'; did you mean ana\?") as caught:
        explained(tmp_path, nps(9), who="anna")
    assert caught.value.near == ["ana"]


def test_the_text_collapses_what_repeats_and_shows_each_instant_once(tmp_path: Path) -> None:
    used = [fact(ev.UsageRecorded(), f"{day} 09:00") for day in ("Mon", "Tue", "Wed")]
    lines = as_text(explained(tmp_path, *used, nps(9, "Thu 12:30"))).splitlines()
    assert "Mon 2026-06-15 09:00 +02:00  came in    used the product (3 times, the last on Wed 17 Jun 09:00)" in lines
    assert "Thu 2026-06-18 12:30 +02:00  came in    answered an NPS survey with 9" in lines
    assert f"{'opened':>35}     gave a top score: an occasion to ask, until Fri 19 Jun 12:30" in lines
    assert lines[-1] == "  gave a top score: as things stand, asked on Thu 18 Jun 12:50"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_at_a_terminal_lines_are_wrapped_with_a_hanging_indent(tmp_path: Path, width: int) -> None:
    told = explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"))
    lines = as_text(told, width).splitlines()
    assert max(map(len, lines)) <= width
    whole = as_text(told)
    assert " ".join(" ".join(lines).split()) == " ".join(whole.split())
    assert any(line.startswith(" " * 13) and line[13] != " " for line in lines) == (width < 100)


def test_the_kinds_that_matter_are_coloured_on_request(tmp_path: Path) -> None:
    told = explained(tmp_path, nps(9, "Thu 12:30"), when="Thu 13:00")
    painted = as_text(told, style=lambda text, **_: f"<{text}>")
    assert "<asked>      gave a top score: asked, by e-mail" in painted
    assert painted.replace("<", "").replace(">", "") == as_text(told)


def test_machines_get_instants_and_ids(tmp_path: Path) -> None:
    told = json.loads(json.dumps(as_json(explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"), when="Thu 13:00"))))
    assert (told["customer_id"], told["at"]) == ("ana", "2026-06-18T11:00:00.000Z")
    assert told["time_zone"] == {"name": "Europe/Berlin", "source": "profile"}
    assert told["timeline"][-1]["opportunity_id"] == opportunity_of()
    assert told["next"] == [
        {
            "trigger": "nps_promoter",
            "opportunity_id": opportunity_of(),
            "text": (
                "would be asked at once (Thu 18 Jun 13:00) if ticket 4711 is solved well now; just before "
                "Fri 19 Jun 12:30 that would still lead to an ask, at once (Fri 19 Jun 12:29)"
            ),
            "asked_at": "2026-06-18T11:00:00.000Z",
            "changes": ["ticket 4711 is solved well"],
            "at": "2026-06-18T11:00:00.000Z",
            "by": "2026-06-18T11:00:00.001Z",
            "before": "2026-06-19T10:30:00.000Z",
        }
    ]


def test_an_explanation_changes_nothing_in_what_it_explains(tmp_path: Path) -> None:
    told = (OPEN_TICKET, nps(9, "Thu 12:30"))
    assert explained(tmp_path, *told) == explained(tmp_path, *told)


def test_the_example_in_the_docs_is_what_the_demo_world_gives(tmp_path: Path) -> None:
    """Written again by: referral-stream explain cus-deniz --log demo-output/world.jsonl --at 2026-09-16T12:00+02:00"""
    log = write(tmp_path / "world.jsonl", [json.dumps(record).encode() for record in demo_world()])
    told = explain(log, "cus-deniz", Policy(), BOUNDARY, at=at("2026-09-16 12:00"))
    assert as_text(told) == EXAMPLE.read_text(encoding="utf-8")


def test_reasons_alone_leave_the_window_out() -> None:
    (decision,) = replay(a_customer(), nps(3, "Wed 09:00"), compliment("Thu 12:30")).decisions()
    assert in_the_way(decision.model_dump(mode="json")).endswith("no ask before Tue 15 Sep 09:00")
