"""Dittofeed: calls in Segment's shape, and what became of its own messages (``DF…`` track events).

Leaving one of its lists counts as leaving: someone who does not want our mail is not asked. A message that was skipped
because its reader has unsubscribed, or dropped because the mail provider holds the address for one that it must not
write to, says the same. Renewed consent comes from consent events.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapters import segment
from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.mail import is_way_out
from referral_stream.contracts.adapters.product_events import MAX_FEATURE
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import by_machine
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One call; those not specific to Dittofeed mean what they mean in Segment's spec."""
    event = text_at(payload, "event")
    if event is None or not event.startswith(segment.DITTOFEED):
        return segment.read(payload, reading)
    facts = _facts(event, payload)
    return about_whom(
        payload,
        reading,
        facts,
        (*(_addresses(payload) if facts else ()), ("segment_anonymous", payload.get("anonymousId"))),
        kind=event[:MAX_FEATURE],
        id=id_at(payload, "messageId"),
        time=time_at(payload, "timestamp"),
    )


def _facts(event: str, payload: Payload) -> Facts:
    match event:
        case "DFSubscriptionChange":
            return () if _is_renewed(payload) else _LEFT
        case "DFEmailOpened" | "DFEmailClicked" if _is_nobodys(payload.get("properties")):
            return ()
        case "DFEmailOpened" | "DFEmailClicked":
            mail = {"message_id": id_at(payload, "properties.messageId")}
            return (Fact("email.opened" if event == "DFEmailOpened" else "email.clicked", mail),)
        case "DFMessageSkipped":
            is_left = _skipped(payload, "type") == "SubscriptionState" and _skipped(payload, "action") == "Unsubscribe"
            return _LEFT if is_left else ()
        case "DFEmailBounced" | "DFEmailDropped":
            return (Fact("customer.suppressed", {"reason": "bounce"}),)
        case "DFEmailMarkedSpam":
            return (Fact("customer.suppressed", {"reason": "spam_report"}),)
        case _ if event in _MACHINES:
            return ()
        case _:
            return unlisted(event)


def _addresses(payload: Payload) -> list[tuple[str, Any]]:
    """The address that the mail went to, and that of the user."""
    places = ("properties.email", "properties.variant.to", "properties.to", "context.traits.email")
    return [("email", found) for place in places if isinstance(found := at(payload, place), str) and "@" in found]


def _is_nobodys(properties: Any) -> bool:
    return by_machine(properties) or is_way_out(properties)


def _is_renewed(payload: Payload) -> bool:
    """Whether somebody joined a list; of a change that says nothing else, they have left."""
    stated = (at(payload, f"properties.{name}") for name in ("action", "subscriptionChange"))
    changes = [change.strip().casefold() for change in stated if isinstance(change, str)]
    return bool(changes) and all(change in ("subscribe", "subscribed") for change in changes)


_MACHINES = frozenset({
    "DFInternalMessageSent", "DFBadWorkspaceConfiguration", "DFMessageFailure", "DFSegmentBroadcast",
    "DFEmailDelivered", "DFEmailProcessed", "DFSmsDelivered", "DFSmsFailed", "DFJourneyNodeProcessed",
    "DFManualSegmentUpdate", "DFAttachedFiles", "DFUserTrackSignal", "DFGroupUserAssignment", "DFUserGroupAssignment",
})  # fmt: skip
"""Sent, delivered, a step of a journey: not the customer's doing."""


def _skipped(payload: Payload, name: str) -> str | None:
    """Why a message was skipped; some versions keep it in the event's properties, others in a variant of them."""
    return text_at(payload, f"properties.variant.{name}") or text_at(payload, f"properties.{name}")


_LEFT = (Fact("customer.suppressed", {"reason": "unsubscribe"}),)

ADAPTER = Adapter(
    name="dittofeed",
    marks=segment.ADAPTER.marks,
    recognises=segment.is_call,
    customer_paths=("userId",),
    read=read,
    split=segment.split,
    browser=True,
)
