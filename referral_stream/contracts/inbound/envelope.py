"""CloudEvents as producers send them, structured or binary → what they say, in the words of ``attributes``."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final

import orjson

from referral_stream.contracts.adapters import Reading
from referral_stream.contracts.inbound.attributes import (
    MAX_ID,
    Attributes,
    link_of,
    own_id,
    trace_of,
)
from referral_stream.contracts.inbound.bodies import DROPPED
from referral_stream.contracts.json_reading import DEEPEST, NotJson, read_json
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.versions import LINEAGES, current_body
from referral_stream.core.events import Link


def binary_attributes(record: RawRecord) -> dict[str, Any]:
    """The ``ce_`` headers as attributes; empty unless the record is a CloudEvent in binary mode."""
    attributes = {
        name[3:].lower(): value.decode("utf-8", "replace")
        for name, value in record.headers
        if value is not None and name[:3].lower() == "ce_"
    }
    return attributes if "specversion" in attributes or "type" in attributes else {}


def cloud_attributes(
    kind: str,
    attributes: dict[str, Any],
    data: Any,
    record: RawRecord,
    *,
    topic: str,
    reading: Reading,
    historical: bool,
    spoilt: Refused | None,
    flags: tuple[str, ...],
) -> Attributes:
    """What a CloudEvent of a known type says; ``topic`` is the source of one that names none.

    ``data`` is Refused where it could not be read. ``spoilt``: what was wrong with the bytes.
    """
    get = attributes.get
    version = get("specversion")
    if type(version) is not str or not version.startswith("1."):
        spoilt = spoilt or Refused("invalid", "specversion: must be 1.0")
    if isinstance(data, Refused):
        data, spoilt = {}, spoilt or data
    id_, spoilt = _short_text("id", get("id"), spoilt)
    source, spoilt = _short_text("source", get("source"), spoilt)
    if data is None:
        data = {}
    named = get("dataschema")
    if named is not None or kind in LINEAGES:
        current = current_body(kind, named, data)
        if type(current) is Refused:
            spoilt = spoilt or current
        else:
            data = current
    link, time, traceparent = get("link"), get("time"), get("traceparent")
    return Attributes.of(
        reading,
        kind=kind,
        data=data,
        time=time if type(time) is str else _no_text(time),
        id=own_id(id_, record),
        source=source or topic,
        subject=get("subject"),
        account=get("accountid"),
        timezone=get("timezone"),
        traceparent=trace_of(traceparent, record) if traceparent is not None or record.headers else None,
        historical=historical,
        link=_link(link, reading) if type(link) is str else None,
        spoilt=spoilt,
        flags=flags,
    )


def _short_text(name: str, given: Any, spoilt: Refused | None) -> tuple[str | None, Refused | None]:
    """An attribute that identifies an event, None if there is none; what cannot identify one spoils it."""
    text = str(given) if type(given) is int else given
    if type(text) is str and 0 < len(text) <= MAX_ID:
        return text, spoilt
    if given is not None:
        spoilt = spoilt or Refused("invalid", f"{name}: must be text of 1 to {MAX_ID} characters")
    return None, spoilt


def _link(text: str, reading: Reading) -> Link | None:
    kind, _, value = text.partition(":")
    return link_of(kind, value, reading)


def _no_text(time: Any) -> Any:
    """A bare number could mean seconds or milliseconds: it is no time."""
    return None if time is None else ()


def structured_data(attributes: dict[str, Any]) -> Any:
    """The data of a structured event, parsed; Refused where it cannot be."""
    encoded = attributes.get("data_base64")
    if encoded is None:
        return attributes.get("data")
    if type(encoded) is not str:
        return Refused("invalid", "data_base64: must be text")
    try:
        return parsed(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return Refused("undecodable", "data_base64: not base64")


def parsed(value: bytes) -> Any:
    """JSON → Python; Refused if it is not JSON, or nested too deeply to be written again."""
    try:
        return read_json(value)
    except NotJson as error:
        return Refused("too_deep" if error.too_deep else "undecodable", error.detail)


def repaired(value: bytes) -> tuple[Any, tuple[str, ...]]:
    """What a careless program wrote for JSON → Python, and its flags; Refused if it cannot be read.

    A byte order mark is skipped, whatever the encoding is that it marks; half a character becomes U+FFFD; what is no
    number (``NaN``), one of more digits than anybody counts, or nested too deeply to be written again is null. Line
    ends in texts are taken as they are.
    """
    text = value.decode(json.detect_encoding(value), "replace").strip(_AROUND).encode()
    shallow = _shallow(text)
    dropped: set[str] = set() if shallow == text else {DROPPED}

    def nothing(_: str) -> None:
        dropped.add(DROPPED)

    def whole(digits: str) -> int | None:
        if len(digits) <= _MOST_DIGITS:
            return int(digits)
        dropped.add(DROPPED)
        return None

    try:
        found = json.loads(shallow, parse_constant=nothing, parse_int=whole, strict=False)
        return _whole(found, DEEPEST), tuple(dropped)
    except (ValueError, RecursionError):
        return Refused("undecodable", "not JSON"), ()


_AROUND: Final = "\ufeff\x00 \t\r\n"
"""What stands around a document and says nothing."""
_MOST_DIGITS: Final = 300
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]+|[\]}]+', re.DOTALL)
"""What opens and closes objects and arrays in JSON, and the strings in which the same characters do not."""


def _shallow(value: bytes) -> bytes:
    """The text with null in place of what is nested more deeply than ``DEEPEST``."""
    kept: list[bytes] = []
    level = place = 0
    for found in _STRUCTURE.finditer(value):
        start, end = found.span()
        match value[start]:
            case 0x5B | 0x7B:  # [ {
                if level <= DEEPEST < level + end - start:
                    kept += value[place : start + DEEPEST - level], b"null"
                level += end - start
            case 0x5D | 0x7D:  # ] }
                if level > DEEPEST >= level - (end - start):
                    place = start + level - DEEPEST
                level -= end - start
            case _:
                pass
    return b"".join(kept) + value[place:] if kept and level <= DEEPEST else value


def _whole(value: Any, levels: int) -> Any:
    """The value without halves of surrogate pairs. Raises RecursionError where it is nested too deeply."""
    if levels < 0:
        raise RecursionError
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(name, 0): _whole(inner, levels - 1) for name, inner in value.items()}
    return [_whole(inner, levels - 1) for inner in value] if isinstance(value, list) else value


def canonical(value: Any) -> bytes:
    """Canonical JSON, sorted keys, compact, UTF-8, of what was read."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a number that only the lenient reading takes
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
