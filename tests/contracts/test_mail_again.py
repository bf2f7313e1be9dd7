"""Mail and product tools once more: what their payloads say in rarer forms, and what they only seem to say."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from tests.contracts.building import NOW, read
from tests.rules import rule

SECONDS = NOW // 1_000 - 3_600
ADDRESS = "ana@firm-of-ana.com"
LEFT = "customer.suppressed ana"
KNOWN = "customer.profile_changed ana"


def said(payload: Any, source: str | None = None) -> list[str]:
    """Every event as its type and whom it is about (``link:KIND`` where a link says it); else why there is none."""
    adapted = read(payload, headers=(("referral-source", source.encode()),) if source else ())
    match adapted:
        case Accepted(events=events):
            return [f"{event.type} {event.subject or f'link:{event.link.kind}' if event.link else event.subject}"
                    for event in events if event.type != "customer.linked"]  # fmt: skip
        case Skipped(reason=reason) | Refused(cause=reason):
            return [reason]
    raise AssertionError(adapted)


def taught(payload: Any, source: str | None = None) -> set[str]:
    """The kinds of the links that a payload teaches, or by which it names somebody."""
    adapted = read(payload, headers=(("referral-source", source.encode()),) if source else ())
    assert isinstance(adapted, Accepted), adapted
    return {event.data.kind for event in adapted.events if event.type == "customer.linked"} | {
        event.link.kind for event in adapted.events if event.link is not None
    }


# ------------------------------------------------------------------------------------------------------------- Klaviyo


def klaviyo(topic: str, profile: Any = None, **properties: Any) -> dict[str, Any]:
    attributes = {"timestamp": SECONDS, "datetime": "2026-06-16T07:00:00+00:00", "event_properties": properties}
    event = {"type": "event", "id": "k-1", "attributes": attributes, "relationships": {
        "profile": {"data": {"type": "profile", "id": "ana"}}
    }}  # fmt: skip
    included = [] if profile is None else [{"type": "profile", "id": "ana", "attributes": profile}]
    return {"topic": f"event:klaviyo.{topic}", "external_id": "x-1", "payload": {"data": event, "included": included}}


def subscription(**email: Any) -> dict[str, Any]:
    whole = {"can_receive_email_marketing": True, "consent": "SUBSCRIBED", "double_optin": False, "suppression": []}
    sms = {"can_receive_sms_marketing": False, "consent": "NEVER_SUBSCRIBED"}
    return {"subscriptions": {"email": {"marketing": {**whole, "list_suppressions": [], **email}}, "sms": {
        "marketing": sms
    }}}  # fmt: skip


@rule("I1.10")
@pytest.mark.parametrize(
    ("email", "left"),
    [
        ({}, False), ({"consent": "NEVER_SUBSCRIBED"}, False), ({"can_receive_email_marketing": False}, True),
        ({"consent": "UNSUBSCRIBED"}, True), ({"suppression": [{"reason": "HARD_BOUNCE"}]}, True),
        ({"list_suppressions": [{"list_id": "L", "reason": "UNSUBSCRIBE"}]}, True),
    ],
)  # fmt: skip
def test_a_subscription_at_klaviyo_says_who_left_it(email: dict[str, Any], left: bool) -> None:
    assert said(klaviyo("opened_email", subscription(**email))) == ([LEFT] if left else []) + ["email.opened ana"]


@rule("I1.3")
def test_klaviyos_events_count_without_their_envelope() -> None:
    event = klaviyo("unsubscribed_from_email_marketing")
    for body in ({"data": [event, None], "meta": {}}, {"data": [event]}, [event], event):
        assert said(body) == [LEFT]
