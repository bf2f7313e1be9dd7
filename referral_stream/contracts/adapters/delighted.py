"""Delighted: survey responses and unsubscriptions.

A response comes twice or more (first the bare score, then the comment, then corrections), each time with the same
response id: revisions of one answer. Whether someone is a promoter follows from the score.
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
    epoch_millis,
    id_at,
    object_at,
    profile,
)
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_SATISFACTION = {"csat": 5, "smiley": 5, "smileys": 5, "five_star": 5, "star": 5, "thumbs": 1}
"""Survey types that measure satisfaction → their scale's maximum."""


def recognises(payload: Payload) -> bool:
    """``survey_response.*`` or ``unsubscribe.*`` next to an ``event_data`` object."""
    kind = payload.get("event_type")
    return (
        isinstance(kind, str)
        and kind.startswith(("survey_response.", "unsubscribe."))
        and isinstance(payload.get("event_data"), dict)
    )


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    kind = str(payload.get("event_type"))
    response = object_at(payload, "event_data")
    facts: Facts = ()
    if kind in {"survey_response.created", "survey_response.updated"}:
        facts = _answered(response)
        if facts:
            facts += profile(email_hmac=reading.email_hmac(at(response, "person.email")))
    elif kind == "unsubscribe.created":
        facts = (Fact("customer.suppressed", {"reason": "unsubscribe"}),)
    return about(
        payload,
        reading,
        facts,
        kind=kind,
        id=id_at(payload, "event_id"),
        time=epoch_millis(response.get("updated_at") or response.get("unsubscribed_at") or response.get("created_at")),
    )


def _answered(response: Payload) -> Facts:
    survey = str(response.get("survey_type") or "nps")
    data: dict[str, Any] = {
        "response_id": id_at(response, "id"),
        "score": response.get("score"),
        "comment": response.get("comment"),
    }
    if survey == "nps":
        return (Fact("nps.responded", data),)
    if survey in _SATISFACTION:
        return (Fact("csat.responded", data | {"scale_max": _SATISFACTION[survey]}),)
    return ()  # effort, employees, product-market fit: neither loyalty nor satisfaction


ADAPTER = Adapter(
    name="delighted",
    marks=("event_data",),
    recognises=recognises,
    customer_paths=("event_data.person_properties.customer_id", "event_data.person.id"),
    read=read,
)
