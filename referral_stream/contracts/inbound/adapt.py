"""What producers send → canonical events: recognise the shape, and turn its content into events.

``adapt`` is total: whatever the bytes are, it answers with a value. A shape is recognised in this order: CloudEvents
(structured, then binary), the header ``referral-source``, the topic's configured adapter, an unmistakable vendor shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec.structs import replace

from referral_stream.contracts.adapters import BY_NAME, Adapter, Payload, Reading, candidates
from referral_stream.contracts.adapters.reading import UNREADABLE_TIME, text_at
from referral_stream.contracts.adapters.surveys import scale_of
from referral_stream.contracts.forms import read_form
from referral_stream.contracts.identifiers import named
from referral_stream.contracts.inbound.attributes import (
    MAX_ID,
    NOT_AUTHORISED,
    Attributes,
    canonical_event,
    is_allowed,
    link_of,
    own_id,
    trace_of,
)
from referral_stream.contracts.inbound.contacts import contact_told
from referral_stream.contracts.inbound.envelope import (
    binary_attributes,
    canonical,
    cloud_attributes,
    parsed,
    repaired,
    structured_data,
)
from referral_stream.contracts.mapping import language
from referral_stream.contracts.mapping.language import Mappings
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Accepted, Adapted, ElementLetter, Fact, Refused, Skipped, Webhook
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, EVENT_HEADER, SOURCE_HEADER, RawRecord
from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core.effects import ContactTold
from referral_stream.core.events import BROWSER, Aliased, Data, Event, Link, Linked, ProfileChanged, ReferralGiven
from referral_stream.core.links import EMAIL
from referral_stream.core.policy import Identity

MAX_RECORD_BYTES = 256_000
"""Of a larger record of a source topic only what protects counts; the rest becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """How this deployment reads its source topics.

    ``adapters`` names a vendor adapter per topic (without ``prefix``), ``customer_paths`` replaces, per adapter, where
    the customer id is looked for, ``questions`` says, per adapter, which scale a survey's question has (question →
    ``nps``, ``csat/5``, ``comment``, ``ignore``); ``backfill_topics`` carry history only; ``mappings`` are the
    deployment's, and precede an adapter's reading; paths and questions in their file count where none are given here.
    ``identity`` is the policy's.
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
    identity: Identity = field(default_factory=Identity)
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
        identity = self.identity
        more = frozenset(word.lower() for word in identity.placeholder_ids)
        readings = {
            name: Reading(self.email_key, at, questions.get(name, {}), more, identity.trust_browser_aliases)
            for name, at in paths.items()
        }
        object.__setattr__(self, "readings", readings)


def adapt(record: RawRecord, now: int, boundary: Boundary) -> Adapted:
    """One record of a source topic, arrived at ``now`` (epoch ms) → its events, or why there are none. Never raises."""
    value = record.value
    body = _Body(record, now, boundary, _topic(record, boundary))
    if value is not None and len(value) > boundary.max_record_bytes:
        body.spoilt = Refused("too_large", f"{len(value)} bytes, the limit is {boundary.max_record_bytes}")
    found = _adapted(record, body)
    if body.contacts and isinstance(found, Accepted):
        found = replace(found, contacts=tuple(body.contacts))
    return body.spoilt or found if isinstance(found, Refused) else found


def _adapted(record: RawRecord, body: _Body) -> Adapted:
    value, structured = record.value, False
    if record.headers:
        structured = (record.header(CONTENT_TYPE_HEADER) or "").lower().startswith(CLOUD_EVENT)
        if not structured and (attributes := binary_attributes(record)):
            return body.cloud_event(attributes, value)
    if value is None:
        return Skipped("tombstone")
    payload = body.read(value)
    if type(payload) is dict:
        if structured or "specversion" in payload:
            return body.cloud_event(payload, None)
    elif type(payload) is Refused:
        return payload
    elif structured or type(payload) is not list:
        return Refused("not_an_object", "the value is no JSON object")
    return body.vendors(payload)


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


class _Notification(NamedTuple):
    """What one notification becomes. Where there are no events, ``skipped`` says why, unless it is refused."""

    events: Sequence[Event] = ()
    refused: Refused | None = None
    skipped: Skipped = Skipped("irrelevant")


class _Body:
    """One record on its way through the boundary.

    ``spoilt`` is what was wrong with its bytes: what speaks for asking is refused for it, what protects is not.
    ``contacts``: what ``referral-contacts`` is to be told, as the events are made.
    """

    __slots__ = ("boundary", "contacts", "flags", "now", "record", "spoilt", "topic")

    def __init__(self, record: RawRecord, now: int, boundary: Boundary, topic: str) -> None:
        self.record, self.now, self.boundary, self.topic = record, now, boundary, topic
        self.spoilt: Refused | None = None
        self.flags: tuple[str, ...] = ()
        self.contacts: list[ContactTold] = []

    def read(self, value: bytes) -> Any:
        """JSON, or the form of a vendor that sends forms → Python; Refused if it cannot be read, not even leniently."""
        found = parsed(value)
        if type(found) is not Refused:
            return found
        adapter = _bound(self.record, self.boundary)
        if adapter is not None and adapter.form and (form := read_form(value)) is not None:
            if not form.is_sound:
                self.spoilt = self.spoilt or Refused("undecodable", "a form with a field twice, or not in UTF-8")
            return form.fields
        lenient, flags = repaired(value)
        if type(lenient) is Refused:
            return found
        self.spoilt, self.flags = self.spoilt or found, flags
        return lenient

    # ---------------------------------------------------------------------------------------------------- CloudEvents

    def cloud_event(self, attributes: dict[str, Any], body: bytes | None) -> Adapted:
        """A CloudEvent; ``body`` is the record's value in binary mode, else the data is among the attributes.

        The type is looked at first: an event of an unknown type is ignored, whatever else is wrong with it.
        """
        record, boundary, topic = self.record, self.boundary, self.topic
        if topic in boundary.adapters or (record.headers and record.header(SOURCE_HEADER) is not None):
            return Refused("unexpected_cloudevent", "only this vendor's own payloads count here")
        kind = attributes.get("type")
        if type(kind) is not str or not kind:
            return Refused("invalid", "type: must be text")
        if not is_allowed(kind, record, topic):
            return NOT_AUTHORISED
        if kind not in FACT_BODIES:
            found = self._mapped_cloud_event(attributes, body)
            if found is not None:
                return found
            said = unlisted(kind)
            if not said:
                return Skipped("unknown_type", kind[:MAX_ID])
            event = self._event(said[0].type, attributes | {"dataschema": None}, said[0].data)
        else:
            event = self._event(kind, attributes, self.read(body) if body else structured_data(attributes))
        return Accepted((event,)) if isinstance(event, Event) else event

    def _event(self, kind: str, attributes: dict[str, Any], data: Any) -> Event | Refused | Skipped:
        reading = self.boundary.readings[language.CLOUD_EVENTS]
        given = cloud_attributes(
            kind,
            attributes,
            data,
            self.record,
            topic=self.topic,
            reading=reading,
            historical=self.is_history,
            spoilt=self.spoilt,
            flags=self.flags,
        )
        return self._canonical(given, self.record, reading)

    def _canonical(self, given: Attributes, record: RawRecord, reading: Reading) -> Event | Refused | Skipped:
        """The canonical event; a consenting contact's name is set aside for the topic of its own."""
        event = canonical_event(given, record, self.now, reading)
        if given.kind == ReferralGiven.type and isinstance(event, Event):
            told = contact_told(event, given.data, self.now)
            self.contacts += () if told is None else (told,)
        return event

    def _mapped_cloud_event(self, attributes: dict[str, Any], body: bytes | None) -> Adapted | None:
        """An event of an unknown type, as the mappings read it; None if none of them does."""
        boundary = self.boundary
        if language.CLOUD_EVENTS not in boundary.mappings.by_adapter:
            return None
        data = self.read(body) if body else structured_data(attributes)
        event = {**attributes, "data": None if isinstance(data, Refused) else data}
        rules = boundary.mappings.matching(language.CLOUD_EVENTS, event, self.topic)
        if not rules:
            return None
        reading = boundary.readings[language.CLOUD_EVENTS]
        kind, _, value = (text_at(event, "link") or "").partition(":")
        own = Webhook(
            subject=named(event.get("subject"), reading.placeholders),
            id=text_at(event, "id"),
            time=text_at(event, "time") or (None if event.get("time") in (None, "") else UNREADABLE_TIME),
            account=text_at(event, "accountid"),
            timezone=text_at(event, "timezone"),
            traceparent=text_at(event, "traceparent"),
            link=link_of(kind, value, reading),
        )
        source = (text_at(event, "source") or self.topic)[:MAX_ID]
        webhook = language.mapped(rules, event, own, reading)
        return self._whole(webhook, source, language.CLOUD_EVENTS)

    def _mapped_object(self, body: Any) -> Adapted | None:
        """A JSON object that no adapter recognises, as the mappings read it; None if none of them does."""
        rules = self.boundary.mappings.matching(language.PLAIN, body, self.topic) if type(body) is dict else ()
        if not rules:
            return None
        webhook = language.mapped(rules, body, Skipped("no_customer"), self.boundary.readings[language.PLAIN])
        return self._whole(webhook, self.topic, language.PLAIN)

    def _whole(self, webhook: Webhook | Skipped, source: str, origin: str) -> Adapted:
        """What a record becomes that is one notification as a whole."""
        return self._alone(self._events(webhook, source, origin, self.record))

    def _alone(self, made: _Notification) -> Adapted:
        if made.events and made.refused:
            return Accepted(_each_once(made.events), (ElementLetter(self.record, made.refused),))
        return Accepted(_each_once(made.events)) if made.events else made.refused or made.skipped

    # -------------------------------------------------------------------------------------------------------- vendors

    def vendors(self, body: dict[str, Any] | list[Any]) -> Adapted:
        """A vendor's body. Every notification in it stands by itself: what cannot be used is a letter of its own."""
        found = _adapter_for(body, self.record, self.boundary)
        if isinstance(found, Refused):
            if found.cause != "unrecognised" or self._is_bound:
                return found
            by_rule = self._mapped_object(body)
            if by_rule is None and type(body) is dict and _is_nearly_ours(body):
                return self.cloud_event(body, None)
            return found if by_rule is None else by_rule
        adapter, parts = found
        if len(parts) == 1:
            return self._alone(self._notification(adapter, parts[0], self.record))
        events: list[Event] = []
        letters: list[ElementLetter] = []
        skipped = Skipped("irrelevant")
        for number, part in enumerate(parts):
            made = self._notification(adapter, part, self.record.element(number, b""))
            events += made.events
            if made.refused is not None:
                letters.append(ElementLetter(self.record.element(number, canonical(part)), made.refused))
            elif not made.events and skipped.reason == "irrelevant":
                skipped = made.skipped
        return Accepted(_each_once(events), tuple(letters)) if events or letters else skipped

    @property
    def _is_bound(self) -> bool:
        """Whether the record is one vendor's alone to read."""
        record = self.record
        return self.topic in self.boundary.adapters or (
            bool(record.headers) and record.header(SOURCE_HEADER) is not None
        )

    def _notification(self, adapter: Adapter, part: Any, record: RawRecord) -> _Notification:
        """One notification of a vendor's body; ``record`` is the body, or this element of it.

        Another vendor's among them is read as that one's, unless the record is this vendor's alone.
        """
        if type(part) is not dict or not adapter.recognises(part):
            others = () if self._is_bound or type(part) is not dict else candidates(part)
            other = next((each for each in others if each.recognises(part)), None)
            if other is None:
                return _Notification(refused=Refused("unrecognised", f"not the shape of {adapter.name}"))
            adapter = other
        boundary, reading = self.boundary, self.boundary.readings[adapter.name]
        webhook = own = adapter.read(part, reading)
        if adapter.name in boundary.mappings.by_adapter and (
            rules := boundary.mappings.matching(adapter.name, part, self.topic)
        ):
            webhook = language.mapped(rules, part, own, reading)
        if isinstance(webhook, Webhook):
            webhook = _trusted(webhook, adapter, reading)
        made = self._events(webhook, adapter.name, adapter.name, record, browser=adapter.browser)
        if webhook is own or (left := _opt_outs_of_another(own, webhook)) is None:
            return made
        also = self._events(left, adapter.name, adapter.name, record, browser=adapter.browser)
        return _Notification((*also.events, *made.events), made.refused or also.refused, made.skipped)

    def _events(
        self, webhook: Webhook | Skipped, source: str, origin: str, record: RawRecord, *, browser: bool = False
    ) -> _Notification:
        """The events of one notification; ``record`` is its element of the body, for an id where the vendor gave none.

        ``browser``: whether anybody's browser can say it.
        What protects is kept where another fact of the same notification is refused.
        """
        if isinstance(webhook, Skipped):
            return _Notification(skipped=webhook)
        reading, spoilt = self.boundary.readings[origin], self.spoilt
        base = webhook.id
        if base is not None and not 0 < len(base) <= MAX_ID:
            base, spoilt = None, spoilt or Refused("invalid", f"id: must be text of 1 to {MAX_ID} characters")
        base = own_id(base, record)
        historical = webhook.historical or self.is_history
        traceparent = trace_of(webhook.traceparent, record)
        is_alone = len(webhook.facts) == 1
        taught = webhook.links if webhook.subject is not None else ()
        facts = (*webhook.facts, *(Fact("customer.linked", {"kind": kind, "value": value}) for kind, value in taught))
        link = None if webhook.link is None else link_of(*webhook.link, reading)
        events: list[Event] = []
        refused: Refused | None = None
        skipped: Skipped | None = None
        counts: dict[str, int] = {}
        for fact in facts:
            counts[fact.type] = nth = counts.get(fact.type, 0) + 1
            if not is_allowed(fact.type, record, self.topic):
                refused = refused or NOT_AUTHORISED
                continue
            given = Attributes(
                kind=fact.type,
                data=fact.data,
                time=webhook.time if fact.time is None else fact.time,
                id=base if is_alone and fact is facts[0] else f"{base}#{fact.type}{'' if nth == 1 else f'#{nth}'}",
                source=source,
                subject=webhook.subject,
                link=link,
                account=webhook.account,
                timezone=webhook.timezone,
                traceparent=traceparent,
                historical=historical,
                origin=origin,
                spoilt=spoilt,
                flags=self.flags,
            )
            event = self._canonical(given, record, reading)
            if isinstance(event, Event):
                typed = (browser or fact.browser) and _says_address(event.data)
                events.append(replace(event, flags=(*event.flags, BROWSER)) if typed else event)
            elif isinstance(event, Refused):
                refused = refused or _explained(event, fact)
            else:
                skipped = skipped or event
        return _Notification(events, refused, skipped or Skipped("irrelevant"))

    @property
    def is_history(self) -> bool:
        """Whether a record is marked as history, or its topic carries nothing else."""
        return self.topic in self.boundary.backfill_topics or (bool(self.record.headers) and self.record.historical)


def _explained(refused: Refused, fact: Fact) -> Refused:
    """Why a fact is refused, with the mapping's own words for fields that it could not read."""
    if not fact.faults:
        return refused
    problems = (fact.faults.get(problem.partition(":")[0], problem) for problem in refused.detail.split("; "))
    return Refused(refused.cause, "; ".join(problems))


def _is_nearly_ours(body: dict[str, Any]) -> bool:
    """Whether it is an event of the contract that only lacks the version of CloudEvents."""
    kind = body.get("type")
    return type(kind) is str and kind in FACT_BODIES and "source" in body


def _each_once(events: Sequence[Event]) -> tuple[Event, ...]:
    """The same id twice in one body is the same event sent twice, if it is about the same person."""
    found: dict[tuple[str, str, Link | None], Event] = {}
    for event in events:
        found.setdefault((event.id, event.subject, event.link), event)
    return tuple(found.values())


def _says_address(data: Data) -> bool:
    """Whether it says that an e-mail address is the customer's."""
    return (isinstance(data, ProfileChanged) and data.email_hmac is not None) or (
        isinstance(data, Linked) and data.kind == EMAIL
    )


def _trusted(webhook: Webhook, adapter: Adapter, reading: Reading) -> Webhook | Skipped:
    """The webhook without aliases that anybody's browser could have sent, unless the deployment believes these."""
    if reading.trust_browser_aliases or not any(fact.type == Aliased.type for fact in webhook.facts):
        return webhook
    facts = tuple(fact for fact in webhook.facts if fact.type != Aliased.type or not (adapter.browser or fact.browser))
    if not facts and webhook.facts and not webhook.links:
        return Skipped("untrusted_alias", adapter.name)
    return replace(webhook, facts=facts)


def _opt_outs_of_another(own: Webhook | Skipped, mapped: Webhook | Skipped) -> Webhook | None:
    """The opt-outs of the adapter's reading, if a mapping says that it is about somebody else: they hold for both."""
    if not (isinstance(own, Webhook) and isinstance(mapped, Webhook)) or own.subject in (None, mapped.subject):
        return None
    left = language.opt_outs(own)
    return replace(own, facts=left, links=()) if left else None


def _topic(record: RawRecord, boundary: Boundary) -> str:
    return record.topic.removeprefix(boundary.prefix)


def _bound(record: RawRecord, boundary: Boundary) -> Adapter | None:
    """The vendor that header or topic name, whose record it then is alone."""
    name = record.header(SOURCE_HEADER) if record.headers else None
    if name is not None:
        return BY_NAME.get(name.strip().lower())
    configured = boundary.adapters.get(_topic(record, boundary))
    return None if configured is None else BY_NAME[configured]


_UNRECOGNISED = "neither a CloudEvent nor a webhook of a vendor we know"


def _adapter_for(
    body: dict[str, Any] | list[Any], record: RawRecord, boundary: Boundary
) -> tuple[Adapter, Sequence[Any]] | Refused:
    """Whose webhook it is, and the notifications in it."""
    bound = _bound(record, boundary)
    if bound is None and record.headers and record.header(SOURCE_HEADER) is not None:
        return Refused("unknown_adapter", f"header {SOURCE_HEADER} names no adapter")
    if bound is not None:
        if bound.event_header is not None and type(body) is dict and (event := record.header(EVENT_HEADER)):
            body = body | {EVENT_HEADER: event}
        parts = bound.parts(body)
        return (bound, parts) if parts else Refused("unrecognised", f"not the shape of {bound.name}")
    for adapter in candidates(body):
        if parts := adapter.parts(body):
            return adapter, parts
    if type(body) is list:
        return Refused("not_an_object", "the value is no JSON object")
    return Refused("unrecognised", _UNRECOGNISED)
