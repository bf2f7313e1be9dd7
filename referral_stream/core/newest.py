"""Last writer wins: what becomes of a signal when one more event speaks about it."""

from __future__ import annotations

from typing import TypeVar

from referral_stream.core.customer import Customer
from referral_stream.core.stamps import Stamp

T = TypeVar("T")


def newer(current: T | None, stamp: Stamp, value: T) -> T:
    """The value, unless the current one was written by a newer event."""
    return value if current is None or stamp > current.at else current  # type: ignore[attr-defined]  # T has ``at``


def put(table: dict[str, T], key: str, stamp: Stamp, value: T) -> dict[str, T] | None:
    """The table with the value under the key, or None if what is there is newer."""
    current = table.get(key)
    if current is not None and stamp <= current.at:  # type: ignore[attr-defined]  # T has ``at``
        return None
    return {**table, key: value}


def may_be_forgotten(c: Customer, field: str, stamp: Stamp) -> bool:
    """Whether an event of an unknown object may be older than what went of that table for lack of room."""
    return stamp.time <= c.forgotten.get(field, -1)


def latest(current: int | None, time: int) -> int:
    return time if current is None or time > current else current


def latest_stamp(current: Stamp | None, stamp: Stamp) -> Stamp:
    return stamp if current is None or stamp > current else current
