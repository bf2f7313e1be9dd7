"""Intercom: notifications about conversations, tickets, contacts and events, of old and current API versions.

A conversation is a ticket here: it is open while someone waits for an answer. Ratings go from 1 to 5; 4 and 5 are
positive. Everyone is identified by Intercom's own contact id (``contact.id``), which alone is in every notification; a
deployment whose contacts all have its own id sets ``contact.external_id``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from referral_stream.contracts.adapters.product_events import happened
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    about,
    at,
    epoch_millis,
    id_at,
    is_one_of,
    list_at,
    object_at,
    profile,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_SCALE_MAX = 5
_PEOPLE = ("user", "lead", "contact", "visitor")
_INTERNAL = ("back-office", "back_office", "tracker")
_OURS = ("bot", "admin", "team")


class Notice(NamedTuple):
    """One notification, unwrapped: what it is about, and whom."""

    item: Payload
    contact: Payload


def recognises(payload: Payload) -> bool:
    """A notification with a topic."""
    return payload.get("type") == "notification_event" and isinstance(payload.get("topic"), str)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One notification; customer paths may begin with ``contact``, the person it is about."""
    topic = str(payload.get("topic"))
    notice = _unwrapped(object_at(payload, "data.item"))
    facts = _FACTS[topic](notice, reading) if topic in _FACTS else ()
    return about(
        payload | {"contact": notice.contact},
        reading,
        facts,
        kind=topic[:200],
        id=id_at(payload, "id"),
        time=epoch_millis(payload.get("created_at")),
    )


def _unwrapped(item: Payload) -> Notice:
    """The object itself, which some topics wrap, and the person, whom every version keeps elsewhere."""
    inner = object_at(item, "ticket") or object_at(item, "conversation")
    return Notice(inner or item, _contact(item, inner or item))


def _contact(item: Payload, thing: Payload) -> Payload:
    people = (
        item.get("contact"),
        item if is_one_of(item.get("type"), _PEOPLE) else None,
        thing.get("user"),
        at(thing, "contacts.contacts.0"),
        at(thing, "contacts.data.0"),
        at(thing, "contacts.0"),
        at(thing, "conversation_rating.contact"),
        at(thing, "conversation_rating.customer"),
        at(thing, "source.author"),
        {"id": item.get("intercom_user_id"), "user_id": item.get("user_id"), "email": item.get("email")},
    )
    for person in people:
        if isinstance(person, dict) and id_at(person, "id") and not is_one_of(person.get("type"), _OURS):
            return person | {"external_id": id_at(person, "external_id", "user_id")}
    return {}


def _thing(notice: Notice) -> dict[str, Any]:
    return {"ticket_id": id_at(notice.item, "id", "conversation_id")}


def _is_internal(notice: Notice) -> bool:
    """An internal ticket, which no customer sees."""
    return str(notice.item.get("category")).casefold() in _INTERNAL


def _opened(notice: Notice, _: Reading) -> Facts:
    if _is_internal(notice):
        return ()
    priority = {"priority": "high"} if notice.item.get("priority") == "priority" else {}
    return (Fact("ticket.opened", _thing(notice) | priority),)


def _reopened(notice: Notice, _: Reading) -> Facts:
    """Open again, or still: someone who writes waits for an answer."""
    is_open = notice.item.get("open") is not False and not _is_internal(notice)
    return (Fact("ticket.reopened", _thing(notice)),) if is_open else ()


def _prioritised(notice: Notice, reading: Reading) -> Facts:
    is_urgent = notice.item.get("priority") == "priority" and notice.item.get("open") is True
    return _opened(notice, reading) if is_urgent else ()


def _solved(notice: Notice, _: Reading) -> Facts:
    return () if _is_internal(notice) else (Fact("ticket.solved", _thing(notice)),)


def _state_changed(notice: Notice, reading: Reading) -> Facts:
    """Resolved, or reopened; the steps between are internal."""
    state = str(at(notice.item, "ticket_state.category") or notice.item.get("ticket_state"))
    if state == "resolved":
        return _solved(notice, reading)
    changes = [part for part in list_at(notice.item, "ticket_parts.ticket_parts") if at(part, "previous_ticket_state")]
    return _reopened(notice, reading) if changes and at(changes[-1], "previous_ticket_state") == "resolved" else ()


def _rated(notice: Notice, _: Reading) -> Facts:
    """The ticket's rating comes first: it is what lifts the wait after a solved ticket."""
    places = ("conversation_rating", "ticket_rating", "rating")
    found = next((value for place in places if (value := notice.item.get(place)) is not None), None)
    rating = object_at({"found": found}, "found")
    score = whole_number(rating.get("rating") if rating else found)
    thing = _thing(notice)
    if score is None or thing["ticket_id"] is None:
        return ()
    data = thing | {"response_id": f"rating:{thing['ticket_id']}"[:512], "score": score, "scale_max": _SCALE_MAX}
    if remark := text_at(rating, "remark"):
        data["comment"] = remark
    answered = Fact("csat.responded", data)
    verdict = {1: "negative", 2: "negative", 4: "positive", 5: "positive"}.get(score)
    return (answered,) if verdict is None else (Fact("ticket.rated", thing | {"rating": verdict}), answered)


def _signed_up(notice: Notice, reading: Reading) -> Facts:
    since = time_at(notice.contact, "signed_up_at", "remote_created_at", "created_at")
    return (Fact("customer.signed_up", {}, since), *_profile(notice, reading))


def _profile(notice: Notice, reading: Reading) -> Facts:
    contact = notice.contact
    return profile(
        email_hmac=reading.email_hmac(contact.get("email")),
        account_id=id_at(contact, "companies.companies.0", "companies.data.0"),
        time_zone=text_at(contact, "location_data.timezone"),
        locale=_locale(contact),
    )


def _locale(contact: Payload) -> str | None:
    locale = text_at(contact, "language_override")
    return locale[:64] if locale else None


def _joined(notice: Notice, _: Reading) -> Facts:
    return profile(account_id=id_at(notice.item, "company"))


def _left(_: Notice, __: Reading) -> Facts:
    return (Fact("customer.suppressed", {"reason": "unsubscribe"}),)


def _left_a_list(notice: Notice, reading: Reading) -> Facts:
    """Out of a list of mails; one of text messages alone says nothing about asking by mail."""
    lists = list_at(notice.item, "subscription_types.data")
    kinds = [kind for one in lists for kind in list_at(one, "content_types")]
    return _left(notice, reading) if not kinds or "email" in kinds else ()


def _merged(notice: Notice, _: Reading) -> Facts:
    alias = id_at(notice.item, "merged_from")
    return () if alias is None else (Fact("customer.aliased", {"alias": alias}),)


def _event(notice: Notice, _: Reading) -> Facts:
    name = text_at(notice.item, "event_name")
    if name is None:
        return ()
    time = epoch_millis(notice.item.get("created_at"))
    return tuple(Fact(fact.type, fact.data, time) for fact in happened(name, notice.item.get("metadata")))


def _mailed(notice: Notice, reading: Reading) -> Facts:
    mail = {"message_id": id_at(notice.item, "content_id")}
    match notice.item.get("stat_type"):
        case "open":
            return (Fact("email.opened", mail),)
        case "click":
            return (Fact("email.clicked", mail),)
        case "hard_bounce":
            return (Fact("customer.suppressed", {"reason": "bounce"}),)
        case "spam_complaint":
            return (Fact("customer.suppressed", {"reason": "spam_report"}),)
        case "unsubscribe":
            return _left(notice, reading)
        case _:
            return ()


_FACTS: dict[str, Callable[[Notice, Reading], Facts]] = {
    "conversation.user.created": _opened,
    "conversation.user.replied": _reopened,
    "conversation.admin.opened": _reopened,
    "conversation.admin.closed": _solved,
    "conversation.deleted": _solved,
    "conversation.priority.updated": _prioritised,
    "conversation.rating.added": _rated,
    "conversation.rating.remarked": _rated,
    "ticket.created": _opened,
    "ticket.contact.replied": _reopened,
    "ticket.state.updated": _state_changed,
    "ticket.resolved": _solved,
    "ticket.closed": _solved,
    "ticket.rating.provided": _rated,
    "contact.signed_up": _signed_up,
    "contact.user.created": _signed_up,
    "contact.lead.signed_up": _signed_up,
    "user.created": _signed_up,
    "visitor.signed_up": _signed_up,
    "contact.email.updated": _profile,
    "contact.user.updated": _profile,
    "contact.added_email": _profile,
    "contact.lead.added_email": _profile,
    "user.email.updated": _profile,
    "contact.unsubscribed": _left,
    "user.unsubscribed": _left,
    "granular.unsubscribe": _left_a_list,
    "contact.merged": _merged,
    "company.contact.attached": _joined,
    "event.created": _event,
    "content_stat.email": _mailed,
}
"""Topics that are read. The team's replies, notes, tags and assignments change nothing for the customer."""


ADAPTER = Adapter(
    name="intercom",
    marks=("topic",),
    recognises=recognises,
    customer_paths=("contact.id",),
    read=read,
)
