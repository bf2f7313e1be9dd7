"""SurveyMonkey: callbacks, which name a response without its content; and fetched responses.

A callback carries no score, so nothing follows from it. A response fetched from ``…/responses/ID/details`` and put on
the topic is read, by the deployment's ``questions``.
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
    list_at,
    text_at,
)
from referral_stream.contracts.adapters.surveys import IGNORE, Response, configured
from referral_stream.contracts.outcomes import Skipped, Webhook

_CALLBACKS = ("response_", "collector_", "survey_")


def recognises(payload: Payload) -> bool:
    """A callback (an event type beside an object's id), or a response with its pages."""
    kind = payload.get("event_type")
    if isinstance(kind, str):
        return kind.startswith(_CALLBACKS) and "object_id" in payload
    return isinstance(payload.get("pages"), list) and "survey_id" in payload


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One callback or response."""
    if "pages" not in payload:
        return Skipped("no_score", f"{payload.get('event_type')}: a callback carries no answers"[:200])
    if payload.get("response_status", "completed") != "completed":
        return Skipped("irrelevant", "response not completed")
    facts = _answered(payload, reading)
    if not facts:
        return Skipped("no_score", "response")
    modified = text_at(payload, "date_modified") or text_at(payload, "date_created")
    names = (id_at(payload, "id"), modified)
    return about(
        payload,
        reading,
        facts,
        kind="response",
        id=":".join(name for name in names if name) if all(names) else None,
        time=modified,
    )


def _answered(payload: Payload, reading: Reading) -> Facts:
    filled = Response(id_at(payload, "id"))
    for page in list_at(payload, "pages"):
        for question in list_at(page, "questions"):
            reference = id_at(question, "id")
            filled.add(reference, configured(reading.questions, reference) or IGNORE, _value(question))
    return filled.facts()


def _value(question: Any) -> Any:
    """What was answered: the text of the first answer, as typed or (``simple=true``) as spelled out."""
    first = at(question, "answers.0")
    return at(first, "simple_text") or at(first, "text")


ADAPTER = Adapter(
    name="surveymonkey",
    marks=("object_id", "pages"),
    recognises=recognises,
    customer_paths=("custom_variables.customer_id", "custom_variables.user_id", "custom_value", "recipient_id"),
    read=read,
    has_questions=True,
)
