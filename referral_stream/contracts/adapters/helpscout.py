"""Help Scout: ratings, survey responses, conversations and customers.

The name of the event travels in an HTTP header, so a body is recognised by its shape, and a conversation's status says
what happened to it. Only a deletion, of which there is nothing but an id, needs the name, which the receiver passes on;
for that an open conversation is linked to its customer. A rating is Great, Okay or Bad: three steps of satisfaction,
and also the ticket's rating if the conversation is known.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.product_events import plain
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    list_at,
    object_at,
    profile,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import is_true, opted_out, tagged
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.contracts.records import EVENT_HEADER

_RATINGS = {"great": 3, "okay": 2, "ok": 2, "bad": 1, "not good": 1}
_VERDICTS = {3: "positive", 1: "negative"}
_FACES = {"happy": (3, 3), "neutral": (2, 3), "sad": (1, 3), "thumbs up": (1, 1), "thumbs down": (0, 1)}
"""A survey's named answers: (score, scale's maximum). An emoji the team chose itself is not understood."""
_OVER = ("closed", "spam")
_CATEGORIES = ("promoter", "passive", "detractor")


def recognises(payload: Payload) -> bool:
    """A rating with its customer, a survey's response, a conversation of a mailbox, or a customer's record."""
    if _is_rating(payload) or _is_survey(payload) or _is_conversation(payload) or _is_customer(payload):
        return True
    event = _event(payload)
    return (event in _DELETED and "id" in payload) or event.startswith(_IRRELEVANT)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    if (event := _event(payload)) in _DELETED:
        return _deleted(event, payload, reading)
    customer = _customer(payload)
    names: tuple[str, ...]
    if event.startswith(_IRRELEVANT):
        return Skipped("irrelevant", event[:200])
    if _is_rating(payload):
        kind, facts, names = "rating", _rated(payload), ("modifiedAt", "createdAt")
    elif _is_survey(payload):
        kind, facts, names = "survey response", _surveyed(payload), ("response.timestamp",)
        if not facts:
            return Skipped("no_score", kind)
    elif _is_conversation(payload):
        # Once closed, an open conversation goes on saying when: that is not when it was opened again.
        kind, facts = "conversation", _conversation(payload)
        names = _TOUCHED if _status(payload) in _OVER else _TOUCHED[1:]
    else:
        kind, facts, names = "customer", unlisted(event), ("updatedAt", "modifiedAt", "createdAt")
    left = opted_out(
        *_properties(customer), *_properties(payload if kind == "customer" else {}), *_state(payload, customer)
    )
    if not facts and not left and kind != "customer":
        return Skipped("irrelevant", kind)
    first, *others = _addresses(customer) or [None]
    time = time_at(payload, *names)
    own = id_at(payload, "id")
    # an open one may be deleted before it is closed
    is_open = kind == "conversation" and any(fact.type != "ticket.solved" for fact in facts)
    return about_whom(
        payload | {"customer": customer},
        reading,
        (
            *left,
            *facts,
            *profile(**reading.address_hmacs(first)),
        ),
        (
            ("helpscout_customer", customer.get("id")),
            ("email", first),
            *(("email", other) for other in others),
            *((("helpscout_conversation", own),) if is_open else ()),
            *(_rated_conversation(payload, customer) if _is_low(facts) else ()),
        ),
        kind=kind,
        # A record is sent again whenever it changes: its id and its state together are one event.
        id=f"{kind}:{own}:{payload.get('status', '')}:{time}"[:512] if own is not None and time is not None else None,
        time=time,
    )


_CUSTOMER_DELETED = "customer.deleted"
_DELETED = (_CUSTOMER_DELETED, "convo.deleted")
_IRRELEVANT = ("tag.", "beacon.chat.")
"""How the names of events begin that are about no customer, or about a chat that becomes a conversation."""


def _event(payload: Payload) -> str:
    return (text_at(payload, EVENT_HEADER) or "").strip().casefold()


def _deleted(event: str, payload: Payload, reading: Reading) -> Webhook | Skipped:
    """What is known of it is its id; a deleted conversation is nobody's trouble any more."""
    own = id_at(payload, "id")
    if event == _CUSTOMER_DELETED:
        facts, whose, link = Fact("customer.erasure_requested", {}), {"id": own}, "helpscout_customer"
    else:
        facts, whose, link = Fact("ticket.solved", {"ticket_id": own}), {}, "helpscout_conversation"
    return about_whom(
        payload | {"customer": whose},
        reading,
        (facts,),
        ((link, own),),
        kind=event,
        id=None if own is None else f"{event}:{own}",
        time=None,
    )


def _status(payload: Payload) -> str:
    return str(payload.get("status")).casefold()


def _properties(customer: Payload) -> tuple[Any, ...]:
    """A team's own properties: an object, or a list of them."""
    return customer.get("properties"), at(customer, "_embedded.properties")


def _state(payload: Payload, customer: Payload) -> tuple[Any, ...]:
    """What the tags and fields of a conversation say, and the tags of its customer."""
    tags = (payload.get("tags"), at(payload, "_embedded.tags"), customer.get("tags"))
    return *_fields(payload), *(tagged(each) for each in tags)


def _fields(payload: Payload) -> tuple[Any, ...]:
    """A conversation's own fields; the value of a drop-down is an id, and beside it stands what was chosen."""
    fields = [each for each in list_at(payload, "customFields") if isinstance(each, dict)]
    chosen = [text_at(each, "label") or text_at(each, "text") for each in fields]
    told = [each if said is None else each | {"value": said} for each, said in zip(fields, chosen, strict=True)]
    return told, tagged([said for said in chosen if said is not None])


_TOUCHED = ("closedAt", "userUpdatedAt", "userModifiedAt", "modifiedAt", "updatedAt", "createdAt")


def _is_rating(payload: Payload) -> bool:
    about_what = ("ticketId", "conversationId", "threadId")
    if not isinstance(payload.get("rating"), str):
        return False
    is_one = "customer" in payload and any(name in payload for name in about_what)
    return is_one or _event(payload) == "satisfaction.ratings"


def _is_survey(payload: Payload) -> bool:
    return isinstance(payload.get("response"), dict) and "message" in payload and "_embedded" in payload


def _is_conversation(payload: Payload) -> bool:
    """By its shape, or by the name of an event about conversations, all of which hold one."""
    if "customer" not in payload and "primaryCustomer" not in payload:
        return False
    is_one = isinstance(payload.get("status"), str) and ("mailbox" in payload or "mailboxId" in payload)
    return is_one or _event(payload).startswith("convo.")


def _is_customer(payload: Payload) -> bool:
    event, is_one = _event(payload), "firstName" in payload and "photoType" in payload
    if event.startswith("customer."):
        is_one = bool(unlisted(event)) or any(name in payload for name in _OF_A_CUSTOMER)
    return "id" in payload and is_one


_OF_A_CUSTOMER = ("firstName", "emails", "_embedded", "properties")


def _customer(payload: Payload) -> Payload:
    """The person it is about, wherever the body keeps them."""
    for path in ("customer", "primaryCustomer", "_embedded.customer"):
        if customer := object_at(payload, path):
            return customer
    return payload if _is_customer(payload) else {}


def _addresses(customer: Payload) -> list[Any]:
    """Every address of a customer, their own first."""
    emails = list_at(customer, "emails") or list_at(customer, "_embedded.emails")
    found = [customer.get("email"), *(each.get("value") if isinstance(each, dict) else each for each in emails[:50])]
    return [address for address in found if isinstance(address, str) and address]


def _is_low(facts: Facts) -> bool:
    return any(fact.type == "csat.responded" and fact.data.get("score", 0) < _RATINGS["great"] for fact in facts)


def _rated_conversation(payload: Payload, customer: Payload) -> tuple[tuple[str, Any], ...]:
    """Whom a low rating without its customer is by: whose conversation it was."""
    named = id_at(customer, "id") or _addresses(customer)
    return () if named or not _is_rating(payload) else (("helpscout_conversation", id_at(payload, *_RATED)),)


_RATED = ("conversationId", "ticketId")


def _rated(payload: Payload) -> Facts:
    """The ticket's rating comes first: it is what lifts the wait after a solved ticket.

    A word that nobody knows may be a bad one: the answer goes without its score, and is refused for it.
    """
    rating = plain(str(payload.get("rating")))
    score = _RATINGS.get(rating)
    if score is None and not rating:
        return ()
    ticket = id_at(payload, *_RATED)
    data: dict[str, Any] = {"response_id": id_at(payload, "id"), "score": score, "scale_max": 3}
    data |= {"comment": text_at(payload, "comments"), "ticket_id": ticket}
    answered = Fact("csat.responded", {name: value for name, value in data.items() if value is not None})
    if ticket is None or score is None or score not in _VERDICTS:
        return (answered,)
    return (Fact("ticket.rated", {"ticket_id": ticket, "rating": _VERDICTS[score]}), answered)


def _surveyed(payload: Payload) -> Facts:
    """NPS is what has a category; which one does not matter, the value does."""
    response = object_at(payload, "response")
    survey, customer = id_at(payload, "message.id", "message.name"), id_at(payload, "_embedded.customer.id")
    names = (survey, customer, text_at(response, "timestamp"))
    data: dict[str, Any] = {"response_id": ":".join(name for name in names if name) if all(names) else None}
    if comment := text_at(response, "comment"):
        data["comment"] = comment
    category = str(response.get("category")).casefold()
    if category in _CATEGORIES:
        score = whole_number(response.get("value"))
        if score is None:  # without it, what it is filed under is believed where it is bad
            return (Fact("frustration.shown", {}),) if category == _CATEGORIES[-1] else ()
        return (Fact("nps.responded", data | {"score": score}),)
    face = _FACES.get(str(response.get("name")).casefold())
    if face is None:
        return ()
    return (Fact("csat.responded", data | {"score": face[0], "scale_max": face[1]}),)


def _conversation(payload: Payload) -> Facts:
    """A conversation's status, as a ticket's: open unless it is over. One touched again after it began was reopened."""
    ticket = {"ticket_id": id_at(payload, "id")}
    status = _status(payload)
    if is_true(payload.get("isDraft")) or payload.get("state") == "draft":
        return ()
    if status in _OVER or payload.get("state") == "deleted":
        return (Fact("ticket.solved", ticket),)
    began = text_at(payload, "createdAt")
    touched = next((text for name in _TOUCHED[1:] if (text := text_at(payload, name))), None)
    return (Fact("ticket.opened" if touched == began else "ticket.reopened", ticket),)


ADAPTER = Adapter(
    name="helpscout",
    marks=("customer", "primaryCustomer", "_embedded", "photoType"),
    recognises=recognises,
    customer_paths=("customer.id",),
    read=read,
    event_header="X-HelpScout-Event",
)
