"""What producers send → canonical events: recognise the shape, and turn its content into events.

``adapt`` is total: whatever the bytes are, it answers with a value. A shape is recognised in this order: CloudEvents
(structured, then binary), the header ``referral-source``, the topic's configured adapter, an unmistakable vendor shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from referral_stream.contracts.adapters import HANDED_ON, Adapter, Reading, candidates
from referral_stream.contracts.adapters.reading import UNREADABLE_TIME, text_at
from referral_stream.contracts.adapters.states import is_tried, opted_out
from referral_stream.contracts.forms import read_form
from referral_stream.contracts.identifiers import named
from referral_stream.contracts.inbound.attributes import (
    LINKED,
    MAX_ID,
    NOT_AUTHORISED,
    Attributes,
    canonical_event,
    is_allowed,
    link_of,
    own_id,
    trace_of,
)
from referral_stream.contracts.inbound.boundary import (
    MAX_RECORD_BYTES,
    OF_NOBODY,
    Boundary,
    adapter_for,
    bound_to,
    topic_of,
    with_event_name,
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
from referral_stream.contracts.mapping.language import About, Mapped, MappedSource
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Accepted, Adapted, ElementLetter, Fact, Refused, Skipped, Webhook
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, SOURCE_HEADER, RawRecord
from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core.effects import ContactTold
from referral_stream.core.events import (
    BROWSER,
    Aliased,
    ErasureRequested,
    Event,
    Link,
    Linked,
    ProfileChanged,
    ReferralGiven,
    Suppressed,
    is_closing,
    is_favourable,
    stop_type,
)
from referral_stream.core.instants import parse_instant
from referral_stream.core.links import EMAIL

__all__ = ["MAX_RECORD_BYTES", "Boundary", "adapt"]


def adapt(record: RawRecord, now: int, boundary: Boundary) -> Adapted:
    """One record of a source topic, arrived at ``now`` (epoch ms) → its events, or why there are none. Never raises."""
    value = record.value
    body = _Body(record, now, boundary, topic_of(record, boundary))
    if value is not None and len(value) > boundary.max_record_bytes:
        body.spoilt = Refused("too_large", f"{len(value)} bytes, the limit is {boundary.max_record_bytes}")
    found = _adapted(record, body)
    if body.contacts and isinstance(found, Accepted):
        found = replace(found, contacts=tuple(body.contacts))
    return body.spoilt or found if isinstance(found, Refused) else found


def _adapted(record: RawRecord, body: _Body) -> Adapted:
    value, structured = record.value, False
    if record.headers and type(body.bound) is not MappedSource:
        structured = (record.header(CONTENT_TYPE_HEADER) or "").lower().startswith(CLOUD_EVENT)
        if not structured and (attributes := binary_attributes(record)):
            return body.cloud_event(attributes, value)
    if value is None:
        return Skipped("tombstone")
    payload = body.read(value)
    if isinstance(body.bound, MappedSource) and type(payload) in (dict, list):
        return body.of_source(body.bound, payload)
    if type(payload) is dict:
        if structured or "specversion" in payload:
            return body.cloud_event(payload, None)
    elif type(payload) is Refused:
        return payload
    elif structured or type(payload) is not list:
        return Refused("not_an_object", "the value is no JSON object")
    return body.vendors(payload)


class _Notification(msgspec.Struct, frozen=True):
    """What one notification becomes. Where there are no events, ``skipped`` says why, unless it is refused."""

    events: Sequence[Event] = ()
    refused: Refused | None = None
    skipped: Skipped = Skipped("irrelevant")


class _Body:
    """One record on its way through the boundary.

    ``spoilt`` is what was wrong with its bytes: what speaks for asking is refused for it, what protects is not.
    ``contacts``: what ``referral-contacts`` is to be told, as the events are made. ``is_bound``: whether it is one
    vendor's alone to read; ``is_history``: whether it is marked as history, or its topic carries nothing else.
    """

    __slots__ = (
        "bound", "boundary", "contacts", "flags", "is_bound", "is_history", "now", "record", "spoilt", "topic",
    )  # fmt: skip

    def __init__(self, record: RawRecord, now: int, boundary: Boundary, topic: str) -> None:
        self.record, self.now, self.boundary, self.topic = record, now, boundary, topic
        is_named = bool(record.headers) and record.header(SOURCE_HEADER) is not None
        self.is_bound = is_named or topic in boundary.adapters
        self.bound = bound_to(record, boundary) if self.is_bound else None
        self.is_history = topic in boundary.backfill_topics or (bool(record.headers) and record.historical)
        self.spoilt: Refused | None = None
        self.flags: tuple[str, ...] = ()
        self.contacts: list[ContactTold] = []

    def read(self, value: bytes) -> Any:
        """JSON, or the form of a vendor that sends forms → Python; Refused if it cannot be read, not even leniently."""
        bound = self.bound
        is_form = bound is not None and bound.form
        if is_form and value[:_AHEAD].lstrip()[:1] not in _OPENS_JSON and (form := self._form(value)) is not None:
            return form
        found = parsed(value)
        if type(found) is not Refused:
            return found
        if is_form and (form := self._form(value)) is not None:
            return form
        lenient, flags = repaired(value)
        if type(lenient) is Refused:
            return found
        self.spoilt, self.flags = self.spoilt or found, flags
        return lenient

    def _form(self, value: bytes) -> dict[str, Any] | None:
        form = read_form(value)
        if form is not None and not form.is_sound:
            self.spoilt = self.spoilt or Refused("undecodable", "a form with a field twice, or not in UTF-8")
        return None if form is None else form.fields

    # ---------------------------------------------------------------------------------------------------- CloudEvents

    def cloud_event(self, attributes: dict[str, Any], body: bytes | None) -> Adapted:
        """A CloudEvent; ``body`` is the record's value in binary mode, else the data is among the attributes.

        The type is looked at first: an event of an unknown type is ignored, whatever else is wrong with it.
        """
        if self.is_bound:
            return Refused("unexpected_cloudevent", "only this vendor's own payloads count here")
        kind = attributes.get("type")
        if type(kind) is not str or not kind:
            return Refused("invalid", "type: must be text")
        if not is_allowed(kind, self.record, self.topic):
            return NOT_AUTHORISED
        data = self.read(body) if body else structured_data(attributes)
        if kind not in FACT_BODIES:
            found = self._mapped_cloud_event(attributes, data)
            if found is not None:
                return found
        if type(data) is dict and (adapter := _handed_on(data)) is not None:
            return self._alone(self._read(adapter, data, self.record))
        if kind not in FACT_BODIES:
            named_so = unlisted(kind)
            said = named_so or opted_out(data)
            if not said:
                return Skipped("unknown_type", kind[:MAX_ID])
            event = self._event(said[0].type, attributes | {"dataschema": None}, said[0].data)
            if not named_so and isinstance(event, Refused):  # state of nobody: it may be that of a thing
                return Skipped("unknown_type", kind[:MAX_ID])
        else:
            event = self._event(kind, attributes, data)
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
        if kind == _REFERRAL:
            return self._of_referral(given, self.record, reading)
        return canonical_event(given, self.record, self.now, reading)

    def _of_referral(self, given: Attributes, record: RawRecord, reading: Reading) -> Event | Refused | Skipped:
        """The canonical event of a referral; a consenting contact's name is set aside for the topic of its own."""
        event = canonical_event(given, record, self.now, reading)
        if isinstance(event, Event):
            told = contact_told(event, given.data, self.now)
            self.contacts += () if told is None else (told,)
        return event

    def _mapped_cloud_event(self, attributes: dict[str, Any], data: Any) -> Adapted | None:
        """An event of an unknown type, as the mappings read it; None if none of them does."""
        boundary = self.boundary
        if language.CLOUD_EVENTS not in boundary.mappings.by_adapter:
            return None
        event = {**attributes, "data": None if isinstance(data, Refused) else data}
        reading = boundary.readings[language.CLOUD_EVENTS]
        kind, _, value = (text_at(event, "link") or "").partition(":")
        own = Webhook(
            facts=opted_out(event["data"]),
            subject=named(event.get("subject"), reading.placeholders),
            id=text_at(event, "id"),
            time=text_at(event, "time") or (None if event.get("time") in (None, "") else UNREADABLE_TIME),
            account=text_at(event, "accountid"),
            timezone=text_at(event, "timezone"),
            traceparent=text_at(event, "traceparent"),
            link=link_of(kind, value, reading),
        )
        source = (text_at(event, "source") or self.topic)[:MAX_ID]
        found = boundary.mappings.applied(event, self.topic, About(language.CLOUD_EVENTS, own, reading, event))
        made = [
            self._tried(self._events(each.webhook, source, language.CLOUD_EVENTS, self.record, within=each.nth), event)
            for each in found
        ]
        return self._alone(_together(made)) if made else None

    def _tried(self, made: _Notification, *said: Any) -> _Notification:
        """Of what somebody only tried, by its own word, what speaks for asking does not count."""
        if not made.events or not any(map(is_tried, said)):
            return made
        told = {event.data.referral_id for event in made.events if isinstance(event.data, ReferralGiven)}
        self.contacts = [each for each in self.contacts if each.referral_id not in told]
        kept = tuple(event for event in made.events if not is_favourable(event.data))
        return replace(made, events=kept, skipped=made.skipped if kept else Skipped("test_mode", "said by itself"))

    # ---------------------------------------------------------------------------------------- sources of the mappings

    def of_source(self, source: MappedSource, body: Any) -> Adapted:
        """A body that header or topic give to a source of the mapping file: its rules alone read it."""
        made = self._by_source(source, source.unpacked(body))
        return Skipped("irrelevant", f"nothing in a body of {source.name}") if made is None else self._alone(made)

    def _by_source(self, source: MappedSource, body: Any, *, if_matched: bool = False) -> _Notification | None:
        """What the rules of a source make of a body; None if there is nothing to read in it.

        ``if_matched``: whether it is this source's only where a rule matches.
        """
        mappings, reading = self.boundary.mappings, self.boundary.readings[source.name]
        parts = source.notifications(body)
        matches = (mappings.any_matches(source.name, each.part, each.root, self.topic) for each in parts)
        if if_matched and not any(matches):
            return None
        rules, lists = mappings.rules_of(source.name), mappings.lists_of(source.name)
        made: list[_Notification] = []
        read: list[Mapped] = []
        for nth, part, root in parts:
            about = source.about(part, root, reading, nth)
            found: Sequence[Mapped] = mappings.applied(part, self.topic, about)
            if not found:
                left = language.left_over(rules, part, about)
                found = () if left is None else (left,)
            elif lists:
                rest = language.without_elements(part, lists)
                beside = language.beside_lists(rules, rest, source.about(rest, root, reading, nth), found)
                found = found if beside is None else (beside, *found)
            made += [self._tried(self._of_element(source, each, nth), part, root) for each in found]
            if not found:
                made.append(_Notification(skipped=Skipped("irrelevant", f"no mapping of {source.name} matches")))
            read += found
        for nth, rest, root in source.wholes(body):
            beside = language.beside_lists(rules, rest, source.about(rest, root, reading, nth), read)
            made += () if beside is None else (self._of_element(source, beside, nth),)
        return _together(made) if made else None

    def _of_element(self, source: MappedSource, mapped: Mapped, nth: str | None) -> _Notification:
        name = self.topic if source is language.PLAIN_SOURCE else source.name
        events = self._events(mapped.webhook, name, source.name, self.record, within=mapped.nth)
        if events.refused is None or not mapped.is_element or (place := mapped.nth or nth) is None:
            return events
        return replace(events, refused=Refused(events.refused.cause, f"[{place}] {events.refused.detail}"))

    def _alone(self, made: _Notification) -> Adapted:
        events, refused = made.events, made.refused
        if not events:
            return refused or made.skipped
        once = tuple(events) if len(events) == 1 else _each_once(events)
        return Accepted(once, (ElementLetter(self.record, refused),)) if refused else Accepted(once)

    # -------------------------------------------------------------------------------------------------------- vendors

    def vendors(self, body: dict[str, Any] | list[Any]) -> Adapted:
        """A vendor's body. Every notification in it stands by itself: what cannot be used is a letter of its own."""
        found = adapter_for(body, self.record, self.bound)
        mappings = self.boundary.mappings
        if isinstance(found, Refused):
            if isinstance(self.bound, Adapter) and found.cause == "unrecognised":
                return self._of_another_shape(self.bound, body, found)
            if found.cause not in OF_NOBODY or self.is_bound:
                return found
            for source in (*mappings.by_topic.get(self.topic, ()), language.PLAIN_SOURCE):
                made = self._by_source(source, source.unpacked(body), if_matched=True)
                if made is not None:
                    return self._alone(made)
            return self.cloud_event(body, None) if type(body) is dict and _is_nearly_ours(body) else found
        claimed = None
        if self.topic in mappings.claimed_topics and not self.is_bound:
            claimed = self._by_source(language.PLAIN_SOURCE, body, if_matched=True)
        if claimed is not None:
            adapter, parts = found
            return self._claimed(
                claimed, [self._notification(adapter, each, self.record, is_claimed=True) for each in parts]
            )
        adapter, parts = found
        if len(parts) == 1:  # it is the vendor's: there would be no parts without one that is
            return self._alone(self._read(adapter, parts[0], self.record))
        return self._by_vendor(adapter, parts)

    def _of_another_shape(self, adapter: Adapter, body: Any, refused: Refused) -> Adapted:
        """What speaks against asking in a body that says whose it is, and lacks what it would be recognised by."""
        body = with_event_name(body, self.record, adapter)
        parts = body if type(body) is list else [body] if adapter.split is None else adapter.split(body) or [body]
        alone = len(parts) == 1
        records = (self.record if alone else self.record.element(nth, b"") for nth in range(len(parts)))
        made = [self._against_asking(adapter, *each, refused) for each in zip(parts, records, strict=True)]
        if any(each.events for each in made):
            return self._alone(_together(made))
        return next((each.refused for each in made if each.refused and each.refused.cause == "unusable_id"), refused)

    def _against_asking(self, adapter: Adapter, part: Any, record: RawRecord, refused: Refused) -> _Notification:
        nothing, before = _Notification(refused=refused), self.spoilt
        self.spoilt = before or refused
        try:
            made = self._read(adapter, part, record) if type(part) is dict else nothing
        except (AttributeError, LookupError, TypeError, ValueError):  # an adapter may rely on its shape
            made = nothing
        finally:
            self.spoilt = before
        if not made.events:
            return made
        kept = tuple(event for event in made.events if not _may_end_trouble(event))
        return replace(made, events=kept) if any(is_closing(event.data) for event in kept) else nothing

    def _claimed(self, claimed: _Notification, of_adapter: Sequence[_Notification]) -> Adapted:
        """What mappings for all JSON of a topic make of a body, beside what they leave of its adapter's reading."""
        also = _together(of_adapter)
        if any(isinstance(event.data, _OPT_OUTS) for event in claimed.events):
            also = replace(also, refused=None)  # the mappings know better who is meant
        return self._alone(_together((also, claimed)))

    def _by_vendor(self, adapter: Adapter, parts: Sequence[Any]) -> Adapted:
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

    def _notification(
        self, adapter: Adapter, part: Any, record: RawRecord, *, is_claimed: bool = False
    ) -> _Notification:
        """One notification of a vendor's body; ``record`` is the body, or this element of it.

        Another vendor's among them is read as that one's, unless the record is this vendor's alone. ``is_claimed``:
        whether a mapping for all of its topic's JSON says what it means: then opt-outs are all that counts of its own.
        """
        if type(part) is not dict or not adapter.recognises(part):
            others = () if self.is_bound or type(part) is not dict else candidates(part)
            other = next((each for each in others if each.recognises(part)), None)
            if other is None:
                refused = Refused("unrecognised", f"not the shape of {adapter.name}")
                return _Notification(refused=None if is_claimed else refused)
            adapter = other
        return self._read(adapter, part, record, is_claimed=is_claimed)

    def _read(self, adapter: Adapter, part: Any, record: RawRecord, *, is_claimed: bool = False) -> _Notification:
        """A notification that the adapter recognises."""
        boundary, reading = self.boundary, self.boundary.readings[adapter.name]
        own = adapter.read(part, reading)
        found: Sequence[Mapped] = ()
        if adapter.name in boundary.mappings.by_adapter:
            found = boundary.mappings.applied(part, self.topic, About(adapter.name, own, reading, part))
        if not found:
            if is_claimed and isinstance(own, Webhook):
                own = replace(own, facts=language.opt_outs(own), links=())
            return self._of_vendor(own, adapter, reading, record)
        made = [self._of_vendor(each.webhook, adapter, reading, record, each.nth) for each in found]
        if (left := _opt_outs_of_another(own, [each.webhook for each in found])) is None:
            return _together(made)
        also = self._of_vendor(left, adapter, reading, record)
        return _together((also, *made))

    def _of_vendor(
        self,
        webhook: Webhook | Skipped,
        adapter: Adapter,
        reading: Reading,
        record: RawRecord,
        nth: str | None = None,
    ) -> _Notification:
        if isinstance(webhook, Webhook) and not reading.trust_browser_aliases:
            for fact in webhook.facts:
                if fact.type == _ALIAS:
                    webhook = _trusted(webhook, adapter)
                    break
        return self._events(webhook, adapter.name, adapter.name, record, browser=adapter.browser, within=nth)

    def _events(
        self,
        webhook: Webhook | Skipped,
        source: str,
        origin: str,
        record: RawRecord,
        *,
        browser: bool = False,
        within: str | None = None,
    ) -> _Notification:
        """The events of one notification; ``record`` is its element of the body, for an id where the vendor gave none.

        ``browser``: whether anybody's browser can say it. ``within``: which element of a list, if all share an id.
        What protects is kept where another fact of the same notification is refused.
        """
        if isinstance(webhook, Skipped):
            return _Notification(skipped=webhook)
        reading = self.boundary.readings[origin]
        facts, links = webhook.facts, () if webhook.subject is None else webhook.links
        given = self._shared(webhook, source, origin, record, within)
        base, time = given.id, given.time
        if type(time) is str and len(facts) + len(links) > 1:
            time = _read_once(time)
        taught = [Fact(LINKED, {"kind": kind, "value": value}) for kind, value in links]
        events: list[Event] = []
        refused, skipped = None, Skipped("irrelevant")
        counts: dict[str, int] = {}
        for place, fact in enumerate((*facts, *taught)):
            kind = fact.type
            counts[kind] = nth = counts.get(kind, 0) + 1
            if not is_allowed(kind, record, self.topic):
                refused = refused or NOT_AUTHORISED
                continue
            given.kind, given.data, given.time = kind, fact.data, time if fact.time is None else fact.time
            is_alone = place == 0 and len(facts) == 1
            given.id = base if is_alone else f"{base}#{kind}{'' if nth == 1 else f'#{nth}'}"
            if kind == _REFERRAL:
                event = self._of_referral(given, record, reading)
            else:
                event = canonical_event(given, record, self.now, reading)
            if isinstance(event, Event):
                events.append(_typed(event) if browser or fact.browser else event)
            elif isinstance(event, Refused):
                refused = refused or _explained(event, fact)
            elif skipped.reason == "irrelevant":
                skipped = event
        return _Notification(events, refused, skipped)

    def _shared(self, webhook: Webhook, source: str, origin: str, record: RawRecord, within: str | None) -> Attributes:
        """What the events of a notification have in common; their ids begin with its id."""
        id_, spoilt, reading = webhook.id, self.spoilt, self.boundary.readings[origin]
        if id_ is not None and not 0 < len(id_) <= MAX_ID:
            id_, spoilt = None, spoilt or Refused("invalid", f"id: must be text of 1 to {MAX_ID} characters")
        return Attributes.of(
            reading,
            time=webhook.time,
            id=own_id(id_, record) if within is None else f"{own_id(id_, record)}|{within}",
            source=source,
            subject=webhook.subject,
            link=None if webhook.link is None else link_of(*webhook.link, reading),
            account=webhook.account,
            timezone=webhook.timezone,
            traceparent=trace_of(webhook.traceparent, record) if record.headers or webhook.traceparent else None,
            historical=webhook.historical or self.is_history,
            origin=origin,
            spoilt=spoilt,
            flags=self.flags,
        )


def _handed_on(data: dict[str, Any]) -> Adapter | None:
    """The vendor whose own notification an event of somebody else brings: it alone says whom it is about."""
    return next((each for each in HANDED_ON if each.recognises(data)), None)


def _explained(refused: Refused, fact: Fact) -> Refused:
    """Why a fact is refused, with the mapping's own words for fields that it could not read."""
    if not fact.faults:
        return refused
    problems = (fact.faults.get(problem.partition(":")[0], problem) for problem in refused.detail.split("; "))
    return Refused(refused.cause, "; ".join(problems))


def _may_end_trouble(event: Event) -> bool:
    """Whether it may end what is wrong: that does not count in a body of another shape."""
    return event.type in _ENDS and getattr(event.data, "rating", None) != "negative"


def _is_nearly_ours(body: dict[str, Any]) -> bool:
    """Whether it is an event of the contract that only lacks the version of CloudEvents."""
    kind = body.get("type")
    return type(kind) is str and kind in FACT_BODIES and "source" in body


def _each_once(events: Sequence[Event]) -> tuple[Event, ...]:
    """The same id twice in one body is the same event sent twice, if it is about the same person; a stop is its own."""
    if len({event.id for event in events}) == len(events):
        return tuple(events)
    found: dict[tuple[str, str, Link | None, str], Event] = {}
    for event in events:
        found.setdefault((event.id, event.subject, event.link, stop_type(event)), event)
    return tuple(found.values())


def _read_once(time: str) -> int | str:
    """A time that several events share; as it is where there is more to say of it than when it was."""
    try:
        instant, is_naive = parse_instant(time)
    except (ValueError, OverflowError):
        return time
    return time if is_naive else instant


def _typed(event: Event) -> Event:
    """What anybody's browser said; marked so if it says that an e-mail address is the customer's."""
    data = event.data
    says_address = (isinstance(data, ProfileChanged) and data.email_hmac is not None) or (
        isinstance(data, Linked) and data.kind == EMAIL
    )
    return replace(event, flags=(*event.flags, BROWSER)) if says_address else event


def _trusted(webhook: Webhook, adapter: Adapter) -> Webhook | Skipped:
    """The webhook without aliases that anybody's browser could have sent."""
    facts = tuple(fact for fact in webhook.facts if fact.type != _ALIAS or not (adapter.browser or fact.browser))
    if not facts and webhook.facts and not webhook.links:
        return Skipped("untrusted_alias", adapter.name)
    return replace(webhook, facts=facts)


def _opt_outs_of_another(own: Webhook | Skipped, mapped: Sequence[Webhook | Skipped]) -> Webhook | None:
    """The opt-outs of the adapter's reading, if mappings say that it is about others alone: they hold for all."""
    if not isinstance(own, Webhook) or own.subject is None:
        return None
    if any(isinstance(each, Webhook) and each.subject == own.subject for each in mapped):
        return None
    if not any(isinstance(each, Webhook) for each in mapped):
        return None
    left = language.opt_outs(own)
    return replace(own, facts=left, links=()) if left else None


def _together(made: Iterable[_Notification]) -> _Notification:
    """What several readings of one body become: all events, the first refusal, and the first reason for none."""
    made = tuple(made)
    if len(made) == 1:
        return made[0]
    refused = [each.refused for each in made if each.refused is not None]
    first = refused[0] if refused else None
    if first is not None and len(refused) > 1:
        first = Refused(first.cause, f"{first.detail} (and {len(refused) - 1} more)")
    skipped = next((each.skipped for each in made if each.skipped.reason != "irrelevant"), None)
    events = tuple(event for each in made for event in each.events)
    return _Notification(events, first, skipped or (made[0].skipped if made else Skipped("irrelevant")))


_AHEAD = 100
"""Bytes in which a body begins, after blanks; whatever begins later is tried as both."""
_OPENS_JSON = (b"{", b"[", b'"')
"""How JSON begins that might hold what looks like a field of a form."""
_OPT_OUTS = (Suppressed, ErasureRequested)
_ENDS = frozenset({
    "ticket.solved", "ticket.rated", "invoice.paid", "dispute.closed", "cancellation.reverted", "subscription.started",
})  # fmt: skip
"""Closing types that may end what is wrong."""
_ALIAS = Aliased.type
_REFERRAL = ReferralGiven.type
