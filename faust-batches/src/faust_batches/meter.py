"""What an app has done since its start, as numbers that can be read at any time. Written once per batch."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECORDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class Histogram:
    """How many values were at most as large as each of ``bounds``, and their sum."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[float, int]]:
        """(bound, how many values up to it), from the lowest bound to infinity."""
        found: list[tuple[float, int]] = []
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found


def _by_topic(bounds: Sequence[float]) -> defaultdict[str, Histogram]:
    return defaultdict(partial(Histogram, bounds))


@dataclass(slots=True)
class Meter:
    """The numbers of one app. Histograms of batches are by source topic."""

    batch_records: defaultdict[str, Histogram] = field(default_factory=partial(_by_topic, _RECORDS))
    """Their size; the sum is the number of records, the count that of batches that became durable."""
    batch_seconds: defaultdict[str, Histogram] = field(default_factory=partial(_by_topic, SECONDS))
    """From the beginning of a batch until all of its effects are durable, repetitions included."""
    step_seconds: defaultdict[str, Histogram] = field(default_factory=partial(_by_topic, SECONDS))
    """The processor's part of it."""
    publish_seconds: Histogram = field(default_factory=Histogram)
    """From handing records to the producer until the broker has acknowledged, or committed, all of them."""
    published: Counter[str] = field(default_factory=Counter)
    """Records handed to the producer, by topic; what was made again counts again."""
    recovered: Counter[str] = field(default_factory=Counter)
    """Changelog records read, by table."""
    assignments: int = 0
    repeated: int = 0
    """Batches that were made again, after a transient error."""
    dropped: int = 0
    """Batches that were given up because their partition belongs, or may belong, to another worker."""
    fenced: int = 0
    """Of these, the ones that the broker refused because there is a newer owner."""
    producers_renewed: int = 0
