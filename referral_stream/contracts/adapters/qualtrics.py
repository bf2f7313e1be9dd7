"""Qualtrics: events of its subscriptions, which name a response without its content; and fetched responses.

An event comes as a form: ``MSG``, which is signed and is JSON, beside ``Topic``, which is not signed and may only
protect. It carries no answers, so nothing else follows from it. A response fetched from
``…/surveys/ID/responses/ID`` and put on the topic is read: a question of type NPS has a group beside its score, and
others count by the deployment's ``questions``. One that is not finished, that was imported, or that Qualtrics takes for
spam, counts only what speaks against asking; a preview or a test counts nothing.
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
    is_one_of,
    made_id,
    object_at,
    profile,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import agreed, is_true, with_opt_out
from referral_stream.contracts.adapters.surveys import IGNORE, NPS, Response, Scale, configured, unsent
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_TRIAL = 1 | 2
"""Bits of a response's status: it is that of a preview, or made by a test."""
_AS_ANSWERED = 16 | 32
"""Bits that change nothing: it came from the offline app, or from a project about employees. With any other (4 is
imported, 8 spam, more are unknown) nobody vouches for when and by whom it was given.
"""
_TRIAL_CHANNELS = ("preview", "test")
_GROUP = "_NPS_GROUP"
_OBJECT_ID = re.compile(r"[A-Z]{2,4}_[A-Za-z0-9]+")


def recognises(payload: Payload) -> bool:
    """An event's topic and message, or a response with its values."""
    if _is_event(payload):
        return isinstance(payload.get("Topic"), str)
    return isinstance(object_at(payload, "result").get("values"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event or response. Beside a message nothing else counts: nobody has signed it."""
    return _notified(payload, reading) if _is_event(payload) else _fetched(payload, reading)


def _is_event(payload: Payload) -> bool:
    return _is_signed(payload) or (isinstance(payload.get("Topic"), str) and isinstance(payload.get("SurveyID"), str))


def _is_signed(payload: Payload) -> bool:
    """Whether what it says stands in ``MSG``: a subscription without a shared key sends the same as fields."""
    return "MSG" in payload or "HMAC" in payload


def _notified(payload: Payload, reading: Reading) -> Webhook | Skipped:
    brand, _, name = str(payload.get("Topic")).partition(".")
    kind = ".".join(part for part in (name or brand).split(".") if not _OBJECT_ID.fullmatch(part))[:200]
    if not (facts := unlisted(kind)):
        return Skipped("no_score", f"{kind}: an event carries no answers"[:200])
    message = _message(payload.get("MSG")) if _is_signed(payload) else payload
    return about_whom(
        message,
        reading,
        facts,
        (("qualtrics_recipient", message.get("RecipientID")),),
        kind=kind,
        id=made_id(kind, id_at(message, "ResponseID", "RecipientID")),
        time=None,  # a date without a zone
    )


def _message(text: Any) -> Payload:
    """What an event says; nothing where it is encrypted."""
    try:
        found = read_json(text.encode()) if isinstance(text, str) else text
    except (NotJson, UnicodeEncodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _fetched(payload: Payload, reading: Reading) -> Webhook | Skipped:
    values = object_at(payload, "result.values")
    status = whole_number(values.get("status"))
    if (status is not None and status & _TRIAL) or is_one_of(values.get("distributionChannel"), _TRIAL_CHANNELS):
        return Skipped("test_mode", "response of a preview or a test")
    facts = _answered(payload, values, reading)
    if status is None or status & ~_AS_ANSWERED or not is_true(values.get("finished")):
        facts = unsent(facts)
    chosen = agreed((None, label) for label in object_at(payload, "result.labels").values())
    facts = with_opt_out(facts, values, *chosen)
    if not facts:
        return Skipped("no_score", "response")
    address = values.get("recipientEmail")
    recorded = text_at(values, "recordedDate") or text_at(values, "endDate")
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (("email", address),),
        kind="response",
        id=made_id(id_at(payload, "result.responseId"), recorded),
        time=time_at(values, "endDate", "recordedDate"),
    )


def _answered(payload: Payload, values: Payload, reading: Reading) -> Facts:
    labels = object_at(payload, "result.labels")
    filled = Response(id_at(payload, "result.responseId"))
    for name, value in values.items():
        said = configured(reading.questions, name)
        is_loyalty = f"{name}{_GROUP}" in values or f"{name}{_GROUP}" in labels
        scale: Scale = said or (NPS if is_loyalty else IGNORE)
        filled.add(name, scale, value, is_configured=said is not None)
    return filled.facts()


ADAPTER = Adapter(
    name="qualtrics",
    marks=("MSG", "HMAC", "Topic", "result"),
    recognises=recognises,
    customer_paths=("result.values.externalDataReference",),
    read=read,
    has_questions=True,
    form=True,
)
