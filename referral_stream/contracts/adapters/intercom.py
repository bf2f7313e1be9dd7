"""Intercom: notifications about conversations, tickets, contacts, events and outbound content, of every API version.

A conversation is a ticket here: it is open while someone waits for an answer. Ratings go from 1 to 5; 4 and 5 are
positive. Everyone is identified by Intercom's own contact id (``contact.id``), which alone is in every notification; a
deployment whose contacts all have its own id sets ``contact.external_id``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.product_events import happened
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    expandable,
    id_at,
    is_one_of,
    list_at,
    object_at,
    profile,
    since_at,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import by_machine, is_true, opted_out, tagged
from referral_stream.contracts.adapters.surveys import (
    NPS,
    Response,
    configured,
    displeased,
    is_loyalty,
    is_satisfaction,
)
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_SCALE_MAX = 5
_PRAISE = 4
"""From here on an answer speaks for asking."""
_PEOPLE = ("user", "lead", "contact", "visitor")
_INTERNAL = ("back-office", "back_office", "tracker")
_OURS = ("bot", "admin", "team")
_STATES = {
    "unsubscribed_from_emails": "unsubscribe",
    "marked_email_as_spam": "spam_report",
    "has_hard_bounced": "bounce",
    "unsubscribed_from_sms": "unsubscribe",
}
"""What a contact's record says of what the contact wants."""


_CONTACT = "of the contact number"
"""Marks the part of a body that is about one of several contacts of a conversation."""


class Notice(NamedTuple):
    """One notification, unwrapped: what it is about, and whom."""

    item: Payload
    contact: Payload


def recognises(payload: Payload) -> bool:
    """A notification with a topic."""
    return payload.get("type") == "notification_event" and isinstance(payload.get("topic"), str)


def split(body: Any) -> Sequence[Any]:
    """The notification, once for each contact of a conversation."""
    if not (isinstance(body, dict) and recognises(body)):
        return (body,)
    item = object_at(body, "data.item")
    people = [] if _rater(body["topic"], item) else _participants(item)
    return [body | {_CONTACT: number} for number in range(len(people))] if people[1:] else (body,)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One notification; customer paths may begin with ``contact``, the person it is about."""
    topic = str(payload.get("topic"))
    number = payload.get(_CONTACT)
    notice = _unwrapped(object_at(payload, "data.item"), number if type(number) is int else None)
    if topic.startswith(_OF_PEOPLE) and not any(isinstance(notice.item.get(name), dict) for name in _PEOPLE):
        # what is deleted comes with little more than its id, and not always with its type
        notice = Notice(notice.item, _person(notice.item) or notice.contact)
    if (rater := _rater(topic, object_at(payload, "data.item"))) is not None:
        notice = Notice(notice.item, rater)
    if topic.startswith(_OUTBOUND):
        facts = _reached(notice, reading)
    else:
        facts = _FACTS[topic](notice, reading) if topic in _FACTS else unlisted(topic)
    if number is not None:
        facts = tuple(fact for fact in facts if not _is_praise(fact))
    contact = _known(notice)
    if not any(fact.is_opt_out for fact in facts) and (held := _state(contact) or _tags(topic, notice)):
        facts = (*held, *(fact for fact in facts if not fact.guessed))
    return about_whom(
        payload | {"contact": contact},
        reading,
        facts,
        [
            ("intercom_contact", contact.get("id")),
            ("intercom_external", contact.get("external_id")),
            ("email", contact.get("email")),
            *_of_the_merged(notice, facts),
        ],
        kind=topic[:200],
        id=id_at(payload, "id"),
        time=time_at(payload, "created_at"),
    )


_OUTBOUND = "content_stat."
_OF_PEOPLE = ("contact.", "user.", "lead.", "visitor.")


def _state(contact: Payload) -> Facts:
    """An opt-out that a record holds; it is read at every sight, for whoever missed the event."""
    for name, reason in _STATES.items():
        if is_true(contact.get(name)):
            return (Fact("customer.suppressed", {"reason": reason}),)
    if _has_any(contact.get("opted_out_subscription_types")):
        return _LEFT
    return opted_out(contact.get("custom_attributes"), tagged(_listed(contact.get("tags"))))


def _tags(topic: str, notice: Notice) -> Facts:
    """An opt-out that the team wrote on the conversation or ticket, or just wrote on the person."""
    item = notice.item
    given = [] if topic.endswith(_UNTAGGED) else [item.get("tag")]
    fields = (item.get("custom_attributes"), item.get("ticket_attributes"))
    return opted_out(tagged([*given, *_listed(at(item, "tags_added")), *_listed(item.get("tags"))]), *fields)


_UNTAGGED = ".tag.deleted"


def _listed(tags: Any) -> list[Any]:
    """The tags of a person, conversation or ticket, which versions keep under different names."""
    if isinstance(tags, dict):
        tags = next((each for name in ("data", "tags") if isinstance(each := tags.get(name), list)), None)
    return tags if isinstance(tags, list) else []


def _has_any(listed: Any) -> bool:
    """Whether a list, whose elements may be left out and only counted, has any."""
    if isinstance(listed, dict):
        return bool(listed.get("data")) or is_true(listed.get("total_count")) or listed.get("has_more") is True
    return isinstance(listed, list) and bool(listed)


_LEFT = (Fact("customer.suppressed", {"reason": "unsubscribe"}),)


def _is_praise(fact: Fact) -> bool:
    """Whether it speaks for asking: of several contacts it is not said which one gave it."""
    if fact.type == "csat.responded":
        return bool(fact.data["score"] >= _PRAISE)
    return fact.type == "ticket.rated" and fact.data["rating"] == "positive"


def _unwrapped(item: Payload, number: int | None) -> Notice:
    """The object itself, which some topics wrap, and the person, whom every version keeps elsewhere.

    ``number``: which of its several contacts is meant.
    """
    thing = _thing_in(item)
    if number is None:
        return Notice(thing, _contact(item, thing))
    people = _participants(item)
    return Notice(thing, people[number] if 0 <= number < len(people) else {})


def _participants(item: Payload) -> list[Payload]:
    """Everybody who takes part in a conversation or ticket, if it does not say who of them it is about."""
    if isinstance(item.get("contact"), dict) or is_one_of(item.get("type"), _PEOPLE):
        return []
    people = _listed_people(_thing_in(item))
    if not people[1:]:
        return people
    found: dict[str | None, Payload] = {}
    for person in people:
        found.setdefault(id_at(person, "id", "external_id", "email"), person)
    return list(found.values())


def _thing_in(item: Payload) -> Payload:
    """The conversation or ticket itself, which some topics wrap."""
    return object_at(item, "ticket") or object_at(item, "conversation") or item


def _listed_people(thing: Payload) -> list[Payload]:
    listed = (person for place in _LISTS for person in list_at(thing, place))
    return [person for each in (thing.get("user"), *listed) if each and (person := _person(each)) is not None]


def _rater(topic: str, item: Payload) -> Payload | None:
    """Who rated a conversation or ticket, where that is said; with all that the list of its people says of them."""
    if topic not in _OF_RATINGS:
        return None
    thing = _thing_in(item)
    found = next((one for place in _RATERS if (one := _person(at(thing, place))) is not None), None)
    if found is None:
        return None
    same = (each for each in _listed_people(thing) if id_at(each, "id") == id_at(found, "id"))
    return next(same, found)


_OF_RATINGS = frozenset({"conversation.rating.added", "conversation.rating.remarked", "ticket.rating.provided"})
_RATERS = (
    "conversation_rating.contact", "conversation_rating.customer", "ticket_rating.contact", "ticket_rating.customer",
)  # fmt: skip
_LISTS = ("contacts.contacts", "contacts.data", "contacts", "customers")
"""Where the versions keep the people of a conversation."""


def _person(given: Any) -> Payload | None:
    """A customer with anything that names them; None for anybody and anything else."""
    if not isinstance(given, dict) or is_one_of(given.get("type"), _OURS):
        return None
    if not id_at(given, "id", "external_id", "user_id", "email"):
        return None
    return given | {"external_id": id_at(given, "external_id", "user_id")}


def _known(notice: Notice) -> Payload:
    """The contact, with the address that a conversation names for them only as its author; a lead typed it in."""
    contact, author = notice.contact, object_at(notice.item, "source.author")
    is_author = author.get("type") == "user" and id_at(author, "id") == id_at(contact, "id")
    return contact | {"email": author.get("email")} if is_author and not contact.get("email") else contact


def _contact(item: Payload, thing: Payload) -> Payload:
    for each in _mentioned(item, thing):
        if each is not None and (person := _person(each)) is not None:
            return person
    return {}


def _mentioned(item: Payload, thing: Payload) -> Iterator[Any]:
    yield item.get("contact")
    yield item if is_one_of(item.get("type"), _PEOPLE) else None
    yield thing.get("user")
    for place in _PLACES:
        yield at(thing, place)
    yield {"id": item.get("intercom_user_id"), "user_id": item.get("user_id"), "email": item.get("email")}


_PLACES = (
    "contacts.contacts.0", "contacts.data.0", "contacts.0", "customers.0", "conversation_rating.contact",
    "conversation_rating.customer", "source.author",
)  # fmt: skip


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
    item = notice.item
    is_open = item.get("open") is not False or str(item.get("state")).casefold() == "snoozed"
    return (Fact("ticket.reopened", _thing(notice)),) if is_open and not _is_internal(notice) else ()


def _prioritised(notice: Notice, reading: Reading) -> Facts:
    is_urgent = notice.item.get("priority") == "priority" and notice.item.get("open") is True
    return _opened(notice, reading) if is_urgent else ()


def _solved(notice: Notice, _: Reading) -> Facts:
    return () if _is_internal(notice) else (Fact("ticket.solved", _thing(notice)),)


def _gone(notice: Notice, reading: Reading) -> Facts:
    """Deleted; most versions do not say whose it was."""
    return _solved(notice, reading) if notice.contact else ()


def _state_changed(notice: Notice, reading: Reading) -> Facts:
    """Resolved, or reopened; the steps between are internal. What came before may not be said: then it is open."""
    state = str(at(notice.item, "ticket_state.category") or notice.item.get("ticket_state")).casefold()
    if state == _RESOLVED:
        return _solved(notice, reading)
    changes = [part for part in list_at(notice.item, "ticket_parts.ticket_parts") if at(part, _BEFORE)]
    before = at(changes[-1], _BEFORE) if changes else notice.item.get(_BEFORE)
    return _reopened(notice, reading) if before is None or str(before).casefold() == _RESOLVED else ()


_RESOLVED = "resolved"
_BEFORE = "previous_ticket_state"


def _rated(notice: Notice, _: Reading) -> Facts:
    """The ticket's rating comes first: it is what lifts the wait after a solved ticket."""
    places = ("conversation_rating", "ticket_rating", "rating")
    found = next((value for place in places if (value := notice.item.get(place)) is not None), None)
    rating = object_at({"found": found}, "found")
    score = whole_number(rating.get("rating") if rating else found)
    thing = _thing(notice)
    if score is None:  # that of the program that answered is no praise of us, but may be a complaint
        agent = object_at(notice.item, "ai_agent")
        score, rating = whole_number(agent.get("rating")), {"remark": agent.get("rating_remark")}
        if score is None or score >= _PRAISE:
            return ()
    ticket = thing["ticket_id"]
    named = {} if ticket is None else thing | {"response_id": f"rating:{ticket}"[:512]}
    data = named | {"score": score, "scale_max": _SCALE_MAX}
    if remark := text_at(rating, "remark"):
        data["comment"] = remark
    answered = Fact("csat.responded", data)
    verdict = {1: "negative", 2: "negative", 4: "positive", 5: "positive"}.get(score)
    if verdict is None or ticket is None:
        return (answered,)
    return (Fact("ticket.rated", thing | {"rating": verdict}), answered)


def _signed_up(notice: Notice, reading: Reading) -> Facts:
    """A lead or visitor signed up just now; that we knew them before makes nobody a customer of long standing."""
    since = since_at(notice.contact, *_SIGNED_UP)
    return (Fact("customer.signed_up", {}, since), *_profile(notice, reading))


def _created(notice: Notice, reading: Reading) -> Facts:
    since = since_at(notice.contact, *_SIGNED_UP, "created_at")
    return (Fact("customer.signed_up", {}, since), *_profile(notice, reading))


_SIGNED_UP = ("signed_up_at", "remote_created_at")


def _profile(notice: Notice, reading: Reading) -> Facts:
    contact = notice.contact
    return profile(
        **reading.address_hmacs(contact.get("email")),
        account_id=id_at(contact, *expandable("companies.companies.0", "companies.data.0")),
        time_zone=text_at(contact, "location_data.timezone"),
        locale=_locale(contact),
    )


def _locale(contact: Payload) -> str | None:
    locale = text_at(contact, "language_override")
    return locale[:64] if locale else None


def _joined(notice: Notice, _: Reading) -> Facts:
    return profile(account_id=id_at(notice.item, *expandable("company")))


def _left(_: Notice, __: Reading) -> Facts:
    """Out of one list of mails or of text messages, or out of all: who leaves anything is not asked."""
    return _LEFT


def _deleted(_: Notice, __: Reading) -> Facts:
    return (Fact("customer.erasure_requested", {}),)


def _merged(notice: Notice, _: Reading) -> Facts:
    """Two users are one by the team's word. A lead is whoever wrote in the messenger, and says itself who it is.

    What the one that is gone had opted out of, the other one has.
    """
    gone = object_at(notice.item, "merged_from")
    alias = id_at(gone, "id")
    left = _state(gone)
    if alias is None:
        return left
    return (*left, Fact("customer.aliased", {"alias": alias}, browser=not _are_users(gone, notice.item)))


def _are_users(*people: Payload) -> bool:
    return all("user" in (one.get("role"), one.get("type")) for one in people)


def _of_the_merged(notice: Notice, facts: Facts) -> list[tuple[str, Any]]:
    """The other names of a user who was merged into this one."""
    gone = object_at(notice.item, "merged_from")
    if not (gone and _are_users(gone, notice.item) and any(fact.type == "customer.aliased" for fact in facts)):
        return []
    return [("intercom_external", gone.get("external_id")), ("email", gone.get("email"))]


def _attached(notice: Notice, reading: Reading) -> Facts:
    """Another person waits for the answer as well."""
    return _opened(notice, reading) if notice.item.get("open") is not False else ()


def _event(notice: Notice, _: Reading) -> Facts:
    name = text_at(notice.item, "event_name")
    if name is None:
        return ()
    time = time_at(notice.item, "created_at")
    facts = (*opted_out(notice.item.get("metadata")), *happened(name, notice.item.get("metadata")))
    return tuple(replace(fact, time=time) for fact in facts[:1])


def _reached(notice: Notice, reading: Reading) -> Facts:
    """What came of a mail, message or survey; that it was sent or shown is our doing, and a bounce for now passes."""
    stat = object_at(notice.item, "content_stat") or notice.item
    mail = {"message_id": id_at(stat, "content_id")}
    around = {name: value for name, value in notice.item.items() if name not in ("contact", "content_stat")}
    is_read = not (by_machine(stat) or by_machine(around))
    is_mail = str(stat.get("content_type") or notice.item.get("type") or "email").casefold().endswith("email")
    match stat.get("stat_type"):
        case "open" if is_mail and is_read:
            return (Fact("email.opened", mail),)
        case "click" if is_mail and is_read:
            return (Fact("email.clicked", mail),)
        case "hard_bounce":
            return (Fact("customer.suppressed", {"reason": "bounce"}),)
        case "soft_bounce":
            return ()
        case "spam_complaint":
            return (Fact("customer.suppressed", {"reason": "spam_report"}),)
        case "unsubscribe":
            return _LEFT
        case "answer":
            return _answered(stat, [object_at(stat, "answer") or object_at(notice.item, "answer") or stat], reading)
        case "completion":
            return _answered(stat, list_at(stat, "answers") or list_at(notice.item, "answers"), reading)
        case str(other):
            return unlisted(other)
        case _:
            return ()


def _answered(stat: Payload, answers: Sequence[Any], reading: Reading) -> Facts:
    """Answers of a survey, on the scale that the deployment gives each question, or that the question names."""
    response = Response(id_at(stat, "receipt_id", "id"))
    bad: Facts = ()
    for answer in answers:
        if not isinstance(answer, dict):
            continue
        question, said = id_at(answer, "question_id"), answer.get("response")
        scale = configured(reading.questions, question) or (NPS if is_loyalty(answer.get("question_text")) else None)
        if scale is not None:
            response.add(question, scale, said)
        elif is_satisfaction(answer.get("question_text")):
            bad = bad or displeased(said)
    return response.facts() + bad


_FACTS: dict[str, Callable[[Notice, Reading], Facts]] = {
    "conversation.user.created": _opened,
    "conversation.user.replied": _reopened,
    "conversation.admin.opened": _reopened,
    "conversation.admin.closed": _solved,
    "conversation.deleted": _gone,
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
    "contact.user.created": _created,
    "contact.lead.signed_up": _signed_up,
    "user.created": _created,
    "visitor.signed_up": _signed_up,
    "contact.email.updated": _profile,
    "contact.user.updated": _profile,
    "contact.added_email": _profile,
    "contact.lead.added_email": _profile,
    "user.email.updated": _profile,
    "contact.unsubscribed": _left,
    "user.unsubscribed": _left,
    "granular.unsubscribe": _left,
    "contact.deleted": _deleted,
    "user.deleted": _deleted,
    "contact.merged": _merged,
    "company.contact.attached": _joined,
    "conversation.contact.attached": _attached,
    "conversation.contact.detached": _solved,
    "ticket.contact.attached": _attached,
    "ticket.contact.detached": _solved,
    "event.created": _event,
}
"""Topics that are read. The team's replies, notes, tags and assignments change nothing for the customer."""


ADAPTER = Adapter(
    name="intercom",
    marks=("topic",),
    recognises=recognises,
    customer_paths=("contact.id",),
    read=read,
    split=split,
    has_questions=True,
)
