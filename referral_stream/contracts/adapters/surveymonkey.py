"""SurveyMonkey: callbacks, which name a response without its content; and fetched responses.

A callback carries no score, so nothing follows from it. A response fetched from ``…/responses/ID/details?simple=true``
(or several, from ``…/responses/bulk``) and put on the topic is read, by the deployment's ``questions``. One that is not
completed, or that somebody else entered or edited, counts only what speaks against asking; a preview counts nothing.
The weight of a choice is no score: those of NPS are -100, 0 and 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_stream.contracts.adapters.identities import Named, about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    list_at,
    listed,
    profile,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import agreed, opted_out
from referral_stream.contracts.adapters.surveys import IGNORE, Response, configured, unsent
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook


def responses(body: Any) -> Sequence[Any]:
    """The responses of a page of them, or one alone."""
    several = at(body, "data")
    return several if isinstance(several, list) else listed(body)


def recognises(payload: Payload) -> bool:
    """A callback (an event type beside an object's id), or a response with its pages."""
    kind = payload.get("event_type")
    if isinstance(kind, str):
        return "object_id" in payload
    return isinstance(payload.get("pages"), list) and "survey_id" in payload


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One callback or response."""
    if "pages" not in payload:
        return _called_back(payload, reading)
    mode = (text_at(payload, "collection_mode") or _BY_RESPONDENT).casefold()
    if mode in _PREVIEWS:
        return Skipped("test_mode", "response of a preview")
    facts = _answered(payload, reading)
    if payload.get("response_status") != "completed" or mode != _BY_RESPONDENT:
        facts = unsent(facts)
    facts += opted_out(payload.get("custom_variables"), payload.get("metadata"), *_wished(payload))
    if not facts:
        return Skipped("no_score", "response")
    modified = time_at(payload, "date_modified", "date_created")
    names = (id_at(payload, "id"), None if modified is None else str(modified))
    address = text_at(payload, "email_address") or at(payload, "metadata.contact.email.value")
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (("email", address), *_recipient(payload)),
        kind="response",
        id=":".join(name for name in names if name) if all(names) else None,
        time=modified,
    )


_PREVIEWS = ("preview", "survey_preview")
_BY_RESPONDENT = "default"
"""How a response came in that its respondent gave; others were entered (``data_entry``) or changed (``edit``)."""


def _called_back(payload: Payload, reading: Reading) -> Webhook | Skipped:
    kind = str(payload.get("event_type"))
    if not (facts := unlisted(kind)):
        return Skipped("no_score", f"{kind}: a callback carries no answers"[:200])
    return about_whom(
        payload,
        reading,
        facts,
        _recipient(payload),
        kind=kind[:200],
        id=id_at(payload, "event_id"),
        time=time_at(payload, "event_datetime"),
    )


def _recipient(payload: Payload) -> Named:
    """To whom the survey was sent; 0 or nobody where it was open to all."""
    recipient = id_at(payload, "recipient_id", "resources.recipient_id")
    return () if recipient == "0" else (("surveymonkey_recipient", recipient),)


def _answered(payload: Payload, reading: Reading) -> Facts:
    filled = Response(id_at(payload, "id"))
    for page in list_at(payload, "pages"):
        for question in list_at(page, "questions"):
            reference = id_at(question, "id")
            scale = configured(reading.questions, reference)
            for given in list_at(question, "answers"):
                filled.add(reference, scale or IGNORE, _value(given), is_configured=scale is not None)
    return filled.facts()


def _wished(payload: Payload) -> list[Payload]:
    """The answers under the names that the team gave its questions, under what it asks, and by themselves."""
    questions = [each for page in list_at(payload, "pages") for each in list_at(page, "questions")]
    given = [(each, [_value(answer) for answer in list_at(each, "answers")]) for each in questions]
    named = {name: answers for each, answers in given if (name := text_at(each, "variable_id"))}
    return [named, *agreed((at(each, "heading") or at(each, "headings.0.heading"), said) for each, said in given)]


def _value(given: Any) -> Any:
    """What was answered: as spelled out (``simple=true``) or as typed."""
    return at(given, "simple_text") or at(given, "text")


ADAPTER = Adapter(
    name="surveymonkey",
    marks=("object_id", "pages", "data"),
    recognises=recognises,
    customer_paths=("custom_variables.customer_id", "custom_variables.user_id", "custom_value"),
    read=read,
    split=responses,
    has_questions=True,
)
