"""Figures as values: a share with its interval, a sum, a percentile. Each has its denominator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from referral_stream.metrics.statistic import wilson

ENOUGH = 30
"""In the denominator, before there is a value."""


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``of``, which are ``what``."""

    count: int
    of: int
    what: str

    @property
    def value(self) -> float | None:
        return round(self.count / self.of, 4) if self.of >= ENOUGH else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson, 95 %, as of T; None with too little data."""
        if self.of < ENOUGH:
            return None
        low, high = wilson(self.count, self.of)
        return round(low, 4), round(high, 4)


@dataclass(frozen=True, slots=True)
class Mean:
    """How many there are for each of ``of``, which are ``what``; it may be more than 1."""

    count: int
    of: int
    what: str

    @property
    def value(self) -> float | None:
        return round(self.count / self.of, 4) if self.of >= ENOUGH else None


@dataclass(frozen=True, slots=True)
class Percentile:
    """The ``percent`` percentile by nearest rank of ``of`` durations (ms), in ``unit`` (``days`` or ``seconds``)."""

    percent: int
    ms: int | None
    of: int
    what: str
    unit: str

    @property
    def value(self) -> float | None:
        if self.of < ENOUGH or self.ms is None:
            return None
        return round(self.ms / _UNITS[self.unit], 4)


@dataclass(frozen=True, slots=True)
class Money:
    """A sum in minor units of one currency, over ``of`` deals."""

    minor: int
    currency: str
    of: int
    what: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A figure that cannot be broken down like this."""

    why: str


Figure: TypeAlias = Share | Mean | Percentile | Money | Unavailable
_UNITS = {"days": 86_400_000, "seconds": 1_000}


def percentile(durations: Mapping[int, int], percent: int, what: str, unit: str) -> Percentile:
    """By nearest rank; ``durations``: how often there is each (ms)."""
    return Percentile(percent, nearest_rank(durations, percent), sum(durations.values()), what, unit)


def nearest_rank(counts: Mapping[int, int], percent: int) -> int | None:
    """The ``percent`` percentile of values that are there so often; None of none."""
    left = -(-percent * sum(counts.values()) // 100)
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


def not_enough(of: int) -> str:
    return f"not enough data yet ({of} of {ENOUGH})"


def title_of(name: str) -> str:
    """A figure's name for people: ``time_to_ask_p50`` → ``time to ask (median)``."""
    words = (
        name.replace("followups", "follow-ups")
        .replace("_p50", " (median)")
        .replace("_p9", " (percentile 9")
        .replace("_", " ")
    )
    return f"{words})" if "(percentile" in words else words
