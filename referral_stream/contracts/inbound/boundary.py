"""How a deployment reads its source topics, and whose a record is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from referral_stream.contracts.adapters import BY_NAME, Adapter, Reading, candidates
from referral_stream.contracts.adapters.surveys import scale_of
from referral_stream.contracts.mapping import language
from referral_stream.contracts.mapping.language import MappedSource, Mappings, never_applied
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import EVENT_HEADER, SOURCE_HEADER, RawRecord
from referral_stream.contracts.validation import FACT_BODIES
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
    Raises ValueError for an unknown adapter, an invalid scale, or a mapping that would never apply.
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
        sources = self.mappings.sources
        for name in (*self.adapters.values(), *self.customer_paths, *self.questions):
            if name not in BY_NAME and name not in sources:
                raise ValueError(f"no adapter {name!r}; there are {', '.join((*BY_NAME, *sources))}")
        if faults := never_applied(self.mappings, self.adapters):
            raise ValueError("\n".join(faults))
        for scales in self.questions.values():
            for scale in scales.values():
                scale_of(scale)
        paths = {name: adapter.customer_paths for name, adapter in BY_NAME.items()}
        paths |= dict.fromkeys((language.CLOUD_EVENTS, language.PLAIN, *sources), ())
        paths |= {**self.mappings.customer_paths, **self.customer_paths}
        questions = {**self.mappings.questions, **self.questions}
        identity = self.identity
        more = frozenset(word.lower() for word in identity.placeholder_ids)
        readings = {
            name: Reading(self.email_key, at, questions.get(name, {}), more, identity.trust_browser_aliases)
            for name, at in paths.items()
        }
        object.__setattr__(self, "readings", readings)

    def takes_form(self, record: RawRecord) -> bool:
        """Whether a record's body may be a form: header or topic say whose it is, and that one sends forms."""
        bound = bound_to(record, self)
        return bound is not None and bound.form


def topic_of(record: RawRecord, boundary: Boundary) -> str:
    return record.topic.removeprefix(boundary.prefix)


def bound_to(record: RawRecord, boundary: Boundary) -> Adapter | MappedSource | None:
    """The vendor, or the source of the mapping file, that header or topic name, whose record it then is alone."""
    name = record.header(SOURCE_HEADER) if record.headers else None
    name = boundary.adapters.get(topic_of(record, boundary)) if name is None else name.strip().lower()
    return None if name is None else BY_NAME.get(name) or boundary.mappings.sources.get(name)


OF_NOBODY = frozenset({"unrecognised", "not_an_object"})
"""Why no adapter reads a body; a mapping may."""
_UNRECOGNISED = "neither a CloudEvent nor a webhook of a vendor we know"


def with_event_name(body: Any, record: RawRecord, adapter: Adapter) -> Any:
    """The body, with the name of its event where its vendor says that in a header."""
    if adapter.event_header is not None and type(body) is dict and (event := record.header(EVENT_HEADER)):
        return body | {EVENT_HEADER: event}
    return body


def adapter_for(
    body: dict[str, Any] | list[Any], record: RawRecord, bound: Adapter | MappedSource | None
) -> tuple[Adapter, Sequence[Any]] | Refused:
    """Whose webhook it is, and the notifications in it; ``bound``: whom header or topic name."""
    if bound is None and record.headers and record.header(SOURCE_HEADER) is not None:
        return Refused("unknown_adapter", f"header {SOURCE_HEADER} names no adapter, and no source of the mapping file")
    if isinstance(bound, Adapter):
        parts = bound.parts(with_event_name(body, record, bound))
        return (bound, parts) if parts else Refused("unrecognised", f"not the shape of {bound.name}")
    for adapter in candidates(body):
        if parts := adapter.parts(body):
            return adapter, parts
    if type(body) is list:
        return Refused("not_an_object", "the value is no JSON object")
    return Refused("unrecognised", _UNRECOGNISED)


class PayloadReader(NamedTuple):
    """Who reads a payload, by the name that mappings know, and the notifications in it, each with its body.

    ``source``: where it is one of the mapping file's.
    """

    name: str
    parts: tuple[tuple[Any, Any], ...]
    source: MappedSource | None = None


def readers(payload: Any, record: RawRecord, boundary: Boundary) -> tuple[PayloadReader, ...]:
    """Who reads a record's payload, as it was parsed: the first one for all it is, the others what mappings add.

    For CloudEvents of the contract's own types, and anything but a JSON object or list, that is nobody.
    """
    if type(payload) not in (dict, list):
        return ()
    bound = bound_to(record, boundary)
    if isinstance(bound, MappedSource):
        return (_reader(bound, payload),)
    if type(payload) is dict and "specversion" in payload:
        kind = payload.get("type")
        unknown = type(kind) is str and kind not in FACT_BODIES
        return (PayloadReader(language.CLOUD_EVENTS, ((payload, payload),)),) if unknown else ()
    found = adapter_for(payload, record, bound)
    topic = topic_of(record, boundary)
    if not isinstance(found, Refused):
        of_adapter = PayloadReader(found[0].name, tuple((part, part) for part in found[1]))
        claimed = bound is None and topic in boundary.mappings.claimed_topics
        return (_reader(language.PLAIN_SOURCE, payload), of_adapter) if claimed else (of_adapter,)
    if bound is not None or found.cause not in OF_NOBODY:
        return ()
    others = (*boundary.mappings.by_topic.get(topic, ()), language.PLAIN_SOURCE)
    return tuple(_reader(source, payload) for source in others)


def _reader(source: MappedSource, payload: Any) -> PayloadReader:
    body = source.unpacked(payload)
    parts = tuple((each.part, each.root) for each in source.notifications(body))
    return PayloadReader(source.name, parts, source)
