"""Instants: whole milliseconds since 1970-01-01T00:00:00Z, the only notion of time inside the core.

Integers compare and add exactly and cost nothing; local calendar arithmetic happens only in ``zones``, ``windows``
and ``moments``. On every boundary an instant is RFC 3339, UTC, milliseconds, ``Z``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EARLIEST = 0
LATEST = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can write


LAST_ARRIVAL = LATEST - 36_600 * DAY
"""The last instant at which something may arrive: windows of years begin with it, and have to end before LATEST."""


def parse_instant(text: str) -> tuple[int, bool]:
    """RFC 3339 (or ISO 8601) text → (instant, naive); naive text is read as UTC. Anything below a millisecond is cut.

    Raises ValueError for text that is not a date and time, or is outside 1970–9999.
    """
    if "T" not in text and " " not in text and "t" not in text:
        raise ValueError(f"not a date and time: {text!r}")
    try:
        moment = datetime.fromisoformat(text.upper())  # RFC 3339 allows "t" and "z" in lower case, Python does not
    except ValueError:
        raise ValueError(f"not a date and time: {text!r}") from None
    naive = moment.tzinfo is None
    if naive:
        moment = moment.replace(tzinfo=UTC)
    return from_datetime(moment), naive


def from_datetime(moment: datetime) -> int:
    """An aware datetime → instant, exact (no float in between). Raises ValueError outside 1970–9999."""
    delta = moment - _EPOCH
    instant = delta.days * DAY + delta.seconds * SECOND + delta.microseconds // 1_000
    if not EARLIEST <= instant <= LATEST:
        raise ValueError(f"out of range: {moment.isoformat()}")
    return instant


def to_datetime(instant: int) -> datetime:
    """Instant → aware UTC datetime, exact."""
    seconds, millis = divmod(instant, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=millis * 1_000)


def rfc3339(instant: int) -> str:
    """Instant → ``2026-06-16T08:00:00.000Z``."""
    # Every event and every decision carries several, mostly of the same minutes: a tenth of what strftime costs.
    minute, millis = divmod(instant, MINUTE)
    return _minute_text(minute) + _IN_MINUTE[millis // SECOND] + _IN_SECOND[millis % SECOND]


_IN_MINUTE = tuple(f":{second:02d}." for second in range(60))
_IN_SECOND = tuple(f"{milli:03d}Z" for milli in range(SECOND))


@lru_cache(maxsize=4_096)
def _minute_text(minutes: int) -> str:
    return (_EPOCH + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


def utc_day(instant: int) -> int:
    """Number of the UTC day the instant lies in, days since 1970-01-01."""
    return instant // DAY


def _instant(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("an instant is RFC 3339 text or epoch milliseconds")  # noqa: TRY004 (pydantic wants ValueError)
    if isinstance(value, int):
        if not EARLIEST <= value <= LATEST:
            raise ValueError(f"out of range: {value}")
        return value
    if isinstance(value, str):
        return parse_instant(value)[0]
    raise ValueError("an instant is RFC 3339 text or epoch milliseconds")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Instant: TypeAlias = Annotated[
    int,
    BeforeValidator(_instant),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Field type of an instant in every message and in the policy: read from RFC 3339 or epoch ms, written as RFC 3339."""
