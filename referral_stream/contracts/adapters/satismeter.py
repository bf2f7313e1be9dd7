"""SatisMeter: surveys that were answered or dismissed.

A question says by its ``metric`` what it measures; in older webhooks the response's ``category`` (promoter, …) shows
that its ``rating`` is NPS. Satisfaction is asked on several scales there, so ``questions`` names each question's; until
then only the lowest counts. A survey that was closed before its end counts only what speaks against asking; one that
was closed without an answer was put to somebody a moment ago.
"""

from __future__ import annotations

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    list_at,
    made_id,
    object_at,
    profile,
    time_at,
)
from referral_stream.contracts.adapters.states import agreed, is_true, with_opt_out
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    NPS,
    Response,
    asked_by_survey,
    configured,
    displeased,
    is_turned_round,
    unsent,
)
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS = ("completed", "dismissed")
_NOTHING: Facts = ()
_SATISFACTION = frozenset({"csat", "ces"})
"""Metrics that are asked on several scales."""
_CATEGORIES = frozenset({"promoter", "passive", "detractor"})


def recognises(payload: Payload) -> bool:
    """The name of an event beside a response and its user."""
    response = payload.get("response")
    return (
        isinstance(response, dict) and isinstance(payload.get("event"), str) and isinstance(response.get("user"), dict)
    )


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    event, response = str(payload.get("event")), object_at(payload, "response")
    user = object_at(response, "user")
    facts = _answered(response, reading) if event in _EVENTS else unlisted(event)
    if event in _EVENTS and not _is_whole(event, response):
        facts = unsent(facts) or (asked_by_survey("satismeter") if event == "dismissed" else ())
    wished = agreed((at(each, "label"), at(each, "value")) for each in list_at(response, "answers"))
    facts = with_opt_out(facts, payload.get("traits"), user, _by_name(response), *wished)
    if not facts:
        return Skipped("no_score" if event in _EVENTS else "irrelevant", event[:200])
    address = user.get("email")
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (("email", address), ("satismeter_user", user.get("id"))),
        kind=event[:200],
        id=made_id(id_at(response, "id"), event),
        time=time_at(response, "created"),
    )


def _by_name(response: Payload) -> Payload:
    """The answers under the names that the team gave its questions."""
    named = ((at(each, "name"), at(each, "value")) for each in list_at(response, "answers"))
    return {name: value for name, value in named if isinstance(name, str)}


def _is_whole(event: str, response: Payload) -> bool:
    """Whether it was answered to its end, by somebody whom SatisMeter still knows."""
    left = (response.get("pending"), response.get("dismissed"), at(response, "user.deleted"))
    completed = response.get("completed")
    return event == "completed" and (completed is None or is_true(completed)) and not any(map(is_true, left))


def _answered(response: Payload, reading: Reading) -> Facts:
    filled = Response(id_at(response, "id"))
    answers = list_at(response, "answers")
    is_named, bad = False, _NOTHING
    for answer in answers:
        if not isinstance(answer, dict):
            continue
        is_loyalty = _metric(answer) == "nps"
        is_named = is_named or is_loyalty
        question = id_at(answer, "id") if reading.questions else None
        said = configured(reading.questions, question)
        if said is not None:
            filled.add(question, said, answer.get("value"), is_configured=True)
        elif is_loyalty and not is_turned_round(answer.get("label")):
            filled.add(question, NPS, answer.get("value"))
        elif _metric(answer) in _SATISFACTION:
            bad = bad or displeased(answer.get("value"), filled.id)
    if not (is_named or filled.has_nps) and str(response.get("category")).casefold() in _CATEGORIES:
        filled.add("rating", NPS, response.get("rating"))
    filled.add("feedback", COMMENT, response.get("feedback"))
    return filled.facts() + bad


def _metric(answer: Payload) -> str:
    return str(answer.get("metric")).casefold()


ADAPTER = Adapter(
    name="satismeter",
    marks=("response",),
    recognises=recognises,
    customer_paths=("response.user.userId",),
    read=read,
    has_questions=True,
)
