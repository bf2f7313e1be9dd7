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
    listed,
    object_at,
    profile,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import opted_out
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    IGNORE,
    NPS,
    Response,
    Scale,
    configured,
    is_loyalty,
    is_reason,
    unsent,
)
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS = frozenset({"responseCreated", "responseUpdated", "responseFinished"})


def recognises(payload: Payload) -> bool:
    """One of its three events, about a response."""
    return is_one_of(payload.get("event"), _EVENTS) and isinstance(payload.get("data"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    kind = str(payload.get("event"))
    response = object_at(payload, "data")
    traits = response.get("contactAttributes")
    facts = _answered(response, reading)
    if response.get("finished") is False:
        facts = unsent(facts)
    facts += opted_out({"of the contact": traits}, at(response, "contact.attributes"), response.get("data"))
    if not facts:
        return Skipped("no_score", kind)
    address = at(response, "contactAttributes.email") or at(response, "contact.attributes.email")
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
        kind=kind,
        id=":".join(name for name in names if name) if all(names) else None,
        time=updated,
    )


def _answered(response: Payload, reading: Reading) -> Facts:
    given = object_at(response, "data") or object_at(response, "response.data")
    filled = Response(id_at(response, "id"))
    for question, value in given.items():
        scale = configured(reading.questions, question)
        filled.add(question, scale or _guessed(question, value), value, is_configured=scale is not None)
    return filled.facts()


def _guessed(question: str, value: Any) -> Scale:
    if isinstance(value, str) and whole_number(value) is None:
        return COMMENT if is_reason(question) else IGNORE
    return NPS if is_loyalty(question) else IGNORE


ADAPTER = Adapter(
    name="formbricks",
    marks=("data",),
    recognises=recognises,
    customer_paths=(
        "data.contact.userId", "data.contactAttributes.userId", "data.person.userId", "data.data.userId",
        "data.data.user_id",
    ),
    read=read,
    split=listed,
    has_questions=True,
)  # fmt: skip
