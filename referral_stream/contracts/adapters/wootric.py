"""Wootric (InMoment): responses to its surveys, and surveys that were dismissed; as a form, or as JSON.

The body says which survey it was: only the answer to NPS is a score by itself. Satisfaction is asked on several scales
there, and no webhook says which, so ``questions`` names that of ``CSAT``; until then only the lowest counts. A response
that the team excluded from its figures counts only what speaks against asking. Whoever dismissed a survey was asked
something a moment ago.
"""

from __future__ import annotations

import re
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    id_at,
    made_id,
    object_at,
    profile,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import is_true, with_opt_out
from referral_stream.contracts.adapters.surveys import (
    NPS,
    Response,
    asked_by_survey,
    configured,
    displeased,
    unsent,
)
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_OBJECTS = ("response", "decline")
_ANSWERED = ("created", "updated")
_ZONE = re.compile(r" ([+-][0-9]{2}):?([0-9]{2})$")


def recognises(payload: Payload) -> bool:
    """The name of an event beside the object that it is about."""
    return isinstance(payload.get("event_name"), str) and _object(payload) is not None


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    kind, event = _object(payload) or "", str(payload.get("event_name"))
    told = object_at(payload, kind)
    facts: Facts
    match kind, event:
        case "response", _ if event in _ANSWERED:
            facts = _answered(payload, told, reading)
        case "decline", "created":
            facts = asked_by_survey("wootric")
        case _:
            facts = unlisted(event)
    facts = with_opt_out(facts, told)
    if not facts:
        is_answer = kind == "response" and event in _ANSWERED
        return Skipped("no_score" if is_answer else "irrelevant", f"{kind} {event}"[:200])
    address = told.get("email")
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (("email", address), ("wootric_end_user", told.get("end_user_id"))),
        kind=f"{kind} {event}"[:200],
        id=made_id(kind, id_at(told, "id"), event, text_at(told, "updated_at") or text_at(payload, "timestamp")),
        time=_time(payload, told),
    )


def _object(payload: Payload) -> str | None:
    return next((name for name in _OBJECTS if isinstance(payload.get(name), dict)), None)


def _answered(payload: Payload, told: Payload, reading: Reading) -> Facts:
    survey = text_at(payload, "survey_mode")
    scale = configured(reading.questions, survey)
    filled, own = Response(id_at(told, "id")), (survey or "").casefold()
    if scale is None and own == "nps":
        scale = NPS
    if scale is None:
        return displeased(told.get("score"), filled.id) if own in ("csat", "ces") else ()
    filled.add(survey, scale, told.get("score"), told.get("text"))
    return unsent(filled.facts()) if is_true(told.get("excluded_from_calculations")) else filled.facts()


def _time(payload: Payload, told: Payload) -> int | str | None:
    """When it was last changed; in forms the zone stands apart (``2026-06-16 07:28:20 -0700``)."""
    stated: dict[str, Any] = {"changed": told.get("updated_at") or told.get("created_at") or payload.get("timestamp")}
    found = time_at(stated, "changed")
    return _ZONE.sub(r"\1:\2", found.strip()).replace(" UTC", "Z") if isinstance(found, str) else found


ADAPTER = Adapter(
    name="wootric",
    marks=("event_name",),
    recognises=recognises,
    customer_paths=("response.external_id", "decline.external_id"),
    read=read,
    has_questions=True,
    form=True,
)
