"""Zendesk: ticket events of its event webhooks (``zen:event-type:ticket.*``).

What ends a ticket, ends it: a merged, deleted or spam ticket would otherwise count as open for ever.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapted import Fact, Skipped, Webhook
from referral_stream.contracts.adapters.reading import Adapter, Payload, Reading, about, at, id_at, text_at

_PREFIX = "zen:event-type:"
_DONE = frozenset({"SOLVED", "CLOSED"})
_PRIORITIES = frozenset({"low", "normal", "high", "urgent"})
_RATINGS = {"GOOD": "positive", "BAD": "negative"}
_GONE = frozenset({"ticket.merged", "ticket.marked_as_spam", "ticket.soft_deleted", "ticket.permanently_deleted"})


def recognises(payload: Payload) -> bool:
    """A ``type`` in Zendesk's own namespace."""
    kind = payload.get("type")
    return isinstance(kind, str) and kind.startswith(_PREFIX)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    kind = str(payload.get("type")).removeprefix(_PREFIX)
    return about(
        payload, reading, _facts(kind, payload), kind=kind, id=id_at(payload, "id"), time=text_at(payload, "time")
    )


def _facts(kind: str, payload: Payload) -> tuple[Fact, ...]:
    ticket: dict[str, Any] = {"ticket_id": id_at(payload, "detail.id")}
    if kind == "ticket.created":
        status = _upper(payload, "detail.status")
        # Agents log what is already done; such a ticket was never trouble.
        return () if status in _DONE else (Fact("ticket.opened", ticket | _priority(payload)),)
    if kind == "ticket.status_changed":
        return _status_changed(_upper(payload, "event.previous"), _upper(payload, "event.current"), ticket)
    if kind == "ticket.csat_received":
        rating = _RATINGS.get(_upper(payload, "event.satisfaction_score.score"))
        return () if rating is None else (Fact("ticket.rated", ticket | {"rating": rating}),)
    if kind in _GONE:
        return (Fact("ticket.solved", ticket),)
    if kind == "ticket.undeleted" and _upper(payload, "detail.status") not in _DONE:
        return (Fact("ticket.reopened", ticket),)
    return ()


def _status_changed(previous: str, current: str, ticket: dict[str, Any]) -> tuple[Fact, ...]:
    if current in _DONE and previous not in _DONE:
        return (Fact("ticket.solved", ticket),)
    if previous in _DONE and current and current not in _DONE:
        return (Fact("ticket.reopened", ticket),)
    return ()  # solved → closed days later, or open → pending: the customer's situation is the same


def _priority(payload: Payload) -> dict[str, str]:
    priority = _upper(payload, "detail.priority").lower()
    return {"priority": priority} if priority in _PRIORITIES else {}


def _upper(payload: Payload, path: str) -> str:
    value = at(payload, path)
    return value.upper() if isinstance(value, str) else ""


ADAPTER = Adapter(
    name="zendesk",
    recognises=recognises,
    customer_paths=("detail.requester_id",),
    read=read,
)
