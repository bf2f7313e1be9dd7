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
        (klaviyo(relationships=whose("ana")), "customer.suppressed ana"),
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
    ],
    ids=["customerio", "sendgrid", "klaviyo"],
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


@rule("R67")
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


@rule("R67")
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
