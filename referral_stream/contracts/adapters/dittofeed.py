"""Dittofeed: calls in Segment's shape, and what became of its own messages (``DF…`` track events).

Leaving one of its lists counts as leaving: someone who does not want our mail is not asked. Renewed consent comes from
consent events.
"""

from __future__ import annotations

from referral_stream.contracts.adapters import segment
from referral_stream.contracts.adapters.product_events import MAX_FEATURE
from referral_stream.contracts.adapters.reading import Adapter, Facts, Payload, Reading, about, at, id_at, text_at
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One call; those not specific to Dittofeed mean what they mean in Segment's spec."""
    event = text_at(payload, "event")
    if event is None or not event.startswith(segment.DITTOFEED):
        return segment.read(payload, reading)
    return about(
        payload,
        reading,
        _facts(event, payload),
        kind=event[:MAX_FEATURE],
        id=id_at(payload, "messageId"),
        time=text_at(payload, "timestamp"),
    )


def _facts(event: str, payload: Payload) -> Facts:
    match event:
        case "DFSubscriptionChange":
            return _LEFT if at(payload, "properties.action") == "Unsubscribe" else ()
        case "DFEmailOpened" | "DFEmailClicked":
            mail = {"message_id": id_at(payload, "properties.messageId")}
            return (Fact("email.opened" if event == "DFEmailOpened" else "email.clicked", mail),)
        case "DFEmailBounced":
            return (Fact("customer.suppressed", {"reason": "bounce"}),)
        case "DFEmailMarkedSpam":
            return (Fact("customer.suppressed", {"reason": "spam_report"}),)
        case _:  # sent, delivered, skipped, a step of a journey: not the customer's doing
            return ()


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
