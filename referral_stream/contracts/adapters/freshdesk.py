"""Freshdesk: the webhooks of its automations, in the form that Freshdesk writes itself (content "Simple").

What they hold is what the author of the rule ticked, and nothing is signed. So little is believed: that a ticket is
open or over, and whose it is. A ticket in a status that nobody knows is open. Nothing in it speaks for asking; content
that the author wrote (content "Advanced") is not recognised, and should be a CloudEvent instead.
"""

from __future__ import annotations

import re
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    id_at,
    object_at,
    text_at,
)
from referral_stream.contracts.adapters.states import tagged, with_opt_out
from referral_stream.contracts.identifiers import usable_id
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_KEY = "freshdesk_webhook"
_CODES_OVER = ("4", "5")
"""Resolved and closed, whatever the account calls them."""
_OVER = ("resolved", "closed")
_CHANGED = re.compile(r"\bstatus\W{1,6}from\W{1,6}([0-9]{1,6})\W{1,6}to\W{1,6}([0-9]{1,6})\b")
"""``{status:{from:2,to:5}}``: what the rule ran for."""
_PRIORITIES = {"low": "low", "medium": "normal", "high": "high", "urgent": "urgent"}
_NUMBERED = dict(zip("1234", _PRIORITIES.values(), strict=True))
_ADDRESSES = ("ticket_contact_email", "ticket_requester_email", "requester_email")
_OF_A_PERSON = ("ticket_", "requester_")
"""How the names of fields begin that may hold an opt-out."""


def recognises(payload: Payload) -> bool:
    """The object in which Freshdesk puts everything."""
    return isinstance(payload.get(_KEY), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook. It has neither an id nor a time: those of the record stand in."""
    ticket = object_at(payload, _KEY)
    return about_whom(
        payload,
        reading,
        with_opt_out(_facts(ticket), _of_a_person(ticket)),
        tuple(("email", ticket.get(name)) for name in _ADDRESSES),
        kind="ticket",
        id=None,
        time=None,
    )


def _of_a_person(ticket: Payload) -> dict[str, Any]:
    found = {name: value for name, value in ticket.items() if name.startswith(_OF_A_PERSON)}
    return found | tagged(found.get("ticket_tags"))


def _facts(ticket: Payload) -> Facts:
    """How the ticket stands. The number that the rule ran for says it in every language; else the status does."""
    if not any(name in ticket for name in ("ticket_id", "ticket_status", "triggered_event")):
        return ()
    named = {"ticket_id": id_at(ticket, "ticket_id")}
    status = (text_at(ticket, "ticket_status") or "").strip().casefold()
    changed = _CHANGED.search((text_at(ticket, "triggered_event") or "")[:500])
    before, now = changed.groups() if changed else ("", "")
    if now in _CODES_OVER or (not now and status in _OVER):
        return (Fact("ticket.solved", named),)
    if before in _CODES_OVER:
        return (Fact("ticket.reopened", named),)
    called = _named(ticket.get("ticket_priority"))
    priority = _PRIORITIES.get(called) or _NUMBERED.get(called)
    return (Fact("ticket.opened", named if priority is None else named | {"priority": priority}),)


def _named(value: Any) -> str:
    """A priority by its name, or by its number."""
    return value.strip().casefold() if isinstance(value, str) else usable_id(value) or ""


ADAPTER = Adapter(
    name="freshdesk",
    marks=(_KEY,),
    recognises=recognises,
    customer_paths=tuple(f"{_KEY}.{name}unique_external_id" for name in ("ticket_contact_", "ticket_requester_", "")),
    read=read,
)
