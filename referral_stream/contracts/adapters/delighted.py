"""Delighted: survey responses and unsubscriptions.

A response comes twice or more (first the bare score, then the comment, then corrections), each time with the same
response id: revisions of one answer. Whether someone is a promoter follows from the score. The customer's id is a
property that the team gives a survey; an unsubscription has none, only Delighted's own person and their address, which
the surveys teach.
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
    list_at,
    object_at,
    profile,
    time_at,
)
from referral_stream.contracts.adapters.states import agreed, with_opt_out
from referral_stream.contracts.adapters.surveys import displeased, score_of
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_SATISFACTION = {"csat": 5, "smiley": 5, "smileys": 5, "five_star": 5, "star": 5, "thumbs": 1}
"""Survey types that measure satisfaction → their scale's maximum."""


def recognises(payload: Payload) -> bool:
    """An ``event_type`` next to an ``event_data`` object."""
    return isinstance(payload.get("event_type"), str) and isinstance(payload.get("event_data"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    kind = str(payload.get("event_type"))
    told = object_at(payload, "event_data")
    facts: Facts
    match kind:
        case "survey_response.created" | "survey_response.updated":
            facts = _answered(told)
        case "unsubscribe.created":
            facts = (Fact("customer.suppressed", {"reason": "unsubscribe"}),)
        case _:
            facts = unlisted(kind)
    address = at(told, "person.email") or told.get("email")
    return about_whom(
        payload,
        reading,
        (*with_opt_out(facts, told, *_agreed(told)), *profile(**reading.address_hmacs(address))),
        (("email", address), ("delighted_person", id_at(told, *_PEOPLE))),
        kind=kind[:200],
        id=id_at(payload, "event_id"),
        time=time_at(told, *([name for name in _TIMES if told.get(name)] or _TIMES)),
    )


_PEOPLE = (*expandable("person"), "person_id")
_TIMES = ("updated_at", "unsubscribed_at", "created_at")


def _agreed(response: Payload) -> list[Payload]:
    return agreed(
        (asked, [*(at(each, path) for path in _SAID), *(at(one, "text") for one in list_at(each, "value.select_many"))])
        for each in list_at(response, "additional_answers")
        for asked in (id_at(each, "question.id"), at(each, "question.text"))
    )


_SAID = ("value", "value.free_response", "value.select_one.text")


def _answered(response: Payload) -> Facts:
    """The answer; before there were other surveys, one said nothing of its type, and was NPS."""
    survey = str(response.get("survey_type") or "nps").casefold()
    score = score_of(response.get("score"))
    data: dict[str, Any] = {
        "response_id": id_at(response, "id"),
        "score": response.get("score") if score is None else score,
        "comment": response.get("comment"),
    }
    if survey == "nps":
        return (Fact("nps.responded", data),)
    if survey in _SATISFACTION:
        return (Fact("csat.responded", data | {"scale_max": _SATISFACTION[survey]}),)
    if survey == "ces":
        return displeased(score, data["response_id"])  # both of its scales begin with the worst
    return ()  # employees, product-market fit: neither loyalty nor satisfaction


ADAPTER = Adapter(
    name="delighted",
    marks=("event_data",),
    recognises=recognises,
    customer_paths=("event_data.person_properties.customer_id",),
    read=read,
)
