"""PostHog: captured events (alone or as a batch), and what its webhook destination sends.

Event names are chosen by the product, so an unknown name is usage; names with ``$`` are PostHog's, and mostly not
actions of the customer. A survey states neither its scale nor which question is which, unless the deployment does: a
number then counts as NPS, PostHog's usual scale of 0 to 10, because an overlooked detractor would be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_stream.contracts.adapters.product_events import MAX_FEATURE, happened
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    about,
    at,
    id_at,
    list_at,
    listed,
    object_at,
    profile,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.surveys import COMMENT, NPS, Response, Scale, configured, score_of
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core.instants import parse_instant

_NPS_MAX = 10
_RESPONSE = "$survey_response"
_ACCOUNT_GROUPS = ("company", "organization", "account", "workspace", "customer")
_NOBODY = frozenset({
    "anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email", "undefined", "true", "false",
    "null", "none", "nan", "0", "[object object]", "nil",
})  # fmt: skip
"""What code sends when it has no id. PostHog refuses to identify by these, for they would merge many into one."""


def recognises(payload: Payload) -> bool:
    """An event with a distinct id, or with the project's key; a Segment call has neither."""
    return isinstance(payload.get("event"), str) and (
        "distinct_id" in payload
        or "api_key" in payload
        or "token" in payload
        or "distinct_id" in object_at(payload, "properties")
    )


def split(body: Any) -> Sequence[Any]:
    """The events of a body: a batch (also a bare array, as browsers send), a webhook's envelope (``event`` beside
    ``person``), a REST hook, or one event.
    """
    if not isinstance(body, dict):
        return listed(body)
    if isinstance(body.get("batch"), list):
        shared = {"api_key": body.get("api_key"), "historical_migration": body.get("historical_migration")}
        return [event | shared if isinstance(event, dict) else event for event in body["batch"]]
    if isinstance(body.get("event"), dict):
        return (body["event"] | {"person": body.get("person")},)
    if "hook" in body and isinstance(body.get("data"), dict):
        data = body["data"]
        return (data | {"distinct_id": data.get("distinct_id", data.get("distinctId"))},)
    return (body,)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    event = text_at(payload, "event") or ""
    properties = object_at(payload, "properties")
    distinct = id_at(payload, "distinct_id", "properties.distinct_id", "properties.$distinct_id")
    account = _account(properties)
    if event == "survey sent" and not (answers := _answered(payload, properties, reading)):
        return Skipped("no_score", event)
    facts = answers if event == "survey sent" else _facts(event, payload, properties, distinct, reading)
    # The group's own record is written under an id that stands for the group.
    is_nobody = distinct is None or distinct.casefold() in _NOBODY or properties.get("$is_identified") is False
    return about(
        payload | {"distinct_id": None if is_nobody else distinct},
        reading,
        facts,
        kind=event[:MAX_FEATURE],
        id=id_at(payload, "uuid", "properties.$insert_id"),
        time=_time(payload),
        account=account,
        timezone=text_at(properties, "$timezone"),
        historical=payload.get("historical_migration") is True,
    )


def _time(payload: Payload) -> int | str | None:
    """When it happened; text that is not a time counts as missing, as at PostHog itself."""
    time = time_at(payload, "timestamp", "properties.timestamp")
    if isinstance(time, str):
        try:
            parse_instant(time)
        except (ValueError, OverflowError):
            return None
    return time


def _account(properties: Payload) -> str | None:
    """The account among the groups: by its usual names, or the only group there is."""
    groups = object_at(properties, "$groups")
    named = id_at(groups, *_ACCOUNT_GROUPS)
    return named if named is not None or len(groups) != 1 else id_at({"only": next(iter(groups.values()))}, "only")


def _facts(event: str, payload: Payload, properties: Payload, distinct: str | None, reading: Reading) -> Facts:
    match event:
        case "$identify" | "$set":
            return _identified(payload, properties, reading)
        case "$groupidentify":
            key, kind = id_at(properties, "$group_key"), text_at(properties, "$group_type")
            # Sent from a server, the group stands for itself: it makes nobody a member.
            return () if key is None or distinct == f"${kind}_{key}" else profile(account_id=key)
        case "$create_alias":
            alias = id_at(properties, "alias")
            return () if alias is None else (Fact("customer.aliased", {"alias": alias}),)
        case "survey shown":
            return (Fact("advocacy.asked", {"kind": "survey", "by": "posthog"}),)
        case "survey dismissed":
            return ()
        case _ if not event or event.startswith("$"):
            return ()
        case _:
            return happened(event, properties)


def _identified(payload: Payload, properties: Payload, reading: Reading) -> Facts:
    address = (
        at(properties, "$set.email")
        or at(payload, "$set.email")
        or at(properties, "$set_once.email")
        or at(payload, "person.properties.email")
    )
    return profile(email_hmac=reading.email_hmac(address))


def _answered(payload: Payload, properties: Payload, reading: Reading) -> Facts:
    """The answers with a score, each of them once: a response repeats its first answer under two names."""
    survey = id_at(properties, "$survey_id")
    response = Response(
        id_at(properties, "$survey_submission_id") or id_at(payload, "uuid") or _stand_in(payload, survey)
    )
    questions = list_at(properties, "$survey_questions")
    for name, value in properties.items():
        if name.startswith(_RESPONSE):
            question = _question(name.removeprefix(_RESPONSE).removeprefix("_"), questions)
            response.add(question, configured(reading.questions, question, survey) or _guessed(value), value)
    return response.facts()


def _question(reference: str, questions: list[Any]) -> str:
    """The question's id; where the event names the question by its place only, the id at that place."""
    place = whole_number(reference or "0")
    if place is None or not 0 <= place < len(questions):
        return reference or "0"
    return id_at(questions[place], "id") or reference or "0"


def _stand_in(payload: Payload, survey: str | None) -> str | None:
    """What identifies a response that has no id: who answered which survey, and when."""
    time = time_at(payload, "timestamp")
    distinct = id_at(payload, "distinct_id", "properties.distinct_id")
    return None if survey is None or distinct is None else f"{survey}:{distinct}:{time or ''}"[:512]


def _guessed(value: Any) -> Scale:
    score = score_of(value)
    return NPS if isinstance(score, int) and 0 <= score <= _NPS_MAX else COMMENT


ADAPTER = Adapter(
    name="posthog",
    marks=("event", "batch", "hook"),
    recognises=recognises,
    customer_paths=("distinct_id",),
    read=read,
    split=split,
    has_questions=True,
    browser=True,
)
