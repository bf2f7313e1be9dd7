"""Typeform: form responses. NPS is an opinion scale from 0 to 10 there, or a question of type ``nps``.

Which opinion scale asks for a recommendation, its reference or title says, or the deployment's ``questions``; the only
one of a form is taken for it, since 0 to 10 is what the scale has unless somebody changed it. Stars need their number
of steps, from the form's definition or the deployment.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapted import Skipped, Webhook
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    about,
    at,
    id_at,
    is_one_of,
    list_at,
    object_at,
    profile,
    text_at,
)
from referral_stream.contracts.adapters.surveys import COMMENT, IGNORE, NPS, Response, Scale, configured, is_loyalty

_EVENTS = ("form_response", "form_response_partial")
_NPS_STEPS = 11


def recognises(payload: Payload) -> bool:
    """A ``form_response`` that says so twice."""
    return is_one_of(payload.get("event_type"), _EVENTS) and isinstance(payload.get("form_response"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One response."""
    kind = str(payload.get("event_type"))
    response = object_at(payload, "form_response")
    facts = _answered(response, reading)
    if not facts:
        return Skipped("no_score", kind)
    return about(
        payload,
        reading,
        (*facts, *_address(response, reading)),
        kind=kind,
        id=id_at(payload, "event_id"),
        time=text_at(response, "submitted_at") or text_at(response, "landed_at"),
    )


def _answered(response: Payload, reading: Reading) -> Facts:
    answers = [given for given in list_at(response, "answers") if isinstance(given, dict)]
    fields = {id_at(field, "id"): field for field in list_at(response, "definition.fields") if isinstance(field, dict)}
    kinds = [_type(given) for given in answers]
    scales = kinds.count("opinion_scale")
    filled = Response(id_at(response, "token"))
    for given, kind in zip(answers, kinds, strict=True):
        asked = object_at(given, "field")
        field_id = id_at(asked, "id")
        reference = id_at(asked, "ref") or field_id
        known = fields.get(field_id, {})
        scale = configured(reading.questions, reference, field_id) or _scale(kind, reference, known, scales)
        filled.add(reference, scale, given.get("number", given.get("text")))
    return filled.facts()


def _type(given: Payload) -> Any:
    return at(given, "field.type")


def _scale(kind: Any, reference: str | None, field: Payload, opinion_scales: int) -> Scale:
    """What the answer means by itself, without the deployment's word."""
    steps = at(field, "properties.steps")
    match kind:
        case "nps":
            return NPS
        case "opinion_scale" if type(steps) is int and steps != _NPS_STEPS:
            return IGNORE
        case "opinion_scale":
            worded = is_loyalty(reference, field.get("title"))
            return NPS if worded or opinion_scales == 1 else IGNORE
        case "rating" if type(steps) is int and steps > 0:
            return Scale("csat", steps)
        case "long_text":
            return COMMENT
        case _:
            return IGNORE


def _address(response: Payload, reading: Reading) -> Facts:
    typed = next((a.get("email") for a in list_at(response, "answers") if at(a, "type") == "email"), None)
    return profile(email_hmac=reading.email_hmac(at(response, "hidden.email")) or reading.email_hmac(typed))


ADAPTER = Adapter(
    name="typeform",
    recognises=recognises,
    customer_paths=tuple(
        f"form_response.hidden.{name}" for name in ("customer_id", "user_id", "userid", "customerid", "userId")
    ),
    read=read,
)
