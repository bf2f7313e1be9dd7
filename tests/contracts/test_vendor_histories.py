"""A whole history with one vendor's words in it: opt-outs and troubles hold back, good news is good news."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.replay.files import replay_file
from tests.builders import POLICY
from tests.contracts.building import instant
from tests.replay.logs import BOUNDARY, rows, write
from tests.rules import rule

WHEN = "2026-09-08T08:00:00Z"
MILLIS = instant(WHEN)
ANA = {"type": "contact", "id": "501", "role": "user"}


def fact(kind: str, time: str, data: dict[str, Any]) -> dict[str, Any]:
    """A line with a fact of customer 501."""
    event = {"specversion": "1.0", "id": kind + time, "source": "app", "type": kind, "subject": "501", "time": time}
    return {"topic": "profile", "timestamp": time, "value": event | {"data": data}}


HAPPY = [
    fact("customer.signed_up", "2026-01-12T08:00:00Z", {}),
    fact("customer.profile_changed", "2026-01-12T08:05:00Z", {"time_zone": "Europe/Berlin", "champion": True}),
    fact("onboarding.completed", "2026-01-14T09:00:00Z", {}),
    fact(
        "customer.consent_changed",
        "2026-01-15T08:00:00Z",
        {"purpose": "referral_ask", "channel": "all", "granted": True},
    ),
    fact("usage.compared", "2026-01-16T08:00:00Z", {"above_average": True}),
    fact("goal.achieved", "2026-01-17T08:00:00Z", {"goal": "first-report"}),
]
PROMOTER = fact("nps.responded", "2026-09-10T12:00:00Z", {"response_id": "r1", "score": 9})


def told(vendor: str, payload: Any, time: str = WHEN) -> dict[str, Any]:
    """A line with a vendor's payload."""
    return {"topic": "relationship", "timestamp": time, "headers": {"referral-source": vendor}, "value": payload}


def track(event: str, **properties: Any) -> dict[str, Any]:
    """A line with a Segment track call."""
    call = {"type": "track", "event": event, "userId": "501", "messageId": event, "timestamp": WHEN}
    return told("segment", call | {"properties": properties})


def traits(**traits: Any) -> dict[str, Any]:
    """A line with a Segment identify call."""
    call = {"type": "identify", "userId": "501", "messageId": "i", "timestamp": WHEN, "traits": traits}
    return told("segment", call)


def captured(event: str, **properties: Any) -> dict[str, Any]:
    """A line with a PostHog event."""
    whole = {"api_key": "k", "event": event, "distinct_id": "501", "uuid": event, "timestamp": WHEN}
    return told("posthog", whole | {"properties": {f"${name}": value for name, value in properties.items()}})


def changed(kind: str, **fields: Any) -> dict[str, Any]:
    """A line with a HubSpot change."""
    change = {"eventId": 1, "portalId": 2, "occurredAt": MILLIS, "subscriptionType": kind, "objectId": 501}
    return told("hubspot", [change | fields])


def set_to(name: str, value: str) -> dict[str, Any]:
    """A line with a change of a HubSpot contact's property."""
    return changed("contact.propertyChange", propertyName=name, propertyValue=value)


def notified(topic: str, **item: Any) -> dict[str, Any]:
    """A line with an Intercom notification about the contact."""
    payload = {"type": "notification_event", "id": topic, "topic": topic, "created_at": MILLIS // 1_000}
    return told("intercom", payload | {"data": {"item": {"id": "7", "contact": ANA, **item}}})


def asked(lines: list[dict[str, Any]], folder: Path, boundary: Boundary = BOUNDARY) -> list[str]:
    """When somebody was asked, over such a log."""
    folder.mkdir(exist_ok=True)
    replay_file(write(folder / "log", [orjson.dumps(line) for line in lines]), folder / "out", POLICY, boundary)
    asks = rows(folder / "out", "asks")
    return [row["data"]["not_before"] for row in asks if row["type"].endswith("ask.requested")]


FRIDAY = ["2026-09-11T11:00:00.000Z"]
RECOMMEND = [
    {"id": "q1", "question": "How many people are in your team?"},
    {"id": "q2", "question": "Would you recommend us?"},
]

NO_WORD = [
    track("Email Sent"),
    track("Email Subscribed"),
    track("Email Soft Bounced"),
    traits(plan="team", unsubscribed=False, email_opt_out="false"),
    captured("survey dismissed"),
    captured("report_exported"),
    set_to("hs_email_optout", "false"),
    set_to("hs_email_optout_6871816", ""),
    changed("contact.deletion"),
    notified("content_stat.email", content_stat={"content_type": "email", "stat_type": "receipt"}),
    notified("contact.user.updated", contact=ANA | {"unsubscribed_from_emails": False}),
]
OPT_OUTS = [
    track("Unsubscribed"),
    track("Email Unsubscribed"),
    track("email_marked_as_spam"),
    track("List Opted Out"),
    track("Global Subscription Group State Change", subscription_status="Unsubscribed"),
    traits(unsubscribed=True),
    traits(preferences={"email": {"status": "unsubscribed"}}),
    traits(email_opt_in=False),
    told("segment", {"type": "delete", "userId": "501", "timestamp": WHEN}),
    captured("newsletter_unsubscribed"),
    captured("$workflows_email_unsubscribed"),
    captured("$set", set={"unsubscribed": True}),
    set_to("hs_email_optout", "true"),
    set_to("hs_email_optout_6871816", "true"),
    set_to("do_not_contact", "Yes"),
    told("hubspot", {"vid": 501, "properties": {"hs_email_optout": {"value": "true"}}}),
    changed("contact.privacyDeletion"),
    notified("contact.unsubscribed"),
    notified("granular.unsubscribe"),
    notified("content_stat.email", content_stat={"content_type": "email", "stat_type": "unsubscribe"}),
    notified("conversation.admin.assigned", contact=ANA | {"unsubscribed_from_emails": True}),
    notified("contact.deleted"),
    notified("event.created", event_name="opted-out-of-mail"),
]
TROUBLES = [
    track("Wootric survey response created", metric_type="NPS", response_id="77", score=1),
    captured("survey sent", survey_id="s", survey_questions=RECOMMEND, survey_response_q1="10", survey_response_q2=2),
    changed("ticket.creation", objectId=9009, contactId=501),
    changed("ticket.associationChange", associationType="TICKET_TO_CONTACT", fromObjectId=9009, toObjectId=501),
    notified("conversation.user.created"),
    notified("ticket.contact.attached", ticket={"id": "8", "open": True}),
]


@rule("I1.10")
@pytest.mark.parametrize("line", NO_WORD)
def test_what_says_nothing_changes_nothing(line: dict[str, Any], tmp_path: Path) -> None:
    assert asked([*HAPPY, line, PROMOTER], tmp_path) == FRIDAY


@rule("I1.10")
@pytest.mark.parametrize("line", OPT_OUTS)
def test_who_opted_out_in_any_words_is_not_asked(line: dict[str, Any], tmp_path: Path) -> None:
    assert asked([*HAPPY, line, PROMOTER], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize("line", TROUBLES)
def test_who_has_a_trouble_is_not_asked_for_praise(line: dict[str, Any], tmp_path: Path) -> None:
    praise = fact("compliment.given", "2026-09-10T12:00:00Z", {})
    assert asked([*HAPPY, praise], tmp_path / "without") == FRIDAY
    assert asked([*HAPPY, line, praise], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize(
    "line",
    [
        track("Wootric survey response created", metric_type="NPS", response_id="77", score=9),
        captured(
            "survey sent", survey_id="s", survey_questions=RECOMMEND, survey_response_q1="1", survey_response_q2=9
        ),
        set_to("hs_feedback_last_nps_rating", "9"),
        notified(
            "content_stat.survey",
            content_stat={
                "content_type": "survey",
                "stat_type": "answer",
                "receipt_id": "r",
                "answer": {"question_id": "q", "question_text": "Would you recommend us?", "response": "9"},
            },
        ),
    ],
)
def test_a_promoter_is_asked_whoever_reports_it(line: dict[str, Any], tmp_path: Path) -> None:
    assert asked([*HAPPY, line], tmp_path) != []


@rule("I1.10")
def test_a_number_that_nobody_calls_a_score_is_no_promoter(tmp_path: Path) -> None:
    number = captured("survey sent", survey_id="s", survey_questions=RECOMMEND[:1], survey_response_q1="10")
    assert asked([*HAPPY, number], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize("event", ["Email Sent", "Audience Entered", "Report Exported", "Push Notification Sent"])
def test_what_a_machine_does_on_forty_days_is_no_use_of_the_product(event: str, tmp_path: Path) -> None:
    never_used = [line for line in HAPPY if line["value"]["type"] not in {"usage.compared", "goal.achieved"}]
    days = []
    for day in range(40):
        time = f"2026-{7 + day // 30:02}-{1 + day % 30:02}T08:00:00Z"
        line = track(event)
        days.append(line | {"timestamp": time, "value": line["value"] | {"timestamp": time, "messageId": time}})
    assert asked([*never_used, *days, PROMOTER], tmp_path) == []
