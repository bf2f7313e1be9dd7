"""Segment: track, identify, group, alias and delete, with the names of its B2B SaaS, e-mail and live chat specs.

Dozens of tools write into Segment under names of their own, so only listed names are usage; of the others, only an
opt-out is read. Calls come alone or as the ``batch`` of the tracking API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.mail import is_way_out
from referral_stream.contracts.adapters.product_events import MAX_FEATURE, by_people, happened, plain, readers, used
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
    since_at,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import by_machine, is_true, with_opt_out
from referral_stream.contracts.adapters.surveys import displeased, is_turned_round, score_of, unsent
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_CALLS = frozenset({"track", "identify", "group", "page", "screen", "alias", "delete"})
DITTOFEED = "DF"
"""What Dittofeed's own event names begin with."""
_USERS = frozenset({"userId", "user_id", "anonymousId", "anonymous_id"})
_TIMES = ("timestamp", "originalTimestamp", "original_timestamp", "sentAt", "sent_at")


def is_call(payload: Payload) -> bool:
    """A call of the spec about a person, named or anonymous."""
    return not _USERS.isdisjoint(payload) and _call(payload) in _CALLS


def recognises(payload: Payload) -> bool:
    """A call, except those that only Dittofeed makes: its event names have their own prefix."""
    event = payload.get("event")
    return is_call(payload) and not (isinstance(event, str) and event.startswith(DITTOFEED))


def split(body: Any) -> Sequence[Any]:
    """The calls of a batch, each with the context they share, or the one call that the body is.

    Amazon EventBridge has the call in an envelope (``detail``).
    """
    if isinstance(body, dict) and str(body.get("source")).startswith("aws.partner/segment.com"):
        return (object_at(body, "detail"),)
    batch = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(batch, list):
        return (body,)
    shared = {name: body[name] for name in ("context", "sentAt") if name in body}
    return [shared | call if isinstance(call, dict) else call for call in batch]


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One call."""
    call = _call(payload)
    kind = (text_at(payload, "event") or call) if call == "track" else call
    said = _facts(call, payload, reading)
    context = object_at(payload, "context")
    own = payload.get("traits") if call == "identify" else None  # a group's traits are those of the company
    facts = with_opt_out(said, *_records(payload, own, context))
    facts = by_people(
        facts, *[context.get(name) for name in _AGENTS], about=(payload.get("properties"), payload.get("context"))
    )
    externals = _externals(context)
    return about_whom(
        payload,
        reading,
        facts,
        [*_addresses(payload, said, own, context, externals), *_named(payload, context, externals)],
        kind=kind[:MAX_FEATURE],
        id=id_at(payload, "messageId", "message_id"),
        time=time_at(payload, *_TIMES),
        account=_account(payload),
        timezone=text_at(context, "timezone"),
    )


_AGENTS = ("userAgent", "user_agent")


def _facts(call: str, payload: Payload, reading: Reading) -> Facts:
    match call:
        case "track":
            return _tracked(payload, reading)
        case "identify":
            return _identified(payload, reading)
        case "group":
            return _joined(payload, reading)
        case "alias":
            return _renamed(payload)
        case "delete":  # a deletion request in Segment: it forwards one to every webhook
            return (Fact("customer.erasure_requested", {}),)
        case _:
            return ()


def _records(payload: Payload, own: Any, context: Payload) -> tuple[Any, ...]:
    """Where a call holds state: about its person, and of what happened."""
    traits = [{"record": each} for each in (own, context.get("traits"), payload.get("properties")) if each]
    return (*traits, *_subscriptions(context), _consent(context))


def _consent(context: Payload) -> Payload:
    """What somebody consents to, without marketing as such: there that means cookies."""
    if _OF_CONSENT.isdisjoint(context):
        return {}
    chosen = dict(object_at(context, "consent.categoryPreferences"))
    for path in _DENIED:
        chosen |= dict.fromkeys((each for each in list_at(context, path)[:_MANY] if isinstance(each, str)), False)
    return {f"{name}_consent": value for name, value in chosen.items() if name.casefold() != "marketing"}


_MANY = 50
"""Items of a list that are looked through."""
_OF_CONSENT = frozenset({"consent", "consentManagement", "consent_management"})
_DENIED = ("consentManagement.deniedConsentIds", "consent_management.denied_consent_ids")
"""Where RudderStack keeps the names of what somebody does not consent to."""


def _subscriptions(context: Payload) -> list[Any]:
    """What Engage knows of each of somebody's addresses."""
    return list_at(context, "messaging_subscriptions")[:_MANY]


def _addresses(
    payload: Payload, facts: Facts, own: Any, context: Payload, externals: list[Any]
) -> list[tuple[str, Any]]:
    """The person's addresses. They come first: several tools name their reader by nothing else."""
    said = [at(own, "email"), at(context.get("traits"), "email")]
    said += [at(each, "key") for each in _subscriptions(context) if str(at(each, "type")).casefold() == "email"]
    said += [at(each, "id") for each in externals if any(_is_email(at(each, name)) for name in _TYPES_OF_IDS)]
    found = [("email", each) for each in said if isinstance(each, str) and "@" in each]
    return [*found, *readers(facts, payload.get("properties"))]


def _is_email(kind: Any) -> bool:
    return isinstance(kind, str) and kind.casefold() == "email"


_TYPES_OF_IDS = ("type", "identifierType")
"""What an external id is; RudderStack writes the tool that it is of as its type."""


def _externals(context: Payload) -> list[Any]:
    """Further ids: Segment's ``externalIds``, RudderStack's ``externalId``."""
    return [each for name in ("externalIds", "externalId") for each in list_at(context, name)[:_MANY]]


def _named(payload: Payload, context: Payload, externals: list[Any]) -> list[tuple[str, Any]]:
    """Who else the person is."""
    return [
        ("segment_user", payload.get("userId")),
        ("segment_user", payload.get("user_id")),
        ("segment_anonymous", payload.get("anonymousId")),
        ("segment_anonymous", payload.get("anonymous_id")),
        *[("segment_user", at(each, "id")) for each in externals if at(each, "type") == "user_id"],
        ("delighted_person", at(context.get("traits"), "delighted_person_id")),
    ]


def _call(payload: Payload) -> str:
    """The call's name; the e-mail and live chat specs write it as ``action``."""
    for name in ("type", "action"):
        if isinstance(payload.get(name), str):
            return str(payload[name])
    return ""


def _account(payload: Payload) -> str | None:
    return id_at(payload, "groupId", "context.groupId", "group_id", "context.group_id")


def _identified(payload: Payload, reading: Reading) -> Facts:
    """Who someone is: the hash of the address, and since when they have been a customer, if that is readable."""
    facts = profile(**reading.address_hmacs(at(payload, "traits.email")))
    since = since_at(payload, "traits.createdAt", "traits.created_at")
    return facts if since is None else (*facts, Fact("customer.signed_up", {}, since))


def _joined(payload: Payload, _: Reading) -> Facts:
    return profile(account_id=_account(payload))


def _renamed(payload: Payload) -> Facts:
    """A person who was known by another id, as any browser may say."""
    alias = id_at(payload, "previousId", "previous_id")
    return () if alias is None else (Fact("customer.aliased", {"alias": alias}, browser=True),)


def _tracked(payload: Payload, reading: Reading) -> Facts:
    name = text_at(payload, "event")
    if name is None:
        return ()
    row = _TRACKED.get(plain(name))
    return row(payload, reading) if row else _scored(payload) or happened(name, payload.get("properties"))


def _scored(payload: Payload, *, is_nps: bool = False) -> Facts:
    """An answer on the scale of NPS that a survey tool reports, if it says that this is the scale.

    Other scales are each tool's own, and stated by none.
    """
    properties = object_at(payload, "properties")
    if isinstance(survey := properties.get("survey"), dict):  # Gainsight PX
        properties = properties | survey
    answers = [each for each in list_at(properties, "answers") if isinstance(each, dict)]
    if any(_metric(each) for each in answers):
        facts = _of_answers(payload, properties, answers)
        is_left = any(is_true(properties.get(name)) for name in ("surveyDismissed", "surveyPending"))
        return unsent(facts) if is_left or plain(str(payload.get("event"))) == "survey dismissed" else facts
    stated = [str(properties[name]).casefold() for name in _KINDS if name in properties]
    if not (is_nps or "nps" in stated):
        return ()
    scores = [] if (score := _score(properties)) is None else [score]
    return _answered_with(payload, properties, scores)


def _of_answers(payload: Payload, properties: Payload, answers: list[Payload]) -> Facts:
    """SatisMeter's, each with its metric; of satisfaction and effort, asked on several scales, the lowest counts."""
    loyal = [each for each in answers if _metric(each) == "nps" and not is_turned_round(each.get("label"))]
    scores = [score for each in loyal if (score := _score(each)) is not None]
    bad = [fact for each in answers if _metric(each) in ("csat", "ces") for fact in displeased(_score(each))]
    return (*_answered_with(payload, properties, scores), *bad[:1])


def _metric(answer: Payload) -> str:
    metric = answer.get("metric")
    return metric.casefold() if isinstance(metric, str) else ""


def _answered_with(payload: Payload, properties: Payload, scores: list[int | float]) -> Facts:
    if not scores:
        return ()
    score = min(scores)
    response = id_at(properties, "response_id", "survey_response_id") or id_at(payload, "messageId", "message_id")
    comment = text_at(properties, "text") or text_at(properties, "comment")
    words = {} if comment is None else {"comment": comment}
    return (Fact("nps.responded", {"response_id": response, "score": score, **words}),)


_KINDS = ("metric_type", "survey_type", "survey_kind", "question_type", "metricType", "surveyType", "scoreType")
"""Where the tools say on which scale it is."""


def _score(answer: Any) -> int | float | None:
    """The number that is named as one of NPS, else the only one there is: of two that differ neither is known."""
    for names in (_NAMED_SCORES, _SCORES):
        found = {score for name in names if (score := score_of(at(answer, name))) is not None}
        if found:
            return min(found) if names is _NAMED_SCORES else found.pop() if len(found) == 1 else None
    return None


_NAMED_SCORES = ("nps_score", "npsScore", "npsRating", "nps")
_SCORES = ("score", "value", "rating", "survey_question_answer", "answer")
"""Where the tools put the number."""


def _nps(payload: Payload, _: Reading) -> Facts:
    return _scored(payload, is_nps=True)


def _did(payload: Payload, _: Reading) -> Facts:
    return used(str(payload.get("event")))


def _nothing(_: Payload, __: Reading) -> Facts:
    return ()


def _signed_up(payload: Payload, reading: Reading) -> Facts:
    known = profile(**reading.address_hmacs(at(payload, "properties.email")), account_id=_account(payload))
    return (Fact("customer.signed_up", {}), *known)


def _trial_started(payload: Payload, _: Reading) -> Facts:
    return (Fact("trial.started", {"subscription_id": _subscription(payload)}),)


def _trial_ended(payload: Payload, _: Reading) -> Facts:
    # The spec does not say how it ended. Unless the call does, it was not a success until a subscription starts.
    converted = at(payload, "properties.converted") is True
    return (Fact("trial.ended", {"subscription_id": _subscription(payload), "converted": converted}),)


def _account_deleted(payload: Payload, _: Reading) -> Facts:
    return (Fact("subscription.ended", {"subscription_id": _subscription(payload)}),)


def _refunded(payload: Payload, _: Reading) -> Facts:
    return (Fact("charge.refunded", {"charge_id": id_at(payload, "properties.order_id")}),)


def _subscription(payload: Payload) -> str | None:
    """Segment knows no subscriptions: one per account stands for them."""
    stated = id_at(payload, "properties.subscription_id")
    owner = _account(payload) or id_at(payload, "userId", "user_id")
    return stated or (f"segment:{owner}" if owner else None)


def _suppressed(reason: str) -> Callable[[Payload, Reading], Facts]:
    return lambda _, __: (Fact("customer.suppressed", {"reason": reason}),)


def _mail(kind: str) -> Callable[[Payload, Reading], Facts]:
    def read_it(payload: Payload, _: Reading) -> Facts:
        properties = payload.get("properties")
        context = object_at(payload, "context")
        agents = {"user_agent": next((found for name in _AGENTS if (found := context.get(name))), None)}
        if by_machine(properties) or by_machine(agents) or is_way_out(properties):
            return ()
        return (Fact(kind, {"message_id": id_at(payload, "properties.email_id")}),)

    return read_it


def _chatted(_: Payload, __: Reading) -> Facts:
    return (Fact("interaction.recorded", {"kind": "chat"}),)


_TRACKED: dict[str, Callable[[Payload, Reading], Facts]] = {
    "signed up": _signed_up,
    "signed in": _did,
    "signed out": _nothing,
    "invite sent": _did,
    "trial started": _trial_started,
    "trial ended": _trial_ended,
    "account created": _joined,
    "account added user": _joined,
    "account removed user": _nothing,
    "account deleted": _account_deleted,
    "email delivered": _nothing,
    "email opened": _mail("email.opened"),
    "email link clicked": _mail("email.clicked"),
    "email bounced": _suppressed("bounce"),
    "email dropped": _suppressed("bounce"),
    "email soft bounced": _nothing,
    "email marked as spam": _suppressed("spam_report"),
    "unsubscribed": _suppressed("unsubscribe"),
    "email unsubscribed": _suppressed("unsubscribe"),
    "email group unsubscribed": _suppressed("unsubscribe"),
    "email group unsusbcribed": _suppressed("unsubscribe"),
    "visitordonotprocessupdated": _suppressed("do_not_process"),
    "nps response sent": _nps,
    "npssubmitted": _nps,
    "order refunded": _refunded,
    "live chat conversation started": _chatted,
    "live chat conversation ended": _nothing,
    "live chat message sent": _nothing,
    "live chat message received": _nothing,
}
"""What a name means, however it is written: those of the specs, and of the tools in Segment's catalogue that would be
misread (a bounce for a day is no opt-out; ``Unsusbcribed`` is Segment's own spelling). A live chat is one interaction,
not one per message.
"""


ADAPTER = Adapter(
    name="segment",
    marks=("userId", "user_id", "anonymousId", "anonymous_id", "batch", "detail"),
    recognises=recognises,
    customer_paths=("userId", "user_id"),
    read=read,
    split=split,
    browser=True,
)
