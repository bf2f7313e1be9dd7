"""HubSpot, Dittofeed, and what batches and newer API versions add to Segment and Stripe."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.contracts.addresses import address_hmacs, email_hmac
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.policy import Identity
from tests.contracts.building import (
    KEY,
    NOW,
    Said,
    accepted,
    facts,
    instant,
    only,
    read,
    refused,
    said,
    sample,
    skipped,
    taught,
)
from tests.rules import rule

ANA = email_hmac("ana@customer.example", KEY)
HASHES = address_hmacs("ana@customer.example", KEY)
PROFILE = ("customer.profile_changed", HASHES)


# -------------------------------------------------------------------------------------------------------------- HubSpot


def change(subscription: str, **fields: Any) -> dict[str, Any]:
    """One HubSpot change of object 501."""
    return {
        "eventId": 1,
        "subscriptionId": 2,
        "portalId": 3,
        "occurredAt": NOW - 1_000,
        "subscriptionType": subscription,
        "objectId": 501,
        **fields,
    }


def contact_property(name: str, value: Any) -> dict[str, Any]:
    """A contact's property changed."""
    return change("contact.propertyChange", propertyName=name, propertyValue=value)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (contact_property("email", "ANA@customer.example"), [PROFILE]),
        (contact_property("email", ""), []),
        (
            contact_property("hs_timezone", "europe_slash_berlin"),
            [("customer.profile_changed", {"time_zone": "Europe/Berlin"})],
        ),
        (contact_property("hs_timezone", "mars_slash_olympus"), []),
        (contact_property("hs_language", "de-de"), [("customer.profile_changed", {"locale": "de-de"})]),
        (contact_property("lifecyclestage", "customer"), [("customer.signed_up", {"trial": False})]),
        (contact_property("lifecyclestage", "lead"), []),
        (contact_property("hs_email_optout", "true"), [("customer.suppressed", {"reason": "unsubscribe"})]),
        (contact_property("hs_email_optout", "false"), []),
        (
            contact_property("hs_email_hard_bounce_reason_enum", "UNKNOWN_USER"),
            [("customer.suppressed", {"reason": "bounce"})],
        ),
        (
            contact_property("hs_feedback_last_nps_rating", "9"),
            [("nps.responded", {"response_id": f"nps:501:{NOW - 1_000}", "score": 9})],
        ),
        (contact_property("hs_feedback_last_nps_rating", "Promoter"), []),
        (contact_property("passport_number", "REDACTED"), []),
        (
            change(
                "object.propertyChange", objectTypeId="0-1", propertyName="email", propertyValue="ana@customer.example"
            ),
            [PROFILE],
        ),
        (
            change(
                "object.propertyChange", objectTypeId="0-2", propertyName="email", propertyValue="ana@customer.example"
            ),
            [],
        ),
        (change("contact.privacyDeletion"), [("customer.erasure_requested", {})]),
        (change("contact.deletion"), []),
        (change("contact.creation"), []),
        (
            change(
                "contact.associationChange",
                associationType="CONTACT_TO_COMPANY",
                fromObjectId=501,
                toObjectId=77,
                associationRemoved=False,
            ),
            [("customer.profile_changed", {"account_id": "77"})],
        ),
        (
            change(
                "contact.associationChange",
                associationType="CONTACT_TO_COMPANY",
                fromObjectId=501,
                toObjectId=77,
                associationRemoved=True,
            ),
            [],
        ),
        (change("contact.associationChange", associationType="CONTACT_TO_DEAL", fromObjectId=501, toObjectId=8), []),
    ],
)
def test_hubspot_contacts(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected
    if expected:
        event = only(read(payload))
        assert (event.subject, event.time) == ("501", NOW - 1_000)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            change("deal.propertyChange", propertyName="dealstage", propertyValue="closedwon"),
            [("subscription.expanded", {"deal_id": "501"})],
        ),
        (change("deal.propertyChange", propertyName="dealstage", propertyValue="closedlost"), []),
        (change("deal.creation"), []),
        (change("ticket.creation"), [("ticket.opened", {"ticket_id": "501"})]),
        (
            change("ticket.propertyChange", propertyName="hs_pipeline_stage", propertyValue="4"),
            [("ticket.solved", {"ticket_id": "501"})],
        ),
        (
            change("ticket.propertyChange", propertyName="closed_date", propertyValue="1781595000000"),
            [("ticket.solved", {"ticket_id": "501"})],
        ),
        (
            change("ticket.propertyChange", propertyName="closed_date", propertyValue=""),
            [("ticket.reopened", {"ticket_id": "501"})],
        ),
        (
            change("ticket.propertyChange", propertyName="hs_ticket_priority", propertyValue="MEDIUM"),
            [("ticket.opened", {"ticket_id": "501", "priority": "normal"})],
        ),
        (change("conversation.newMessage"), []),
    ],
)
def test_hubspot_deals_need_a_contact_from_the_deployment(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload | {"contactId": 9}) == expected
    if not payload["subscriptionType"].startswith("ticket."):
        assert skipped(read(payload)).reason == ("no_customer" if expected else "irrelevant")


@rule("I4.18")
def test_a_hubspot_ticket_is_its_contacts_by_the_association() -> None:
    opened = only(read(change("ticket.creation", objectId=77)))
    assert (opened.subject, opened.link, opened.data.ticket_id) == ("", ("hubspot_ticket", "77"), "77")
    for association in (
        change("ticket.associationChange", associationType="TICKET_TO_CONTACT", fromObjectId=77, toObjectId=501),
        change("contact.associationChange", associationType="CONTACT_TO_TICKET", fromObjectId=501, toObjectId=77),
        change(
            "object.associationChange", fromObjectTypeId="0-5", toObjectTypeId="0-1", fromObjectId=77, toObjectId=501
        ),
    ):
        payload = {name: value for name, value in association.items() if name != "objectId"}
        assert {event.subject for event in accepted(read(payload))} == {"501"}
        assert taught(payload) == [("hubspot_ticket", "77")]
        assert taught(payload | {"associationRemoved": True}) == []


def test_an_associated_ticket_of_which_nothing_else_is_known_is_open_since_before_everything() -> None:
    payload = change("ticket.associationChange", associationType="TICKET_TO_CONTACT", fromObjectId=77, toObjectId=501)
    (opened,) = facts({name: value for name, value in payload.items() if name != "objectId"})
    assert (opened.type, opened.data.ticket_id, opened.time) == ("ticket.opened", "77", instant("2000-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (change("ticket.deletion"), ["ticket.solved 501"]),
        (change("ticket.restore"), ["ticket.opened 501"]),
        (
            change("ticket.merge", primaryObjectId=501, mergedObjectIds=[502], newObjectId=503),
            ["ticket.opened 503", "ticket.solved 501", "ticket.solved 502"],
        ),
        (
            change("ticket.merge", primaryObjectId=501, mergedObjectIds=[502]),
            ["ticket.opened 501", "ticket.solved 502"],
        ),
    ],
)
def test_what_becomes_of_a_hubspot_ticket(payload: dict[str, Any], expected: list[str]) -> None:
    events = accepted(read(payload))
    assert [f"{event.type} {event.data.ticket_id}" for event in events] == expected
    assert {event.link for event in events} == {("hubspot_ticket", "501")}


@rule("I1.10")
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("hs_email_optout", "true", "unsubscribe"),
        ("hs_email_optout_6871816", "true", "unsubscribe"),
        ("hs_email_optout_6871816", "", None),
        ("hs_email_optout_6871816", "false", None),
        ("hs_email_optout_survey_reason", "NO_LONGER_INTERESTED", "unsubscribe"),
        ("hs_email_quarantined", "true", "bounce"),
        ("hs_email_bad_address", "true", "bounce"),
        ("do_not_contact", "Yes", "recognised"),
        ("doNotContact", "true", "recognised"),
        ("newsletter_unsubscribed_at", "1781593200000", "recognised"),
        ("do_not_contact", "No", None),
        ("unsubscribe_url", "https://customer.example/u", None),
        ("email_opt_in", "false", "recognised"),
        ("email_opt_in", "", None),
        ("email_consent_status", "Opted out", "recognised"),
    ],
)
def test_a_hubspot_opt_out_is_read_as_a_change_and_in_the_record(name: str, value: str, reason: str | None) -> None:
    expected = [] if reason is None else [("customer.suppressed", {"reason": reason})]
    assert said(contact_property(name, value)) == expected
    assert said({"id": "501", "properties": {"hs_object_id": "501", "firstname": "Ana", name: value}}) == expected


@rule("I1.10")
@pytest.mark.parametrize(
    "record",
    [
        {"properties": {"name": "Initech", "domain": "customer.example"}},
        {"properties": {"dealname": "x", "dealstage": "closedwon"}},
        {"objectTypeId": "0-2", "properties": {"email": "ana@customer.example"}},
        {"objectType": "TICKET", "properties": {"email": "ana@customer.example"}},
    ],
)
def test_a_record_of_a_company_a_deal_or_a_ticket_is_no_contact(record: dict[str, Any]) -> None:
    properties = {"hs_object_id": "501", "unsubscribed": "true", **record["properties"]}
    assert skipped(read({"id": "501", **record, "properties": properties})).reason == "irrelevant"


def record(own: str, contact: str | None = None, /, **properties: Any) -> dict[str, Any]:
    """A HubSpot record, and the contact that it is associated with."""
    associated = {"contacts": {"results": [{"id": contact, "type": "ticket_to_contact"}]}} if contact else None
    return {
        "id": own, "properties": {"hs_object_id": own, **properties}, "associations": associated,
        "updatedAt": "2026-06-16T07:00:00Z",
    }  # fmt: skip


T9, P9 = {"ticket_id": "9"}, {"charge_id": "9"}


@rule("I1.3")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (record("9", "501", hs_pipeline_stage="1"), [("ticket.opened", T9)]),
        (record("9", "501", hs_ticket_priority="HIGH"), [("ticket.opened", T9 | {"priority": "high"})]),
        (record("9", "501", hs_pipeline_stage="4", hs_ticket_priority="HIGH"), [("ticket.solved", T9)]),
        (record("9", "501", hs_pipeline_stage="77", closed_date="2026-06-16T06:00:00Z"), [("ticket.solved", T9)]),
        (record("9", hs_ticket_priority="HIGH"), []),
        (record("9", hs_customer_email="a@x.eu", hs_latest_status="refunded"), [("charge.refunded", P9)]),
        (record("9", hs_customer_email="a@x.eu", hs_latest_status="Partially_Refunded"), [("charge.refunded", P9)]),
        (record("9", hs_customer_email="a@x.eu", hs_latest_status="disputed"), [("charge.disputed", P9)]),
        (
            record("9", hs_customer_email="a@x.eu", hs_latest_status="failed"),
            [("invoice.payment_failed", {"invoice_id": "9"})],
        ),
        (record("9", hs_customer_email="a@x.eu", hs_latest_status="succeeded"), []),
    ],
)
def test_a_record_of_a_ticket_or_a_payment_is_about_whom_it_names(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected
    (whose,) = {event.subject or event.link for event in facts(payload)} or {None}
    assert whose in (None, "501", ("email", email_hmac("a@x.eu", KEY)))
    assert (whose == "501") == bool(expected and payload["associations"])


def test_contacts_whom_a_record_names_as_merged_are_aliases() -> None:
    aliases = [("customer.aliased", {"alias": "503"}), ("customer.aliased", {"alias": "504"})]
    assert said(contact_property("hs_merged_object_ids", "503;504")) == aliases
    assert said({"vid": 501, "merged-vids": [503, 504], "properties": {}}) == aliases
    assert said({"vid": 501, "properties": {"hs_merged_object_ids": {"value": "503;504"}}}) == aliases


@rule("I2.7")
def test_the_other_addresses_of_a_hubspot_contact_are_linked() -> None:
    addresses = {"email": "ana@customer.example", "hs_additional_emails": "a@x.eu;b@x.eu"}
    record = {"id": "501", "properties": {"hs_object_id": "501", **addresses}}
    links = [("email", email_hmac(address, KEY)) for address in ("a@x.eu", "b@x.eu")]
    assert taught(record) == links
    assert taught(contact_property("hs_additional_emails", "a@x.eu;b@x.eu")) == links


@rule("I2.7")
def test_hubspots_own_id_is_linked_where_the_deployment_has_another() -> None:
    own = Boundary(email_key=KEY, customer_paths={"hubspot": ("properties.customer_id",)})
    record = {"vid": 501, "properties": {"customer_id": "cus-1", "email": "ana@customer.example"}}
    assert taught(record, own) == [("hubspot_contact", "501")]
    (left,) = facts(contact_property("hs_email_optout", "true"), own)
    assert (left.subject, left.link) == ("", ("hubspot_contact", "501"))


@rule("I2.7")
@pytest.mark.parametrize(
    ("call", "links"),
    [
        ({"type": "identify", "anonymousId": "a0", "traits": {}}, [("segment_anonymous", "a0")]),
        ({"type": "page", "anonymousId": "a0"}, [("segment_anonymous", "a0")]),
        ({"type": "page", "anonymousId": "u1"}, []),
        ({"type": "identify", "traits": {"email": "ana@customer.example"}}, []),  # the profile teaches it
        (
            {"type": "track", "event": "Email Opened", "context": {"traits": {"email": "ana@customer.example"}}},
            [("email", ANA)],
        ),
        ({"type": "track", "event": "Email Opened", "anonymousId": "ana@customer.example"}, [("email", ANA)]),
        ({"type": "group", "groupId": "a1", "traits": {"email": "office@customer.example"}}, []),
    ],
)
def test_the_other_ids_of_a_segment_call_are_linked(call: dict[str, Any], links: list[tuple[str, str]]) -> None:
    assert taught({"userId": "u1", **call}) == links


def test_what_is_said_of_a_company_is_said_of_nobody_in_it() -> None:
    call = {"type": "group", "userId": "u1", "groupId": "a1", "traits": {"unsubscribed": True}}
    assert said(call) == [("customer.profile_changed", {"account_id": "a1"})]


@rule("I2.5")
@pytest.mark.parametrize(
    ("call", "link"),
    [
        ({"anonymousId": "a0"}, ("segment_anonymous", "a0")),
        ({"anonymousId": "ana@customer.example"}, ("email", ANA)),
        ({"anonymousId": "a0", "context": {"traits": {"email": "ana@customer.example"}}}, ("email", ANA)),
    ],
)
def test_without_a_user_the_address_is_meant_or_else_the_browser(call: dict[str, Any], link: tuple[str, str]) -> None:
    (left,) = facts({"type": "track", "event": "Unsubscribed", **call})
    assert (left.type, left.subject, left.link) == ("customer.suppressed", "", link)


@pytest.mark.parametrize(
    ("name", "value", "reads_as"),
    [
        ("unsubscribed", True, True), ("unsubscribed", "true", True), ("unsubscribed", 1, True),
        ("unsubscribed_at", "2026-06-16T07:00:00Z", True), ("email_opt_out", "yes", True), ("optedOut", True, True),
        ("doNotContact", True, True), ("subscription_status", "Unsubscribed", True),
        ("email_subscribe", "opted_out", True),
        ("email_opt_in", False, True), ("subscribed_to_newsletter", False, True),
        ("marketing", {"unsubscribed": True}, True),
        ("channels", [{"type": "email", "status": "UNSUBSCRIBED"}], True), ("unsubscribedChannelIds", [7], True),
        ("unsubscribed", False, False), ("unsubscribed", None, False), ("unsubscribed", "false", False),
        ("unsubscribed", 0, False), ("unsubscribed_at", "", False), ("unsubscribedChannelIds", [], False),
        ("subscribed", False, False), ("email_opt_in", None, False), ("subscription_status", "Subscribed", False),
        ("unsubscribe_url", "https://customer.example", False), ("bounce_rate", 0.4, False), ("spam_score", 3, False),
        ("plan", "unsubscribed", False),
        ("note", "wants to unsubscribe from the newsletter, and said so by phone", False),
    ],
)  # fmt: skip
def test_an_opt_out_is_read_from_a_trait_whatever_it_is_called(name: str, value: Any, *, reads_as: bool) -> None:
    call = {"type": "identify", "userId": "u1", "traits": {name: value}}
    assert said(call) == ([("customer.suppressed", {"reason": "recognised"})] if reads_as else [])


@pytest.mark.parametrize(
    ("since", "becomes"),
    [
        (1736668800, "2025-01-12T08:00:00Z"),
        (1736668800000, "2025-01-12T08:00:00Z"),
        ("1736668800", "2025-01-12T08:00:00Z"),
        ("2015-03-04", "2015-03-04T00:00:00Z"),
        ("2025-01-12T09:00:00+01:00", "2025-01-12T08:00:00Z"),
        (0, None), ("1970-01-01T00:00:00Z", None), ("0001-01-01T00:00:00Z", None), ("soon", None), (None, None),
    ],
)  # fmt: skip
def test_since_when_somebody_is_a_customer_is_read_or_not_known(since: Any, becomes: str | None) -> None:
    found = facts({"type": "identify", "userId": "u1", "traits": {"createdAt": since}})
    assert [event.time for event in found] == ([] if becomes is None else [instant(becomes)])


@pytest.mark.parametrize(
    ("name", "value", "is_ours"),
    [
        ("machine_open", "true", True),
        ("prefetched", True, True),
        ("proxySource", "Apple", True),
        ("machine_open", "false", False),
    ],
)
def test_what_a_machine_opens_nobody_has_read(name: str, value: Any, *, is_ours: bool) -> None:
    call = {"type": "track", "userId": "u1", "event": "Email Opened", "properties": {name: value}}
    assert [kind for kind, _ in said(call)] == ([] if is_ours else ["email.opened"])


@pytest.mark.parametrize(
    ("name", "value", "won"),
    [("dealstage", "closedwon", True), ("hs_is_closed_won", "true", True), ("hs_is_closed_won", "false", False)],
)
def test_a_deal_is_won_in_every_pipeline(name: str, value: str, *, won: bool) -> None:
    payload = change("deal.propertyChange", contactId=9, propertyName=name, propertyValue=value)
    assert [kind for kind, _ in said(payload)] == (["subscription.expanded"] if won else [])


def test_a_hubspot_array_is_every_contacts_own_events() -> None:
    events = accepted(read(sample("hubspot.contact_changes")))
    assert [(event.type, event.subject) for event in events] == [
        ("customer.profile_changed", "501"),
        ("customer.suppressed", "502"),
    ]
    assert accepted(read(sample("hubspot.contact_changes"), headers=(("referral-source", b"hubspot"),))) == events


@pytest.mark.parametrize("value", [[], [1], [[]], [{"hello": 1}]])
def test_an_array_of_which_nothing_is_hubspots_is_nobodys(value: Any) -> None:
    assert refused(read(value)).cause == "not_an_object"
    assert refused(read(value, headers=(("referral-source", b"hubspot"),))).cause == "unrecognised"


def test_event_ids_that_hubspot_repeats_are_told_apart_by_what_changed() -> None:
    first = contact_property("email", "ana@customer.example")
    events = accepted(read([first, first | {"objectId": 502}, first | {"occurredAt": NOW}, first]))
    assert len(events) == 3


@rule("I3.28")
def test_merged_contacts_become_aliases_of_the_one_that_remains() -> None:
    events = accepted(read(sample("hubspot.contact_merge")))
    assert [(event.subject, event.data.alias) for event in events] == [("505", "501"), ("505", "503"), ("505", "504")]
    assert len({event.id for event in events}) == 3


def test_a_contact_is_not_its_own_alias() -> None:
    assert said(change("contact.merge", primaryObjectId=501, mergedObjectIds=[501])) == []


def test_a_hubspot_record_is_read_like_the_changes_that_made_it() -> None:
    event = only(read(sample("hubspot.contact_record")))
    assert (event.subject, event.time) == ("501", instant("2026-06-16T07:30:00Z"))
    assert (event.data.email_hmac, event.data.time_zone, event.data.locale) == (ANA, "Europe/Berlin", "de-de")


def submission(kind: str, **properties: Any) -> dict[str, Any]:
    """A HubSpot survey's submission."""
    values = {"hs_survey_type": kind, "hs_contact_id": "501", "hs_survey_id": "5", **properties}
    return {"id": "9001", "properties": values, "updatedAt": "2026-06-16T07:31:00Z"}


@rule("3.2")
def test_a_submissions_score_counts_and_not_its_group() -> None:
    event = only(read(sample("hubspot.feedback_submission")))
    assert (event.subject, event.time) == ("501", instant("2026-06-16T07:30:00Z"))
    assert (event.data.score, event.data.response_id, event.data.theme) == (10, "9001", "time_saved")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (submission("CSAT", hs_value="2"), "no_score"),
        (submission("CES", hs_value="7"), "no_score"),
        (submission("NPS"), "no_score"),
        (submission("NPS", hs_value="9", hs_contact_id=None), "no_customer"),
    ],
)
def test_a_submission_on_a_scale_nobody_named_is_skipped_with_the_reason(payload: Any, reason: str) -> None:
    assert skipped(read(payload)).reason == reason


def test_the_deployment_names_the_scale_of_a_satisfaction_survey() -> None:
    boundary = Boundary(email_key=KEY, questions={"hubspot": {"5": "csat/2"}})
    assert said(submission("CSAT", hs_value="2"), boundary) == [
        ("csat.responded", {"response_id": "9001:5", "score": 2, "scale_max": 2})
    ]


# ------------------------------------------------------------------------------------------------ Dittofeed and Segment


def dittofeed(event: str, **properties: Any) -> dict[str, Any]:
    """One of Dittofeed's own events about customer u1."""
    return {"type": "track", "userId": "u1", "messageId": "m1", "event": event, "properties": properties}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (dittofeed("DFSubscriptionChange", action="Unsubscribe"), [("customer.suppressed", {"reason": "unsubscribe"})]),
        (dittofeed("DFSubscriptionChange", action="Subscribe"), []),
        (dittofeed("DFEmailOpened", messageId="m7"), [("email.opened", {"message_id": "m7"})]),
        (dittofeed("DFEmailClicked", messageId="m7"), [("email.clicked", {"message_id": "m7"})]),
        (dittofeed("DFEmailBounced"), [("customer.suppressed", {"reason": "bounce"})]),
        (dittofeed("DFEmailMarkedSpam"), [("customer.suppressed", {"reason": "spam_report"})]),
        (dittofeed("DFEmailDelivered"), []),
        (dittofeed("DFJourneyNodeProcessed"), []),
    ],
)
def test_dittofeed(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected
    if expected:
        assert only(read(payload)).source == "dittofeed"


def test_a_call_is_dittofeeds_where_the_header_says_so_and_segments_elsewhere() -> None:
    call = dittofeed("Signed In")
    assert only(read(call)).source == "segment"
    assert only(read(call, headers=(("referral-source", b"dittofeed"),))).source == "dittofeed"


def test_a_segment_batch_is_its_calls_with_what_they_share() -> None:
    events = accepted(read(sample("segment.batch")))
    assert [(event.subject, event.id, event.account) for event in events] == [
        ("cus-ana", "b-1", "acc-initech"),
        ("cus-bob", "b-3", "acc-initech"),
    ]


TRUSTING = Boundary(email_key=KEY, identity=Identity(trust_browser_aliases=True))


@rule("I3.29")
def test_segments_alias_joins_two_ids_where_browsers_are_believed() -> None:
    call = {"type": "alias", "userId": "u1", "previousId": "old"}
    assert said(call, TRUSTING) == [("customer.aliased", {"alias": "old"})]
    assert skipped(read(call)).reason == "untrusted_alias"
    assert said({"type": "alias", "userId": "u1"}) == []


# --------------------------------------------------------------------------------------------------------------- Stripe


def stripe(kind: str, resource: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A live Stripe event about customer cus_1."""
    data: dict[str, Any] = {"object": {"customer": "cus_1", **resource}}
    if before is not None:
        data["previous_attributes"] = before
    return {"id": "evt", "object": "event", "type": kind, "created": NOW // 1_000, "livemode": True, "data": data}


def cycle(**invoice: Any) -> dict[str, Any]:
    """The paid invoice of a billing cycle."""
    return stripe("invoice.paid", {"id": "in_1", "billing_reason": "subscription_cycle", "total": 500, **invoice})


def plan(amount: int, quantity: int, currency: str = "jpy") -> dict[str, Any]:
    """A subscription's items before there were prices."""
    terms = {"amount": amount, "currency": currency, "interval": "month", "interval_count": 1}
    return {"data": [{"plan": terms, "quantity": quantity}]}


SUB = {"subscription_id": "sub_1"}
INVOICE = {"invoice_id": "in_1"}
RENEWED: Said = [("subscription.renewed", SUB | INVOICE), ("invoice.paid", INVOICE)]
UPDATED = "customer.subscription.updated"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (cycle(subscription="sub_1", customer={"id": "cus_1", "object": "customer"}), RENEWED),
        (cycle(parent={"subscription_details": {"subscription": {"id": "sub_1"}}}), RENEWED),
        (cycle(lines={"data": [{"parent": {"subscription_item_details": {"subscription": "sub_1"}}}]}), RENEWED),
        (cycle(lines={"data": [{"subscription": "sub_1"}]}), RENEWED),
        *(
            (cycle(subscription="sub_1", billing_reason=reason), [("invoice.paid", INVOICE)])
            for reason in (
                "subscription_create", "subscription_update", "subscription_threshold", "subscription", "manual",
                "upcoming", "quote_accept", "automatic_pending_invoice_item_invoice", None,
            )
        ),
        (
            cycle(subscription={"id": "sub_1", "trial_end": 1_000}, lines={"data": [{"period": {"start": 1_000}}]}),
            [("invoice.paid", INVOICE)],
        ),
        (
            cycle(subscription={"id": "sub_1", "trial_end": 1_000}, lines={"data": [{"period": {"start": 1_001}}]}),
            RENEWED,
        ),
        (stripe("invoice.overdue", {"id": "in_1"}), [("invoice.payment_failed", INVOICE)]),
        (
            stripe(UPDATED, {"id": "sub_1", "status": "active", "items": plan(300, 2)}, {"items": plan(300, 1)}),
            [("subscription.expanded", {"deal_id": "evt", "amount_minor": 300, "currency": "jpy"})],
        ),
        (stripe(UPDATED, {"id": "sub_1", "status": "trialing"}, {"status": "active"}), [("trial.started", SUB)]),
        (stripe("customer.subscription.paused", {"id": "sub_1"}), [("trial.ended", SUB | {"converted": False})]),
        (stripe("customer.subscription.resumed", {"id": "sub_1"}), [("subscription.started", SUB)]),
        (stripe("refund.created", {"id": "re_1", "charge": "ch_1"}), [("charge.refunded", {"charge_id": "ch_1"})]),
        (stripe("refund.created", {"id": "re_1", "charge": "ch_1", "status": "failed"}), []),
        (
            stripe("charge.refund.updated", {"id": "re_1", "charge": "ch_1"}),
            [("charge.refunded", {"charge_id": "ch_1"})],
        ),
        (stripe("invoice_payment.paid", {"id": "inpay_1"}), []),
    ],
)  # fmt: skip
def test_stripe_of_every_api_version(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected


def test_a_thin_event_names_a_thing_and_says_nothing_of_it() -> None:
    thin = {"id": "evt", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered"}
    assert skipped(read(thin | {"livemode": True})).reason == "irrelevant"
    assert skipped(read(thin | {"livemode": False})).reason == "test_mode"


def test_an_event_that_does_not_say_its_mode_is_of_its_resources() -> None:
    event = stripe("invoice.payment_failed", {"id": "in_1", "livemode": False})
    del event["livemode"]
    assert skipped(read(event)).reason == "test_mode"


# ------------------------------------------------------------------------------------------------------------ Delighted


@pytest.mark.parametrize(
    ("kind", "scale"), [("smiley", 5), ("five_star", 5), ("thumbs", 1), ("enps", None), ("pmf", None)]
)
def test_delighteds_other_surveys(kind: str, scale: int | None) -> None:
    body = {"id": "1", "person": {"id": 7, "email": "ana@customer.example"}, "score": 1, "survey_type": kind}
    body["person_properties"] = {"customer_id": "u1"}
    payload = {"event_type": "survey_response.created", "event_id": "e1", "event_data": body}
    answer = ("csat.responded", {"response_id": "1", "score": 1, "scale_max": scale})
    assert said(payload) == [*([] if scale is None else [answer]), PROFILE]


@pytest.mark.parametrize(
    "created", [NOW // 1_000, NOW, NOW * 1_000, NOW * 1_000_000, str(NOW // 1_000)],
    ids=["s", "ms", "µs", "ns", "text"],
)  # fmt: skip
def test_a_count_since_1970_is_read_in_whatever_unit_it_is(created: Any) -> None:
    assert only(read(stripe("invoice.payment_failed", {"id": "in_1"}) | {"created": created})).time == NOW
