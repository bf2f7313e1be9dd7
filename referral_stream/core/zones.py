"""Time zones from the pinned ``tzdata`` package only, so that every machine computes the same local times.

The operating system's database is never consulted: two hosts with different releases would answer differently.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

from referral_stream.core.instants import DAY, MINUTE, from_datetime, to_datetime

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class Zone(NamedTuple):
    """The customer's time zone. ``names`` has several entries only for an unknown zone under ``strict``."""

    name: str
    source: str  # profile | event | default
    names: tuple[str, ...]


@cache
def names() -> frozenset[str]:
    """All zone names of the database, links included."""
    return frozenset((resources.files("tzdata") / "zones").read_text(encoding="ascii").split())


def is_zone(name: str) -> bool:
    """Whether the database knows the name (exact case)."""
    return name in names()


@lru_cache(maxsize=700)
def zone(name: str) -> ZoneInfo:
    """The zone of that name. Raises KeyError for an unknown one."""
    if not is_zone(name):
        raise KeyError(name)
    folder, _, leaf = name.rpartition("/")
    with (resources.files("tzdata") / "zoneinfo" / folder / leaf).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def local_day(instant: int, name: str) -> str:
    """The local calendar date at the instant, as ``2026-06-16``."""
    return to_datetime(instant).astimezone(zone(name)).date().isoformat()


def local_date(instant: int, name: str) -> int:
    """The local calendar date at the instant, as days since 1970-01-01."""
    return to_datetime(instant).astimezone(zone(name)).toordinal() - EPOCH_ORDINAL


@lru_cache(maxsize=65_536)
def instant_at(day: int, minute: int, name: str, *, repeated: str = "first") -> int:
    """The instant at which clocks show ``minute`` (since midnight, may exceed a day) on that local date.

    A wall time that does not exist gives the first instant after the gap; one that occurs twice gives the ``"first"``
    or the ``"second"`` of the two.
    """
    days, minute = divmod(minute, DAY // MINUTE)
    wall = datetime.fromordinal(day + days + EPOCH_ORDINAL) + timedelta(minutes=minute)
    return _resolve(wall, name, second=repeated == "second")


def same_wall_time(instant: int, days: int, name: str) -> int:
    """The instant ``days`` local calendar days later at the same wall time (gap: the instant after; repeat: first)."""
    local = to_datetime(instant).astimezone(zone(name)).replace(tzinfo=None, fold=0)
    return _resolve(local + timedelta(days=days), name, second=False)


def next_midnight(instant: int, name: str) -> int:
    """The first start of a local day strictly after the instant."""
    day = local_date(instant, name) + 1
    midnight = instant_at(day, 0, name)
    # Where clocks go back over midnight (00:01 → 23:01), the day before ends twice: behind us, and once more ahead.
    return midnight if midnight > instant else instant_at(day, 0, name, repeated="second")


def _resolve(wall: datetime, name: str, *, second: bool) -> int:
    tz = zone(name)
    early, late = (wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early <= late:  # ordinary, or repeated
        return from_datetime(late if second else early)
    # In a gap zoneinfo gives fold=1 the offset after it, an instant before the change, and fold=0 one after it: the
    # change lies between the two.
    low, high = from_datetime(late), from_datetime(early)
    before = to_datetime(low).astimezone(tz).utcoffset()
    inside = range(low + 1, high + 1)
    return inside[bisect_left(inside, 1, key=lambda at: to_datetime(at).astimezone(tz).utcoffset() != before)]
