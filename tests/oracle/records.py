"""From a record of the log to an event, or the reason why there is none."""

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
import unicodedata
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

Record = dict[str, Any]
Event = dict[str, Any]

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "referral-stream")
REFUSED_AFTER = timedelta(hours=24)
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)


class Skipped(Exception):
    """Nothing of ours: counted, never dead-lettered."""


class DeadLetter(Exception):
    """A record that cannot be used; its message is the cause."""


def uid(*parts: object) -> str:
    """Bars and percent signs within a part are escaped: other parts never make the same id."""
    escaped = (str(part).replace("%", "%25").replace("|", "%7C") for part in parts)
    return str(uuid.uuid5(NAMESPACE, "|".join(escaped)))


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


def cloud_event(kind: str, id: str, customer: str, now: datetime, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id,
        "source": "referral-stream",
        "type": kind,
        "subject": customer,
        "time": shown(now),
        "datacontenttype": "application/json",
        "data": body,
    }


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
    """As told, with a `ref`, or canonical, with a `ref_hmac`. Only ``true`` is a consent, a no is in any spelling."""
    if not isinstance(value, dict) or not (text(value.get("ref_hmac")) or usable_id(value.get("ref")) is not None):
        return False
    said = value.get("consented")
    return flag(said) or (isinstance(said, str | int) and str(said).strip().lower() in ("false", "no", "0"))


def canonical_contact(told: dict[str, Any], key: bytes) -> dict[str, Any]:
    """What travels of a contact: no name, no address. A plain address is ingest's to read, and not read here."""
    hashes = {name: told[name] for name in ("ref_hmac", "email_hmac", "domain_hmac") if text(told.get(name))}
    if "ref_hmac" not in hashes:
        hashes["ref_hmac"] = hmac.digest(key, f"ref|{told['ref']}".encode(), hashlib.sha256).hex()
    return {**hashes, "consented": told["consented"]}


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
        "domain_hmac?": text,
        "champion?": flag,
        "requires_approval?": flag,
    },
    "customer.consent_changed": {"purpose": text, "channel": one_of(*CHANNELS, "all"), "granted": flag},
    "customer.suppressed": {"reason?": words},
    "customer.unsuppressed": {"reason?": words},
    "customer.erasure_requested": {},
    "customer.aliased": {"alias": text},
    "customer.linked": {"kind": text, "value": text},
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
    "advocacy.asked": {"kind": one_of("review", "survey", "case_study", "referral", "other"), "by": text},
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
    "ask.answered": {"command_id": text, "answer": one_of("yes", "maybe", "no", "stop", "unclear")},
    "ask.approved": {"opportunity_id": text, "by": text},
    "ask.rejected": {"opportunity_id": text, "by": text},
    "customer.overfull_cleared": {
        "kind": one_of(
            "tickets", "invoices", "disputes", "cancellations", "subscriptions", "tasks", "concerns", "keys", "holds"
        ),
        "by?": text,
    },
    "control.paused": {"scope": one_of("all", "trigger", "segment"), "name?": text, "by": text, "why": words},
    "control.resumed": {"scope": one_of("all", "trigger", "segment"), "name?": text, "by": text, "why": words},
    "referral.given": {"referral_id": text, "command_id?": text, "contact": contact},
    "referral.status_changed": {
        "referral_id": text,
        "status": one_of("contacted", "qualified", "converted", "rejected", "refunded"),
        "deal_value_minor?": whole,
        "currency?": text,
    },
    "referral.contact_erased": {"referral_id": text},
    "reward.approved": {"grant_id": text, "by": text},
    "reward.rejected": {"grant_id": text, "by": text},
    "reward.settled": {"grant_id": text, "status": one_of("delivered", "failed"), "reference?": text},
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


# Ids

PLACEHOLDERS = frozenset(
    [
        *"undefined null none nil nan unknown anonymous guest 0 -1".split(),
        "[object object]",
        "no response",
        str(uuid.UUID(int=0)),
    ]
)
UNWRITTEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def usable_id(found: object) -> str | None:
    """An id as it is kept; None where it names nobody and nothing."""
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    if isinstance(found, float):
        if not (math.isfinite(found) and found == int(found) and abs(found) < 2**53):
            return None
        found = int(found)
    name = unicodedata.normalize("NFC", str(found)).strip()
    lowered = name.lower()
    if not name or UNWRITTEN.search(name) or len(name.encode()) > 256:
        return None
    if lowered in PLACEHOLDERS or re.fullmatch("x{3,}", lowered) or "{{" in name or "${" in name:
        return None
    return name


def link_of(kind: object, value: object, email_key: bytes) -> tuple[str, str] | None:
    """A link as it is kept: an address as its HMAC. None where it is none."""
    name = usable_id(value)
    if not isinstance(kind, str) or not re.fullmatch("[a-z0-9_]{1,32}", kind) or name is None:
        return None
    if kind != "email":
        return None if "@" in name else (kind, name)
    if re.fullmatch("[0-9a-fA-F]{64}", name):
        return kind, name.lower()
    if "@" not in name:
        return None
    return kind, hmac.digest(email_key, name.lower().encode(), hashlib.sha256).hex()


# What is kept of a body

OPT_OUT_WORDS = frozenset(
    "unsubscribe unsubscribed unsubscription optout spam complaint bounce bounced suppressed suppression dnc unsub "
    "unsubs unsubscribes optouts complained complains suppress hardbounce hardbounced spamreport spamcomplaint".split()
)
OPT_OUT_PHRASES = (
    ["opt", "out"], ["opted", "out"], ["do", "not", "contact"], ["un", "subscribe"], ["un", "subscribed"]
)  # fmt: skip


def says_opt_out(name: str) -> bool:
    """Whether a name that nobody knows reads like an opt-out."""
    parts = [part.lower() for part in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    if OPT_OUT_WORDS & set(parts):
        return True
    return any(parts[n : n + len(phrase)] == phrase for phrase in OPT_OUT_PHRASES for n in range(len(parts)))


ALWAYS_FAVOURABLE = frozenset(
    "compliment.given testimonial.given case_study.joined milestone.reached goal.achieved saving.measured "
    "usage.recorded workflow.completed achievement.unlocked dashboard.viewed call.moment peer.mentioned "
    "subscription.renewed subscription.expanded referral.given customer.unsuppressed control.resumed "
    "ask.approved reward.approved".split()
)


def is_favourable(kind: str, body: dict[str, Any]) -> bool:
    """Identity §1's list; everything else is protective. Takes bodies that were not looked at yet."""

    def figure(name: str) -> float:
        found = body.get(name)
        return found if isinstance(found, int | float) and number(found) else math.nan

    match kind:
        case "nps.responded":
            return figure("score") >= 9
        case "csat.responded":
            return 10 * figure("score") >= 8 * figure("scale_max")
        case "review.posted":
            return 10 * figure("rating") >= 8 * figure("scale_max")
        case "feedback.shared" | "interaction.recorded":
            return body.get("positive") is True
        case "usage.compared":
            return body.get("above_average") is True
        case "customer.consent_changed":
            return body.get("granted") is True
        case "ticket.solved" | "ticket.rated":  # positive feedback, as semantics §10 has it
            return body.get("rating") == "positive"
        case "referral.status_changed":
            return body.get("status") == "converted"
        case _:
            return kind in ALWAYS_FAVOURABLE


WITHOUT_OBJECT_A_COMPLAINT = frozenset(
    "ticket.opened ticket.reopened ticket.rated invoice.payment_failed charge.refunded charge.disputed "
    "subscription.ended call.concern_raised".split()
)


ITS_OWN_OBJECT = (("nps.responded", "response_id"), ("csat.responded", "response_id"), ("ask.answered", "command_id"))


def body_of(kind: str, found: object, event_id: str) -> tuple[str, dict[str, Any]]:
    """The type that it counts as, and its body without what is absent or cannot be used.

    Raises `DeadLetter` where something is missing that its meaning needs.
    """
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise DeadLetter("the body is no object")
    body = {name: value for name, value in found.items() if value is not None}
    favourable = is_favourable(kind, body)
    if kind == "customer.consent_changed":
        body["granted"] = body.get("granted") is True
        if not body["granted"] and not text(body.get("purpose")):
            body["purpose"] = "referral_ask"
        if body.get("channel") not in (*CHANNELS, "all"):
            body["channel"] = "all"
    for field, fits in BODIES[kind].items():
        name, needed = field.removesuffix("?"), not field.endswith("?")
        if fits is text and name in body and name not in ("purpose", "by", "unit", "goal", "kind"):
            body[name] = usable_id(body[name])
        if name == "email_hmac" and isinstance(body.get(name), str):
            body[name] = body[name].lower()
        if name in body and fits(body[name]):
            continue
        body.pop(name, None)
        if not needed:
            continue
        if not favourable and (kind, name) in ITS_OWN_OBJECT:
            body[name] = event_id
            continue
        if fits is text and kind in WITHOUT_OBJECT_A_COMPLAINT:
            return "complaint.made", {}
        raise DeadLetter(f"{name} is not what {kind} carries")
    most, got = body.get("scale_max"), body.get("score", body.get("rating"))
    if kind in ("csat.responded", "review.posted") and not (most > 0 and 0 <= got <= most):  # type: ignore[operator]  # both are numbers: checked above
        raise DeadLetter("off its scale")
    return kind, body


OPERATORS = (
    "control.paused control.resumed ask.approved ask.rejected customer.overfull_cleared "
    "reward.approved reward.rejected reward.settled"
).split()


def time_of(stated: object, stamped: datetime, now: datetime, favourable: bool) -> datetime:
    """When it happened: never after `now`. Only favourable events are refused for their time: `DeadLetter`."""
    found = None
    if stated is not None:
        try:
            found = instant(stated) if isinstance(stated, str) else None
        except ValueError:
            found = None
        if found is None and favourable:
            raise DeadLetter("time cannot be read")
    if found is not None and found > now + REFUSED_AFTER:
        if favourable:
            raise DeadLetter("time is more than a day ahead")
        found = None
    if found is not None and found >= OLDEST:
        return min(found, now)
    fallback = min(stamped, now)
    return fallback if fallback >= OLDEST else now


def event_of(record: Record, position: int, now: datetime, backfill_topics: list[str], email_key: bytes) -> Event:
    """The event of a record that arrives at `now`; about a `customer`, or, where none is named, about a `link`.

    Raises `Skipped` for an unknown type, `DeadLetter` for a known one that cannot be used.
    """
    found = envelope(record)
    kind = found.get("type")
    if not isinstance(kind, str) or not kind:
        raise DeadLetter("no type")
    topic, headers = record.get("topic", ""), headers_of(record)
    data = found.get("data")
    if kind not in BODIES:
        if not says_opt_out(kind):
            raise Skipped(kind)
        kind, data = "customer.suppressed", {"reason": "recognised"}
    if kind in OPERATORS and topic != "responses":
        raise DeadLetter("only an operator says this")
    event_id = str(found.get("id") or uid(topic, record.get("partition", 0), record.get("offset", position)))
    stamped = instant(record["timestamp"])
    said = data if isinstance(data, dict) else {}
    favourable = is_favourable(kind, said)
    occurred = time_of(found.get("time"), stamped, now, favourable)
    kind, body = body_of(kind, data, event_id)
    subject, link = usable_id(found.get("subject")), None
    if subject is None and not kind.startswith("control."):
        named, _, value = str(found.get("link") or "").partition(":")
        link = link_of(named, value, email_key)
        if link is None and kind == "referral.status_changed":
            link = link_of("referral", body["referral_id"], email_key)
        if link is None and favourable:
            raise Skipped("nobody is named")
        if link is None:
            raise DeadLetter("unusable_id")
    if kind == "customer.linked":
        taught = link_of(body["kind"], body["value"], email_key)
        if taught is None:
            raise DeadLetter("no link")
        body = {"kind": taught[0], "value": taught[1]}
    if kind == "referral.given":
        body["contact"] = canonical_contact(body["contact"], email_key)
    return {
        "type": kind,
        "id": event_id,
        "source": str(found.get("source") or ""),
        "customer": subject,
        "link": link,
        "time": occurred,
        "arrived": now,
        "zone": found.get("timezone"),
        "account": found.get("accountid"),
        "historical": headers.get("historical", "").lower() not in ("", "0", "false", "no") or topic in backfill_topics,
        "data": body,
    }


def clock_of(records: list[Record]) -> list[datetime]:
    """When each record arrives: the highest timestamp so far, unless one jumps ahead on its own."""
    stamps = [instant(record["timestamp"]) for record in records]
    found: list[datetime] = []
    before: datetime | None = None
    for stamped, following in zip_longest(stamps, stamps[1:]):
        jumps = (
            before is not None
            and following is not None
            and stamped > before + REFUSED_AFTER
            and following < stamped - REFUSED_AFTER
        )
        clock = found[-1] if found else None
        if not jumps:
            before = stamped
        found.append(clock if jumps and clock else stamped if clock is None else max(clock, stamped))
    return found
