"""Faults of mail tools' payloads: an id, a time or a name in another way than documented holds back all the same."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.contracts.addresses import email_hmac
from referral_stream.contracts.outcomes import Accepted
from tests.contracts.building import KEY, read, sample, taught
from tests.contracts.test_vendor_variants import told
from tests.rules import rule

ADDRESS = "ana@firm.com"
BY_ADDRESS = f"email:{email_hmac(ADDRESS, KEY)}"
SECONDS = 1_781_595_000


def customerio(metric: str = "unsubscribed", about: str = "email", time: Any = SECONDS, **data: Any) -> dict[str, Any]:
    return {"event_id": "e", "object_type": about, "metric": metric, "timestamp": time, "data": data}


def sendgrid(event: str = "unsubscribe", time: Any = SECONDS, **more: Any) -> list[dict[str, Any]]:
    return [{"event": event, "email": ADDRESS, "timestamp": time, "sg_event_id": "e", "sg_message_id": "m"} | more]


def klaviyo(topic: str = "unsubscribed_from_email_marketing", time: Any = SECONDS, **more: Any) -> dict[str, Any]:
    event = {"type": "event", "id": "e", "attributes": {"timestamp": time, "event_properties": {}}}
    part = {"external_id": "e", "topic": f"event:klaviyo.{topic}", "payload": {"data": event | more}}
    return {"data": [part], "meta": {"klaviyo_webhook_id": "w", "timestamp": "2026-06-16T07:00:00Z"}}


def whose(profile: Any) -> dict[str, Any]:
    return {"profile": {"data": {"type": "profile", "id": profile}}}


def braze(kind: str = "messages.email.Unsubscribe", user: Any = None, time: Any = SECONDS, **told: Any) -> Any:
    event = {"event_type": f"users.{kind}", "id": "e", "time": time, "user": user or {"user_id": "b1"}}
    return {"events": [event | {"properties": told}]}


def freshdesk(**more: Any) -> dict[str, Any]:
    return {"freshdesk_webhook": {"ticket_id": 7, "ticket_status": "Open", "ticket_contact_email": ADDRESS} | more}


def gorgias(customer: Any = None, **more: Any) -> dict[str, Any]:
    ticket = {"id": 7, "status": "open", "customer": {"email": ADDRESS} if customer is None else customer}
    return {"ticket": ticket | {"updated_datetime": "2026-06-16T07:00:00+00:00"} | more}


def survey(**more: Any) -> dict[str, Any]:
    return {"id": 3, "score": 5, "scored_datetime": "2026-06-16T07:00:00+00:00"} | more


LEFT_SO = {"email_opt_in": False}


@rule("I2.3", "I2.5", "I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (customerio(identifiers={"id": "null", "email": ADDRESS}), f"customer.suppressed {BY_ADDRESS}"),
        (customerio(customer_id="{{customer.id}}", recipient=ADDRESS), f"customer.suppressed {BY_ADDRESS}"),
        (customerio(identifiers={"cio_id": "d9"}), "customer.suppressed customerio_person:d9"),
        (customerio(identifiers={"id": {"id": "ana"}, "cio_id": "d9"}), "customer.suppressed customerio_person:d9"),
        (customerio(identifiers="ana"), "refused unusable_id"),
        (customerio("opened", delivery_id="m"), "refused unusable_id"),
        (sendgrid(), f"customer.suppressed {BY_ADDRESS}"),
        (sendgrid(customer_id="undefined", user_id="ana"), "customer.suppressed ana"),
        (sendgrid(email=None), "refused unusable_id"),
        (
            braze("behaviors.CustomEvent", {"external_user_id": "ana"}, name="x", custom_properties='{"unsub": true}'),
            "customer.suppressed ana",
        ),
        *(
            (sendgrid(**{name: "ana"}), "customer.suppressed ana")
            for name in ("userid", "userId", "customerId", "external_id")
        ),
        *(
            (sendgrid(**{name: "x"}), f"customer.suppressed {BY_ADDRESS}")
            for name in ("token", "api_key", "distinct_id")
        ),
        (
            braze("behaviors.CustomEvent", {"external_user_id": "ana"}, name="Delete person"),
            "customer.suppressed ana",
        ),
        (
            braze("behaviors.CustomEvent", {"external_user_id": "ana"}, name="saved", custom_properties=LEFT_SO),
            "customer.suppressed ana",
        ),
        (klaviyo(relationships=whose("ana")), "customer.suppressed ana"),
        (braze(user={"external_user_id": "ana", "user_id": "b1"}), "customer.suppressed ana"),
        (braze(email_address=ADDRESS), f"customer.suppressed {BY_ADDRESS}"),
        (braze(), "customer.suppressed braze_user:b1"),
        (braze(user={"external_user_id": "anonymous", "user_id": 0}), "refused unusable_id"),
        (braze("UserDeleteRequest"), "customer.erasure_requested braze_user:b1"),
        (
            braze(
                "behaviors.subscription.GlobalStateChange",
                channel="email",
                channel_identifier=ADDRESS,
                subscription_status="unsubscribed",
            ),
            f"customer.suppressed {BY_ADDRESS}",
        ),
        (
            braze(
                "behaviors.subscriptiongroup.StateChange",
                channel="sms",
                channel_identifier="0a" * 32,
                subscription_status="Unsubscribed",
            ),
            "customer.suppressed braze_user:b1",
        ),
        (freshdesk(), f"ticket.opened {BY_ADDRESS}"),
        (freshdesk(ticket_contact_unique_external_id="ana"), "ticket.opened ana"),
        (freshdesk(ticket_contact_unique_external_id="undefined"), f"ticket.opened {BY_ADDRESS}"),
        (freshdesk(ticket_contact_email="{{ticket.contact.email}}"), "refused unusable_id"),
        (gorgias(), f"ticket.opened {BY_ADDRESS}"),
        (gorgias({"id": 38, "external_id": "None"}), "ticket.opened gorgias_customer:38"),
        (gorgias({"id": {"id": 38}}, customer_id=39), "ticket.opened gorgias_customer:39"),
        (gorgias("ana"), "refused unusable_id"),
        (klaviyo(attributes={"event_properties": {"$email": ADDRESS}}), f"customer.suppressed {BY_ADDRESS}"),
        (
            klaviyo(relationships=whose("null"), attributes={"event_properties": {"email": ADDRESS}}),
            f"customer.suppressed {BY_ADDRESS}",
        ),
        (klaviyo(relationships=whose({"id": "ana"})), "refused unusable_id"),
    ],
)
def test_whoever_is_named_in_any_way_is_meant(payload: Any, expected: str) -> None:
    assert told(read(payload)) == [expected]


@rule("I1.5", "I1.7")
@pytest.mark.parametrize(
    "made",
    [
        lambda time: customerio(time=time, identifiers={"id": "ana"}),
        lambda time: sendgrid(time=time, customer_id="ana"),
        lambda time: klaviyo(time=time, relationships=whose("ana")),
        lambda time: braze(time=time, user={"external_user_id": "ana"}),
    ],
    ids=["customerio", "sendgrid", "klaviyo", "braze"],
)
@pytest.mark.parametrize("time", [None, "soon", {"at": 1}, -1, "1781595000", SECONDS * 1_000])
def test_an_opt_out_counts_whatever_its_time_is(made: Any, time: Any) -> None:
    adapted = read(made(time))
    assert isinstance(adapted, Accepted)
    assert told(adapted) == ["customer.suppressed ana"]


@rule("I4.2")
def test_a_devices_token_and_a_number_are_no_address() -> None:
    for about in ("push", "sms"):
        assert taught(customerio("sent", about, identifiers={"id": "ana"}, recipient="0a" * 32)) == []
    assert taught(customerio("sent", identifiers={"id": "ana"}, recipient=ADDRESS)) == [("email", BY_ADDRESS[6:])]


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ('{"topics": {"t1": true}}', False),
        ({"topics": {"t1": True}, "channels": {"sms": True}}, False),
        ({"topics": {"t1": True}, "channels": {"sms": False}}, True),
        ({"topics": {"t1": "no"}}, True),
        ({"topics": []}, True),
        ("[" * 5_000, True),
        (None, True),
        (7, True),
    ],
)
def test_changed_preferences_hold_back_unless_everything_is_still_wanted(content: Any, left: bool) -> None:
    change = customerio("subscription_preferences_changed", "customer", identifiers={"id": "ana"}, content=content)
    assert told(read(change)) == (["customer.suppressed ana"] if left else ["skipped irrelevant"])


def test_an_older_webhook_of_customer_io_is_told_from_other_tools_by_its_name() -> None:
    older = sample("customerio.older.email_unsubscribed")
    assert told(read(older)) == ["customer.suppressed cus-ana"]
    assert told(read(older | {"event_type": "response_completed"})) == ["refused unrecognised"]


@rule("I1.3")
def test_one_event_of_an_array_that_cannot_be_used_spoils_no_other() -> None:
    batch = [*sendgrid(), 7, *sendgrid(email="nobody", sg_event_id="e2"), *sendgrid("spamreport", sg_event_id="e3")]
    assert told(read(batch)) == [
        f"customer.suppressed {BY_ADDRESS}",
        f"customer.suppressed {BY_ADDRESS}",
        "refused unrecognised",
        "refused unusable_id",
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (sendgrid("bounce", type="bounce"), True),
        (sendgrid("bounce"), True),
        (sendgrid("bounce", type="something new"), True),
        (sendgrid("bounce", type=" Blocked "), False),
        (sendgrid("dropped", reason=7), True),
        (sendgrid("dropped", reason="Invalid"), True),
        (sendgrid("dropped", reason="Spam Content, score 9"), False),
    ],
)
def test_a_bounce_that_passes_and_a_fault_of_ours_are_no_opt_out(event: Any, expected: bool) -> None:
    assert told(read(event)) == ([f"customer.suppressed {BY_ADDRESS}"] if expected else ["skipped irrelevant"])


@rule("I1.10")
@pytest.mark.parametrize(
    ("ticket", "expected"),
    [
        ({"ticket_status": 5}, "ticket.opened"),
        ({"ticket_status": None}, "ticket.opened"),
        ({"ticket_status": " CLOSED "}, "ticket.solved"),
        ({"ticket_status": "Closed", "triggered_event": "{status:{from:5,to:3}}"}, "ticket.reopened"),
        ({"triggered_event": '{"status": {"from": "2", "to": "4"}}'}, "ticket.solved"),
        ({"triggered_event": "{status:{from:2,to:45}}"}, "ticket.opened"),
        ({"triggered_event": ["{status:{from:2,to:4}}"]}, "ticket.opened"),
    ],
)
def test_a_ticket_of_freshdesk_is_open_unless_it_is_known_to_be_over(ticket: Any, expected: str) -> None:
    assert told(read(freshdesk(**ticket))) == [f"{expected} {BY_ADDRESS}"]


@rule("I1.10")
@pytest.mark.parametrize(
    ("ticket", "expected"),
    [
        ({"status": "snoozed"}, ["ticket.opened"]),
        ({"status": 0}, ["ticket.opened"]),
        ({"status": "Closed"}, ["ticket.solved"]),
        ({"status": "closed", "snooze_datetime": "2026-06-20T08:00:00"}, ["ticket.opened"]),
        ({"status": "closed", "snooze_datetime": "None"}, ["ticket.solved"]),
        ({"status": "closed", "snooze_datetime": "2026-06-20T08:00:00", "spam": "True"}, ["ticket.solved"]),
        ({"spam": "False"}, ["ticket.opened"]),
        ({"spam": "True"}, ["ticket.solved"]),
        ({"trashed_datetime": "None"}, ["ticket.opened"]),
        ({"satisfaction_survey": survey(score="")}, ["ticket.opened"]),
        ({"satisfaction_survey": survey(score="2", scored_datetime="None")}, ["ticket.opened", "ticket.rated"]),
        ({"satisfaction_survey": survey(scored_datetime="")}, ["ticket.opened"]),
        ({"satisfaction_survey": survey(scored_datetime="soon")}, ["ticket.opened", "refused"]),
    ],
)
def test_a_ticket_of_gorgias_is_open_unless_it_is_known_to_be_over(ticket: Any, expected: list[str]) -> None:
    kinds = [line.split()[0] for line in told(read(gorgias(**ticket)))]
    assert [kind for kind in kinds if kind != "csat.responded"] == expected
    assert ("csat.responded" in kinds) == ("ticket.rated" in kinds)


@pytest.mark.parametrize(
    "payload",
    [
        {"ticket": {"id": 7, "status": "open", "requester": {"email": ADDRESS}}},
        {"ticket": {"id": 7, "updated_datetime": "2026-06-16T07:00:00+00:00"}},
        {"ticket_id": 7, "ticket_status": "Open", "requester_email": ADDRESS},
        {"freshdesk_webhook": "{{ticket}}"},
    ],
)
def test_a_body_that_somebody_wrote_themselves_is_nobodys(payload: Any) -> None:
    assert told(read(payload)) == ["refused unrecognised"]


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("Subscribed", False),
        (" opted in ", False),
        ("Opted_In", False),
        ("Unsubscribed", True),
        ("something new", True),
        (None, True),
        ({"email": "subscribed"}, True),
    ],
)
def test_a_subscription_in_braze_that_is_not_known_to_go_on_has_been_left(status: Any, left: bool) -> None:
    for kind in ("behaviors.subscription.GlobalStateChange", "behaviors.subscriptiongroup.StateChange"):
        change = braze(kind, user={"external_user_id": "ana"}, subscription_status=status)
        assert told(read(change)) == (["customer.suppressed ana"] if left else ["skipped irrelevant"])
