"""CloudEvents over HTTP → records of a source topic.

The HTTP and the Kafka protocol binding of CloudEvents 1.0: structured and batched events are passed on as they are, one
record each; the ``ce-`` headers of a binary event become ``ce_`` headers. Only the envelope is checked here: the
topic's readers check type and body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from referral_stream.contracts.inbound.envelope import canonical, parsed, repaired
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, ENDPOINT_HEADER, Headers
from referral_stream.core.events import FACT_TYPES, is_operators, may_protect

BATCH: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"
WHOLE: Final = (CLOUD_EVENT, BATCH)
"""The media types of bodies that hold whole events; with any other, the event is in the headers."""

REQUIRED: Final = ("specversion", "id", "source", "type")
"""The attributes that every CloudEvent must have."""

_BINARY = "ce-"
_AROUND_RECORD: Final = 100
_AROUND_HEADER: Final = 10


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record for a source topic."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of key, value and headers, with what Kafka writes around them at most."""
        headers = sum(len(name) + len(value or b"") + _AROUND_HEADER for name, value in self.headers)
        return len(self.key or b"") + len(self.value) + headers + _AROUND_RECORD


@dataclass(frozen=True, slots=True)
class NotAnEvent:
    """Why a body is not a CloudEvent, without quoting it."""

    detail: str


@dataclass(frozen=True, slots=True)
class NotForUs:
    """The body says what only those may say who run the deployment; or, where they say it, something else."""

    detail: str


@dataclass(frozen=True, slots=True)
class Received:
    """The records of a request. ``letters``: how many of them ingest will make a dead letter of."""

    records: tuple[SourceRecord, ...]
    letters: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """An endpoint for CloudEvents as their reader sees it: its name, its topic, whether it is the operators'."""

    name: str
    topic: str
    is_operators: bool = False

    def refuses(self, event: Mapping[str, Any]) -> str:
        """Why such an event may not come this way; empty if it may."""
        kind = event.get("type")
        if is_operators(kind if isinstance(kind, str) else "") is self.is_operators:
            return ""
        return "only /control takes this type" if not self.is_operators else "facts go to /events"


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether a request declares itself a CloudEvent in binary mode."""
    return any(name.lower() == "ce-specversion" for name in headers)


def records_of(media_type: str, headers: Mapping[str, str], body: bytes, way: Way) -> Received | NotAnEvent | NotForUs:
    """The records of a request. ``media_type`` in lower case, without parameters.

    Each event of a batch stands by itself: what is no event becomes a dead letter, unless nothing in the batch is one.
    """
    if media_type not in WHOLE:
        return _binary(headers, body, way)
    read = parsed(body)
    if isinstance(read, Refused):
        read, _ = repaired(body)
    if isinstance(read, Refused):
        return NotAnEvent("the body is not JSON")
    if media_type != BATCH:
        return _alone(read, way) or Received((_structured(read, body, way),))
    if not isinstance(read, list) or not read:
        return NotAnEvent("a batch is a JSON array of events")
    wrong = [_alone(event, way) for event in read]
    first = next((each for each in wrong if each is not None), None)
    if first is not None and (None not in wrong or way.is_operators):
        return replace(first, detail=f"[{wrong.index(first)}] {first.detail}")
    records = tuple(_structured(event, canonical(event), way) for event in read)
    return Received(records, letters=len(wrong) - wrong.count(None))


def _alone(event: Any, way: Way) -> NotAnEvent | NotForUs | None:
    """What is wrong with one event; None if nothing is."""
    if problem := _problem(event):
        return NotAnEvent(problem)
    return NotForUs(refusal) if (refusal := way.refuses(event)) else None


def _structured(event: Any, value: bytes, way: Way) -> SourceRecord:
    subject = event.get("subject") if isinstance(event, dict) else None
    return SourceRecord(way.topic, value, _key(subject), ((CONTENT_TYPE_HEADER, CLOUD_EVENT.encode()), _came(way)))


def _came(way: Way) -> tuple[str, bytes]:
    """Through which endpoint a record came: only an operator's word counts that came through theirs."""
    return ENDPOINT_HEADER, way.name.encode()


def _binary(headers: Mapping[str, str], body: bytes, way: Way) -> Received | NotAnEvent | NotForUs:
    # Values are percent-encoded UTF-8 (HTTP binding 3.1.3.2); in Kafka they are UTF-8 as it is.
    attributes = {
        name[len(_BINARY) :].lower(): unquote(value)
        for name, value in headers.items()
        if name[: len(_BINARY)].lower() == _BINARY
    }
    if wrong := _alone(attributes, way):
        return wrong
    carried = tuple((f"ce_{name}", value.encode("utf-8", "replace")) for name, value in attributes.items())
    content_type = (CONTENT_TYPE_HEADER, JSON.encode())
    key = _key(attributes.get("subject"))
    return Received((SourceRecord(way.topic, body, key, (content_type, *carried, _came(way))),))


def _problem(event: Any) -> str:
    """Why it is not a CloudEvent; empty if it is one, or protects and says enough for that (identity §1)."""
    if not isinstance(event, dict):
        return "an event is a JSON object"
    kind = event.get("type")
    if isinstance(kind, str) and kind in FACT_TYPES and may_protect(kind) and not is_operators(kind):
        return ""
    for name in REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            return f"{name}: must be text"
    return "" if event["specversion"].startswith("1.") else "specversion: must be 1.0"


_LONGEST_KEY: Final = 512
"""Bytes; whoever has a longer id is nobody, and may lie on any partition."""


def _key(subject: Any) -> bytes | None:
    """Events of one customer share a partition, so that they are read in the order in which they came."""
    key = subject.encode("utf-8", "replace") if isinstance(subject, str) else b""
    return key if 0 < len(key) <= _LONGEST_KEY else None
