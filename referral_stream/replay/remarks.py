"""Remarks about a log that was read: lines out of order, unknown types and topics, unusable records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import SOURCES
from referral_stream.core.events import FACT_TYPES
from referral_stream.core.instants import MINUTE
from referral_stream.core.suggestions import nearest

CUSTOMER_EVENTS: Final = "customer-events"

TOLERANCE_MS: Final = MINUTE
"""Records of several partitions, read side by side, lie apart by seconds; that decides nothing."""

_MOST: Final = 20
"""Names and examples that are kept."""


@dataclass(slots=True)
class SeenName:
    """A name that means nothing here: how often, and on which line first."""

    line: int
    count: int = 0


@dataclass(frozen=True, slots=True)
class Jump:
    """``line`` lies ``by`` behind or ahead of ``after``, a line before it: ms of a clock, or offsets of a partition."""

    line: int
    after: int
    by: int


@dataclass(frozen=True, slots=True)
class UnusableRecord:
    """A record that became a dead letter: its line, and ``cause: detail``."""

    line: int
    error: str


@dataclass(slots=True)
class Remarks:
    """Grows as the log is read. ``line`` is the number of the line read last."""

    line: int = 0
    late: int = 0
    """Records of source topics that lie behind an earlier line by more than the tolerance."""
    widest: Jump | None = None
    """The widest jump back in time among them."""
    clock_jumps: int = 0
    """Records of source topics that lie far ahead of both their neighbours."""
    first_clock_jump: Jump | None = None
    """The first of them; ``by`` is how far ahead, of the highest clock so far."""
    offsets_back: Jump | None = None
    """The first record of ``customer-events`` whose offset is not above that of its partition's record before it."""
    unknown_types: dict[str, SeenName] = field(default_factory=dict)
    unknown_topics: dict[str, SeenName] = field(default_factory=dict)
    unusable: list[UnusableRecord] = field(default_factory=list)
    """The first of them."""

    _newest: tuple[int, int] = (0, 0)
    _offsets: dict[int, tuple[int, int]] = field(default_factory=dict)

    def read(self, record: RawRecord, line: int, prefix: str = "", *, jumped: bool = False) -> None:
        """A record is being read; ``prefix`` is the deployment's, before every topic.

        ``jumped``: its clock is wrong, and counts for nothing.
        """
        self.line = line
        topic = record.topic.removeprefix(prefix)
        if topic == CUSTOMER_EVENTS:
            self._ordered_by_offset(record, line)
            return
        if topic not in SOURCES:
            _seen(self.unknown_topics, topic, line)
        newest, after = self._newest
        if jumped:
            self.clock_jumps += 1
            if self.first_clock_jump is None:
                self.first_clock_jump = Jump(line, after, record.timestamp - newest)
        elif record.timestamp > newest:
            self._newest = record.timestamp, line
        elif newest - record.timestamp > TOLERANCE_MS:
            self.late += 1
            if self.widest is None or newest - record.timestamp > self.widest.by:
                self.widest = Jump(line, after, newest - record.timestamp)

    def resume(self, newest: int) -> None:
        """What is read now comes behind a record of that timestamp (epoch ms)."""
        self._newest = newest, 0

    def add(self, other: Remarks) -> None:
        """Count what a reading of later lines found."""
        self.late += other.late
        if other.widest is not None and (self.widest is None or other.widest.by > self.widest.by):
            self.widest = other.widest
        self.clock_jumps += other.clock_jumps
        self.first_clock_jump = self.first_clock_jump or other.first_clock_jump
        for names, theirs in ((self.unknown_types, other.unknown_types), (self.unknown_topics, other.unknown_topics)):
            for name, seen in theirs.items():
                if name in names or len(names) < _MOST:
                    names.setdefault(name, SeenName(seen.line)).count += seen.count
        self.unusable.extend(other.unusable[: _MOST - len(self.unusable)])

    def unknown_type(self, name: str) -> None:
        """The record being read is of a type that the contract does not have."""
        _seen(self.unknown_types, name, self.line)

    def not_usable(self, error: str) -> None:
        """The record being read became a dead letter."""
        if len(self.unusable) < _MOST:
            self.unusable.append(UnusableRecord(self.line, error))

    def _ordered_by_offset(self, record: RawRecord, line: int) -> None:
        offset, after = self._offsets.get(record.partition, (-1, 0))
        if record.offset <= offset and self.offsets_back is None:
            self.offsets_back = Jump(line, after, offset - record.offset)
        self._offsets[record.partition] = record.offset, line


def meant_type(name: str) -> str | None:
    """The event type that an unknown one was meant to be: one of the same subject, if there is any."""
    family = [known for known in FACT_TYPES if known.partition(".")[0] == name.partition(".")[0]]
    return family[0] if len(family) == 1 else nearest(name, family or FACT_TYPES)


def _seen(names: dict[str, SeenName], name: str, line: int) -> None:
    if name not in names and len(names) >= _MOST:
        return
    names.setdefault(name, SeenName(line)).count += 1
