"""The lines of ``kcat -J``, which ``replay`` reads like its own: one JSON object each, key and payload as text.

kcat writes bytes as if they were text, so a payload that is no UTF-8 is damaged in its output, and nobody can tell what
it was. Such a line is refused, as is one whose payload kcat has decoded from a schema: nothing is guessed.
"""

from __future__ import annotations

from typing import Any, Final

from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.instants import LAST_ARRIVAL

_FIELDS: Final = frozenset({"topic", "partition", "offset", "tstype", "ts", "broker", "headers", "key", "payload"})
_MARK: Final = "tstype"
_DAMAGED: Final = "\N{REPLACEMENT CHARACTER}"
INSTEAD: Final = "kcat -J cannot carry it; record the topic with `referral-stream export` instead"


def is_kcat(entry: dict[str, Any]) -> bool:
    """Whether an object is one of kcat's lines: it has a payload, or kcat's kind of timestamp, and no value."""
    return "value" not in entry and ("payload" in entry or _MARK in entry)


def may_be_kcat(line: bytes) -> bool:
    """Likewise of a line that is not JSON, as bytes that are no text have left it."""
    return b'"tstype":' in line and b'"payload":' in line


def kcat_record(entry: dict[str, Any]) -> RawRecord:
    """One line of kcat's → its record, byte for byte as it was on the topic.

    Raises ValueError, which says what is wrong without quoting it.
    """
    if unknown := sorted(entry.keys() - _FIELDS):
        raise ValueError(f"{unknown[0]!r} in a line of kcat's: a payload decoded from a schema is not read; {INSTEAD}")
    topic = entry.get("topic")
    if not isinstance(topic, str) or not topic:
        raise ValueError("topic: required, as text")
    if "payload" not in entry:
        raise ValueError("payload: required, as text or null")
    return RawRecord(
        topic=topic,
        partition=_number(entry, "partition"),
        offset=_number(entry, "offset"),
        timestamp=_time(entry.get("ts")),
        key=_bytes(entry.get("key"), "key"),
        value=_bytes(entry["payload"], "payload"),
        headers=_headers(entry.get("headers")),
    )


def _number(entry: dict[str, Any], name: str) -> int:
    value = entry.get(name)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name}: must be a whole number from 0")
    return value


def _time(value: Any) -> int:
    if type(value) is not int or value > LAST_ARRIVAL:
        raise ValueError("ts: required, as epoch milliseconds of our time")
    return value


def _bytes(value: Any, name: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name}: must be text or null; {INSTEAD}")  # noqa: TRY004 (one error for all that is wrong)
    if _DAMAGED in value:
        raise ValueError(f"{name}: holds bytes that were no text (U+FFFD); {INSTEAD}")
    return value.encode()


def _headers(value: Any) -> Headers:
    """Names and values in turn: ``[name, value, name, value]``."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) % 2 or not all(isinstance(name, str) for name in value[::2]):
        raise ValueError("headers: must be a list of names and values in turn")
    names = zip(value[::2], value[1::2], strict=True)
    return tuple((name, _bytes(found, f"header {name!r}")) for name, found in names)
