"""The AsyncAPI 3 document: which topics there are, what is written to them, what is read, with which headers and keys.

Seen from this application, as AsyncAPI requires: it receives what producers send and sends what workers read. Bodies
are those of the JSON Schemas next to the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

from referral_stream import __version__
from referral_stream.contracts.catalogue import MessageVersion, message_versions
from referral_stream.contracts.left_out import NOT_APPLIED_HEADER
from referral_stream.contracts.records import (
    CLOUD_EVENT,
    CONTENT_TYPE_HEADER,
    HISTORICAL_HEADER,
    NOW_HEADER,
    SOURCE_HEADER,
)
from referral_stream.contracts.topics import TOPICS, Topic

Action: TypeAlias = Literal["receive", "send"]

_THIS_APPLICATION: Final = frozenset({"ingest", "decide", "ledger", "operator"})
"""The workers' roles and the operator's tools. The webhook receiver is one more producer, and so is
`import`: nobody but producers writes to a source."""

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "string", "pattern": "^[0-9]+$"}
_INSTANT: Final = {"type": "string", "format": "date-time"}

_HEADERS: Final[dict[str, Any]] = {
    "producer": {
        "type": "object",
        "description": (
            f"Structured mode: `{CONTENT_TYPE_HEADER}: {CLOUD_EVENT}`, or none of these. Binary mode: the CloudEvents"
            " attributes as `ce_` headers, `data` alone as the value."
        ),
        "properties": {
            CONTENT_TYPE_HEADER: _TEXT,
            "ce_specversion": _TEXT,
            "ce_type": _TEXT,
            "ce_id": _TEXT,
            "ce_source": _TEXT,
            "ce_subject": _TEXT,
            "ce_time": _INSTANT,
            "ce_dataschema": _TEXT,
            "ce_accountid": _TEXT,
            "ce_timezone": _TEXT,
            "traceparent": {"type": "string", "description": "W3C trace context, where the event has none itself."},
            HISTORICAL_HEADER: {"type": "string", "description": "`true`: a backfill, which opens nothing."},
            SOURCE_HEADER: {"type": "string", "description": "The adapter for a vendor's own webhook payload."},
        },
    },
    "own": {
        "type": "object",
        "required": [NOW_HEADER],
        "properties": {
            NOW_HEADER: _COUNT | {"description": "When it arrived here: epoch milliseconds."},
            HISTORICAL_HEADER: {"const": "true"},
            NOT_APPLIED_HEADER: {
                "type": "string",
                "description": "On a record without a value: the offset of an earlier one that was left out, and why.",
            },
        },
    },
    "deadLetter": {
        "type": "object",
        "required": ["error", "stage", "source-topic", "source-partition", "source-offset", "occurred-at", "attempt"],
        "description": "The headers of the record itself, followed by these.",
        "properties": {
            "error": {"type": "string", "description": "`cause: detail`, without a value of the payload."},
            "stage": _TEXT,
            "source-topic": _TEXT,
            "source-partition": _COUNT,
            "source-offset": _COUNT,
            "source-timestamp": {"type": "string", "pattern": "^-?[0-9]+$"},
            "occurred-at": _INSTANT,
            "attempt": _COUNT,
            "dead-letter-id": _TEXT,
        },
    },
}
_KAFKA: Final = "0.5.0"
"""The version of AsyncAPI's Kafka binding."""

_DEAD_LETTER: Final[dict[str, Any]] = {
    "title": "A dead letter",
    "contentType": "application/octet-stream",
    "payload": {"description": "The record's value, byte for byte; none where it was too large."},
}


def asyncapi() -> dict[str, Any]:
    """The document, with references to the schema files next to it."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:referral-stream",
        "info": {
            "title": "referral-stream",
            "version": __version__,
            "description": (
                "Listens to customer events and asks for a referral at the right moment. CloudEvents 1.0 over Kafka:"
                " structured or binary on the way in, structured on the way out. Every source topic takes every type."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CLOUD_EVENT,
        "servers": {
            "kafka": {
                "host": "{broker}",
                "protocol": "kafka",
                "variables": {"broker": {"default": "localhost:9092", "description": "A bootstrap server."}},
            }
        },
        "channels": {_name(topic): _channel(topic) for topic in TOPICS.values()},
        "operations": {
            f"{action}{_name(topic)[0].upper()}{_name(topic)[1:]}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{_name(topic)}"},
                "summary": topic.about,
            }
            for topic in TOPICS.values()
            for action in _actions(topic)
        },
        "components": {
            "schemas": {f"{name}Headers": schema for name, schema in _HEADERS.items()},
            "parameters": {
                "prefix": {"description": "What this deployment puts before every topic; often nothing.", "default": ""}
            },
        },
    }


def _actions(topic: Topic) -> Iterator[Action]:
    if _THIS_APPLICATION.intersection(topic.writers) and not topic.source:
        yield "send"
    if _THIS_APPLICATION.intersection(topic.readers):
        yield "receive"


def _channel(topic: Topic) -> dict[str, Any]:
    carried = {
        version.name: _message(version, topic) for version in message_versions() if topic.name in version.message.topics
    }
    return {
        "address": f"{{prefix}}{topic.name}",
        "title": topic.name,
        "description": topic.about,
        "servers": [{"$ref": "#/servers/kafka"}],
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": carried or {"deadLetter": _described(_DEAD_LETTER, topic)},
    }


def _message(version: MessageVersion, topic: Topic) -> dict[str, Any]:
    content = {
        "name": version.kind,
        "title": version.name,
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": f"./{version.path}"},
    }
    return _described(content, topic)


def _described(content: dict[str, Any], topic: Topic) -> dict[str, Any]:
    """A message as it is on one topic: key and headers are the topic's, whatever they are elsewhere."""
    key = {"type": "string", "description": topic.key}
    described = content | {"bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA}}}
    if topic.headers is not None:
        described["headers"] = {"$ref": f"#/components/schemas/{topic.headers}Headers"}
    return described


def _name(topic: Topic) -> str:
    first, *rest = topic.name.split("-")
    return first + "".join(word.capitalize() for word in rest)
