"""Segment: track, identify and group calls, with the names of its B2B SaaS, e-mail and live chat specs.

A track call with a name we do not know is usage: calling ``track`` is what products do when somebody uses them. Names
that are not the customer's own doing (a delivery, a sign-out) are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from referral_stream.contracts.adapted import Fact, Skipped, Webhook
from referral_stream.contracts.adapters.reading import Adapter, Payload, Reading, about, at, id_at, text_at

Facts: TypeAlias = tuple[Fact, ...]

_CALLS = frozenset({"track", "identify", "group", "page", "screen", "alias"})
_USERS = ("userId", "user_id", "anonymousId", "anonymous_id")
_TIMES = ("timestamp", "originalTimestamp", "original_timestamp", "sentAt", "sent_at")
_MAX_FEATURE = 200


def recognises(payload: Payload) -> bool:
    """A call of the spec about somebody, named or anonymous."""
    return _call(payload) in _CALLS and any(name in payload for name in _USERS)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One call."""
    call = _call(payload)
    kind = call
    facts: Facts = ()
    if call == "track":
        kind = text_at(payload, "event") or call
        facts = _TRACKED.get(kind, _used)(payload, reading)
    elif call == "identify":
        facts = _identified(payload, reading)
    elif call == "group":
        facts = _joined(payload, reading)
    return about(
        payload,
        reading,
        facts,
        kind=kind[:_MAX_FEATURE],
        id=id_at(payload, "messageId", "message_id"),
        time=next(filter(None, (text_at(payload, name) for name in _TIMES)), None),
        account=_account(payload),
        timezone=text_at(payload, "context.timezone"),
    )


def _call(payload: Payload) -> str:
    """The call's name; the e-mail and live chat specs write it as ``action``."""
    for name in ("type", "action"):
        if isinstance(payload.get(name), str):
            return str(payload[name])
    return ""


def _account(payload: Payload) -> str | None:
    return id_at(payload, "groupId", "context.groupId", "group_id", "context.group_id")


def _identified(payload: Payload, reading: Reading) -> Facts:
    """Who somebody is: the hash of the address, and since when they are a customer."""
    facts = _profile(email_hmac=reading.email_hmac(at(payload, "traits.email")))
    since = text_at(payload, "traits.createdAt") or text_at(payload, "traits.created_at")
    return facts if since is None else (*facts, Fact("customer.signed_up", {}, since))


def _joined(payload: Payload, _: Reading) -> Facts:
    return _profile(account_id=_account(payload))


def _profile(**known: str | None) -> Facts:
    data = {name: value for name, value in known.items() if value is not None}
    return (Fact("customer.profile_changed", data),) if data else ()


def _used(payload: Payload, _: Reading) -> Facts:
    name = text_at(payload, "event")
    return () if name is None else (Fact("usage.recorded", {"feature": name[:_MAX_FEATURE]}),)


def _nothing(_: Payload, __: Reading) -> Facts:
    return ()


def _signed_up(payload: Payload, reading: Reading) -> Facts:
    hashed = reading.email_hmac(at(payload, "properties.email"))
    return (Fact("customer.signed_up", {}), *_profile(email_hmac=hashed, account_id=_account(payload)))


def _trial_started(payload: Payload, _: Reading) -> Facts:
    return (Fact("trial.started", {"subscription_id": _subscription(payload)}),)


def _trial_ended(payload: Payload, _: Reading) -> Facts:
    # The spec does not say how it ended. Unless the call does, it was no success until a subscription starts.
    converted = at(payload, "properties.converted") is True
    return (Fact("trial.ended", {"subscription_id": _subscription(payload), "converted": converted}),)


def _account_deleted(payload: Payload, _: Reading) -> Facts:
    return (Fact("subscription.ended", {"subscription_id": _subscription(payload)}),)


def _subscription(payload: Payload) -> str | None:
    """Segment knows no subscriptions: one per account stands for them."""
    stated = id_at(payload, "properties.subscription_id")
    owner = _account(payload) or id_at(payload, "userId", "user_id")
    return stated or (f"segment:{owner}" if owner else None)


def _suppressed(reason: str) -> Callable[[Payload, Reading], Facts]:
    return lambda _, __: (Fact("customer.suppressed", {"reason": reason}),)


def _dittofeed_choice(payload: Payload, _: Reading) -> Facts:
    """Dittofeed speaks Segment's calls. Leaving one of its lists is no usage; coming back is left to consent events."""
    if at(payload, "properties.action") == "Unsubscribe":
        return (Fact("customer.suppressed", {"reason": "unsubscribe"}),)
    return ()


def _mail(kind: str) -> Callable[[Payload, Reading], Facts]:
    return lambda payload, _: (Fact(kind, {"message_id": id_at(payload, "properties.email_id")}),)


def _chatted(_: Payload, __: Reading) -> Facts:
    return (Fact("interaction.recorded", {"kind": "chat"}),)


def _as_told(kind: str, *fields: str) -> Callable[[Payload, Reading], Facts]:
    """A fact whose data are these properties of the call."""

    def facts(payload: Payload, _: Reading) -> Facts:
        given: dict[str, Any] = {name: at(payload, f"properties.{name}") for name in fields}
        return (Fact(kind, {name: value for name, value in given.items() if value is not None}),)

    return facts


_TRACKED: dict[str, Callable[[Payload, Reading], Facts]] = {
    "Signed Up": _signed_up,
    "Signed Out": _nothing,
    "Trial Started": _trial_started,
    "Trial Ended": _trial_ended,
    "Account Created": _joined,
    "Account Added User": _joined,
    "Account Removed User": _nothing,
    "Account Deleted": _account_deleted,
    "Email Delivered": _nothing,
    "Email Opened": _mail("email.opened"),
    "Email Link Clicked": _mail("email.clicked"),
    "Email Bounced": _suppressed("bounce"),
    "Email Marked as Spam": _suppressed("spam_report"),
    "Unsubscribed": _suppressed("unsubscribe"),
    "DFSubscriptionChange": _dittofeed_choice,
    "Live Chat Conversation Started": _chatted,
    "Live Chat Conversation Ended": _nothing,
    "Live Chat Message Sent": _nothing,
    "Live Chat Message Received": _nothing,
    "Onboarding Completed": _as_told("onboarding.completed"),
    "Milestone Reached": _as_told("milestone.reached", "milestone", "first_success"),
    "Goal Achieved": _as_told("goal.achieved", "goal"),
    "Workflow Completed": _as_told("workflow.completed", "name"),
    "Achievement Unlocked": _as_told("achievement.unlocked", "name"),
    "Dashboard Viewed": _as_told("dashboard.viewed", "name", "metrics_positive"),
}
"""What a track call's name means; every other name is usage. One live chat is one interaction, not one per message."""


ADAPTER = Adapter(
    name="segment",
    recognises=recognises,
    customer_paths=("userId", "user_id"),
    read=read,
)
