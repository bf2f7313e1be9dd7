"""Segment: track, identify and group calls, with the names of its B2B SaaS, e-mail and live chat specs.

A track call with a name we do not know is usage: products call ``track`` when someone uses them. Names that
are not actions of the customer (a delivery, a sign-out) are not. Calls come alone or as the ``batch`` of the
tracking API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from referral_stream.contracts.adapters.product_events import MAX_FEATURE, happened
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    about,
    at,
    id_at,
    profile,
    text_at,
)
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_CALLS = frozenset({"track", "identify", "group", "page", "screen", "alias"})
DITTOFEED = "DF"
"""What Dittofeed's own event names begin with."""
_USERS = ("userId", "user_id", "anonymousId", "anonymous_id")
_TIMES = ("timestamp", "originalTimestamp", "original_timestamp", "sentAt", "sent_at")


def is_call(payload: Payload) -> bool:
    """A call of the spec about a person, named or anonymous."""
    return _call(payload) in _CALLS and any(name in payload for name in _USERS)


def recognises(payload: Payload) -> bool:
    """A call, except those that only Dittofeed makes: its event names have their own prefix."""
    event = payload.get("event")
    return is_call(payload) and not (isinstance(event, str) and event.startswith(DITTOFEED))


def split(body: Any) -> Sequence[Any]:
    """The calls of a batch, each with the context they share, or the one call that the body is."""
    batch = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(batch, list):
        return (body,)
    shared = {name: body[name] for name in ("context", "sentAt") if name in body}
    return [shared | call if isinstance(call, dict) else call for call in batch]


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One call."""
    call = _call(payload)
    kind = call
    facts: Facts = ()
    if call == "track":
        kind = text_at(payload, "event") or call
        facts = _TRACKED[kind](payload, reading) if kind in _TRACKED else _used(payload)
    elif call == "identify":
        facts = _identified(payload, reading)
    elif call == "group":
        facts = _joined(payload, reading)
    elif call == "alias":
        facts = _renamed(payload)
    return about(
        payload,
        reading,
        facts,
        kind=kind[:MAX_FEATURE],
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
    """Who someone is: the hash of the address, and since when they have been a customer."""
    facts = profile(email_hmac=reading.email_hmac(at(payload, "traits.email")))
    since = text_at(payload, "traits.createdAt") or text_at(payload, "traits.created_at")
    return facts if since is None else (*facts, Fact("customer.signed_up", {}, since))


def _joined(payload: Payload, _: Reading) -> Facts:
    return profile(account_id=_account(payload))


def _renamed(payload: Payload) -> Facts:
    """A person who was known by another id."""
    alias = id_at(payload, "previousId", "previous_id")
    return () if alias is None else (Fact("customer.aliased", {"alias": alias}),)


def _used(payload: Payload) -> Facts:
    name = text_at(payload, "event")
    return () if name is None else happened(name, payload.get("properties"))


def _nothing(_: Payload, __: Reading) -> Facts:
    return ()


def _signed_up(payload: Payload, reading: Reading) -> Facts:
    hashed = reading.email_hmac(at(payload, "properties.email"))
    return (Fact("customer.signed_up", {}), *profile(email_hmac=hashed, account_id=_account(payload)))


def _trial_started(payload: Payload, _: Reading) -> Facts:
    return (Fact("trial.started", {"subscription_id": _subscription(payload)}),)


def _trial_ended(payload: Payload, _: Reading) -> Facts:
    # The spec does not say how it ended. Unless the call does, it was not a success until a subscription starts.
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


def _mail(kind: str) -> Callable[[Payload, Reading], Facts]:
    return lambda payload, _: (Fact(kind, {"message_id": id_at(payload, "properties.email_id")}),)


def _chatted(_: Payload, __: Reading) -> Facts:
    return (Fact("interaction.recorded", {"kind": "chat"}),)


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
    "Live Chat Conversation Started": _chatted,
    "Live Chat Conversation Ended": _nothing,
    "Live Chat Message Sent": _nothing,
    "Live Chat Message Received": _nothing,
}
"""What a name of the specs means; others are custom. A live chat is one interaction, not one per message."""


ADAPTER = Adapter(
    name="segment",
    marks=("userId", "user_id", "anonymousId", "anonymous_id", "batch"),
    recognises=recognises,
    customer_paths=("userId", "user_id"),
    read=read,
    split=split,
    browser=True,
)
