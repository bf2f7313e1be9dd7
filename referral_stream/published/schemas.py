"""What a producer or a worker may rely on, generated from the models: JSON Schema (2020-12), examples, AsyncAPI.

One schema per message type and version, as a structured CloudEvent: ``in`` is what producers send, ``out`` what workers
read, ``internal`` what travels between our own roles; ``message.json`` is all of them in one. The files under
``schemas/`` are these documents, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from referral_stream.contracts.catalogue import MessageVersion, message_versions
from referral_stream.contracts.validation import READ_FROM
from referral_stream.contracts.versions import URN, unnamed_version
from referral_stream.core.effects import LedgerRenewed
from referral_stream.core.events import WITHOUT_SUBJECT, Commented
from referral_stream.published import examples
from referral_stream.published.asyncapi import asyncapi

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTES: dict[str, Any] = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "minLength": 1, "maxLength": 512, "description": "With source, identifies the event."},
    "source": {"type": "string", "minLength": 1, "maxLength": 512, "format": "uri-reference"},
    "time": {"type": "string", "format": "date-time", "description": "Event time; absent: the record's timestamp."},
    "datacontenttype": {"const": "application/json"},
    "accountid": {"type": "string", "minLength": 1, "maxLength": 512, "description": "The customer's account."},
    "timezone": {"type": "string", "description": "The customer's IANA time zone, if this event knows it."},
    "traceparent": {"type": "string", "description": "W3C trace context."},
}
_SUBJECT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 512, "description": "The customer's id."}
_FLAGS: dict[str, Any] = {
    "historical": {"type": "boolean", "description": "A backfill: changes the state, opens nothing."},
    "flags": {"type": "string", "description": "What ingest had to correct, separated by commas."},
}


def documents() -> dict[str, bytes]:
    """Path below ``schemas/`` → content: indented, sorted, with a line end."""
    wanted: dict[str, Any] = {"asyncapi.json": asyncapi(), "message.json": _any_message()}
    for message in message_versions():
        wanted[message.path] = _schema(message)
        example = f"examples/{message.direction}/{message.name}"
        wanted[f"{example}.valid.json"] = examples.valid(message)
        wanted[f"{example}.invalid.json"] = examples.invalid(message)
    return {
        path: orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        for path, content in wanted.items()
    }


def drift(present: Mapping[str, bytes]) -> tuple[str, ...]:
    """Where the models and the files ``present`` (path below ``schemas/`` → content) differ; empty if nowhere."""
    wanted = documents()
    return tuple(
        f"{path}: {'missing' if path not in present else 'not of this contract' if path not in wanted else 'outdated'}"
        for path in sorted(wanted.keys() | present.keys())
        if wanted.get(path) != present.get(path)
    )


def _schema(message: MessageVersion) -> dict[str, Any]:
    """The schema of one message; unknown fields are allowed, since they are ignored."""
    body = message.model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = body.pop("$defs", {})
    if message.direction == "in" and issubclass(message.model, Commented):
        body["properties"].pop("theme")  # ours: derived from the comment, which goes no further
    for field, other in READ_FROM.get(message.kind, {}).items():
        body["required"].remove(field)
        body["anyOf"] = [{"required": [field]}, {"required": [other]}]
    properties = _ATTRIBUTES | {"type": {"const": message.kind}, "dataschema": _dataschema(message), "data": body}
    required = ["id", "source", "specversion", "type"]
    if message.version != unnamed_version(message.kind):
        required.append("dataschema")
    if message.kind not in WITHOUT_SUBJECT and message.model is not LedgerRenewed:
        properties["subject"] = _SUBJECT
        required.append("subject")
    if body.get("required"):
        required.append("data")
    if message.direction == "internal":
        properties |= _FLAGS
    document: dict[str, Any] = {
        "$schema": _DIALECT,
        "$id": message.dataschema,
        "title": message.name,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
    }
    if definitions:
        document["$defs"] = definitions
    return document


def _dataschema(message: MessageVersion) -> dict[str, Any]:
    """What ``dataschema`` may be: this version's name; any foreign one where that means the same as none."""
    if message.version != unnamed_version(message.kind):
        return {"const": message.dataschema}
    return {
        "type": "string",
        "format": "uri",
        "description": "Absent, or not our own: this version.",
        "if": {"pattern": f"^{URN}"},
        "then": {"const": message.dataschema},
    }


def _any_message() -> dict[str, Any]:
    """The closed union: a message has one of the types, and is as that type and version requires.

    Without an ``$id``, so that the references resolve to files next to it.
    """
    listed = tuple(message_versions())
    return {
        "$schema": _DIALECT,
        "title": "Any message of referral-stream",
        "type": "object",
        "properties": {"type": {"enum": sorted({message.kind for message in listed})}},
        "required": ["type"],
        "allOf": [{"if": _is(message), "then": {"$ref": message.path}} for message in listed],
    }


def _is(message: MessageVersion) -> dict[str, Any]:
    """The condition that a record has this version of this type."""
    is_kind: dict[str, Any] = {"properties": {"type": {"const": message.kind}}, "required": ["type"]}
    named = {"properties": {"dataschema": {"const": message.dataschema}}, "required": ["dataschema"]}
    if message.version != unnamed_version(message.kind):
        return {"allOf": [is_kind, named]}
    others = [
        {"properties": {"dataschema": {"const": other.dataschema}}, "required": ["dataschema"]}
        for other in message_versions()
        if other.kind == message.kind and other.version != message.version
    ]
    return {"allOf": [is_kind, {"not": {"anyOf": others}}]} if others else is_kind
