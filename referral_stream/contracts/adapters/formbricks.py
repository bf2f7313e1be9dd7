"""Formbricks: responses as they are created, updated and finished: revisions of one answer.

A webhook holds answers by question id, without the questions. Where an id does not say it (``nps``, ``nps_score``), the
deployment's ``questions`` do.
"""

from __future__ import annotations

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
    is_one_of,
    list_at,
    listed,
    object_at,
    profile,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import agreed, is_true, with_opt_out
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    IGNORE,
    NPS,
    Response,
    Scale,
    configured,
    displeased,
    is_loyalty,
    is_reason,
    is_satisfaction,
    unsent,
)
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS = frozenset({"responseCreated", "responseUpdated", "responseFinished"})
_TEST = "testEndpoint"
_WHOLE = "responseFinished"


def recognises(payload: Payload) -> bool:
    """One of its three events, about a response; beside a webhook's id, any event. A test holds its name alone."""
    event = payload.get("event")
    is_named = is_one_of(event, _EVENTS) or ("webhookId" in payload and isinstance(event, str))
    return event == _TEST or (is_named and isinstance(payload.get("data"), dict))


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    kind = str(payload.get("event"))
    if kind == _TEST:
        return Skipped("test_mode", "a test of the endpoint")
    response = object_at(payload, "data")
    if (within := object_at(response, "response")) and "data" in within:  # so some versions send it
        response = response | within
        payload = payload | {"data": response}
    facts = _answered(response, reading) if kind in _EVENTS else unlisted(kind)
    if kind in _EVENTS and not is_true(response.get("finished", kind == _WHOLE)):
        facts = unsent(facts)
    tags = [at(each, "name") or at(each, "tag.name") for each in list_at(response, "tags")]
    given = agreed(object_at(response, "data").items())
    facts = with_opt_out(facts, {name: response.get(name) for name in _RECORDS}, {"tags": tags}, *given)
    if not facts:
        return Skipped("no_score" if kind in _EVENTS else "irrelevant", kind[:200])
    address = next((found for path in _ADDRESSES if (found := at(response, path))), None)
    updated = time_at(response, "updatedAt", "createdAt")
    # The webhook has no id of its own: a response, its event and its revision make one.
    names = (id_at(response, "id"), kind, None if updated is None else str(updated))
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (
            ("email", address),
            ("formbricks_contact", id_at(response, *expandable("contact"), "contactId", *expandable("person"))),
        ),
        kind=kind[:200],
        id=":".join(name for name in names if name) if all(names) else None,
        time=updated,
    )


_RECORDS = ("contact", "contactAttributes", "person", "personAttributes", "data", "variables")
"""What a response holds of its respondent; before there were contacts, they were called persons."""
_ADDRESSES = (
    "contactAttributes.email", "contact.attributes.email", "personAttributes.email", "person.attributes.email",
    "data.email",
)  # fmt: skip


def _answered(response: Payload, reading: Reading) -> Facts:
    given = object_at(response, "data")
    filled = Response(id_at(response, "id"))
    bad: Facts = ()
    for question, value in given.items():
        scale = configured(reading.questions, question)
        filled.add(question, scale or _guessed(question, value), value, is_configured=scale is not None)
        if scale is None and is_satisfaction(question):
            bad = bad or displeased(value, filled.id)
    return filled.facts() + bad


def _guessed(question: str, value: Any) -> Scale:
    if isinstance(value, str) and whole_number(value) is None:
        return COMMENT if is_reason(question) else IGNORE
    return NPS if is_loyalty(question) else IGNORE


ADAPTER = Adapter(
    name="formbricks",
    marks=("event",),
    recognises=recognises,
    customer_paths=(
        "data.contact.userId", "data.contactAttributes.userId", "data.person.userId", "data.personAttributes.userId",
        "data.person.attributes.userId", "data.data.userId", "data.data.user_id",
    ),
    read=read,
    split=listed,
    has_questions=True,
)  # fmt: skip
