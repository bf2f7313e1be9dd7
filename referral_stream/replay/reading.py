"""Reading a recorded log, the same for everything that replays one.

What a log holds decides how it is read: the topic ``customer-events`` as records, each with its own arrival stamp, any
other topics as arrivals, through the adapters, under a clock that is the highest record timestamp so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
import orjson

from referral_stream.contracts.codec import arrival, decode_event, event_key
from referral_stream.contracts.errors import Undecodable, UnreadableLog
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.left_out import NOT_APPLIED_HEADER, Notes, note_of, notes_in
from referral_stream.contracts.log import parse_line
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import NOW_HEADER, RawRecord
from referral_stream.core.events import FACT_TYPES, WITHOUT_SUBJECT, Event
from referral_stream.core.instants import DAY
from referral_stream.core.keys import parse_key
from referral_stream.core.ledger.breaker import BREAKER
from referral_stream.replay.log_lines import STDIN, Line, Progress, log_lines
from referral_stream.replay.remarks import CUSTOMER_EVENTS, Remarks
from referral_stream.replay.snapshot import Snapshot
from referral_stream.replay.sorting import MEMORY_BYTES, Row, in_order
from referral_stream.replay.virtual_run import Arrival

Refuse: TypeAlias = Callable[[RawRecord, str, int], None]
"""Is given each record that cannot be used, ``cause: detail``, and the instant (epoch ms)."""


CLOCK_JUMP = DAY
"""A record this far ahead of both its neighbours has a wrong clock."""


class MixedLog(UnreadableLog):
    """A log that holds ``customer-events`` and source topics: the same facts twice, in two orders."""


class BadLine(UnreadableLog):
    """A line that is not a record; such lines can be left out on request."""


class LogStartsLate(UnreadableLog):
    """A log of ``customer-events`` without its beginning: the states it builds on are missing."""


@dataclass
class Counts:
    """What was read, and what was left out by reason."""

    records: int = 0
    events: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bad_lines: int = 0
    remarks: Remarks = field(default_factory=Remarks)


class FactLog(NamedTuple):
    """A log of facts being read: for a fact replay."""

    arrivals: Iterator[Arrival]


class RecordedLog(NamedTuple):
    """A log of ``customer-events`` being read, wake-ups and ledger answers included: for an exact replay.

    ``notes``: which of its records the worker left out; none are known of what comes from stdin.
    """

    records: Iterator[RawRecord]
    notes: Notes


OpenLog: TypeAlias = FactLog | RecordedLog


class LogClock(NamedTuple):
    """Where the clock of a log of source topics stands between two lines (epoch ms).

    ``now``: the highest timestamp so far; ``before``: the last one, None at the beginning.
    """

    now: int = 0
    before: int | None = None


class Block(NamedTuple):
    """Lines of a log, to be read apart from the others. ``behind``: some of those that follow them."""

    lines: list[Line]
    behind: list[Line]


class Span(NamedTuple):
    """What a log holds of one partition: its first and last offset, whether lines name them, how many records."""

    first: int
    last: int
    named: bool
    records: int


class ReadBlock:
    """The facts of one block of a log, as :func:`open_log` reads the whole of it.

    After the reading: ``clock`` is where the log's clock stands then, ``ours`` whether these are records of
    ``customer-events`` (None without a record), ``spans`` what is there of each topic and partition.
    """

    def __init__(
        self,
        file: str,
        block: Block,
        begin: LogClock,
        boundary: Boundary,
        counts: Counts,
        *,
        skip_bad: bool = False,
        ours: bool | None = None,
    ) -> None:
        self._reader = _Reader(
            Path(file), boundary, counts, lambda *_: None, None, skip_bad=skip_bad, may_start_late=True, snapshot=None
        )
        self._reader.ours, self._reader.now, self._reader.before = ours, *begin
        counts.remarks.resume(begin.now)
        self._block = block
        self.spans: dict[tuple[str, int], Span] = {}

    @property
    def clock(self) -> LogClock:
        return LogClock(self._reader.now, self._reader.before)

    @property
    def ours(self) -> bool | None:
        return self._reader.ours

    def facts(self) -> Iterator[Arrival]:
        """In the order of the lines. Raises UnreadableLog: BadLine (unless ``skip_bad``), MixedLog."""
        reader = self._reader
        records = self._seen(reader.records(self._block.lines, self._block.behind))
        first = next(records, None)
        if first is None:
            return
        everything = chain((first,), records)
        yield from reader.facts_as_they_come(everything) if reader.ours else reader.adapted(everything)

    def _seen(self, records: Iterator[RawRecord]) -> Iterator[RawRecord]:
        for record in records:
            where = record.topic, record.partition
            span = self.spans.get(where)
            if span is None:
                # A line without an offset uses its number as one.
                named = record.offset != self._reader.counts.remarks.line - 1
                self.spans[where] = Span(record.offset, record.offset, named, 1)
            else:
                self.spans[where] = Span(span.first, record.offset, span.named, span.records + 1)
            yield record


def clock_after(lines: Iterable[Line], file: str) -> LogClock:
    """Where the clock stands after these lines, for all that they say: an older and higher timestamp is not known."""
    now, before = 0, None
    for number, line in lines:
        with suppress(UnreadableLog):
            before = parse_line(line, file=file, number=number).timestamp
            now = max(now, before)
    return LogClock(now, before)


@contextmanager
def open_log(
    log: Path,
    boundary: Boundary,
    counts: Counts,
    refuse: Refuse,
    *,
    skipped: Refuse | None = None,
    facts_only: bool = False,
    skip_bad: bool = False,
    sort: bool = False,
    progress: Progress | None = None,
    memory_bytes: int = MEMORY_BYTES,
    snapshot: Snapshot | None = None,
) -> Iterator[OpenLog]:
    """A log (see :func:`log_lines`), read as it is asked for; ``counts`` grows with it.

    Of a recorded log, records and bad lines alone are counted.

    ``snapshot``: the states that a ``customer-events`` log without its beginning builds on; what they have seen is left
    out. ``sort``: read the lines by time. ``skipped`` is given the records that are left out and are no dead letters,
    ``reason: detail``. ``facts_only``: of a ``customer-events`` log the facts alone, in their order of arrival. Opening
    and reading raise OSError and UnreadableLog: BadLine (unless ``skip_bad``: then such lines are refused), MixedLog,
    LogStartsLate (unless ``facts_only`` or with a ``snapshot``).
    """
    with log_lines(
        log, progress or (lambda _: None), sort=sort, memory_bytes=memory_bytes, prefix=boundary.prefix
    ) as lines:
        reader = _Reader(
            log, boundary, counts, refuse, skipped, skip_bad=skip_bad, may_start_late=facts_only, snapshot=snapshot
        )
        records = reader.records(lines)
        first = next(records, None)
        everything = chain(() if first is None else (first,), records)
        if snapshot is not None and not reader.ours:
            raise UnreadableLog(str(log), 1, f"a snapshot goes with a log of {CUSTOMER_EVENTS} alone")
        if not reader.ours:
            yield FactLog(reader.adapted(everything))
        elif facts_only:
            yield FactLog(reader.recorded_facts(everything, memory_bytes))
        else:
            yield RecordedLog((record for record in everything if not reader.seen(record)), _notes(log))


def _notes(log: Path) -> Notes:
    """The notes in a log of ``customer-events``: a reading of its own, since they come after what they are about."""
    if log == STDIN:
        return {}
    with log_lines(log) as lines:
        return notes_in(_records_with_notes(lines, str(log)))


def _records_with_notes(lines: Iterable[Line], file: str) -> Iterator[RawRecord]:
    for number, line in lines:
        if _NOTED in line:
            with suppress(UnreadableLog):  # whoever reads the log says so
                yield parse_line(line, file=file, number=number)


_NOTED = NOT_APPLIED_HEADER.encode()


class _Reader:
    """Records of one log, or arrivals; counts and refuses what it leaves out."""

    def __init__(
        self,
        log: Path,
        boundary: Boundary,
        counts: Counts,
        refuse: Refuse,
        skipped: Refuse | None,
        *,
        skip_bad: bool,
        may_start_late: bool,
        snapshot: Snapshot | None,
    ) -> None:
        self.log, self.boundary, self.counts, self.refuse = log, boundary, counts, refuse
        self.skipped = skipped
        self.file = "stdin" if log == STDIN else str(log)
        self.skip_bad = skip_bad
        self.may_start_late = may_start_late
        self.snapshot = snapshot
        self.ours: bool | None = None
        self.jumped = False
        """Whether the record read last lies alone, far ahead of its neighbours: its clock is wrong, not theirs."""
        self.now = 0
        self.before: int | None = None
        self._partitions: set[int] = set()

    def records(self, lines: Iterable[Line], behind: Iterable[Line] = ()) -> Iterator[RawRecord]:
        """``behind``: lines after them, by which the clock of the last one is judged."""
        parsed = self._parsed(lines)
        last = next(parsed, None)
        for following in parsed:
            if last is not None:
                yield self._read(*last, following[1].timestamp)
            last = following
        if last is not None:
            yield self._read(*last, clock_after(islice(behind, 1), self.file).before)

    def _read(self, number: int, record: RawRecord, following: int | None) -> RawRecord:
        """``following``: the timestamp of the next record."""
        before, at = self.before, record.timestamp
        self.jumped = (
            not self.ours
            and before is not None
            and following is not None
            and at - before > CLOCK_JUMP
            and at - following > CLOCK_JUMP
        )
        if not self.jumped:
            self.before = at
        self.counts.remarks.read(record, number, self.boundary.prefix, jumped=self.jumped)
        self.counts.records += 1
        return record

    def _parsed(self, lines: Iterable[Line]) -> Iterator[tuple[int, RawRecord]]:
        for number, line in lines:
            try:
                record = parse_line(line, file=self.file, number=number)
            except UnreadableLog as error:
                if not self.skip_bad:
                    raise BadLine(error.file, error.line, error.problem) from None
                self._refuse_line(line, number, error.problem)
                continue
            self._check(record, line, number)
            yield number, record

    def _check(self, record: RawRecord, line: bytes, number: int) -> None:
        name = record.topic.removeprefix(self.boundary.prefix)
        ours = name == CUSTOMER_EVENTS
        if (
            not ours and name.endswith(CUSTOMER_EVENTS) and record.header(NOW_HEADER) is not None
        ):  # its internal records would be read as a producer's
            prefix = name.removesuffix(CUSTOMER_EVENTS)
            raise UnreadableLog(self.file, number, f"topic {name!r}: set REFERRAL_STREAM_TOPIC_PREFIX={prefix}")
        if self.ours is not None and ours != self.ours:
            raise MixedLog(self.file, number, f"{CUSTOMER_EVENTS} and source topics in one log")
        self.ours = ours
        if ours and self.snapshot is not None and "offset" not in orjson.loads(line):
            raise BadLine(self.file, number, "offset: required, the snapshot tells by it what has been seen")
        if not ours or self.snapshot is not None or self.may_start_late or record.partition in self._partitions:
            return
        self._partitions.add(record.partition)
        # A line without an offset uses its number as one, and nothing is known about where the topic starts.
        if record.offset > 0 and "offset" in orjson.loads(line):
            where = f"partition {record.partition} of {CUSTOMER_EVENTS} starts at offset {record.offset}"
            needed = "an exact replay needs it from offset 0 on, or a snapshot"
            raise LogStartsLate(self.file, number, f"{where}; {needed}")

    def _refuse_line(self, line: bytes, number: int, problem: str) -> None:
        self.counts.bad_lines += 1
        record = RawRecord(
            topic=Path(self.file).name,
            partition=0,
            offset=number - 1,
            timestamp=0,
            key=None,
            value=line.rstrip(b"\r\n"),
        )
        self.refuse(record, f"unreadable line: {problem}", 0)

    def adapted(self, records: Iterable[RawRecord]) -> Iterator[Arrival]:
        """Through the adapters; the clock is the highest record timestamp so far.

        A record with a clock of its own is taken at that of the others (semantics §11, Raw logs).
        """
        for record in records:
            taken = msgspec.structs.replace(record, timestamp=self.now) if self.jumped else record
            now = self.now = max(self.now, taken.timestamp)
            match adapt(taken, now, self.boundary):
                case Accepted(events=events, letters=letters):
                    for element, refused in letters:
                        self._refused(element, refused, now)
                    for event in _flagged(events) if self.jumped else events:
                        self.counts.events += 1
                        yield Arrival(now, event, record)
                case Skipped(reason=reason, detail=detail):
                    self.counts.skipped[reason] += 1
                    if reason == "unknown_type":
                        self.counts.remarks.unknown_type(detail)
                    if self.skipped is not None:
                        self.skipped(record, f"{reason}: {detail}", now)
                case Refused() as refused:
                    self._refused(record, refused, now)

    def _refused(self, record: RawRecord, refused: Refused, now: int) -> None:
        error = f"{refused.cause}: {refused.detail}"
        self.counts.refused[refused.cause] += 1
        self.counts.remarks.not_usable(error)
        self.refuse(record, error, now)

    def seen(self, record: RawRecord) -> bool:
        """Whether the snapshot's state of this customer or link has this record in it."""
        known = self.snapshot.get(parse_key(record.key or b"")) if self.snapshot else None
        return known is not None and record.offset < known.mark

    def recorded_facts(self, records: Iterable[RawRecord], memory_bytes: int) -> Iterator[Arrival]:
        """The facts of ``customer-events`` alone, by arrival: partitions may lie one after the other in a log."""
        rows = in_order(self._fact_rows(records), memory_bytes)
        for row in rows:
            event = decode_event(row.content)
            yield Arrival(row.key[0], event, _positioned(row, event))

    def facts_as_they_come(self, records: Iterable[RawRecord]) -> Iterator[Arrival]:
        """The facts of ``customer-events``, in the order of the lines, and the switches that customers were told of."""
        for record in records:
            if note_of(record) is None and (decoded := self._decoded(record)) is not None:
                if _is_fact(decoded.event):
                    yield decoded
                elif (switch := _switch_told(decoded.event)) is not None:
                    yield Arrival(decoded.now, switch)

    def _fact_rows(self, records: Iterable[RawRecord]) -> Iterator[Row]:
        for record in records:
            if note_of(record) is not None:
                continue
            decoded = self._decoded(record)
            if decoded is not None and _is_fact(decoded.event):
                # Copied, since what orjson writes keeps the buffer it was written in: ten times the memory.
                content = bytes(memoryview(record.value or b""))
                yield Row(key=(decoded.now, ""), label=_label(record), content=content)

    def _decoded(self, record: RawRecord) -> Arrival | None:
        try:
            decoded = Arrival(arrival(record), decode_event(record.value or b""))
        except Undecodable as error:
            self.counts.refused[error.cause] += 1
            self.counts.remarks.not_usable(str(error))
            self.refuse(record, str(error), max(record.timestamp, 0))
            return None
        self.counts.events += 1
        return decoded


def _is_fact(event: Event) -> bool:
    """Whether producers said it: not what entities passed on, and no switch, which the ledger passes on."""
    return event.type in FACT_TYPES and event.type not in WITHOUT_SUBJECT and not event.via


def _switch_told(event: Event) -> Event | None:
    """The operator's switch of which a customer is told here; the burst breaker's are its own."""
    if event.type not in WITHOUT_SUBJECT or event.via or getattr(event.data, "by", None) == BREAKER:
        return None
    return msgspec.structs.replace(event, subject="")


def _label(record: RawRecord) -> str:
    return f"{record.topic} {record.partition} {record.offset} {record.timestamp}"


def _positioned(row: Row, event: Event) -> RawRecord:
    """The record that a sorted row was made of, without its headers."""
    topic, *numbers = row.label.split(" ")
    partition, offset, timestamp = map(int, numbers)
    return RawRecord(
        topic=topic, partition=partition, offset=offset, timestamp=timestamp, key=event_key(event), value=row.content
    )


def _flagged(events: Iterable[Event]) -> Iterator[Event]:
    return (msgspec.structs.replace(event, flags=(*event.flags, "clock_jump")) for event in events)
