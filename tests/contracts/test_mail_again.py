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
        ({"consent": {"categoryPreferences": {"Email": False}}}, True),
        ({"consent": {"categoryPreferences": {"Marketing & Advertising": False, "Marketing Cookies": False}}}, False),
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
        (call(context={"externalId": [{"id": ADDRESS, "type": "HS-contacts", "identifierType": "email"}]}), {"email"}),
        (call("Email Unsubscribed", {"email": ADDRESS}, userId=None, anonymousId="9d1f"), {"email"}),
        (call("Unsubscribed from List", {"recipient": ADDRESS}, userId=None, anonymousId="9d1f"), {"email"}),
        (call("Contact Updated", {"email": ADDRESS, "unsubscribed": True}), {"email"}),
        (call("Invite Sent", {"email": ADDRESS}), set()),
        (call("Invite Sent", {"email": ADDRESS}, context={"traits": {"unsubscribed": True}}), set()),
    ],
)
def test_an_opt_out_reaches_the_address_it_names_and_an_invitation_does_not(payload: Any, kinds: set[str]) -> None:
    assert taught(payload) == kinds


def test_a_call_that_comes_over_amazons_bus_is_read_as_if_it_came_alone() -> None:
    envelope = {"version": "0", "id": "b", "detail-type": "identify", "source": "aws.partner/segment.com/x"}
    assert LEFT in said(envelope | {"detail": call("Unsubscribed")})
    assert LEFT in said(envelope | {"detail": call("Unsubscribed")}, "segment")


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


# ----------------------------------------------------------------------------------------- Customer.io, Braze, SendGrid


def customerio(about: str, metric: str, /, data: Any = None, **more: Any) -> dict[str, Any]:
    whole = {"event_id": "e-1", "object_type": about, "metric": metric, "timestamp": SECONDS}
    return whole | {"data": {"identifiers": {"id": "ana"}} | (data or {})} | more


def without(payload: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in names}


@rule("I1.3")
@pytest.mark.parametrize(
    "payload",
    [
        without(customerio("customer", "unsubscribed"), "timestamp"),
        without(customerio("email", "unsubscribed"), "event_id"),
        without(customerio("email", "unsubscribed"), "event_id", "timestamp"),
        customerio("Email", "Unsubscribed"),
        customerio("email", "failed", {"failure_message": "recipient has unsubscribed"}),
        customerio("sms", "undeliverable", {"reason": "opted_out"}),
        customerio("email", "recipientOptedOut"),
    ],
)
def test_an_opt_out_at_customerio_counts_without_what_it_does_not_need(payload: Any) -> None:
    assert said(payload) == [LEFT]


@rule("I1.10")
@pytest.mark.parametrize(
    "payload",
    [
        customerio("email", "opened", {"proxied": True}),
        customerio("email", "Clicked", {"prefetched": "true"}),
        customerio("email", "failed", {"failure_message": "template error"}),
        customerio("push", "opened"),
    ],
)
def test_what_nobody_read_at_customerio_is_no_moment(payload: Any) -> None:
    assert said(payload) == ["irrelevant"]


def braze(kind: str, /, properties: Any = None, **more: Any) -> dict[str, Any]:
    user = {"user_id": "b-1", "external_user_id": "ana"}
    return {"id": "e-1", "event_type": f"users.{kind}", "time": SECONDS, "user": user, "properties": properties} | more


@rule("I1.3")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (braze("messages.email.Unsubscribe", {"email_address": ADDRESS}, user=None),
         ["customer.suppressed link:email"]),
        (braze("UserDeleteRequest", user=None, external_user_id="ana"), ["customer.erasure_requested ana"]),
        (without(braze("messages.email.MarkAsSpam", user_id="b-1"), "user", "properties"),
         ["customer.suppressed link:braze_user"]),
        (without(braze("behaviors.subscription.GlobalStateChange", external_user_id="ana", user_id="b-1",
                       subscription_status="Unsubscribed"), "user", "properties"), [LEFT]),
        (braze("behaviors.subscription.GlobalStateChange", {"subscription_status": "Opted-In"}), []),
        (braze("messages.sms.InboundReceive", {"message_body": " Stop. "}), [LEFT]),
        (braze("messages.sms.InboundReceive", {"message_body": "Stop by on Monday?"}), []),
        ({"event_type": "users.created", "data": {"id": 1}}, ["unrecognised"]),
        ({"event_type": "users.deleted", "user_id": 1, "properties": {}}, ["unrecognised"]),
        ({"events": [without(braze("UserDeleteRequest", external_user_id="ana", user_id="b-1"), "user"), None]},
         ["customer.erasure_requested ana"]),
    ],
)  # fmt: skip
def test_brazes_events_count_in_the_form_of_its_files_too(payload: Any, expected: list[str]) -> None:
    assert said(payload) == expected


def sendgrid(name: str, /, **more: Any) -> dict[str, Any]:
    marks = {"sg_event_id": "s-1", "sg_message_id": "m-1"}
    return {"email": ADDRESS, "timestamp": SECONDS, "event": name, "customer_id": "ana"} | marks | more


@rule("I1.3")
def test_sendgrids_opt_outs_count_without_its_ids_or_their_time() -> None:
    left = sendgrid("group_unsubscribe")
    for payload in (without(left, "sg_event_id", "sg_message_id"), without(left, "timestamp"), left):
        assert said([payload]) == said([payload, None]) == [LEFT]
    assert said([{"event": "unsubscribe", "email": ADDRESS}]) == ["not_an_object"]


@rule("I1.10")
@pytest.mark.parametrize(
    ("about", "left"),
    [
        ({"type": "blocked"}, False), ({"type": "blocked", "bounce_classification": "Reputation"}, False),
        ({"type": "blocked", "bounce_classification": "Invalid Address"}, True), ({"type": "bounce"}, True), ({}, True),
    ],
)  # fmt: skip
def test_a_bounce_of_an_address_behind_which_nobody_is_does_not_pass(about: dict[str, Any], left: bool) -> None:
    assert (LEFT in said(sendgrid("bounce", **about))) is left


# ----------------------------------------------------------------------------------------------------------- Dittofeed


@rule("I1.10", "I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (call("DFSubscriptionChange", {"subscriptionId": "s", "action": "Subscribe"}), "irrelevant"),
        (call("DFSubscriptionChange", {"subscriptionId": "s"}), LEFT),
        (call("DFSubscriptionChange", {"subscriptionId": "s", "action": "Pause"}), LEFT),
        (call("DFEmailBounced", {"email": ADDRESS}, userId=None, anonymousId="9d1f"), "customer.suppressed link:email"),
        (call("DFEmailMarkedSpam", {"email": ADDRESS}, userId=""), "customer.suppressed link:email"),
        (call("DFEmailDelivered", {"email": ADDRESS}), "irrelevant"),
    ],
)
def test_a_change_at_dittofeed_that_says_nothing_else_is_a_leaving(payload: Any, expected: str) -> None:
    assert said(payload, "dittofeed") == [expected]


# -------------------------------------------------------------------------------------------------- PostHog, Amplitude


def posthog(event: str, /, properties: Any = None, **more: Any) -> dict[str, Any]:
    when = {"uuid": "u-1", "timestamp": "2026-06-16T07:00:00Z"}
    return {"event": event, "distinct_id": "ana", "properties": properties or {}} | when | more


SURVEY = {"$survey_id": "s", "$survey_name": "NPS", "$survey_response": "10"}


@rule("I1.10")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (posthog("onboarding_completed"), "onboarding.completed ana"),
        (posthog("onboarding_completed", {"$is_identified": "false"}), "no_customer"),
        (posthog("onboarding_completed", {"$is_identified": None}), "onboarding.completed ana"),
        (posthog("onboarding_completed", {"$browser_type": "bot"}), "irrelevant"),
        (posthog("onboarding_completed", {"$raw_user_agent": "AhrefsSiteAudit crawler"}), "irrelevant"),
        (posthog("survey sent", SURVEY), "nps.responded ana"),
        (posthog("survey sent", SURVEY | {"$survey_completed": "false"}), "no_score"),
        (posthog("survey sent", SURVEY | {"$browser_type": "bot"}), "no_score"),
        (posthog("survey sent", SURVEY | {"$survey_completed": "false", "$survey_response": 3}), "nps.responded ana"),
        (posthog("user opted out", {"$browser_type": "bot"}), LEFT),
        (posthog("cancellation_considered"), "cancellation.considered ana"),
        (posthog("user unsubscribed", {"$is_identified": "False", "email": ADDRESS}), "customer.suppressed link:email"),
    ],
)
def test_what_posthog_says_as_text_is_read_as_such(payload: Any, expected: str) -> None:
    assert said(payload) == [expected]


@rule("I1.10")
def test_a_backfill_at_posthog_is_one_as_text_too() -> None:
    for flag, historical in ((True, True), ("true", True), ("false", False), (None, False)):
        adapted = read({"api_key": "k", "historical_migration": flag, "batch": [posthog("onboarding_completed")]})
        assert isinstance(adapted, Accepted)
        assert adapted.events[0].historical is historical


def amplitude(event: str, /, **more: Any) -> dict[str, Any]:
    return {"event_type": event, "user_id": "ana", "event_time": "2026-06-16 07:00:00.000000", "uuid": "u-1"} | more


@rule("I1.3", "I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (amplitude("Unsubscribed"), [LEFT]),
        (amplitude("Unsubscribed", event_properties=None, user_properties=None), [LEFT]),
        (amplitude("Unsubscribed", user_id=None, user_properties={"Email": ADDRESS}),
         ["customer.suppressed link:email"]),
        (amplitude("Unsubscribed", user_id=None, event_properties={"email": ADDRESS}),
         ["customer.suppressed link:email"]),
        ({"api_key": "k", "events": [amplitude("Unsubscribed"), None]}, [LEFT]),
        (amplitude("Goal Achieved", event_properties={"goal": "g"}, user_agent="Googlebot/2.1"), ["irrelevant"]),
        (amplitude("Invited", event_properties={"email": ADDRESS}), ["irrelevant"]),
    ],
)  # fmt: skip
def test_an_opt_out_at_amplitude_needs_no_properties(payload: Any, expected: list[str]) -> None:
    sources = ("amplitude", None) if "events" in payload or "event_properties" in payload else ("amplitude",)
    for source in sources:
        assert [line for line in said(payload, source) if line != KNOWN] == expected


# ------------------------------------------------------------------------------- what is said in rarer words or places


@rule("I1.10")
@pytest.mark.parametrize("event", ["survey dismissed", "survey abandoned", "survey sent"])
def test_of_a_survey_that_was_left_only_what_speaks_against_asking_counts(event: str) -> None:
    left = SURVEY | {"$survey_partially_completed": True}
    assert said(posthog(event, left | {"$survey_response": "2"})) == ["nps.responded ana"]
    assert said(posthog(event, left)) == ["no_score" if event == "survey sent" else "irrelevant"]


@rule("I1.10", "I1.11")
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("emailUnSubscribe", True), ("Email Complained", True), ("marked_as_junk", True), ("Do Not Email", True),
        ("consent_withdrawn", True), ("Account Deletion Requested", True), ("gdpr-delete-request", True),
        ("Request Data Erasure", True), ("Message Complained", True), ("Delete My Data", True), ("Delete me", True),
        ("Delete Person", True), ("Person Deleted", False),
        ("Delete My Project", False), ("User Deleted", False), ("Request Deleted", False),
        ("Project Delete Requested", False), ("Consent Given", False),
    ],
)  # fmt: skip
def test_an_event_by_which_a_person_wants_to_be_left_is_one_in_other_words_too(name: str, left: bool) -> None:
    for payload in (call(name), posthog(name), amplitude(name, user_properties={})):
        assert said(payload) == [LEFT if left else "irrelevant"]


@rule("I1.10")
def test_what_could_not_be_sent_as_its_reader_had_left_is_an_opt_out_that_was_missed() -> None:
    reason = "Attempt to send to unsubscribed recipient"
    for kind in ("messages.sms.Rejection", "messages.whatsapp.Failure", "messages.email.Abort"):
        assert said(braze(kind, {"error": reason})) == [LEFT]
        assert said(braze(kind, {"error": "Unknown carrier"})) == []
    assert said(klaviyo("failed_to_deliver_sms", None, reason="opted out")) == [LEFT]
    assert said(klaviyo("failed_to_deliver_sms", None, reason="no carrier")) == ["irrelevant"]


@rule("I1.10")
@pytest.mark.parametrize("mark", [{"test": True}, {"is_test": "true"}, {"isTestSend": 1}, {"testMode": "Yes"}])
def test_what_somebody_only_tried_is_no_news(mark: dict[str, Any]) -> None:
    for payload in (
        call("Goal Achieved", {"goal": "g"} | mark),
        call("Signed In", None, context=mark),
        call("Email Opened", mark),
        posthog("goal_achieved", {"goal": "g"} | mark),
        amplitude("Goal Achieved", event_properties={"goal": "g"} | mark),
        customerio("email", "opened", mark),
        klaviyo("clicked_email", None, **mark),
        sendgrid("open", customer_id=None, **mark),
    ):
        assert said(payload) == ["irrelevant"]
    assert said(call("Unsubscribed", mark)) == [LEFT]
    assert said(call("Signed In", {"preview": "How to …"})) == ["usage.recorded ana"]


@rule("I1.10")
def test_a_click_on_the_way_out_is_neither_interest_nor_leaving() -> None:
    way_out = "https://mail.firm-of-ana.com/unsubscribe/9d1f"
    for payload in (
        call("Email Link Clicked", {"link_url": way_out}),
        call("DFEmailClicked", {"url": way_out}),
        customerio("email", "clicked", {"href": way_out}),
        klaviyo("clicked_email", None, URL=way_out),
        sendgrid("click", customer_id=None, url=way_out),
    ):
        assert said(payload) == ["irrelevant"]
    assert said(customerio("email", "clicked", {"href": "https://firm-of-ana.com/news"})) == ["email.clicked ana"]


@rule("I1.11")
@pytest.mark.parametrize(("name", "left"), [("Unsubscribes", True), ("Opted out", True), ("Power users", False)])
def test_a_cohort_of_those_who_left_says_so_in_the_plural_too(name: str, left: bool) -> None:
    of_mixpanel = {
        "mixpanel_cohort_name": name,
        "mixpanel_cohort_id": "2",
        "members": [{"mixpanel_distinct_id": "ana"}],
    }
    of_amplitude = {"cohort_name": name, "cohort_id": "c", "in_cohort": True, "users": [{"user_id": "ana"}]}
    for payload in ({"action": "add_members", "parameters": of_mixpanel}, of_amplitude):
        assert said(payload) == [LEFT if left else "irrelevant"]
