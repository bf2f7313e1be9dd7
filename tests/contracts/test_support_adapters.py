"""Support desks: Intercom, Help Scout, and Zendesk's event bus."""

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


# ------------------------------------------------------------------------------------------------------------- Intercom


def notification(topic: str, **item: Any) -> dict[str, Any]:
    """An Intercom notification about contact c1."""
    people = {"type": "contact.list", "contacts": [{"type": "contact", "id": "c1", "external_id": "u1"}]}
    return {
        "type": "notification_event",
        "id": "n1",
        "topic": topic,
        "created_at": NOW // 1_000,
        "data": {"type": "notification_event_data", "item": {"id": "7", "contacts": people, **item}},
    }


def contact(topic: str, **fields: Any) -> dict[str, Any]:
    """An Intercom notification whose item is contact c1."""
    return notification(topic, **{"type": "contact", "id": "c1", "contacts": None, **fields})


def answer(question: str, response: str) -> dict[str, Any]:
    """An answer to a survey's question."""
    said = {"question_id": "q1", "question_text": question, "response": response}
    stat = {"content_type": "survey", "stat_type": "answer", "receipt_id": "r1", "answer": said}
    return notification("content_stat.survey", content_stat=stat)


def state(category: str, previous: str | None = None) -> dict[str, Any]:
    """A ticket's state, and the last change of it."""
    parts = [{"part_type": "comment"}]
    if previous is not None:
        parts.append({"part_type": "ticket_state_updated_by_admin", "previous_ticket_state": previous})
    return {"ticket_state": {"category": category}, "ticket_parts": {"ticket_parts": parts}, "open": True}


TICKET = {"ticket_id": "7"}
LEFT = [("customer.suppressed", {"reason": "unsubscribe"})]


def rated(score: int, rating: str | None) -> Said:
    """What a rating of ticket 7 says."""
    answer = ("csat.responded", {"response_id": "rating:7", "score": score, "scale_max": 5, **TICKET})
    return [answer] if rating is None else [("ticket.rated", TICKET | {"rating": rating}), answer]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            notification("conversation.user.created", priority="priority"),
            [("ticket.opened", TICKET | {"priority": "high"})],
        ),
        (notification("conversation.user.replied", open=True), [("ticket.reopened", TICKET)]),
        (notification("conversation.user.replied", open=False), []),
        (notification("conversation.admin.opened", open=True), [("ticket.reopened", TICKET)]),
        (notification("conversation.admin.replied"), []),
        (notification("conversation.admin.snoozed"), []),
        (notification("conversation.priority.updated", priority="not_priority", open=True), []),
        (
            notification("conversation.priority.updated", priority="priority", open=True),
            [("ticket.opened", TICKET | {"priority": "high"})],
        ),
        *(
            (notification("conversation.rating.added", conversation_rating={"rating": score}), rated(score, rating))
            for score, rating in ((1, "negative"), (2, "negative"), (3, None), (4, "positive"), (5, "positive"))
        ),
        (notification("conversation.rating.added", conversation_rating={"rating": None}), []),
        (notification("conversation.rating.added"), []),
        (notification("ticket.rating.provided", rating=5), rated(5, "positive")),
        (notification("ticket.created", category="Customer"), [("ticket.opened", TICKET)]),
        (notification("ticket.created", category="Back-office"), []),
        (notification("ticket.resolved", category="Tracker"), []),
        (notification("ticket.state.updated", **state("resolved", "in_progress")), [("ticket.solved", TICKET)]),
        (notification("ticket.state.updated", ticket_state="resolved"), [("ticket.solved", TICKET)]),
        (notification("ticket.state.updated", **state("in_progress", "resolved")), [("ticket.reopened", TICKET)]),
        (notification("ticket.state.updated", **state("in_progress", "submitted")), []),
        (notification("ticket.state.updated", **state("in_progress")), [("ticket.reopened", TICKET)]),
        (notification("ticket.state.updated", **state("resolved") | {"open": False}), [("ticket.solved", TICKET)]),
        (notification("conversation.user.replied", open=False, state="snoozed"), [("ticket.reopened", TICKET)]),
        (notification("ticket.contact.replied", open=True), [("ticket.reopened", TICKET)]),
        (notification("ticket.resolved"), [("ticket.solved", TICKET)]),
        (notification("ticket.closed"), [("ticket.solved", TICKET)]),
        (notification("ticket.note.created"), []),
        (notification("ping", type="ping"), []),
        (contact("contact.signed_up"), [("customer.signed_up", {"trial": False})]),
        (
            contact("user.created", email="ana@customer.example", location_data={"timezone": "Europe/Berlin"}),
            [
                ("customer.signed_up", {"trial": False}),
                ("customer.profile_changed", {**HASHES, "time_zone": "Europe/Berlin"}),
            ],
        ),
        (contact("contact.email.updated", email="ana@customer.example"), [PROFILE]),
        (contact("contact.lead.created", email="ana@customer.example"), []),
        (contact("contact.user.tag.created"), []),
        (contact("user.unsubscribed"), LEFT),
        (contact("contact.deleted"), [("customer.erasure_requested", {})]),
        (contact("user.deleted"), [("customer.erasure_requested", {})]),
        (contact("contact.archived"), []),
        (contact("contact.subscribed"), []),
        *(
            (contact("contact.user.tag.created", **{name: True}), [("customer.suppressed", {"reason": reason})])
            for name, reason in (
                ("unsubscribed_from_emails", "unsubscribe"),
                ("unsubscribed_from_sms", "unsubscribe"),
                ("marked_email_as_spam", "spam_report"),
                ("has_hard_bounced", "bounce"),
            )
        ),
        (contact("contact.user.updated", unsubscribed_from_emails=False, has_hard_bounced=None), []),
        (contact("contact.user.updated", opted_out_subscription_types={"data": [{"id": "1"}]}), LEFT),
        (contact("contact.user.updated", opted_out_subscription_types={"data": []}), []),
        (
            contact("contact.user.updated", custom_attributes={"do_not_contact": True}),
            [("customer.suppressed", {"reason": "recognised"})],
        ),
        (contact("contact.newsletter.opted_out"), [("customer.suppressed", {"reason": "recognised"})]),
        (
            notification("contact.unsubscribed", contacts=None, contact={"type": "contact", "id": "c1"}),
            LEFT,
        ),
        (
            notification("granular.unsubscribe", subscription_types={"data": [{"content_types": ["email"]}]}),
            LEFT,
        ),
        (
            notification("granular.unsubscribe", subscription_types={"data": [{"content_types": ["sms"]}]}),
            LEFT,
        ),
        (
            contact("contact.merged", role="user", merged_from={"type": "contact", "id": "c0", "role": "user"}),
            [("customer.aliased", {"alias": "c0"})],
        ),
        (contact("contact.merged"), []),
        (
            notification("company.contact.attached", company={"id": "co1"}, contact={"type": "contact", "id": "c1"}),
            [("customer.profile_changed", {"account_id": "co1"})],
        ),
        (
            notification("event.created", contacts=None, intercom_user_id="c1", event_name="onboarding-completed"),
            [("onboarding.completed", {})],
        ),
        (notification("event.created", event_name="invited-friend"), []),
        (
            notification("event.created", event_name="newsletter-opt-out"),
            [("customer.suppressed", {"reason": "recognised"})],
        ),
        (
            notification("content_stat.email", stat_type="open", content_id="m1"),
            [("email.opened", {"message_id": "m1"})],
        ),
        (notification("content_stat.email", stat_type="hard_bounce"), [("customer.suppressed", {"reason": "bounce"})]),
        *(
            (
                notification("content_stat.email", content_stat={"content_type": "email", "stat_type": kind}),
                [] if reason is None else [("customer.suppressed", {"reason": reason})],
            )
            for kind, reason in (
                ("unsubscribe", "unsubscribe"),
                ("spam_complaint", "spam_report"),
                ("hard_bounce", "bounce"),
                ("soft_bounce", None),
                ("receipt", None),
                ("goal_success", None),
                ("list_unsubscribed", "recognised"),
            )
        ),
        (notification("content_stat.sms", content_stat={"content_type": "sms", "stat_type": "unsubscribe"}), LEFT),
        (notification("content_stat.post", content_stat={"content_type": "post", "stat_type": "open"}), []),
        (
            notification(
                "content_stat.email", content_stat={"content_type": "email", "stat_type": "open", "machine_open": True}
            ),
            [],
        ),
        (answer("How likely are you to recommend us?", "3"), [("nps.responded", {"response_id": "r1", "score": 3})]),
        (answer("How many seats do you need?", "10"), []),
        *(
            (notification(f"{kind}.contact.{change}", **{kind: {"id": "7", "open": True}}, contact={"id": "c1"}), said)
            for kind in ("ticket", "conversation")
            for change, said in (
                ("attached", [("ticket.opened", TICKET)]),
                ("detached", [("ticket.solved", TICKET)]),
            )
        ),
        (notification("content_stat.email", stat_type="receipt"), []),
    ],
)
def test_intercom(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected
    if expected:
        assert {event.subject for event in accepted(read(payload))} == {"c1"}


def test_the_people_of_every_api_version_are_found() -> None:
    for item in (
        {"contacts": None, "user": {"type": "lead", "id": "c1", "user_id": "u1"}},
        {"contacts": {"data": [{"id": "c1", "external_id": "u1"}]}},
        {"contacts": [{"id": "c1", "external_id": "u1"}]},
        {"contacts": None, "source": {"author": {"type": "user", "id": "c1", "external_id": "u1"}}},
    ):
        payload = notification("conversation.admin.closed", **item)
        own = Boundary(email_key=KEY, customer_paths={"intercom": ("contact.external_id",)})
        (as_intercom,), (as_ours,) = facts(payload), facts(payload, own)
        assert (as_intercom.subject, as_ours.subject) == ("c1", "u1")
        assert (taught(payload), taught(payload, own)) == ([("intercom_external", "u1")], [("intercom_contact", "c1")])


def test_an_agent_is_no_customer() -> None:
    payload = notification("conversation.admin.closed", contacts=None, source={"author": {"type": "admin", "id": "9"}})
    assert refused(read(payload)).cause == "unusable_id"


@rule("I3.29")
@pytest.mark.parametrize(
    "gone",
    [{"type": "contact", "id": "c0"}, {"type": "contact", "id": "c0", "role": "lead"}, {"type": "lead", "id": "c0"}],
)
def test_a_lead_that_is_merged_is_believed_where_the_deployment_says_so(gone: dict[str, Any]) -> None:
    payload = contact("contact.merged", role="user", external_id=None, merged_from=gone)
    trusting = Boundary(email_key=KEY, identity=Identity(trust_browser_aliases=True))
    assert skipped(read(payload)).reason == "untrusted_alias"
    assert said(payload, trusting) == [("customer.aliased", {"alias": "c0"})]


def test_a_survey_question_is_on_the_scale_that_the_deployment_says() -> None:
    boundary = Boundary(email_key=KEY, questions={"intercom": {"q1": "csat/5"}})
    assert said(answer("How was it?", "2"), boundary) == [
        ("csat.responded", {"response_id": "r1:q1", "score": 2, "scale_max": 5})
    ]


def test_somebody_who_is_named_by_an_address_only_is_meant_by_it() -> None:
    payload = notification("event.created", contacts=None, id=None, event_name="opt-out", email="ana@customer.example")
    (left,) = facts(payload)
    assert (left.type, left.subject, left.link) == ("customer.suppressed", "", ("email", ANA))


def test_a_deleted_conversation_names_nobody() -> None:
    payload = notification("conversation.deleted", contacts=None, id=None, conversation_id="7")
    assert skipped(read(payload)).reason == "irrelevant"


def test_somebody_signed_up_when_intercom_says_so_and_not_when_it_told_us() -> None:
    signed_up, profile = facts(sample("intercom.contact_user_created"))
    assert signed_up.time == instant("2026-06-15T09:00:00Z")
    assert (profile.data.account_id, profile.data.locale, profile.data.email_hmac) == ("ico-initech", "de", ANA)


def test_an_event_has_its_own_time() -> None:
    when = instant("2026-06-01T00:00:00Z")
    (event,) = facts(notification("event.created", event_name="onboarding-completed", created_at=when // 1_000))
    assert event.time == when


# ----------------------------------------------------------------------------------------------------------- Help Scout


def rating(word: str, **fields: Any) -> dict[str, Any]:
    """A Help Scout rating of conversation 5 by customer 9."""
    return {
        "id": 1,
        "rating": word,
        "ticketId": 5,
        "customer": {"id": 9},
        "createdAt": "2026-06-16T07:00:00Z",
        **fields,
    }


def scored(score: int) -> tuple[str, dict[str, Any]]:
    """The answer that a rating is."""
    return ("csat.responded", {"response_id": "1", "score": score, "scale_max": 3, "ticket_id": "5"})


def conversation(status: str, **fields: Any) -> dict[str, Any]:
    """A Help Scout conversation of customer 9, as it was begun."""
    return {
        "id": 5,
        "status": status,
        "mailboxId": 1,
        "primaryCustomer": {"id": 9},
        "createdAt": "2026-06-16T07:00:00Z",
        **fields,
    }


def survey(customer: int | None = 9, **answer: Any) -> dict[str, Any]:
    """A Help Scout survey response."""
    return {
        "message": {"name": "m"},
        "response": {"timestamp": "2026-06-16T07:00:00Z", **answer},
        "_embedded": {"customer": {"id": customer}},
    }


SURVEY = "m:9:2026-06-16T07:00:00Z"
FIVE = {"ticket_id": "5"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (rating("Great"), [("ticket.rated", FIVE | {"rating": "positive"}), scored(3)]),
        (rating("Okay"), [scored(2)]),
        (rating("Bad"), [("ticket.rated", FIVE | {"rating": "negative"}), scored(1)]),
        (rating("not_good"), [("ticket.rated", FIVE | {"rating": "negative"}), scored(1)]),
        (rating("Not-Good"), [("ticket.rated", FIVE | {"rating": "negative"}), scored(1)]),
        (rating(" "), []),
        (
            rating("great", ticketId=None, threadId=3),
            [("csat.responded", {"response_id": "1", "score": 3, "scale_max": 3})],
        ),
        (conversation("active"), [("ticket.opened", FIVE)]),
        (conversation("pending", userUpdatedAt="2026-06-16T07:05:00Z"), [("ticket.reopened", FIVE)]),
        (conversation("closed", closedAt="2026-06-16T07:05:00Z"), [("ticket.solved", FIVE)]),
        (conversation("spam"), [("ticket.solved", FIVE)]),
        (conversation("active", isDraft=True), []),
        (conversation("new"), [("ticket.opened", FIVE)]),
        (
            survey(value="9", category="detractor"),
            [("nps.responded", {"response_id": SURVEY, "score": 9})],
        ),
        (survey(name="Happy", value="😀"), [("csat.responded", {"response_id": SURVEY, "score": 3, "scale_max": 3})]),
        (
            survey(name="Thumbs Down", value="👎"),
            [("csat.responded", {"response_id": SURVEY, "score": 0, "scale_max": 1})],
        ),
        (
            {
                "id": 9,
                "firstName": "A",
                "photoType": "unknown",
                "_embedded": {"emails": [{"value": "ana@customer.example"}]},
            },
            [PROFILE],
        ),
    ],
)
def test_helpscout(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected
    if expected:
        assert {event.subject for event in accepted(read(payload))} == {"9"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (survey(value="Blue"), "no_score"),
        (survey(category="promoter"), "no_score"),
        (survey(name="Woman in Lotus Position", value="🧘"), "no_score"),
    ],
)
def test_a_helpscout_body_that_tells_too_little_is_skipped_with_the_reason(payload: Any, reason: str) -> None:
    assert skipped(read(payload)).reason == reason


def test_a_helpscout_rating_in_a_word_that_nobody_knows_is_a_dead_letter() -> None:
    assert refused(read(rating("Meh"))).cause == "invalid"


@pytest.mark.parametrize("word", ["Okay", "Not Good", " bad "])
def test_a_low_helpscout_rating_of_nobody_is_that_of_the_conversations_customer(word: str) -> None:
    nobody: tuple[Any, ...] = ({}, None)
    for customer in nobody:
        answered = facts(rating(word, customer=customer))
        assert {(event.subject, event.link) for event in answered} == {("", ("helpscout_conversation", "5"))}
        assert skipped(read(rating("Great", customer=customer))).reason == "no_customer"
    assert refused(read(rating(word, customer={}, ticketId=None, threadId=3))).cause == "unusable_id"


@pytest.mark.parametrize(
    ("event", "body", "expected"),
    [
        ("satisfaction.ratings", {"id": 1, "rating": "Bad", "threadId": 3}, "unusable_id"),
        ("customer.updated", {"id": 9, "properties": {"unsubscribed": "yes"}}, "customer.suppressed"),
        ("customer.unsubscribed", {"id": 9}, "customer.suppressed"),
        ("convo.status", {"id": 5, "customer": {"id": 9}}, "ticket.opened"),
    ],
)
def test_a_helpscout_body_is_known_by_the_name_of_its_event(event: str, body: dict[str, Any], expected: str) -> None:
    adapted = read(body, headers=(("referral-source", b"helpscout"), ("referral-event", event.encode())))
    if expected == "unusable_id":
        assert refused(adapted).cause == expected
    else:
        assert accepted(adapted)[0].type == expected


def test_a_conversation_sent_again_unchanged_is_the_same_event() -> None:
    first, again = accepted(read(conversation("active"))), accepted(read(conversation("active"), offset=99))
    assert [event.id for event in first] == [event.id for event in again]
    assert first[0].id != only(read(conversation("closed"))).id


# -------------------------------------------------------------------------------------------------- Zendesk's event bus


def bus(kind: str, envelope: str = "detail", **event: Any) -> dict[str, Any]:
    """A ticket event as EventBridge or a flow gets it."""
    ticket = {"id": 5, "requester_id": 7, "status": "open", "priority": "urgent"}
    meta = {"occurred_at": "2026-06-16T07:00:00Z", "sequence": {"id": "S", "position": 2}}
    return {envelope: {"ticket_event": {"meta": meta, "type": kind, "ticket": ticket, **event}}}


@pytest.mark.parametrize("envelope", ["detail", "input"])
@pytest.mark.parametrize(
    ("kind", "event", "expected"),
    [
        ("Ticket Created", {}, [("ticket.opened", FIVE | {"priority": "urgent"})]),
        (
            "Priority Changed",
            {"previous": "low", "current": "urgent"},
            [("ticket.opened", FIVE | {"priority": "urgent"})],
        ),
        ("Status Changed", {"previous": "solved", "current": "open"}, [("ticket.reopened", FIVE)]),
        ("Ticket Merged", {}, [("ticket.solved", FIVE)]),
        ("Comment Created", {}, []),
        ("Tags Changed" * 100, {}, []),
    ],
)
def test_the_event_bus_says_the_same_in_other_words(
    envelope: str, kind: str, event: dict[str, Any], expected: Said
) -> None:
    payload = bus(kind, envelope, **event)
    assert said(payload) == expected
    if expected:
        only_event = only(read(payload))
        assert (only_event.id, only_event.subject, only_event.source) == ("S:2", "7", "zendesk")


def test_zendesks_scale_of_five_is_a_rating_and_an_answer() -> None:
    payload = {
        "id": "z1",
        "type": "zen:event-type:ticket.csat_received",
        "time": "2026-06-16T07:00:00Z",
        "detail": {"id": 5, "requester_id": 7},
        "event": {"satisfaction_score": {"score": 4, "comment": "quick support"}},
    }
    assert said(payload) == [
        ("ticket.rated", FIVE | {"rating": "positive"}),
        ("csat.responded", FIVE | {"response_id": "csat:5", "score": 4, "scale_max": 5, "theme": "support"}),
    ]
