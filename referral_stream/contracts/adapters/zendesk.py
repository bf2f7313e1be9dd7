"""Zendesk: ticket events, from its event webhooks (``zen:event-type:ticket.*``) and event bus (``ticket_event``).

The bus hands an event to Amazon EventBridge or to a flow, with the same content. Triggers and automations
send whatever their authors wrote: those should send CloudEvents. A merged, deleted or spam ticket counts as solved;
otherwise it would stay open forever.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    about,
    at,
    id_at,
    object_at,
    text_at,
    whole_number,
)
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_PREFIX = "zen:event-type:"
_DONE = frozenset({"SOLVED", "CLOSED"})
_PRIORITIES = frozenset({"low", "normal", "high", "urgent"})
_RATINGS = {"GOOD": "positive", "BAD": "negative"}
_VERDICTS = {1: "negative", 2: "negative", 4: "positive", 5: "positive"}
_SCALE_MAX = 5
_BUS = {
    "Ticket Created": "ticket.created",
    "Status Changed": "ticket.status_changed",
    "Priority Changed": "ticket.priority_changed",
    "Ticket Marked as Spam": "ticket.marked_as_spam",
    "Ticket Merged": "ticket.merged",
    "Ticket Soft Deleted": "ticket.soft_deleted",
    "Ticket Permanently Deleted": "ticket.permanently_deleted",
    "Ticket Undeleted": "ticket.undeleted",
}
"""What the event bus calls the same events."""
_GONE = frozenset({"ticket.merged", "ticket.marked_as_spam", "ticket.soft_deleted", "ticket.permanently_deleted"})


def recognises(payload: Payload) -> bool:
    """A ``type`` in Zendesk's own namespace, or a ticket event in one of the bus's envelopes."""
    kind = payload.get("type")
    return (isinstance(kind, str) and kind.startswith(_PREFIX)) or bool(_on_bus(payload))


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    if event := _on_bus(payload):
        payload = _as_webhook(event)
    kind = str(payload.get("type")).removeprefix(_PREFIX)
    return about(
        payload, reading, _facts(kind, payload), kind=kind, id=id_at(payload, "id"), time=text_at(payload, "time")
    )


def _on_bus(payload: Payload) -> Payload:
    """The ticket event of EventBridge's envelope or of a flow's input; empty when there is none."""
    event = object_at(payload, "detail.ticket_event") or object_at(payload, "input.ticket_event")
    return event if isinstance(event.get("ticket"), dict) else {}


def _as_webhook(event: Payload) -> Payload:
    """The bus's words → those of the event webhook."""
    sequence = object_at(event, "meta.sequence")
    names = (id_at(sequence, "id"), id_at(sequence, "position"))
    kind = str(event.get("type"))
    return {
        "id": ":".join(name for name in names if name) if all(names) else None,
        "type": _PREFIX + _BUS.get(kind, kind[:200]),
        "time": at(event, "meta.occurred_at"),
        "detail": event["ticket"],
        "event": event,
    }


def _facts(kind: str, payload: Payload) -> Facts:
    ticket: dict[str, Any] = {"ticket_id": id_at(payload, "detail.id")}
    if kind == "ticket.created":
        status = _upper(payload, "detail.status")
        # Agents log what is already done; such a ticket was never trouble.
        return () if status in _DONE else (Fact("ticket.opened", ticket | _priority(payload)),)
    if kind == "ticket.status_changed":
        return _status_changed(_upper(payload, "event.previous"), _upper(payload, "event.current"), ticket)
    if kind == "ticket.csat_received":
        return _rated(payload, ticket)
    if kind == "ticket.priority_changed" and _upper(payload, "detail.status") not in {"", *_DONE}:
        return (Fact("ticket.opened", ticket | priority),) if (priority := _priority(payload)) else ()
    if kind in _GONE:
        return (Fact("ticket.solved", ticket),)
    if kind == "ticket.undeleted" and _upper(payload, "detail.status") not in _DONE:
        return (Fact("ticket.reopened", ticket),)
    return ()


def _rated(payload: Payload, ticket: dict[str, Any]) -> Facts:
    """Good or bad; on the newer scale of 1 to 5 the answer too, after what it says of the ticket."""
    rating = _RATINGS.get(_upper(payload, "event.satisfaction_score.score"))
    if rating is not None:
        return (Fact("ticket.rated", ticket | {"rating": rating}),)
    score = whole_number(at(payload, "event.satisfaction_score.score"))
    if score is None or ticket["ticket_id"] is None:
        return ()
    data = ticket | {"response_id": f"csat:{ticket['ticket_id']}"[:512], "score": score, "scale_max": _SCALE_MAX}
    if comment := text_at(payload, "event.satisfaction_score.comment"):
        data["comment"] = comment
    verdict = (Fact("ticket.rated", ticket | {"rating": _VERDICTS[score]}),) if score in _VERDICTS else ()
    return (*verdict, Fact("csat.responded", data))


def _status_changed(previous: str, current: str, ticket: dict[str, Any]) -> Facts:
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
    marks=("type", "detail", "input"),
    recognises=recognises,
    customer_paths=("detail.requester_id",),
    read=read,
)
