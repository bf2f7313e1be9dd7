"""From a record of the log to an event, or the reason why there is none."""

import base64
import binascii
import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Record = dict[str, Any]
Event = dict[str, Any]

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "referral-stream")
CLAMPED_AFTER = timedelta(minutes=5)
REFUSED_AFTER = timedelta(hours=24)


class Skipped(Exception):
    """Nothing of ours: counted, never dead-lettered."""


class DeadLetter(Exception):
    """A record that cannot be used; its message is the cause."""


def uid(*parts: object) -> str:
    return str(uuid.uuid5(NAMESPACE, "|".join(str(part) for part in parts)))


def instant(value: str | float) -> datetime:
    """RFC 3339 or epoch milliseconds as UTC, cut to the millisecond; a naive time is UTC.

    Raises `ValueError` or `TypeError` for anything else.
    """
    if isinstance(value, int | float):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=math.floor(value))
    found = datetime.fromisoformat(value)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)


def shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def words(value: object) -> bool:
    return isinstance(value, str)


def flag(value: object) -> bool:
    return isinstance(value, bool)


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(value: object) -> bool:
    return isinstance(value, int | float) and number(value) and value == int(value)


def natural(value: object) -> bool:
    return isinstance(value, int | float) and whole(value) and value >= 0


def zero_to_ten(value: object) -> bool:
    return isinstance(value, int | float) and natural(value) and value <= 10


def one_of(*allowed: str) -> Callable[[object], bool]:
    return lambda value: value in allowed


def channel_map(value: object) -> bool:
    return isinstance(value, dict) and all(k in CHANNELS and isinstance(v, bool) for k, v in value.items())


def contact(value: object) -> bool:
    return isinstance(value, dict) and text(value.get("ref")) and flag(value.get("consented"))


CHANNELS = ("email", "in_app", "phone")
RATED = one_of("positive", "negative")

# Every type with its body; a question mark after a field's name: optional.
BODIES: dict[str, dict[str, Callable[[object], bool]]] = {
    "customer.signed_up": {"trial?": flag},
    "customer.profile_changed": {
        "time_zone?": words,
        "locale?": words,
        "segment?": one_of("smb", "enterprise", "mission_driven"),
        "account_id?": text,
        "channels?": channel_map,
        "email_hmac?": text,
        "champion?": flag,
        "requires_approval?": flag,
    },
    "customer.consent_changed": {"purpose": text, "channel": one_of(*CHANNELS, "all"), "granted": flag},
    "customer.suppressed": {"reason?": words},
    "customer.unsuppressed": {"reason?": words},
    "customer.erasure_requested": {},
    "customer.aliased": {"alias": text},
    "onboarding.completed": {},
    "milestone.reached": {"milestone": text, "first_success": flag},
    "goal.achieved": {"goal": text},
    "saving.measured": {"kind": one_of("time", "money"), "amount": number, "unit": text},
    "usage.recorded": {"feature?": words, "count?": natural},
    "usage.compared": {"above_average": flag},
    "workflow.completed": {"name?": words},
    "achievement.unlocked": {"name?": words},
    "dashboard.viewed": {"name?": words, "metrics_positive": flag},
    "task.started": {"task_id": text},
    "task.ended": {"task_id": text},
    "nps.responded": {"response_id": text, "score": zero_to_ten, "comment?": words},
    "csat.responded": {
        "response_id": text,
        "score": number,
        "scale_max": number,
        "ticket_id?": text,
        "comment?": words,
    },
    "trial.started": {"subscription_id": text},
    "trial.ended": {"subscription_id": text, "converted": flag},
    "subscription.started": {"subscription_id": text},
    "subscription.ended": {"subscription_id": text},
    "subscription.renewed": {"subscription_id": text, "invoice_id?": text, "contract_id?": text},
    "subscription.expanded": {"deal_id": text, "amount_minor?": whole, "currency?": text},
    "contract.signed": {"contract_id": text, "initial": flag},
    "invoice.payment_failed": {"invoice_id": text},
    "invoice.paid": {"invoice_id": text},
    "charge.refunded": {"charge_id": text},
    "charge.disputed": {"charge_id": text},
    "dispute.closed": {"charge_id": text, "won": flag},
    "cancellation.considered": {"subscription_id?": text},
    "cancellation.scheduled": {"subscription_id?": text},
    "cancellation.reverted": {"subscription_id?": text},
    "ticket.opened": {"ticket_id": text, "priority?": one_of("low", "normal", "high", "urgent")},
    "ticket.solved": {"ticket_id": text, "rating?": RATED},
    "ticket.rated": {"ticket_id": text, "rating": RATED},
    "ticket.reopened": {"ticket_id": text},
    "complaint.made": {"reference?": text, "comment?": words},
    "frustration.shown": {"reference?": text, "comment?": words},
    "interaction.recorded": {
        "kind": one_of("call", "email", "meeting", "chat", "qbr", "event"),
        "positive?": flag,
    },
    "advice.asked": {"kind?": words},
    "community.engaged": {"kind?": words},
    "feedback.shared": {"positive": flag, "comment?": words},
    "compliment.given": {"reference?": text, "comment?": words},
    "testimonial.given": {"reference?": text, "comment?": words},
    "case_study.joined": {"reference?": text, "comment?": words},
    "review.posted": {"rating": number, "scale_max": number, "url?": text},
    "champion.changed": {"champion": flag},
    "peer.mentioned": {"peer_ref": text, "company?": words, "challenge?": words},
    "advocacy.asked": {"kind": one_of("review", "survey", "case_study", "other"), "by": text},
    "email.opened": {"message_id?": text},
    "email.clicked": {"message_id?": text},
    "call.moment": {
        "kind": one_of("qbr_ended_well", "issue_resolved", "satisfaction_expressed", "check_in"),
        "call_id?": text,
    },
    "call.concern_raised": {"call_id": text},
    "call.concern_addressed": {"call_id": text},
    "call.cut_short": {"call_id": text},
    "ask.acknowledged": {
        "command_id": text,
        "status": one_of("accepted", "sent", "delivered", "opened", "failed", "dropped_expired", "cancelled"),
    },
    "ask.answered": {"command_id": text, "answer": one_of("yes", "maybe", "no", "stop"), "text?": words},
    "ask.approved": {"opportunity_id": text, "by": text},
    "ask.rejected": {"opportunity_id": text, "by": text},
    "control.paused": {"scope": one_of("all", "trigger", "segment"), "name?": text, "by": text, "why": words},
    "control.resumed": {"scope": one_of("all", "trigger", "segment"), "name?": text, "by": text, "why": words},
    "referral.given": {"referral_id": text, "command_id?": text, "contact": contact},
    "referral.status_changed": {
        "referral_id": text,
        "status": one_of("contacted", "qualified", "converted", "rejected", "refunded"),
        "deal_value_minor?": whole,
        "currency?": text,
    },
}


def envelope(record: Record) -> dict[str, Any]:
    """The CloudEvent's attributes and `data`, whatever its mode. Raises `DeadLetter`."""
    value, headers = record.get("value"), headers_of(record)
    if isinstance(value, dict) and set(value) == {"base64"}:
        try:
            value = json.loads(base64.b64decode(value["base64"], validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise DeadLetter("undecodable") from error
    if "ce_type" in headers:
        return {name[3:]: word for name, word in headers.items() if name.startswith("ce_")} | {"data": value}
    if not isinstance(value, dict) or "specversion" not in value:
        raise DeadLetter("not a CloudEvent")
    return value


def headers_of(record: Record) -> dict[str, str]:
    return {str(name).lower(): str(word) for name, word in (record.get("headers") or {}).items()}


def body_of(kind: str, found: object) -> dict[str, Any]:
    """The body without absent fields. Raises `DeadLetter` where it is not what the type asks for."""
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise DeadLetter("the body is no object")
    body = {name: value for name, value in found.items() if value is not None}
    for field, fits in BODIES[kind].items():
        name = field.removesuffix("?")
        if name not in body and not field.endswith("?"):
            raise DeadLetter(f"{name} is missing")
        if name in body and not fits(body[name]):
            raise DeadLetter(f"{name} is not what {kind} carries")
    most, got = body.get("scale_max"), body.get("score", body.get("rating"))
    if kind in ("csat.responded", "review.posted") and not (most > 0 and 0 <= got <= most):  # type: ignore[operator]  # both are numbers: checked above
        raise DeadLetter("off its scale")
    return body


def event_of(record: Record, position: int, now: datetime, backfill_topics: list[str]) -> Event:
    """The event of a record that arrives at `now`.

    Raises `Skipped` for an unknown type, `DeadLetter` for a known one that cannot be used.
    """
    found = envelope(record)
    kind = found.get("type")
    if not isinstance(kind, str) or not kind:
        raise DeadLetter("no type")
    if kind not in BODIES:
        raise Skipped(kind)
    subject = found.get("subject")
    if not text(subject) and not kind.startswith("control."):
        raise DeadLetter("no subject")
    body = body_of(kind, found.get("data"))
    stamped = instant(record["timestamp"])
    try:
        occurred = instant(found["time"]) if found.get("time") is not None else stamped
    except (ValueError, TypeError, AttributeError) as error:
        raise DeadLetter("time cannot be read") from error
    if occurred > now + REFUSED_AFTER:
        raise DeadLetter("time is more than a day ahead")
    if occurred > now + CLAMPED_AFTER:
        occurred = min(stamped, now)
    topic, headers = record.get("topic", ""), headers_of(record)
    missing = uid(topic, record.get("partition", 0), record.get("offset", position))
    return {
        "type": kind,
        "id": str(found.get("id") or missing),
        "source": str(found.get("source") or ""),
        "customer": subject,
        "time": occurred,
        "arrived": now,
        "zone": found.get("timezone"),
        "account": found.get("accountid"),
        "historical": headers.get("historical", "").lower() not in ("", "0", "false", "no") or topic in backfill_topics,
        "data": body,
    }
