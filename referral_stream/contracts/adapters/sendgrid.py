"""SendGrid: its Event Webhook, an array of what became of every mail.

An event names the address that a mail went to. The customer's id is there where a team gives its mails one as a custom
argument; SendGrid puts these beside its own fields. Mail is dropped because SendGrid holds the address for one that it
must not write to, or because we are at fault, which its reason says.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.mail import (
    BOUNCED,
    CLICKED,
    COMPLAINED,
    LEFT,
    NOTHING,
    OPENED,
    Meaning,
    meant,
    told,
)
from referral_stream.contracts.adapters.reading import Adapter, Facts, Payload, Reading, id_at, listed, time_at
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS: dict[str, Meaning] = {
    "unsubscribe": LEFT,
    "group_unsubscribe": LEFT,
    "spamreport": COMPLAINED,
    "bounce": BOUNCED,
    "dropped": BOUNCED,
    "open": OPENED,
    "click": CLICKED,
    "group_resubscribe": NOTHING,
    "processed": NOTHING,
    "deferred": NOTHING,
    "delivered": NOTHING,
    "account_status_change": NOTHING,
}
_PASSING = ("blocked", "expired")
"""Types of bounces that say nothing of the address: the server would not take this mail, or was not there for days."""
_NO_ADDRESS = "invalid address"
"""The class of bounces, also of those that are said to pass, of an address behind which there is nobody."""
_OURS = ("spam content", "invalid smtpapi header", "recipient list over package quota")
"""How reasons begin for which a mail was dropped that are not its reader's."""
_MARKS = ("sg_event_id", "sg_message_id", "smtp-id")


def recognises(payload: Payload) -> bool:
    """An event's name and time, next to one of SendGrid's ids; of its own names either is enough beside an address."""
    name = payload.get("event")
    if not isinstance(name, str):
        return False
    has_time, is_marked = "timestamp" in payload, any(mark in payload for mark in _MARKS)
    return (has_time and is_marked) or (name in _EVENTS and "email" in payload and (has_time or is_marked))


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    kind = str(payload.get("event"))
    return about_whom(
        payload,
        reading,
        _facts(kind, payload),
        (("email", payload.get("email")),),
        kind=kind[:200],
        id=id_at(payload, "sg_event_id"),
        time=time_at(payload, "timestamp"),
    )


def _facts(kind: str, payload: Payload) -> Facts:
    if kind == "bounce" and _lower(payload.get("type")) in _PASSING:
        is_none = _lower(payload.get("bounce_classification")) == _NO_ADDRESS
        return told(BOUNCED) if is_none else ()
    if kind == "dropped" and _lower(payload.get("reason")).startswith(_OURS):
        return ()
    if kind == "dropped" and "spam report" in _lower(payload.get("reason")):
        return told(COMPLAINED)
    if kind == "dropped" and "unsubscribe" in _lower(payload.get("reason")):
        return told(LEFT)
    return meant(kind, _EVENTS, payload, id_at(payload, "sg_message_id"))


def _lower(value: Any) -> str:
    return value.strip().casefold() if isinstance(value, str) else ""


ADAPTER = Adapter(
    name="sendgrid",
    marks=_MARKS,
    recognises=recognises,
    customer_paths=("customer_id", "user_id", "customerId", "userId", "userid", "external_id"),
    read=read,
    split=listed,
)
