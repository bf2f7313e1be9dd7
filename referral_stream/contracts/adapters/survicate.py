"""Survicate: answered questions and completed surveys.

An NPS answer is the one whose body is a label (promoter, passive, detractor); its score is the answer's id, and only
that counts. Other answers are texts, which mean a number only where the deployment's ``questions`` say so.
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
    object_at,
    profile,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import agreed, with_opt_out
from referral_stream.contracts.adapters.surveys import IGNORE, NPS, Response, Scale, configured, is_turned_round
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS = ("questionAnswered", "surveyCompleted", "surveyAnswered")
_LABELS = frozenset({"promoter", "passive", "detractor"})
_NPS_MAX = 10


def recognises(payload: Payload) -> bool:
    """An ``event`` object that holds one of its events by name; beside a message's id, any event."""
    return _kind(payload) is not None


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook; customer paths begin inside its event (``respondent.id``)."""
    kind = _kind(payload) or ""
    event: Payload = payload["event"][kind]
    answers = list_at(event, "answers") or list_at(event, "questions") or [event]
    traits = _traits(event)
    event = event | {"respondent": object_at(event, "respondent") | {"attributes": traits}}
    answers = [given for given in answers if isinstance(given, dict)]
    facts = with_opt_out(
        _answered(event, answers, reading) if kind in _EVENTS else unlisted(kind),
        event["respondent"],
        *_agreed(answers),
    )
    if not facts:
        return Skipped("no_score" if kind in _EVENTS else "irrelevant", kind[:200])
    return about_whom(
        event,
        reading,
        (*facts, *profile(**reading.address_hmacs(traits.get("email")))),
        (
            ("email", traits.get("email")),
            ("survicate_uuid", at(event, "respondent.uuid")),
            ("survicate_respondent", at(event, "respondent.id")),
            *(("email", at(given, "fields.email")) for given in answers),
        ),
        kind=kind[:200],
        id=id_at(payload, "messageId"),
        time=time_at(event, "timestamp"),
    )


def _agreed(answers: list[Payload]) -> list[Payload]:
    return agreed(
        (
            at(each, "question.body"),
            [at(each, "choice.body"), at(each, "text"), *(at(one, "body") for one in list_at(each, "choices"))],
        )
        for each in answers
    )


def _traits(event: Payload) -> Payload:
    """A respondent's attributes, an object or a list of names with values."""
    listed = (each for each in list_at(event, "respondent.attributes") if isinstance(each, dict))
    named = {name: each.get("value") for each in listed if isinstance(name := each.get("name"), str)}
    return named or object_at(event, "respondent.attributes")


def _kind(payload: Payload) -> str | None:
    event = payload.get("event")
    if not isinstance(event, dict):
        return None
    names = (*_EVENTS, *event) if "messageId" in payload else _EVENTS
    return next((kind for kind in names if isinstance(event.get(kind), dict)), None)


def _answered(event: Payload, answers: list[Payload], reading: Reading) -> Facts:
    response = Response(id_at(event, "responseUuid") or _stand_in(event))
    for given in answers:
        question, choice = id_at(given, "question.id"), object_at(given, "choice")
        named = configured(reading.questions, question)
        scale = named or _guessed(given, choice)
        value = choice.get("id") if scale == NPS and _is_label(choice) else choice.get("body")
        if not choice:
            value = given.get("text")
        response.add(question, scale, value, choice.get("comment"), is_configured=named is not None)
    return response.facts()


def _stand_in(event: Payload) -> str | None:
    """What identifies a response in older webhooks, which have no id: who answered which survey."""
    names = (id_at(event, "survey.id"), id_at(event, "respondent.uuid", "respondent.id"))
    return ":".join(name for name in names if name) if all(names) else None


def _is_label(choice: Payload) -> bool:
    body = choice.get("body")
    return isinstance(body, str) and body.casefold() in _LABELS


def _guessed(given: Payload, choice: Payload) -> Scale:
    score = whole_number(choice.get("id"))
    is_loyalty = _is_label(choice) and score is not None and 0 <= score <= _NPS_MAX
    return NPS if is_loyalty and not is_turned_round(at(given, "question.body")) else IGNORE


ADAPTER = Adapter(
    name="survicate",
    marks=("event",),
    recognises=recognises,
    customer_paths=("respondent.attributes.user_id", "respondent.attributes.customer_id"),
    read=read,
    has_questions=True,
)
