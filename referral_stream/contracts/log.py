"""The recorded log: JSON lines, one Kafka record each; what ``replay`` reads and ``record`` writes.

A line is ``{"topic", "timestamp" (RFC 3339 or epoch ms), "value", "key"?, "headers"?, "partition"?, "offset"?}``. Bytes
that are not JSON appear as ``{"base64": …}``, and so are keys and headers that are not text; a header may be null.
Without ``offset`` the line's number takes its place, so that two records of a log never share a position.

Lines of ``kcat -J`` are read too (see ``kcat``), also among others.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.json_reading import DEEPEST, NotJson, parse_json, read_json
from referral_stream.contracts.kcat import INSTEAD, is_kcat, kcat_record, may_be_kcat
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.instants import EARLIEST, LAST_ARRIVAL, LATEST, parse_instant, rfc3339

_FIELDS = frozenset({"topic", "timestamp", "value", "key", "headers", "partition", "offset"})


def parse_line(line: bytes, *, file: str, number: int) -> RawRecord:
    """One line (``number`` counts from 1) → its record. Raises UnreadableLog."""
    try:
        entry = parse_json(line)
    except NotJson as error:
        remedy = f"; {INSTEAD}" if may_be_kcat(line) else ""
        raise UnreadableLog(file, number, f"not JSON: {error}{remedy}") from None
    try:
        return _record(entry, number)
    except ValueError as problem:
        raise UnreadableLog(file, number, str(problem)) from None


def render_line(record: RawRecord) -> bytes:
    """A record → its line, canonical JSON without the line end; ``parse_line`` gives the record back exactly."""
    entry: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": rfc3339(record.timestamp) if EARLIEST <= record.timestamp <= LATEST else record.timestamp,
        "value": _render_value(record.value),
    }
    if record.key is not None:
        entry["key"] = _render_text(record.key)
    if record.headers:
        names = [name for name, _ in record.headers]
        pairs: list[tuple[str, Any]] = [
            (name, None if value is None else _render_text(value)) for name, value in record.headers
        ]
        # An object keeps neither order nor repetition; where either matters, a list of pairs does.
        entry["headers"] = dict(pairs) if names == sorted(set(names)) else pairs
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def _record(entry: Any, number: int) -> RawRecord:
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one error for everything a line can be wrong about)
    if is_kcat(entry):
        return kcat_record(entry)
    if unknown := sorted(entry.keys() - _FIELDS):
        raise ValueError(f"unknown field {unknown[0]!r}; a line has {', '.join(sorted(_FIELDS))}")
    topic = entry.get("topic")
    if not isinstance(topic, str) or not topic:
        raise ValueError("topic: required, as text")
    if "value" not in entry:
        raise ValueError("value: required")
    key = entry.get("key")
    return RawRecord(
        topic=topic,
        partition=_count(entry, "partition", 0),
        offset=_count(entry, "offset", number - 1),
        timestamp=_timestamp(entry.get("timestamp")),
        key=None if key is None else _text_bytes(key, "key"),
        value=_value_bytes(entry["value"]),
        headers=_headers(entry.get("headers")),
    )


def _count(entry: dict[str, Any], name: str, default: int) -> int:
    value = entry.get(name, default)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name}: must be a whole number from 0")
    return value


def _timestamp(value: Any) -> int:
    if type(value) is int:
        return _in_range(value)
    if isinstance(value, str):
        try:
            instant = parse_instant(value)[0]
        except (ValueError, OverflowError):
            raise ValueError("timestamp: not RFC 3339") from None
        return _in_range(instant)
    raise ValueError("timestamp: required, as RFC 3339 or epoch milliseconds")


def _in_range(timestamp: int) -> int:
    if timestamp > LAST_ARRIVAL:
        raise ValueError(f"timestamp: out of range: after {rfc3339(LAST_ARRIVAL)[:10]}")
    return timestamp


def _value_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    encoded = _base64(value, "value")
    if encoded is not None:
        return encoded
    try:
        return orjson.dumps(value)
    except TypeError:
        raise ValueError(f"value: nested more than {DEEPEST} deep") from None


def _text_bytes(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    encoded = _base64(value, name)
    if encoded is None:
        raise ValueError(f'{name}: must be text or {{"base64": …}}')
    return encoded


def _base64(value: Any, name: str) -> bytes | None:
    """The bytes of ``{"base64": …}``; None for any other value."""
    if not (isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str)):
        return None
    try:
        return base64.b64decode(value["base64"], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name}: not base64") from None


def _headers(value: Any) -> Headers:
    if value is None:
        return ()
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise ValueError("headers: must be an object, or a list of [name, value]")  # noqa: TRY004 (as above)
    headers = []
    for pair in pairs:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):  # noqa: PLR2004 (a pair)
            raise ValueError("headers: must be an object, or a list of [name, value]")
        headers.append((pair[0], None if pair[1] is None else _text_bytes(pair[1], f"header {pair[0]!r}")))
    return tuple(headers)


def _render_value(value: bytes | None) -> Any:
    """The value as JSON where that keeps every byte, else as base64."""
    if value is None:
        return None
    try:
        parsed = read_json(value)
        exact = parsed is not None and _base64(parsed, "value") is None and orjson.dumps(parsed) == value
    except ValueError:
        exact = False
    return orjson.Fragment(value) if exact else _as_base64(value)


def _render_text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _as_base64(value)


def _as_base64(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}
