"""What producers send → canonical events: recognise the shape, validate the body, mend the clock, drop the free text.

``adapt`` is total: whatever the bytes are, it answers with a value. A shape is recognised in this order: CloudEvents
(structured, then binary), the header ``referral-source``, the topic's configured adapter, an unmistakable vendor shape.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson
from pydantic import ValidationError

from referral_stream.contracts.adapters import BY_NAME, Adapter, Payload, Reading, candidates
from referral_stream.contracts.adapters.reading import text_at
from referral_stream.contracts.adapters.surveys import scale_of
from referral_stream.contracts.inbound.themes import OTHER, THEMES, theme_of
from referral_stream.contracts.mapping import language
from referral_stream.contracts.mapping.language import Mappings
from referral_stream.contracts.outcomes import Accepted, Adapted, Refused, Skipped, Webhook
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, SOURCE_HEADER, RawRecord
from referral_stream.contracts.validation import FACT_BODIES, explain, is_too_deep, json_problem
from referral_stream.contracts.versions import LINEAGES, current_body
from referral_stream.core import zones
from referral_stream.core.events import (
    FACTS,
    MAX_TEXT,
    WITHOUT_SUBJECT,
    AskAnswered,
    Commented,
    Event,
    ProfileChanged,
    ReferralGiven,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, EARLIEST, LATEST, MINUTE, parse_instant

CLOCK_TOLERANCE = 5 * MINUTE
"""How far ahead of our clock an event may be before it is clamped."""
CLOCK_LIMIT = DAY
"""How far ahead of our clock an event may be before it is refused."""

MAX_RECORD_BYTES = 256_000
"""A larger record of a source topic is no event of ours: it becomes a dead letter."""

MAX_ID = 512


@dataclass(frozen=True, slots=True)
class Boundary:
    """How this deployment reads its source topics.

    ``adapters`` names a vendor adapter per topic (without ``prefix``), ``customer_paths`` replaces, per adapter, where
    the customer id is looked for, ``questions`` says, per adapter, which scale a survey's question has (question →
    ``nps``, ``csat/5``, ``comment``, ``ignore``); ``backfill_topics`` carry history only; ``mappings`` are the team's
    own, which come before an adapter's reading; paths and questions in their file count where none are given here.
    Raises ValueError for an adapter nobody wrote and for a scale that is none.
    """

    email_key: bytes = field(repr=False)
    adapters: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    customer_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    backfill_topics: frozenset[str] = frozenset()
    mappings: Mappings = language.NONE
    max_record_bytes: int = MAX_RECORD_BYTES
    readings: Mapping[str, Reading] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in (*self.adapters.values(), *self.customer_paths, *self.questions):
            if name not in BY_NAME:
                raise ValueError(f"no adapter {name!r}; there are {', '.join(BY_NAME)}")
        for scales in self.questions.values():
            for scale in scales.values():
                scale_of(scale)
        paths = {name: adapter.customer_paths for name, adapter in BY_NAME.items()}
        paths |= {language.CLOUD_EVENTS: (), language.PLAIN: (), **self.mappings.customer_paths, **self.customer_paths}
        questions = {**self.mappings.questions, **self.questions}
        readings = {name: Reading(self.email_key, at, questions.get(name, {})) for name, at in paths.items()}
        object.__setattr__(self, "readings", readings)


EventTime: TypeAlias = tuple[int, tuple[str, ...]]
"""When an event was, and what had to be mended of that."""


def adapt(record: RawRecord, now: int, boundary: Boundary) -> Adapted:
    """One record of a source topic, arrived at ``now`` (epoch ms) → its events, or why there are none. Never raises."""
    value = record.value
    if value is not None and len(value) > boundary.max_record_bytes:
        return Refused("too_large", f"{len(value)} bytes, the limit is {boundary.max_record_bytes}")
    structured = False
    if record.headers:
        structured = (record.header(CONTENT_TYPE_HEADER) or "").lower().startswith(CLOUD_EVENT)
        if not structured and (attributes := _binary_attributes(record)):
            return _cloud_event(attributes, value, record, now, boundary)
    if value is None:
        return Skipped("tombstone")
    payload = _parse(value)
    if type(payload) is dict:
        if structured or "specversion" in payload:
            return _cloud_event(payload, None, record, now, boundary)
    elif type(payload) is Refused:
        return payload
    elif structured or type(payload) is not list:
        return Refused("not_an_object", "the value is no JSON object")
    return _vendor(payload, record, now, boundary)


def recognised(payload: Any, record: RawRecord, boundary: Boundary) -> tuple[str | None, tuple[Payload, ...]]:
    """Who reads a record's payload (parsed JSON), by the name that mappings know, and the notifications in it.

    CloudEvents of the contract's own types, and what is no JSON object or list, are read by nobody: (None, ()).
    """
    if type(payload) is dict and "specversion" in payload:
        kind = payload.get("type")
        return (language.CLOUD_EVENTS, (payload,)) if type(kind) is str and kind not in FACT_BODIES else (None, ())
    if type(payload) not in (dict, list):
        return None, ()
    found = _adapter_for(payload, record, boundary)
    if not isinstance(found, Refused):
        return found[0].name, tuple(found[1])
    return (language.PLAIN, (payload,)) if type(payload) is dict and found.cause == "unrecognised" else (None, ())


def _binary_attributes(record: RawRecord) -> dict[str, Any]:
    """The ``ce_`` headers as attributes; empty when the record is no CloudEvent in binary mode."""
    attributes = {
        name[3:].lower(): value.decode("utf-8", "replace")
        for name, value in record.headers
        if name[:3].lower() == "ce_"
    }
    return attributes if "specversion" in attributes or "type" in attributes else {}


def _cloud_event(
    attributes: dict[str, Any], body: bytes | None, record: RawRecord, now: int, boundary: Boundary
) -> Adapted:
    """A CloudEvent; ``body`` is the record's value in binary mode, else the data is among the attributes.

    Types are looked at first: whatever is wrong with an event of a type we do not know is none of our business.
    """
    kind = attributes.get("type")
    if type(kind) is not str or not kind:
        return Refused("invalid", "type: must be text")
    if kind not in FACT_BODIES:
        found = _mapped_cloud_event(attributes, body, record, now, boundary)
        return Skipped("unknown_type", kind[:MAX_ID]) if found is None else found
    version = attributes.get("specversion")
    if type(version) is not str or not version.startswith("1."):
        return Refused("invalid", "specversion: must be 1.0")
    data = _parse(body) if body else _structured_data(attributes)
    if type(data) is Refused:
        return data
    get = attributes.get
    for name in ("id", "source", "accountid"):
        given = get(name)
        if given is not None and (type(given) is not str or not 0 < len(given) <= MAX_ID):
            return Refused("invalid", f"{name}: must be text of 1 to {MAX_ID} characters")
    time = get("time")
    if time is not None and type(time) is not str:
        return Refused("invalid", "time: must be RFC 3339")  # a bare number would leave seconds or milliseconds open
    if data is None:
        data = {}
    named = get("dataschema")
    if named is not None or kind in LINEAGES:
        data = current_body(kind, named, data)
        if type(data) is Refused:
            return data
    event = _event(
        kind,
        data,
        _event_time(time, record, now),
        record,
        id=get("id"),
        source=get("source") or record.topic.removeprefix(boundary.prefix),
        subject=get("subject"),
        account=get("accountid"),
        timezone=get("timezone"),
        traceparent=get("traceparent"),
        historical=_is_history(record, boundary),
    )
    return Accepted((event,)) if isinstance(event, Event) else event


def _mapped_cloud_event(
    attributes: dict[str, Any], body: bytes | None, record: RawRecord, now: int, boundary: Boundary
) -> Adapted | None:
    """An event of a type that is none of ours, as the team's mappings read it; None if none of them does."""
    if language.CLOUD_EVENTS not in boundary.mappings.by_adapter:
        return None
    data = _parse(body) if body else _structured_data(attributes)
    event = {**attributes, "data": None if isinstance(data, Refused) else data}
    rules = boundary.mappings.matching(language.CLOUD_EVENTS, event, _topic(record, boundary))
    if not rules:
        return None
    own = Webhook(
        subject=text_at(event, "subject") or "",
        facts=(),
        id=text_at(event, "id"),
        time=text_at(event, "time"),
        account=text_at(event, "accountid"),
        timezone=text_at(event, "timezone"),
        traceparent=text_at(event, "traceparent"),
    )
    source = (text_at(event, "source") or _topic(record, boundary))[:MAX_ID]
    webhook = language.mapped(rules, event, own, None, boundary.readings[language.CLOUD_EVENTS].email_hmac)
    return _whole(webhook, source, record, now, boundary)


def _mapped_object(body: Any, record: RawRecord, now: int, boundary: Boundary) -> Adapted | None:
    """A JSON object that nobody recognises, as the team's mappings read it; None if none of them does."""
    topic = _topic(record, boundary)
    rules = boundary.mappings.matching(language.PLAIN, body, topic) if type(body) is dict else ()
    if not rules:
        return None
    nothing = Skipped("no_customer")
    webhook = language.mapped(rules, body, nothing, None, boundary.readings[language.PLAIN].email_hmac)
    return _whole(webhook, topic, record, now, boundary)


def _whole(
    webhook: Webhook | Skipped | Refused, source: str, record: RawRecord, now: int, boundary: Boundary
) -> Adapted:
    """What a record becomes that is one notification as a whole."""
    if not isinstance(webhook, Webhook):
        return webhook
    made = _webhook_events(webhook, source, "", record, now, boundary)
    return made if isinstance(made, Refused) else Accepted(tuple(made))


def _topic(record: RawRecord, boundary: Boundary) -> str:
    return record.topic.removeprefix(boundary.prefix)


def _structured_data(attributes: dict[str, Any]) -> Any:
    """The data of a structured event, parsed; Refused where it cannot be."""
    encoded = attributes.get("data_base64")
    if encoded is None:
        return attributes.get("data")
    if type(encoded) is not str:
        return Refused("invalid", "data_base64: must be text")
    try:
        return _parse(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return Refused("undecodable", "data_base64: not base64")


def _vendor(body: dict[str, Any] | list[Any], record: RawRecord, now: int, boundary: Boundary) -> Adapted:
    """All that a body says or nothing of it: a half-read body could never be completed without repeating its rest."""
    found = _adapter_for(body, record, boundary)
    if isinstance(found, Refused):
        by_rule = _mapped_object(body, record, now, boundary) if found.cause == "unrecognised" else None
        return found if by_rule is None else by_rule
    adapter, parts = found
    reading = boundary.readings[adapter.name]
    is_mapped = adapter.name in boundary.mappings.by_adapter
    events: dict[str, Event] = {}
    skipped: Skipped | None = None
    for number, part in enumerate(parts):
        webhook: Webhook | Skipped | Refused
        webhook = own = adapter.read(part, reading)
        if is_mapped and (rules := boundary.mappings.matching(adapter.name, part, _topic(record, boundary))):
            webhook = language.mapped(rules, part, own, reading.customer(part), reading.email_hmac)
        if isinstance(webhook, Skipped):
            skipped = skipped or webhook
            continue
        place = "" if len(parts) == 1 else f"#{number}"
        made = (
            webhook
            if isinstance(webhook, Refused)
            else _webhook_events(webhook, adapter.name, place, record, now, boundary)
        )
        if isinstance(made, Refused):
            return made if len(parts) == 1 else Refused(made.cause, f"[{number}] {made.detail}")
        for event in made:
            events.setdefault(event.id, event)  # the same id twice in one body is the same event sent twice
    if events:
        return Accepted(tuple(events.values()))
    return skipped or Refused("unrecognised", _UNRECOGNISED)


_UNRECOGNISED = "neither a CloudEvent nor a webhook of a vendor we know"


def _adapter_for(
    body: dict[str, Any] | list[Any], record: RawRecord, boundary: Boundary
) -> tuple[Adapter, Sequence[Payload]] | Refused:
    """Whose webhook it is, and the notifications in it."""
    name = record.header(SOURCE_HEADER) if record.headers else None
    if name is not None:
        named = BY_NAME.get(name.strip().lower())
        if named is None:
            return Refused("unknown_adapter", f"header {SOURCE_HEADER} names no adapter")
        parts = named.parts(body)
        return (named, parts) if parts else Refused("unrecognised", f"not the shape of {named.name}")
    configured = boundary.adapters.get(record.topic.removeprefix(boundary.prefix))
    if configured is not None and (parts := BY_NAME[configured].parts(body)):
        return BY_NAME[configured], parts
    for adapter in candidates(body):
        if parts := adapter.parts(body):
            return adapter, parts
    if type(body) is list:
        return Refused("not_an_object", "the value is no JSON object")
    return Refused("unrecognised", _UNRECOGNISED)


def _webhook_events(
    webhook: Webhook, source: str, place: str, record: RawRecord, now: int, boundary: Boundary
) -> list[Event] | Refused:
    """The events of one notification; ``place`` is where in the body it stood, for an id where the vendor gave none."""
    for name, value in (("id", webhook.id), ("account", webhook.account)):
        if value is not None and len(value) > MAX_ID:
            return Refused("invalid", f"{name}: must be text of 1 to {MAX_ID} characters")
    base = webhook.id or f"{_position_id(record)}{place}"
    historical = webhook.historical or _is_history(record, boundary)
    when = _event_time(webhook.time, record, now)
    is_alone = len(webhook.facts) == 1
    events: list[Event] = []
    counts: dict[str, int] = {}
    for fact in webhook.facts:
        counts[fact.type] = nth = counts.get(fact.type, 0) + 1
        event = _event(
            fact.type,
            fact.data,
            when if fact.time is None else _event_time(fact.time, record, now),
            record,
            id=base if is_alone else f"{base}#{fact.type}" if nth == 1 else f"{base}#{fact.type}#{nth}",
            source=source,
            subject=webhook.subject,
            account=webhook.account,
            timezone=webhook.timezone,
            traceparent=webhook.traceparent,
            historical=historical,
        )
        if isinstance(event, Refused):
            return event
        events.append(event)
    return events


def _is_history(record: RawRecord, boundary: Boundary) -> bool:
    """Whether a record says so, or its topic carries nothing else."""
    if boundary.backfill_topics and _topic(record, boundary) in boundary.backfill_topics:
        return True
    return bool(record.headers) and record.historical


def _event(
    kind: str,
    data: Any,
    when: EventTime | Refused,
    record: RawRecord,
    *,
    id: str | None,
    source: str,
    subject: Any,
    account: str | None,
    timezone: Any,
    traceparent: Any,
    historical: bool,
) -> Event | Refused:
    """One event of a known type. Attributes are what the producer gave, else None; a fault of ``when`` is told last."""
    if kind in WITHOUT_SUBJECT:
        subject = ""
    elif subject is None or subject == "":
        return Refused("no_subject", f"{kind} needs a subject, the customer id")
    elif type(subject) is not str or len(subject) > MAX_ID:
        return Refused("invalid", f"subject: must be text of 1 to {MAX_ID} characters")
    elif subject.isspace():
        return Refused("no_subject", f"{kind} needs a subject, the customer id")
    if type(data) is not dict:
        return Refused("invalid", "data: must be a JSON object")
    if kind in _SPOKEN:
        data = _themed(data)
    try:
        body = FACT_BODIES[kind](data)
    except ValidationError as error:
        return Refused("invalid", explain(error))
    if not isinstance(when, tuple):
        return when
    instant, flags = when
    if timezone is not None and not (type(timezone) is str and zones.is_zone(timezone)):
        timezone, flags = None, _flagged(flags, "timezone_invalid")
    mend = _MENDS.get(kind)
    if mend is not None and (mended := mend(body)):
        # Validated once more: that costs less than a copy of the body.
        body = FACT_BODIES[kind](data | mended)
        flags = _flagged(flags, "timezone_invalid") if "time_zone" in mended else flags
    return Event(
        id=id or _position_id(record),
        source=source,
        type=kind,
        subject=subject,
        time=instant,
        data=body,
        account=account,
        timezone=timezone,
        traceparent=_trace(traceparent, record),
        historical=historical,
        flags=flags,
    )


def _event_time(given: str | int | None, record: RawRecord, now: int) -> EventTime | Refused:
    """The clock rules (semantics §3, §10). A number is epoch ms, None what the producer did not say."""
    stamp = record.timestamp if record.timestamp >= 0 else now
    flags: tuple[str, ...] = ()
    if given is None:
        instant, flags = stamp, ("time_missing",)
    elif isinstance(given, str):
        try:
            instant, naive = parse_instant(given)
        except (ValueError, OverflowError):
            return Refused("invalid", "time: must be RFC 3339")
        if naive:
            flags = ("time_naive",)
    elif EARLIEST <= given <= LATEST:
        instant = given
    else:
        return Refused("invalid", "time: out of range")
    if instant > now + CLOCK_LIMIT:
        return Refused("time_in_future", f"time: more than {CLOCK_LIMIT // MINUTE} minutes ahead of its arrival")
    if instant > now + CLOCK_TOLERANCE:
        return min(stamp, now), _flagged(flags, "time_clamped")
    return instant, flags


def _themed(data: dict[str, Any]) -> dict[str, Any]:
    """The data with the theme of their comment instead of it, where that is plainly one: vendors' payloads."""
    said = data.get("comment")
    if type(said) is not str or len(said) > MAX_TEXT or "theme" in data:
        return data
    return data | {"comment": None, "theme": theme_of(said) or (OTHER if said.strip() else None)}


def _without_words(body: Commented) -> dict[str, Any]:
    """A comment's theme instead of it. A theme of the producer's own would be a way in for free text."""
    said = body.comment
    own = body.theme if body.theme in THEMES else None
    if said is not None:
        return {"comment": None, "theme": theme_of(said) or own or (OTHER if said.strip() else None)}
    return {} if body.theme == own else {"theme": own}


def _without_text(body: AskAnswered) -> dict[str, Any]:
    return {} if body.text is None else {"text": None}


def _without_names(body: ReferralGiven) -> dict[str, Any]:
    """Third parties' names stay outside."""
    contact = body.contact
    return {"contact": {"ref": contact.ref, "consented": contact.consented}}


def _with_a_known_zone(body: ProfileChanged) -> dict[str, Any]:
    """A time zone that nobody knows is as good as none."""
    return {} if body.time_zone is None or zones.is_zone(body.time_zone) else {"time_zone": None}


_SPOKEN: Final = frozenset(fact.type for fact in FACTS if issubclass(fact, Commented))
_MENDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    **dict.fromkeys(_SPOKEN, _without_words),
    AskAnswered.type: _without_text,
    ReferralGiven.type: _without_names,
    ProfileChanged.type: _with_a_known_zone,
}
"""Type → the fields of its body that may not stay as they came, as they have to be instead."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def _trace(given: Any, record: RawRecord) -> str | None:
    """The W3C trace context: the event's own, else the record's header (tracing libraries write that one)."""
    if given is None:
        if not record.headers:
            return None
        given = record.header("traceparent")
    return given if type(given) is str and _TRACEPARENT.fullmatch(given) else None


def _flagged(flags: tuple[str, ...], flag: str) -> tuple[str, ...]:
    return flags if flag in flags else (*flags, flag)


def _position_id(record: RawRecord) -> str:
    """An id for an event without one: the same at every redelivery."""
    return derived_id("event", record.topic, record.partition, record.offset)


def _parse(value: bytes) -> Any:
    """JSON → Python; Refused where it is none."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refused("too_deep" if is_too_deep(error) else "undecodable", json_problem(error))
