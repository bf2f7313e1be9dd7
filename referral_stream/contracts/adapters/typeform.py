"""Typeform: form responses. NPS is an opinion scale from 0 to 10 there, or a question of type ``nps``.

The reference or title of an opinion scale, or the deployment's ``questions``, says whether it asks for recommendations;
a form's only one is assumed to, since the scale is 0 to 10 unless changed. Stars need their number of steps, from the
form's definition or the deployment.
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
    id_of,
    is_one_of,
    list_at,
    object_at,
    profile,
    text_at,
)
from referral_stream.contracts.adapters.surveys import COMMENT, IGNORE, NPS, Response, Scale, configured, is_loyalty
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS = ("form_response", "form_response_partial")
_NPS_STEPS = 11
_SCALED = ("nps", "opinion_scale", "rating", "long_text")
"""Types of questions whose answers may be understood without the deployment's help."""


def recognises(payload: Payload) -> bool:
    """A ``form_response`` that is named so twice."""
    return is_one_of(payload.get("event_type"), _EVENTS) and isinstance(payload.get("form_response"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One response."""
    kind = str(payload.get("event_type"))
    response = object_at(payload, "form_response")
    answers = [given for given in list_at(response, "answers") if isinstance(given, dict)]
    facts = _answered(response, answers, reading)
    if not facts:
        return Skipped("no_score", kind)
    return about(
        payload,
        reading,
        (*facts, *_address(response, answers, reading)),
        kind=kind,
        id=id_at(payload, "event_id"),
        time=text_at(response, "submitted_at") or text_at(response, "landed_at"),
    )


def _answered(response: Payload, answers: list[Payload], reading: Reading) -> Facts:
    fields = {
        id_of(field.get("id")): field for field in list_at(response, "definition.fields") if isinstance(field, dict)
    }
    questions = [asked if type(asked := given.get("field")) is dict else {} for given in answers]
    kinds = [asked.get("type") for asked in questions]
    scales = kinds.count("opinion_scale")
    filled = Response(id_at(response, "token"))
    for given, asked, kind in zip(answers, questions, kinds, strict=True):
        if kind not in _SCALED and not reading.questions:
            continue
        field_id = id_of(asked.get("id"))
        reference = id_of(asked.get("ref")) or field_id
        scale = configured(reading.questions, reference, field_id) if reading.questions else None
        if scale is None:
            scale = _scale(kind, reference, fields.get(field_id, {}), scales)
        filled.add(reference, scale, given.get("number", given.get("text")))
    return filled.facts()


def _scale(kind: Any, reference: str | None, field: Payload, opinion_scales: int) -> Scale:
    """What the answer means by itself, without the deployment's help."""
    match kind:
        case "nps":
            return NPS
        case "long_text":
            return COMMENT
        case "opinion_scale":
            worded = opinion_scales == 1 or is_loyalty(reference, field.get("title"))
            return NPS if worded and _is_nought_to_ten(field) else IGNORE
        case "rating" if (steps := _steps(field)) is not None and steps > 0:
            return Scale("csat", steps)
        case _:
            return IGNORE


def _is_nought_to_ten(field: Payload) -> bool:
    """Whether the definition leaves an opinion scale as Typeform makes it by default."""
    return _steps(field) in (None, _NPS_STEPS) and at(field, "properties.start_at_one") is not True


def _steps(field: Payload) -> int | None:
    """How many steps the form's definition gives a scale."""
    steps = at(field, "properties.steps")
    return steps if type(steps) is int else None


def _address(response: Payload, answers: list[Payload], reading: Reading) -> Facts:
    hashed = reading.email_hmac(at(response, "hidden.email"))
    if hashed is None:
        typed = (given.get("email") for given in answers if given.get("type") == "email")
        hashed = reading.email_hmac(next(typed, None))
    return profile(email_hmac=hashed)


ADAPTER = Adapter(
    name="typeform",
    marks=("form_response",),
    recognises=recognises,
    customer_paths=tuple(
        f"form_response.hidden.{name}" for name in ("customer_id", "user_id", "userid", "customerid", "userId")
    ),
    read=read,
    has_questions=True,
)
