"""Zendesk: ticket and user events, from its event webhooks (``zen:event-type:…``) and event bus (``ticket_event``).

The bus hands an event to Amazon EventBridge or to a flow, with the same content. Triggers and automations
send whatever their authors wrote: those should send CloudEvents. A merged, deleted or spam ticket counts as solved;
otherwise it would stay open forever. A customer is the requester of a ticket, or an end user; agents are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    expandable,
    id_at,
    object_at,
    profile,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import tagged, with_opt_out
from referral_stream.contracts.identifiers import usable_id
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core.instants import parse_instant

_PREFIX = "zen:event-type"
_PREFIXES = (f"{_PREFIX}:", f"{_PREFIX}/")
"""Followed by a colon, in some of the vendor's names by a slash."""
_DONE = frozenset({"SOLVED", "CLOSED"})
_PRIORITIES = frozenset({"low", "normal", "high", "urgent"})
_RATINGS = {"GOOD": "positive", "BAD": "negative"}
"""How a rating begins; it may end in ``WITHCOMMENT``."""
_VERDICTS = {1: "negative", 2: "negative", 4: "positive", 5: "positive"}
_SCALE_MAX = 5
_BUS = {
    "Ticket Created": "ticket.created",
    "Status Changed": "ticket.status_changed",
    "Priority Changed": "ticket.priority_changed",
    "Requester Changed": "ticket.requester_changed",
    "Ticket Marked as Spam": "ticket.marked_as_spam",
    "Ticket Merged": "ticket.merged",
    "Ticket Soft Deleted": "ticket.soft_deleted",
    "Ticket Permanently Deleted": "ticket.permanently_deleted",
    "Ticket Undeleted": "ticket.undeleted",
}
"""What the event bus calls the same events."""
_END_USER = "end-user"
_GONE = frozenset({"ticket.merged", "ticket.marked_as_spam", "ticket.soft_deleted", "ticket.permanently_deleted"})


_BUS_USERS = {
    "User Created": "user.created",
    "User Merged": "user.merged",
    "External ID Changed": "user.external_id_changed",
    "Identity Changed": "user.identity_changed",
    "Identity Created": "user.identity_created",
}
_IRRELEVANT = frozenset({
    "ticket.agent_assignment_changed", "ticket.attachment_linked_to_comment", "ticket.attachment_redacted_from_comment",
    "ticket.brand_changed", "ticket.comment_added", "ticket.comment_made_private", "ticket.comment_redacted",
    "ticket.csat_requested", "ticket.custom_field_changed", "ticket.custom_status_changed",
    "ticket.description_changed", "ticket.email_ccs_changed", "ticket.external_id_changed", "ticket.followers_changed",
    "ticket.form_changed", "ticket.group_assignment_changed", "ticket.next_sla_breach_changed",
    "ticket.ola_policy_changed", "ticket.organization_changed", "ticket.problem_link_changed",
    "ticket.schedule_changed", "ticket.sla_policy_changed", "ticket.subject_changed", "ticket.submitter_changed",
    "ticket.tags_changed", "ticket.task_due_at_changed", "ticket.type_changed",
})  # fmt: skip
"""Documented ticket events of which no decision depends."""
_HANDED_ON = "ticket.requester_changed"
_FORMER = "of the former requester"
"""Marks the part of a body that is about whoever the ticket was taken from."""


def recognises(payload: Payload) -> bool:
    """A ``type`` in Zendesk's own namespace, or an event in one of the bus's envelopes."""
    kind = payload.get("type")
    return (isinstance(kind, str) and kind.startswith(_PREFIXES)) or bool(_on_bus(payload))


def split(body: Any) -> Sequence[Any]:
    """The event; a ticket that changed hands concerns two people."""
    if isinstance(body, dict) and recognises(body) and _kind(payload := _as_webhook(body)) == _HANDED_ON:
        return (body, body | {_FORMER: True}) if id_at(payload, *expandable("event.previous")) else (body,)
    return (body,)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    is_former = payload.get(_FORMER) is True
    payload = _with_id(_as_webhook(payload))
    kind, own = _kind(payload), id_at(payload, "id")
    if kind.startswith("user."):
        return _about_user(kind, payload, reading)
    detail = object_at(payload, "detail")
    ticket = {name: value for name, value in detail.items() if name != "external_id"}  # that is the ticket's own
    if kind == _HANDED_ON:
        previous, current = (id_at(payload, *expandable(f"event.{name}")) for name in ("previous", "current"))
        ticket["requester_id"] = previous if is_former else current or detail.get("requester_id")
    if is_former:
        facts, own = _taken_away(payload), own and f"{own}:former"
    else:
        facts = _facts(kind, payload)
        if kind.startswith("ticket."):
            facts = with_opt_out(facts, *_state(payload))
    return about_whom(
        payload | {"detail": ticket},
        reading,
        facts,
        (("zendesk_user", ticket.get("requester_id")),),
        kind=kind,
        id=own,
        time=time_at(payload, "time"),
    )


def _kind(payload: Payload) -> str:
    return str(payload.get("type")).removeprefix(_PREFIX)[1:]


def _with_id(payload: Payload) -> Payload:
    """The event, with the id that its subject names (``zen:user:1``) where the detail has none."""
    detail = object_at(payload, "detail")
    kind, _, own = (text_at(payload, "subject") or "").rpartition(":")
    if kind not in _SUBJECTS or usable_id(detail.get("id")):
        return payload
    return payload | {"detail": detail | {"id": own}}


_SUBJECTS = ("zen:user", "zen:ticket")


def _on_bus(payload: Payload) -> Payload:
    """The event of EventBridge's envelope or of a flow's input; empty when there is none."""
    for envelope in ("detail", "input"):
        held = payload.get(envelope)
        if isinstance(held, dict):
            for name, about_what in (("ticket_event", "ticket"), ("user_event", "user")):
                event = held.get(name)
                if isinstance(event, dict) and isinstance(event.get(about_what), dict):
                    return event
    return {}


def _as_webhook(payload: Payload) -> Payload:
    """The bus's words → those of the event webhook; a webhook as it is."""
    event = _on_bus(payload)
    if not event:
        return payload
    sequence = object_at(event, "meta.sequence")
    names = (id_at(sequence, "id"), id_at(sequence, "position"))
    is_ticket = isinstance(event.get("ticket"), dict)
    kind = str(event.get("type"))
    about_what = "ticket" if is_ticket else "user"
    plain = kind.casefold().removeprefix(f"{about_what} ").replace(" ", "_")
    named = (_BUS if is_ticket else _BUS_USERS).get(kind, f"{about_what}.{plain}"[:200])
    return {
        "id": ":".join(name for name in names if name) if all(names) else None,
        "type": f"{_PREFIX}:{named}",
        "time": at(event, "meta.occurred_at"),
        "detail": event["ticket" if is_ticket else "user"],
        "event": event if is_ticket else _other_user(event),
    }


def _other_user(event: Payload) -> Payload:
    """A user event of the bus without its own user: what then has an id is the user merged with it."""
    others = {name: value for name, value in event.items() if name not in ("user", "meta")}
    return others | {"user": next((value for value in others.values() if id_at({"of": value}, "of.id")), None)}


def _about_user(kind: str, payload: Payload, reading: Reading) -> Webhook | Skipped:
    """A user: who it is, and with whom it was merged. Whichever of two is said to remain, both are one customer.

    An agent is no customer, and may have been one, or have asked for something: what protects counts all the same.
    """
    user = object_at(payload, "detail")
    is_agent = (text_at(user, "role") or _END_USER).casefold().replace("_", "-") != _END_USER
    facts: Facts = ()
    match kind:
        case "user.merged":
            alias = id_at(payload, *expandable("event.user"), *expandable("event.merged_user", "event.target_user"))
            facts = () if alias in (None, id_at(user, "id")) else (Fact("customer.aliased", {"alias": alias}),)
        case "user.deleted":
            facts = (Fact("customer.erasure_requested", {}),)
        case _ if kind in _WHO_IT_IS:
            pass
        case _:
            facts = unlisted(kind)
    facts = with_opt_out(facts, *_state(payload), user.get("user_fields"))
    if is_agent:
        facts = tuple(fact for fact in facts if fact.is_opt_out)
        if not facts:
            return Skipped("irrelevant", f"{kind}: of an agent")
    if not facts and kind not in _WHO_IT_IS:
        return Skipped("irrelevant", kind)
    known = () if is_agent or kind == "user.deleted" else profile(**reading.address_hmacs(user.get("email")))
    return about_whom(
        payload | {"detail": user | {"requester_id": user.get("id")}},
        reading,
        (*facts, *known),
        (
            ("zendesk_user", user.get("id")),
            ("zendesk_external_id", user.get("external_id")),
            ("email", user.get("email")),
            *(("email", address) for address in _identities(payload)),
        ),
        kind=kind,
        id=id_at(payload, "id"),
        time=time_at(payload, "time"),
    )


_WHO_IT_IS = (
    "user.merged",
    "user.created",
    "user.external_id_changed",
    "user.identity_changed",
    "user.identity_created",
)


def _identities(payload: Payload) -> tuple[Any, ...]:
    """The address that a user has besides the main one, and the one it was before: mail goes to both of them."""
    if ".identity_" not in _kind(payload):
        return ()
    event = object_at(payload, "event")
    named = (event.get("identity"), event.get("current"), event.get("previous"), event)
    return tuple(at(each, "value") if isinstance(each, dict) else each for each in named)


_FIELDS = ("field", "custom_field", "custom_ticket_field", "custom_user_field")
"""Where an event names the field that changed."""


def _state(payload: Payload) -> tuple[Payload, ...]:
    """What the tags of a ticket or user say, and a custom field that changed."""
    event = object_at(payload, "event")
    field: Payload = {}
    for name in _FIELDS:
        if name in event and (field := object_at(event, name)):
            break
    title = text_at(field, "title") or text_at(field, "raw_title") or text_at(field, "key") or ""
    current = event.get("current")
    added = at(event, "added.tags") or event.get("tags_added")
    own = {"name": title, "value": current}
    return (
        own,
        tagged(added),
        tagged([current] if field and isinstance(current, str) else current if isinstance(current, list) else None),
        tagged(at(payload, "detail.tags")),
    )


def _taken_away(payload: Payload) -> Facts:
    """The ticket is no longer theirs: without this it would stay open for whoever had it.

    If both turn out to be one customer, what the other one is told counts: it is later by a moment.
    """
    moment = time_at(payload, "time")
    try:
        before = parse_instant(moment)[0] - 1 if isinstance(moment, str) else moment and moment - 1
    except (ValueError, OverflowError):
        return ()
    return (Fact("ticket.solved", {"ticket_id": id_at(payload, "detail.id")}, before),) if before is not None else ()


def _facts(kind: str, payload: Payload) -> Facts:
    ticket: dict[str, Any] = {"ticket_id": id_at(payload, "detail.id")}
    if kind == "ticket.created":
        status = _upper(payload, "detail.status")
        # Agents log what is already done; such a ticket was never trouble.
        return () if status in _DONE else (Fact("ticket.opened", ticket | _priority(payload)),)
    if kind == "ticket.status_changed":
        current = _upper(payload, "event.current") or _upper(payload, "detail.status")
        return _status_changed(_upper(payload, "event.previous"), current, ticket)
    if kind == "ticket.csat_received":
        return _rated(payload, ticket)
    if kind == _HANDED_ON:
        is_over = _upper(payload, "detail.status") in _DONE
        return () if is_over else (Fact("ticket.opened", ticket | _priority(payload)),)
    if kind == "ticket.priority_changed" and _upper(payload, "detail.status") not in {"", *_DONE}:
        return (Fact("ticket.opened", ticket | priority),) if (priority := _priority(payload)) else ()
    if kind in _GONE:
        return (Fact("ticket.solved", ticket),)
    if kind == "ticket.undeleted":
        return () if _upper(payload, "detail.status") in _DONE else (Fact("ticket.reopened", ticket),)
    return () if kind in _LISTED else unlisted(kind)


_LISTED = _IRRELEVANT | {"ticket.priority_changed"}


def _rated(payload: Payload, ticket: dict[str, Any]) -> Facts:
    """Good or bad; on the newer scale of 1 to 5 the answer too, after what it says of the ticket."""
    given = _score(at(payload, "event.satisfaction_score"))
    said = given.strip().upper() if isinstance(given, str) else ""
    rating = next((verdict for name, verdict in _RATINGS.items() if said.startswith(name)), None)
    if rating is None and not said:
        others = (str(_score(at(payload, place))).upper() for place in _ELSEWHERE)
        rating = "negative" if any(other.startswith("BAD") for other in others) else None
    if rating is not None:
        return (Fact("ticket.rated", ticket | {"rating": rating}),)
    score = whole_number(given)
    if score is None:
        return ()
    own = ticket["ticket_id"]
    named = {} if own is None else ticket | {"response_id": f"csat:{own}"[:512]}
    data = named | {"score": score, "scale_max": _SCALE_MAX}
    if comment := text_at(payload, "event.satisfaction_score.comment"):
        data["comment"] = comment
    verdict = (Fact("ticket.rated", ticket | {"rating": _VERDICTS[score]}),) if score in _VERDICTS and own else ()
    return (*verdict, Fact("csat.responded", data))


def _score(given: Any) -> Any:
    return given.get("score") if isinstance(given, dict) else given


_ELSEWHERE = ("event.satisfaction_rating", "event.current", "detail.satisfaction_rating", "detail.satisfaction_score")
"""Where a rating might be kept too: there, only a bad one is believed."""


def _status_changed(previous: str, current: str, ticket: dict[str, Any]) -> Facts:
    if current in _DONE and previous not in _DONE:
        return (Fact("ticket.solved", ticket),)
    if (previous in _DONE or not previous) and current and current not in _DONE:
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
    split=split,
)
