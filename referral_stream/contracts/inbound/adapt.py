"""What producers send → canonical events: recognise the shape, and turn its content into events.

``adapt`` is total: whatever the bytes are, it answers with a value. A shape is recognised in this order: CloudEvents
(structured, then binary), the header ``referral-source``, the topic's configured adapter, an unmistakable vendor shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_stream.contracts.adapters import BY_NAME, Adapter, Payload, Reading, candidates
from referral_stream.contracts.adapters.reading import text_at
from referral_stream.contracts.adapters.surveys import scale_of
from referral_stream.contracts.inbound.attributes import (
    MAX_ID,
    Attributes,
    canonical_event,
    event_time,
    position_id,
    trace_of,
)
from referral_stream.contracts.inbound.envelope import binary_attributes, cloud_event, parsed, structured_data
from referral_stream.contracts.mapping import language
from referral_stream.contracts.mapping.language import Mappings
from referral_stream.contracts.outcomes import Accepted, Adapted, Fact, Refused, Skipped, Webhook
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, SOURCE_HEADER, RawRecord
from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core.events import Event

MAX_RECORD_BYTES = 256_000
"""A larger record of a source topic becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """How this deployment reads its source topics.

    ``adapters`` names a vendor adapter per topic (without ``prefix``), ``customer_paths`` replaces, per adapter, where
    the customer id is looked for, ``questions`` says, per adapter, which scale a survey's question has (question →
    ``nps``, ``csat/5``, ``comment``, ``ignore``); ``backfill_topics`` carry history only; ``mappings`` are the
    deployment's, and precede an adapter's reading; paths and questions in their file count where none are given here.
    Raises ValueError for an unknown adapter or an invalid scale.
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


def adapt(record: RawRecord, now: int, boundary: Boundary) -> Adapted:
    """One record of a source topic, arrived at ``now`` (epoch ms) → its events, or why there are none. Never raises."""
    value = record.value
    if value is not None and len(value) > boundary.max_record_bytes:
        return Refused("too_large", f"{len(value)} bytes, the limit is {boundary.max_record_bytes}")
    structured = False
    if record.headers:
        structured = (record.header(CONTENT_TYPE_HEADER) or "").lower().startswith(CLOUD_EVENT)
        if not structured and (attributes := binary_attributes(record)):
            return _cloud_event(attributes, value, record, now, boundary)
    if value is None:
        return Skipped("tombstone")
    payload = parsed(value)
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

    For CloudEvents of the contract's own types, and anything but a JSON object or list, that is nobody: (None, ()).
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


def _cloud_event(
    attributes: dict[str, Any], body: bytes | None, record: RawRecord, now: int, boundary: Boundary
) -> Adapted:
    """A CloudEvent; ``body`` is the record's value in binary mode, else the data is among the attributes.

    The type is looked at first: an event of an unknown type is ignored, whatever else is wrong with it.
    """
    kind = attributes.get("type")
    if type(kind) is not str or not kind:
        return Refused("invalid", "type: must be text")
    if kind not in FACT_BODIES:
        found = _mapped_cloud_event(attributes, body, record, now, boundary)
        return Skipped("unknown_type", kind[:MAX_ID]) if found is None else found
    topic = record.topic.removeprefix(boundary.prefix)
    event = cloud_event(kind, attributes, body, record, now, topic=topic, historical=_is_history(record, boundary))
    return Accepted((event,)) if isinstance(event, Event) else event


def _mapped_cloud_event(
    attributes: dict[str, Any], body: bytes | None, record: RawRecord, now: int, boundary: Boundary
) -> Adapted | None:
    """An event of an unknown type, as the mappings read it; None if none of them does."""
    if language.CLOUD_EVENTS not in boundary.mappings.by_adapter:
        return None
    data = parsed(body) if body else structured_data(attributes)
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
    """A JSON object that no adapter recognises, as the mappings read it; None if none of them does."""
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


def _vendor(body: dict[str, Any] | list[Any], record: RawRecord, now: int, boundary: Boundary) -> Adapted:
    """All of a body or nothing: a half-read body could never be completed without repeating the rest."""
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
    configured = boundary.adapters.get(_topic(record, boundary))
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
    base = webhook.id or f"{position_id(record)}{place}"
    historical = webhook.historical or _is_history(record, boundary)
    when = event_time(webhook.time, record, now)
    traceparent = trace_of(webhook.traceparent, record)
    is_alone = len(webhook.facts) == 1
    taught = webhook.links if webhook.subject is not None else ()
    facts = (*webhook.facts, *(Fact("customer.linked", {"kind": kind, "value": value}) for kind, value in taught))
    events: list[Event] = []
    counts: dict[str, int] = {}
    for fact in facts:
        counts[fact.type] = nth = counts.get(fact.type, 0) + 1
        given = Attributes(
            kind=fact.type,
            data=fact.data,
            when=when if fact.time is None else event_time(fact.time, record, now),
            id=base
            if is_alone and fact is facts[0]
            else f"{base}#{fact.type}"
            if nth == 1
            else f"{base}#{fact.type}#{nth}",
            source=source,
            subject=webhook.subject,
            link=None if webhook.subject is not None else webhook.link,
            account=webhook.account,
            timezone=webhook.timezone,
            traceparent=traceparent,
            historical=historical,
        )
        event = canonical_event(given)
        if isinstance(event, Refused):
            return event
        events.append(event)
    return events


def _is_history(record: RawRecord, boundary: Boundary) -> bool:
    """Whether a record is marked as history, or its topic carries nothing else."""
    if boundary.backfill_topics and _topic(record, boundary) in boundary.backfill_topics:
        return True
    return bool(record.headers) and record.historical
