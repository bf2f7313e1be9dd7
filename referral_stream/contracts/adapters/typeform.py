"""Typeform: form responses. NPS is a question of type ``nps``, or an opinion scale from 0 to 10 that is named so.

The reference of an opinion scale, or the deployment's ``questions``, says whether it asks for recommendations, and that
of stars whether they mean satisfaction; titles do not ("How likely are you to cancel?"). Stars need their number of
steps, from the form's definition or the deployment. A scale whose labels run from good to bad counts nothing. A form
that was left without being sent counts only what speaks against asking.
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
    id_at,
    list_at,
    object_at,
    profile,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import agreed, with_opt_out
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    IGNORE,
    NPS,
    Response,
    Scale,
    configured,
    displeased,
    is_loyalty,
    is_satisfaction,
    is_turned_round,
    is_unwilling,
    unsent,
)
from referral_stream.contracts.identifiers import usable_id
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_EVENTS = ("form_response", _PARTIAL := "form_response_partial")
_ADDRESSES = ("email", "user_email", "customer_email", "e_mail", "mail")
"""Hidden fields that hold the respondent's address."""
_NPS_STEPS = 11
_SCALED = ("nps", "opinion_scale", "rating", "long_text")
"""Types of questions whose answers may be understood without the deployment's help."""


def recognises(payload: Payload) -> bool:
    """A ``form_response`` beside the name of an event."""
    return isinstance(payload.get("event_type"), str) and isinstance(payload.get("form_response"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One response."""
    kind = str(payload.get("event_type"))
    response = object_at(payload, "form_response")
    answers = [given for given in list_at(response, "answers") if isinstance(given, dict)]
    fields = _fields(response)
    facts = _answered(response, answers, fields, reading) if kind in _EVENTS else unlisted(kind)
    if kind == _PARTIAL:
        facts = unsent(facts)
    facts = with_opt_out(facts, response.get("hidden"), _chosen(answers, fields), *_wished(response, answers, fields))
    if not facts:
        return Skipped("no_score" if kind in _EVENTS else "irrelevant", kind[:200])
    address = next((found for name in _ADDRESSES if (found := at(response, f"hidden.{name}"))), None)
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (("email", address), *(("email", given.get("email")) for given in answers if given.get("type") == "email")),
        kind=kind[:200],
        id=id_at(payload, "event_id"),
        time=time_at(response, "submitted_at", "landed_at"),
    )


def _fields(response: Payload) -> dict[str | None, Payload]:
    """The definition of the form's questions, by id."""
    listed = list_at(response, "definition.fields")
    return {usable_id(field.get("id")): field for field in listed if isinstance(field, dict)}


def _reference(asked: Payload, fields: dict[str | None, Payload]) -> str | None:
    """What the team calls a question: in older webhooks the definition alone says it."""
    field_id = usable_id(asked.get("id"))
    return usable_id(asked.get("ref")) or usable_id(fields.get(field_id, {}).get("ref")) or field_id


def _answered(response: Payload, answers: list[Payload], fields: dict[str | None, Payload], reading: Reading) -> Facts:
    questions = [asked if type(asked := given.get("field")) is dict else {} for given in answers]
    kinds = [asked.get("type") for asked in questions]
    filled = Response(id_at(response, "token"))
    bad: Facts = ()
    for given, asked, kind in zip(answers, questions, kinds, strict=True):
        if kind not in _SCALED and not reading.questions:
            continue
        field_id = usable_id(asked.get("id"))
        reference = _reference(asked, fields)
        scale = configured(reading.questions, reference, field_id) if reading.questions else None
        if scale is None:
            field = fields.get(field_id, {})
            filled.add(reference, guessed := _scale(kind, reference, field), _value(given))
            if guessed == IGNORE and _is_rated(kind, reference) and not _is_reversed(field):
                bad = bad or displeased(_value(given), filled.id)
        else:
            filled.add(reference, scale, _value(given), is_configured=True)
    return filled.facts() + bad


def _is_rated(kind: Any, reference: str | None) -> bool:
    """Whether a question is called NPS or satisfaction, on whichever scale."""
    return kind in ("opinion_scale", "rating") and (is_loyalty(reference) or is_satisfaction(reference))


def _chosen(answers: list[Payload], fields: dict[str | None, Payload]) -> Payload:
    """What was chosen, yes or no or by label, under the references that the team gave its questions."""
    found: Payload = {}
    for given in answers:
        reference = _reference(object_at(given, "field"), fields)
        chosen = [at(given, path) for path in _CHOSEN]
        if reference is not None:
            found[reference] = next((each for each in chosen if each is not None), None)
    return found


_CHOSEN = ("boolean", "choice.label", "choices.labels", "choice.other", "choices.other", "text")


def _wished(response: Payload, answers: list[Payload], fields: dict[str | None, Payload]) -> list[Payload]:
    """What a title asks and a choice says by itself, as most teams give neither a reference; and the variables."""
    variables = [each for each in list_at(response, "variables") if isinstance(each, dict)]
    told = {key: each.get(str(each.get("type"))) for each in variables if isinstance(key := each.get("key"), str)}
    titled = (
        (
            at(fields.get(usable_id(at(given, "field.id")), {}), "title"),
            [*(at(given, path) for path in _CHOSEN if path != "choices.labels"), *list_at(given, "choices.labels")],
        )
        for given in answers
    )
    return [told, *agreed(titled)]


def _value(given: Payload) -> Any:
    """What was answered: a number, a text, or the label of a choice, which may be a number written out."""
    for path in ("number", "text", "choice.label"):
        if (value := at(given, path)) is not None:
            return value
    return None


def _scale(kind: Any, reference: str | None, field: Payload) -> Scale:
    """What the answer means by itself, without the deployment's help."""
    match kind:
        case "nps":
            return IGNORE if _is_reversed(field) else NPS
        case "long_text":
            return COMMENT
        case "opinion_scale" if is_loyalty(reference):
            return NPS if _is_nought_to_ten(field) and not _is_reversed(field) else IGNORE
        case "rating" if is_satisfaction(reference) and (steps := _steps(field)) is not None and steps > 0:
            return Scale("csat", steps)
        case _:
            return IGNORE


def _is_reversed(field: Payload) -> bool:
    """Whether the labels of a scale say that its high end is the bad one, or its question asks for the opposite."""
    left, right = (is_unwilling(at(field, f"properties.labels.{side}")) for side in ("left", "right"))
    return (right and not left) or is_turned_round(field.get("title"))


def _is_nought_to_ten(field: Payload) -> bool:
    """Whether the definition leaves an opinion scale as Typeform makes it by default."""
    return _steps(field) in (None, _NPS_STEPS) and at(field, "properties.start_at_one") is not True


def _steps(field: Payload) -> int | None:
    """How many steps the form's definition gives a scale."""
    return whole_number(at(field, "properties.steps"))


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
