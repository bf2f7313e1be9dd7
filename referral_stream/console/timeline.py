"""A customer's tracks as geometry: where each item lies on a time axis whose idle stretches are folded.

Places are percentages of the width, so the same drawing fits a phone and a wall; texts keep their size.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from referral_stream.core.instants import DAY, HOUR, to_datetime
from referral_stream.core.policy import Moments
from referral_stream.core.rules.moments import first_open_instant, quiet_from
from referral_stream.core.zones import Zone
from referral_stream.explain.tracks import Track, TrackItem
from referral_stream.words.phrases import phrases

FOLDED_FROM: Final = 2 * DAY
"""A stretch in which nothing happens is drawn as long as this, if it is longer."""
_FOLD_WIDTH: Final = 14 * HOUR
_MARGIN: Final = 1.5
_LEAST_BAR: Final = 0.8
_BETWEEN_TICKS: Final = 19.0
_TRACK_HEIGHT: Final = 42
_TOP: Final = 26
_ITEMS_DRAWN: Final = 400
_QUIET_DRAWN: Final = 40


@dataclass(frozen=True, slots=True)
class Point:
    """An item without a length."""

    x: float
    tone: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Bar:
    """An item with a length; ``settle`` is how far it waits for corrections, ``moment`` where it would speak."""

    x: float
    width: float
    kind: str
    text: str
    at: int
    until: int
    settle: float | None = None
    quiet: tuple[tuple[float, float], ...] = ()
    moment: float | None = None


@dataclass(frozen=True, slots=True)
class DrawnTrack:
    name: str
    title: str
    y: int
    points: tuple[Point, ...]
    bars: tuple[Bar, ...]
    items: tuple[TrackItem, ...]


@dataclass(frozen=True, slots=True)
class IdleStretch:
    """A stretch that is left out: where, and how long it is (ms)."""

    x: float
    width: float
    length: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """``ticks``: where, and the date there; ``now``: where the present is; ``left_out``: older items, not drawn."""

    height: int
    tracks: tuple[DrawnTrack, ...]
    folds: tuple[IdleStretch, ...]
    ticks: tuple[tuple[float, str], ...]
    now: float
    left_out: int


class _Axis:
    """Instants to percentages, by stretches between instants at which something is."""

    def __init__(self, instants: Iterable[int]) -> None:
        self.stops = sorted(set(instants)) or [0]
        self._before = [0.0]
        for left, right in zip(self.stops, self.stops[1:], strict=False):
            gap = right - left
            self._before.append(self._before[-1] + (_FOLD_WIDTH if gap > FOLDED_FROM else max(gap, 1)))
        self._whole = self._before[-1] or 1.0

    def x(self, instant: int) -> float:
        place = min(max(bisect_right(self.stops, instant) - 1, 0), max(len(self.stops) - 2, 0))
        if len(self.stops) == 1:
            return 50.0
        left, right = self.stops[place], self.stops[place + 1]
        share = min(max((instant - left) / (right - left), 0.0), 1.0)
        far = self._before[place] + share * (self._before[place + 1] - self._before[place])
        return round(_MARGIN + far / self._whole * (100 - 2 * _MARGIN), 2)

    def folds(self) -> Iterator[IdleStretch]:
        for left, right in zip(self.stops, self.stops[1:], strict=False):
            if right - left > FOLDED_FROM:
                x = self.x(left)
                yield IdleStretch(x, round(self.x(right) - x, 2), right - left)


def drawn(tracks: Iterable[Track], now: int, zone: Zone, local: tzinfo, rules: Moments) -> Timeline:
    """The tracks on one axis; ``local`` is the zone of the dates below it, ``zone`` the customer's, for quiet hours."""
    kept, left_out = _newest(tuple(tracks))
    axis = _Axis([now, *(at for track in kept for item in track.items for at in _instants(track, item, now))])
    made = []
    for number, track in enumerate(kept):
        points = tuple(
            Point(axis.x(item.at), _tone(track.name, item.kind), item.text, item.at)
            for item in track.items
            if not _is_bar(track, item)
        )
        bars = tuple(_bar(axis, item, now, zone, rules) for item in track.items if _is_bar(track, item))
        made.append(DrawnTrack(track.name, track.title, _TOP + number * _TRACK_HEIGHT, points, bars, track.items))
    height = _TOP + len(made) * _TRACK_HEIGHT + 4
    return Timeline(height, tuple(made), tuple(axis.folds()), tuple(_ticks(axis, local)), axis.x(now), left_out)


def _newest(tracks: tuple[Track, ...]) -> tuple[tuple[Track, ...], int]:
    """The tracks with the newest items, where there are more than can be looked at; empty tracks fall away."""
    every = sorted((item.at for track in tracks for item in track.items), reverse=True)
    since = every[_ITEMS_DRAWN] if len(every) > _ITEMS_DRAWN else None
    kept = tuple(
        Track(track.name, track.title, tuple(item for item in track.items if since is None or item.at > since))
        for track in tracks
    )
    shown = tuple(track for track in kept if track.items)
    return shown, len(every) - sum(len(track.items) for track in shown)


def _is_bar(track: Track, item: TrackItem) -> bool:
    return track.name in ("trouble", "opportunities") and (item.until is not None or item.open)


def _instants(track: Track, item: TrackItem, now: int) -> Iterator[int]:
    yield item.at
    if not _is_bar(track, item):
        return
    yield item.until if item.until is not None else max(now, item.at)
    for each in (item.settled, item.moment):
        if each is not None:
            yield each


def _bar(axis: _Axis, item: TrackItem, now: int, zone: Zone, rules: Moments) -> Bar:
    until = item.until if item.until is not None else max(now, item.at)
    x = axis.x(item.at)
    width = round(max(axis.x(until) - x, _LEAST_BAR), 2)
    if item.settled is None and item.moment is None and item.kind != "open":
        return Bar(x, width, item.kind, item.text, item.at, until)
    settle = None
    if item.settled is not None:
        settle = round(min(max(axis.x(item.settled) - x, 0.0), width), 2)
    quiet = tuple(
        (axis.x(start), round(axis.x(end) - axis.x(start), 2)) for start, end in _quiet(item.at, until, zone, rules)
    )
    moment = None if item.moment is None else axis.x(item.moment)
    return Bar(x, width, item.kind, item.text, item.at, until, settle, quiet, moment)


def _quiet(start: int, end: int, zone: Zone, rules: Moments) -> Iterator[tuple[int, int]]:
    """The quiet hours in ``[start, end)``."""
    at = start
    for _ in range(_QUIET_DRAWN):
        if at >= end:
            return
        begins = quiet_from(at, zone, rules)
        begins = at if begins is None else min(begins, end)
        opens = first_open_instant(begins, end, zone, rules)
        ends = end if opens is None else opens
        if begins < ends:
            yield begins, ends
        at = max(ends, at + 1)


def _ticks(axis: _Axis, local: tzinfo) -> Iterator[tuple[float, str]]:
    months = phrases().tables["calendar"]["months"]
    last, said = -_BETWEEN_TICKS, ""
    for stop in axis.stops:
        x, day = axis.x(stop), to_datetime(stop).astimezone(local)
        text = f"{day.day} {months[day.month - 1]}"
        if x - last >= _BETWEEN_TICKS and text != said and x < 100 - _BETWEEN_TICKS / 2:
            last, said = x, text
            yield x, text


def _tone(track: str, kind: str) -> str:
    if track == "asks":
        return "ask" if kind in ("asked", "soft") else ""
    if kind in ("good", "yes", "converted", "granted", "given"):
        return "good"
    return (
        "bad"
        if kind
        in (
            "bad",
            "no",
            "stop",
            "complaint.made",
            "charge.refunded",
            "subscription.ended",
            "denied",
            "reversed",
            "rejected",
            "refunded",
        )
        else ""
    )
