"""PostHog: captured events (alone or as a batch), and what its webhook destination sends.

Event names are chosen by the product, so only listed ones mean something; names with ``$`` are PostHog's own, and
mostly not actions of the customer. A survey does not state its scales: a number is a score where the deployment says
so, or where the question (or the survey that asks for one number) calls itself NPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.product_events import MAX_FEATURE, by_people, happened, readers
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
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
from referral_stream.contracts.adapters.states import is_true, with_opt_out
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    NPS,
    Response,
    asked_by_survey,
    configured,
    is_loyalty,
    score_of,
    unsent,
)
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_RESPONSE = "$survey_response"
_ACCOUNT_GROUPS = ("company", "organization", "account", "workspace", "customer")
_NOBODY = frozenset({
    "anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email", "undefined", "true", "false",
    "null", "none", "nan", "0", "[object object]", "nil", "$posthog_cookieless",
})  # fmt: skip
"""What code sends when it has no id. PostHog refuses to identify by these, for they would merge many into one."""


def recognises(payload: Payload) -> bool:
    """An event with a distinct id, or with the project's key; a Segment call has neither.

    Mixpanel's events have the id in the same place, and its own marks beside it.
    """
    if not isinstance(payload.get("event"), str) or not _OF_SENDGRID.isdisjoint(payload):
        return False
    if "distinct_id" in payload or "api_key" in payload or "token" in payload:
        return True
    properties = object_at(payload, "properties")
    is_ours = "$lib" in properties or "uuid" in payload or "timestamp" in payload
    return is_ours and "distinct_id" in properties and not any(name.startswith("mp_") for name in properties)


_OF_SENDGRID = frozenset({"sg_event_id", "sg_message_id", "smtp-id"})
"""SendGrid writes a team's own arguments (a ``token``, a ``distinct_id``) beside its fields."""


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
    told = _facts(event, payload, properties, distinct, reading)
    agents = [properties.get(name) for name in _AGENTS]
    facts = by_people(with_opt_out(told, *_records(payload, properties)), *agents, about=(properties,))
    if event == "survey sent" and not facts:
        return Skipped("no_score", event)
    # The group's own record is written under an id that stands for the group.
    is_nobody = distinct is None or distinct.casefold() in _NOBODY
    identified = properties.get("$is_identified")
    is_anonymous = is_nobody or not (identified is None or is_true(identified))
    return about_whom(
        payload | {"distinct_id": None if is_anonymous else distinct},
        reading,
        facts,
        [
            ("email", _address(payload, properties)),
            *readers(told, properties),
            *_named(payload, properties, None if is_nobody else distinct, is_anonymous=is_anonymous),
        ],
        kind=event[:MAX_FEATURE],
        id=id_at(payload, "uuid", "properties.$insert_id"),
        time=time_at(payload, "timestamp", "properties.timestamp"),
        account=_account(properties),
        timezone=text_at(properties, "$timezone"),
        historical=is_true(payload.get("historical_migration")),
    )


_AGENTS = ("$raw_user_agent", "$user_agent", "$useragent", "$browser_type")
"""What says that a program was there; PostHog's own type of browser is then ``bot``."""


def _records(payload: Payload, properties: Payload) -> tuple[Any, ...]:
    """Where an event holds state: what it sets of the person, the person's own properties, and the event's."""
    person = at(payload, "person.properties")
    return (
        payload.get("$set"), payload.get("$set_once"), person, properties.get("$set"), properties.get("$set_once"),
        properties,
    )  # fmt: skip


def _named(payload: Payload, properties: Payload, distinct: str | None, *, is_anonymous: bool) -> list[tuple[str, Any]]:
    """Who else the person is. The device is left out: several people use one."""
    anonymous = properties.get("$anon_distinct_id")
    return [
        ("posthog_anonymous" if is_anonymous else "posthog_distinct", distinct),
        ("posthog_anonymous", None if str(anonymous).casefold() in _NOBODY else anonymous),
        ("posthog_person", at(payload, "person.id") or at(payload, "person.uuid")),
    ]


def _account(properties: Payload) -> str | None:
    """The account among the groups: by its usual names, or the only group there is."""
    groups = object_at(properties, "$groups")
    if not groups:
        return None
    named = id_at(groups, *_ACCOUNT_GROUPS)
    return named if named is not None or len(groups) != 1 else id_at({"only": next(iter(groups.values()))}, "only")


def _facts(event: str, payload: Payload, properties: Payload, distinct: str | None, reading: Reading) -> Facts:
    match event:
        case "survey sent":
            answered = _answered(payload, properties, reading)
            is_whole = is_true(properties.get("$survey_completed", True))
            is_partial = is_true(properties.get("$survey_partially_completed"))
            return answered if is_whole and not is_partial else unsent(answered)
        case "$identify" | "$set":
            known = profile(**reading.address_hmacs(_address(payload, properties)))
            return (*known, *_same(properties, "$anon_distinct_id"))
        case "$groupidentify":
            key, kind = id_at(properties, "$group_key"), text_at(properties, "$group_type")
            # Sent from a server, the group stands for itself: it makes nobody a member.
            return () if key is None or distinct == f"${kind}_{key}" else profile(account_id=key)
        case "$create_alias" | "$merge_dangerously":
            return _same(properties, "alias")
        case "survey shown":  # it takes part in nothing, but somebody has just been asked something
            return asked_by_survey("posthog")
        case "survey dismissed" | "survey abandoned":  # with the answers that were given until then
            return unsent(_answered(payload, properties, reading))
        case "$workflows_email_blocked":  # so it calls what its providers report as spam
            return (Fact("customer.suppressed", {"reason": "spam_report"}),)
        case _ if event.startswith("$"):
            return unlisted(event)
        case _:
            return happened(event, properties)


def _same(properties: Payload, where: str) -> Facts:
    """Another id of the same person, as any browser may say."""
    alias = id_at(properties, where)
    is_nobody = alias is None or alias.casefold() in _NOBODY
    return () if is_nobody else (Fact("customer.aliased", {"alias": alias}, browser=True),)


def _address(payload: Payload, properties: Payload) -> Any:
    person = at(payload, "person.properties")
    for held in (properties.get("$set"), payload.get("$set"), properties.get("$set_once"), person):
        if isinstance(held, dict) and (found := held.get("email")):
            return found
    return None


def _answered(payload: Payload, properties: Payload, reading: Reading) -> Facts:
    """The answers with a score: of the questions the deployment names, else the one that calls itself NPS.

    A response repeats its first answer under two names; of two questions that call themselves NPS the lower answer
    counts.
    """
    survey = id_at(properties, "$survey_id")
    response = Response(
        id_at(properties, "$survey_submission_id") or id_at(payload, "uuid") or _stand_in(payload, survey)
    )
    questions = list_at(properties, "$survey_questions")
    answers: dict[str, Any] = {}
    for name, value in properties.items():
        if name.startswith(_RESPONSE):
            answers.setdefault(_question(name.removeprefix(_RESPONSE).removeprefix("_"), questions), value)
    ids = [id_at({"id": at(each, "id")}, "id") or str(n) for n, each in enumerate(questions)]
    for reference, each in zip(ids, questions, strict=True):  # some versions answer within the question
        answers.setdefault(reference, at(each, "response"))
    wordings = {reference: at(each, "question") for reference, each in zip(ids, questions, strict=True)}
    unnamed: list[Any] = []
    loyal: list[Any] = []
    for question, value in answers.items():
        scale = configured(reading.questions, question)
        if scale is not None:
            response.add(question, scale, value)
        elif score_of(value) is None:
            response.add(question, COMMENT, value)
        else:
            (loyal if is_loyalty(wordings.get(question)) else unnamed).append(value)
    if loyal:
        response.add(None, NPS, min(loyal, key=_as_number))
    elif not response.facts() and len({_as_number(value) for value in unnamed}) == 1:
        scale = configured(reading.questions, survey) or (NPS if is_loyalty(properties.get("$survey_name")) else None)
        if scale is not None:
            response.add(next(iter(answers)) if len(answers) == 1 else "0", scale, unnamed[0])
    return response.facts()


def _as_number(value: Any) -> float:
    return score_of(value) or 0


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
