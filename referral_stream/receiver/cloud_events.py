"""CloudEvents over HTTP → records of a source topic.

The HTTP and the Kafka protocol binding of CloudEvents 1.0: structured and batched events are passed on as they are, one
record each; the ``ce-`` headers of a binary event become ``ce_`` headers. Only the envelope is checked here: the
topic's readers check type and body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import orjson

from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, Headers

BATCH: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"
WHOLE: Final = (CLOUD_EVENT, BATCH)
"""The media types of bodies that hold whole events; with any other, the event is in the headers."""

REQUIRED: Final = ("specversion", "id", "source", "type")
"""The attributes that every CloudEvent must have."""

_BINARY = "ce-"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record for a source topic."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class NotAnEvent:
    """Why a body is not a CloudEvent, without quoting it."""

    detail: str


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether a request declares itself a CloudEvent in binary mode."""
    return any(name.lower() == "ce-specversion" for name in headers)


def records_of(
    media_type: str, headers: Mapping[str, str], body: bytes, topic: str
) -> tuple[SourceRecord, ...] | NotAnEvent:
    """The records of a request: all of a batch, or none of it. ``media_type`` in lower case, without parameters."""
    if media_type not in WHOLE:
        return _binary(headers, body, topic)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return NotAnEvent("the body is not JSON")
    if media_type != BATCH:
        return NotAnEvent(problem) if (problem := _problem(parsed)) else (_structured(parsed, body, topic),)
    if not isinstance(parsed, list) or not parsed:
        return NotAnEvent("a batch is a JSON array of events")
    for number, event in enumerate(parsed):
        if problem := _problem(event):
            return NotAnEvent(f"[{number}] {problem}")
    return tuple(_structured(event, orjson.dumps(event), topic) for event in parsed)


def _structured(event: dict[str, Any], value: bytes, topic: str) -> SourceRecord:
    return SourceRecord(topic, value, _key(event.get("subject")), ((CONTENT_TYPE_HEADER, CLOUD_EVENT.encode()),))


def _binary(headers: Mapping[str, str], body: bytes, topic: str) -> tuple[SourceRecord, ...] | NotAnEvent:
    # Values are percent-encoded UTF-8 (HTTP binding 3.1.3.2); in Kafka they are UTF-8 as it is.
    attributes = {
        name[len(_BINARY) :].lower(): unquote(value)
        for name, value in headers.items()
        if name[: len(_BINARY)].lower() == _BINARY
    }
    if problem := _problem(attributes):
        return NotAnEvent(problem)
    carried = tuple((f"ce_{name}", value.encode("utf-8", "replace")) for name, value in attributes.items())
    content_type = (CONTENT_TYPE_HEADER, JSON.encode())
    return (SourceRecord(topic, body, _key(attributes.get("subject")), (content_type, *carried)),)


def _problem(event: Any) -> str:
    """Why it is not a CloudEvent; empty if it is one."""
    if not isinstance(event, dict):
        return "an event is a JSON object"
    for name in REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            return f"{name}: must be text"
    return "" if event["specversion"].startswith("1.") else "specversion: must be 1.0"


def _key(subject: Any) -> bytes | None:
    """Events of one customer share a partition, so that they are read in the order in which they came."""
    return subject.encode("utf-8", "replace") if isinstance(subject, str) and subject else None
