"""JSON Schema (2020-12) of every message, generated from the models: what a producer or a worker may rely on.

One document per message type and direction, as structured CloudEvents: ``in`` is what producers send, ``out`` what
workers read, ``internal`` what travels between our own roles. The files under ``schemas/`` are these documents, byte
for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

import orjson
from pydantic import BaseModel

from referral_stream.core.asks import EFFECT_TYPES, LedgerRequest
from referral_stream.core.events import FACTS, INTERNAL, WITHOUT_SUBJECT, Commented

Direction: TypeAlias = Literal["in", "out", "internal"]

VERSION = 1
"""Raised when a message changes so that a reader of the older one would fail; new optional fields do not."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTES: dict[str, Any] = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "minLength": 1, "maxLength": 512, "description": "With source, identifies the event."},
    "source": {"type": "string", "minLength": 1, "maxLength": 512, "format": "uri-reference"},
    "time": {"type": "string", "format": "date-time", "description": "Event time; absent: the record's timestamp."},
    "datacontenttype": {"const": "application/json"},
    "accountid": {"type": "string", "minLength": 1, "maxLength": 512, "description": "The customer's account."},
    "timezone": {"type": "string", "description": "The customer's IANA time zone, where this event knows it."},
    "traceparent": {"type": "string", "description": "W3C trace context."},
}
_SUBJECT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 512, "description": "The customer's id."}
_FLAGS: dict[str, Any] = {
    "historical": {"type": "boolean", "description": "A backfill: changes the state, opens nothing."},
    "flags": {"type": "string", "description": "What ingest had to mend, separated by commas."},
}


def documents() -> dict[str, bytes]:
    """Path below ``schemas/`` → content: indented, sorted, with a line end."""
    return {
        f"{direction}/{kind}.json": orjson.dumps(
            _message(direction, kind, model),
            option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE,
        )
        for direction, kind, model in _messages()
    }


def drift(present: Mapping[str, bytes]) -> tuple[str, ...]:
    """Where the models and the files ``present`` (path below ``schemas/`` → content) differ; empty = nowhere."""
    wanted = documents()
    return tuple(
        f"{path}: {'missing' if path not in present else 'not of this contract' if path not in wanted else 'outdated'}"
        for path in sorted(wanted.keys() | present.keys())
        if wanted.get(path) != present.get(path)
    )


def _messages() -> Iterator[tuple[Direction, str, type[BaseModel]]]:
    for fact in FACTS:
        yield "in", fact.type, fact
    for internal in INTERNAL:
        yield "internal", internal.type, internal
    for effect, kind in EFFECT_TYPES.items():
        yield "internal" if effect in get_args(LedgerRequest) else "out", kind, effect


def _message(direction: Direction, kind: str, model: type[BaseModel]) -> dict[str, Any]:
    body = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = body.pop("$defs", {})
    if direction == "in" and issubclass(model, Commented):
        body["properties"].pop("theme")  # ours: made of the comment, which goes no further
    properties = _ATTRIBUTES | {"type": {"const": kind}, "data": body}
    required = ["id", "source", "specversion", "type"]
    if kind not in WITHOUT_SUBJECT:
        properties["subject"] = _SUBJECT
        required.append("subject")
    if body.get("required"):
        required.append("data")
    if direction == "internal":
        properties |= _FLAGS
    document: dict[str, Any] = {
        "$schema": _DIALECT,
        "$id": f"urn:referral-stream:{direction}:{kind}:{VERSION}",
        "title": kind,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
    }
    if definitions:
        document["$defs"] = definitions
    return document
