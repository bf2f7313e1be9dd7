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


# ------------------------------------------------------------------------------------------------ Segment, RudderStack


def call(event: str | None = None, properties: Any = None, /, **more: Any) -> dict[str, Any]:
    whole = {"type": "track", "event": event} if event else {"type": "identify"}
    own = {"messageId": "m-1", "timestamp": "2026-06-16T07:00:00Z", "userId": "ana", "properties": properties or {}}
    return whole | own | more


def reader(status: str, **more: Any) -> dict[str, Any]:
    return {"messaging_subscriptions": [{"key": ADDRESS, "type": "EMAIL", "status": status, **more}]}


@rule("I1.10")
@pytest.mark.parametrize(
    ("context", "left"),
    [
        (reader("UNSUBSCRIBED"), True), (reader("unsubscribed"), True), (reader("DID_NOT_SUBSCRIBE"), False),
        (reader("SUBSCRIBED", groups=[{"name": "News", "status": "UNSUBSCRIBED"}]), True),
        (reader("SUBSCRIBED", groups=[{"name": "News", "status": "SUBSCRIBED"}]), False),
        ({"consent": {"categoryPreferences": {"Promotional Emails": False, "Functional": True}}}, True),
        ({"consent": {"categoryPreferences": {"Newsletter": "false"}}}, True),
        ({"consent": {"categoryPreferences": {"Marketing": False, "Advertising": False}}}, False),
        ({"consent": {"categoryPreferences": {}}}, False), ({"consent": None}, False),
        ({"consentManagement": {"deniedConsentIds": ["email_marketing", 7, None]}}, True),
        ({"consentManagement": {"deniedConsentIds": ["marketing", "C0004"]}}, False),
    ],
)  # fmt: skip
def test_what_engage_and_consent_managers_say_of_mail_is_read_at_every_sight(context: Any, left: bool) -> None:
    for source in ("segment", "rudderstack"):
        assert (LEFT in said(call("Page Seen", context=context), source)) is left


@rule("I2.7")
@pytest.mark.parametrize(
    ("payload", "kinds"),
    [
        (call(context=reader("UNSUBSCRIBED")), {"email"}),
        (call(context={"externalIds": [{"id": ADDRESS, "type": "email", "collection": "users"}]}), {"email"}),
        (call("Unsubscribed", context={"externalId": [{"id": "old", "type": "user_id"}]}), {"segment_user"}),
        (call("Email Unsubscribed", {"email": ADDRESS}, userId=None, anonymousId="9d1f"), {"email"}),
        (call("Unsubscribed from List", {"recipient": ADDRESS}, userId=None, anonymousId="9d1f"), {"email"}),
        (call("Contact Updated", {"email": ADDRESS, "unsubscribed": True}), {"email"}),
        (call("Invite Sent", {"email": ADDRESS}), set()),
        (call("Invite Sent", {"email": ADDRESS}, context={"traits": {"unsubscribed": True}}), set()),
    ],
)
def test_an_opt_out_reaches_the_address_it_names_and_an_invitation_does_not(payload: Any, kinds: set[str]) -> None:
    assert taught(payload) == kinds


@rule("I1.10")
@pytest.mark.parametrize("agent", ["Mozilla/5.0 (compatible; Googlebot/2.1)", "Mozilla/5.0 HeadlessChrome/120.0"])
def test_a_program_that_visits_uses_nothing_and_recommends_nobody(agent: str) -> None:
    def visited(event: str, properties: Any = None) -> list[str]:
        return said(call(event, properties, context={"userAgent": agent}))

    for event, properties in (
        ("Signed In", None),
        ("Goal Achieved", {"goal": "g"}),
        ("NPS Response Sent", {"score": 10}),
        ("Email Opened", None),
        ("Live Chat Conversation Started", None),
    ):
        assert visited(event, properties) == ["irrelevant"]
    assert visited("NPS Response Sent", {"score": 3}) == ["nps.responded ana"]
    assert visited("Email Unsubscribed") == [LEFT]
    assert said(call("Signed In", context={"userAgent": "okhttp/4.9.0"})) == ["usage.recorded ana"]


@rule("I1.10")
def test_gainsights_answer_counts_on_the_scale_that_it_states() -> None:
    answer = {"surveyType": "NPS", "survey": {"score": 2, "questionType": "RATING"}}
    assert said(call("Spring survey", answer), "rudderstack") == ["nps.responded ana"]
    assert said(call("Spring survey", answer | {"surveyType": "CES"}), "rudderstack") == ["irrelevant"]
