"""Formbricks: responses as they are created, updated and finished: revisions of one answer.

A webhook holds answers by question id, without the questions. Where an id does not say it (``nps``, ``nps_score``), the
deployment's ``questions`` do.
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
    is_one_of,
    listed,
    object_at,
    profile,
    text_at,
)
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    IGNORE,
    NPS,
    Response,
    Scale,
    configured,
    is_loyalty,
    is_reason,
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
    facts = _answered(response, reading)
    if not facts:
        return Skipped("no_score", kind)
    address = at(response, "contactAttributes.email") or at(response, "contact.attributes.email")
    updated = text_at(response, "updatedAt") or text_at(response, "createdAt")
    # The webhook has no id of its own: a response, its event and its revision make one.
    names = (id_at(response, "id"), kind, updated)
    return about(
        payload,
        reading,
        (*facts, *profile(email_hmac=reading.email_hmac(address))),
        kind=kind,
        id=":".join(name for name in names if name) if all(names) else None,
        time=updated,
    )


def _answered(response: Payload, reading: Reading) -> Facts:
    given = object_at(response, "data") or object_at(response, "response.data")
    filled = Response(id_at(response, "id"))
    for question, value in given.items():
        filled.add(question, configured(reading.questions, question) or _guessed(question, value), value)
    return filled.facts()


def _guessed(question: str, value: Any) -> Scale:
    if isinstance(value, str):
        return COMMENT if is_reason(question) else IGNORE
    return NPS if is_loyalty(question) else IGNORE


ADAPTER = Adapter(
    name="formbricks",
    marks=("data",),
    recognises=recognises,
    customer_paths=(
        "data.contact.userId", "data.contactAttributes.userId", "data.person.userId", "data.data.userId",
        "data.data.user_id", "data.contact.id",
    ),
    read=read,
    split=listed,
    has_questions=True,
)  # fmt: skip
