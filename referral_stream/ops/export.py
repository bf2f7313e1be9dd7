"""A recorded log out of the topics, for ``replay`` and ``explain``: ``referral-stream export``.

Read outside any group, committed records alone, up to the ends that the topics had when it began. Partitions are merged
by the records' time, as a fact replay wants them; each keeps its own order. Topics keep the names they have on the
broker, since ids of events without one are made of a record's position.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError, TopicAuthorizationFailedError

from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import TOPICS
from referral_stream.core.instants import LAST_ARRIVAL, rfc3339
from referral_stream.core.suggestions import nearest
from referral_stream.runtime.clients import started
from referral_stream.runtime.connection import why_no_connection
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import STALL_SECONDS, offsets_since, partitions_of

OffsetsRead: TypeAlias = Callable[[int, int], None]
"""Is called with how many offsets lie behind, and of how many."""

_WAIT_MS: Final = 500
_MOST_RECORDS: Final = 2_000
_RIGHTS: Final = "`referral-stream topics acls operator` prints the rights it takes"


class ExportProblem(Exception):
    """Why there is no log; one sentence for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What to take: records from ``first`` to ``last`` (epoch ms, both included), or from ``offset`` of each partition.

    None: from the beginning, or to the present end.
    """

    first: int | None = None
    last: int | None = None
    offset: int | None = None

    def holds(self, timestamp: int) -> bool:
        """Whether a record of this time is meant; one whose time is unknown (negative), or no time, is not left out."""
        after = self.first is None or timestamp >= self.first
        return not 0 <= timestamp <= LAST_ARRIVAL or (after and (self.last is None or timestamp <= self.last))

    def __str__(self) -> str:
        start = f"offset {self.offset}" if self.offset is not None else _moment(self.first, "the beginning")
        return f"from {start} to {_moment(self.last, 'the end')}"


@dataclass(slots=True)
class Exported:
    """What was written of one topic: how many records, of what times (epoch ms).

    ``exact``: whether it is ``customer-events``; ``late_starts`` are then the partitions whose first record here is not
    their first of all, with its offset. ``timeless``: partition and offset of records whose time nobody could use.
    """

    topic: str
    exact: bool = False
    records: int = 0
    earliest: int | None = None
    latest: int | None = None
    late_starts: dict[int, int] = field(default_factory=dict)
    timeless: list[tuple[int, int]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def add(self, record: RawRecord) -> None:
        self.records += 1
        if record.partition not in self._seen:
            self._seen.add(record.partition)
            if record.offset > 0 and self.exact:
                self.late_starts[record.partition] = record.offset
        if record.timestamp > LAST_ARRIVAL:
            self.timeless.append((record.partition, record.offset))
        elif record.timestamp >= 0:
            at = record.timestamp
            self.earliest = at if self.earliest is None else min(self.earliest, at)
            self.latest = at if self.latest is None else max(self.latest, at)


async def export(
    deployment: Deployment,
    names: Sequence[str],
    interval: Interval,
    write: Callable[[bytes], object],
    progress: OffsetsRead = lambda _done, _total: None,
) -> list[Exported]:
    """Write the recorded log of these topics, named with or without the deployment's prefix, line by line.

    Of a source topic records count by their own time, which may be out of order; ``customer-events``, whose order is
    what a replay needs, ends before its first record after the interval. Raises ExportProblem, also where there is
    nothing to write, and what ``write`` raises.
    """
    client = deployment.client()
    consumer = AIOKafkaConsumer(
        **client, enable_auto_commit=False, auto_offset_reset="none", isolation_level="read_committed"
    )
    topic = ", ".join(names)
    try:
        async with started(consumer):
            topics = await _found(consumer, names, deployment.settings.topic_prefix)
            ours = deployment.topics.customer_events
            found = {name: Exported(name, exact=name == ours) for name in topics}
            log = _Excerpt(consumer, ours, interval)
            await log.begin(topics)
            async for record in log.by_time(progress):
                write(render_line(_in_time(record)) + b"\n")
                found[record.topic].add(record)
    except KafkaConnectionError as error:
        raise ExportProblem(await why_no_connection(client, error)) from error
    except TopicAuthorizationFailedError as error:
        raise ExportProblem(f"no right to read {topic}; {_RIGHTS}") from error
    except OffsetOutOfRangeError as error:
        raise ExportProblem(f"{topic}: records lapsed, or the topic was made anew, while it was read; again") from error
    except TimeoutError as error:
        raise ExportProblem(f"{topic} cannot be read: nothing came for {STALL_SECONDS:.0f} s") from error
    except KafkaError as error:
        raise ExportProblem(f"{topic} cannot be read: {str(error) or type(error).__name__}") from error
    if not any(each.records for each in found.values()):
        raise ExportProblem(f"nothing on {', '.join(found)} {interval}")
    return list(found.values())


async def _found(consumer: AIOKafkaConsumer, names: Sequence[str], prefix: str) -> list[str]:
    """The topics' full names, each once. Nothing is asked about a topic by its name, which could create it."""
    async with asyncio.timeout(STALL_SECONDS):
        there: set[str] = await consumer.topics()
    found = []
    for name in names:
        full_name = next((each for each in (f"{prefix}{name}", name) if each in there), None)
        if full_name is None:
            near = nearest(name, sorted(each.removeprefix(prefix) for each in there))
            meant = f"; did you mean {near!r}?" if near else ""
            remedy = "; `referral-stream topics create` creates it" if name in TOPICS else meant
            raise ExportProblem(f"no topic {name}, or no right to see it ({_RIGHTS}){remedy}")
        found.append(full_name)
    return list(dict.fromkeys(found))


class _Excerpt:
    """What lies in the interval on some topics, merged by time."""

    def __init__(self, consumer: AIOKafkaConsumer, customer_events: str, interval: Interval) -> None:
        self._consumer, self._customer_events, self._interval = consumer, customer_events, interval
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._behind: set[TopicPartition] = set()

    async def begin(self, topics: Sequence[str]) -> None:
        """Note the ends as of now, and go to where the interval begins. Raises KafkaError, TimeoutError."""
        consumer, interval = self._consumer, self._interval
        async with asyncio.timeout(STALL_SECONDS):
            partitions = [TopicPartition(name, each) for name in topics for each in await partitions_of(consumer, name)]
            self._ends = dict(await consumer.end_offsets(partitions))
            self._starts = dict(await consumer.beginning_offsets(partitions))
            if interval.first is not None:
                first = await offsets_since(consumer, partitions, interval.first)
                self._starts = {tp: max(start, first[tp]) for tp, start in self._starts.items()}
        if interval.offset is not None:
            self._starts = {tp: max(start, interval.offset) for tp, start in self._starts.items()}
        self._starts = {tp: min(start, self._ends[tp]) for tp, start in self._starts.items()}
        # Nothing is awaited between the two: no partition is ever without a position.
        consumer.assign(partitions)
        for tp, start in self._starts.items():
            consumer.seek(tp, start)
        self._behind = {tp for tp in partitions if self._starts[tp] < self._ends[tp]}

    async def by_time(self, progress: OffsetsRead) -> AsyncIterator[RawRecord]:
        """By time, then by topic and partition. Raises KafkaError, TimeoutError."""
        waiting: dict[TopicPartition, deque[RawRecord]] = {tp: deque() for tp in self._behind}
        first: list[tuple[int, TopicPartition]] = []
        empty = set(self._behind)
        total = sum(self._ends[tp] - start for tp, start in self._starts.items())
        left = {tp: self._ends[tp] - self._starts[tp] for tp in self._behind}
        while True:
            # The earliest is known once every partition has delivered its next record, or has no more.
            while empty and (records := await self._next(empty)):
                for record in records:
                    tp = TopicPartition(record.topic, record.partition)
                    left[tp] = max(0, self._ends[tp] - record.offset - 1)
                    if self._wanted(tp, record):
                        waiting[tp].append(record)
                progress(total - sum(left.values()), total)
                for tp in [tp for tp in empty if waiting[tp]]:
                    heapq.heappush(first, (_in_time(waiting[tp][0]).timestamp, tp))
                    empty.remove(tp)
            empty.clear()
            if not first:
                progress(total, total)
                return
            _, tp = heapq.heappop(first)
            yield waiting[tp].popleft()
            if waiting[tp]:
                heapq.heappush(first, (_in_time(waiting[tp][0]).timestamp, tp))
            else:
                empty.add(tp)

    def _wanted(self, tp: TopicPartition, record: RawRecord) -> bool:
        if record.offset >= self._ends[tp]:
            return False
        last = self._interval.last
        if record.topic != self._customer_events:
            return self._interval.holds(record.timestamp)
        # An exact replay bears no gap: from the first record of the interval on all count, up to the first after it.
        if last is not None and last < record.timestamp <= LAST_ARRIVAL:
            self._ends[tp] = record.offset
            return False
        return True

    async def _next(self, partitions: Collection[TopicPartition]) -> list[RawRecord]:
        """What comes next on these partitions; nothing once all of them are read to their ends."""
        async with asyncio.timeout(STALL_SECONDS):
            while behind := [tp for tp in partitions if await self._consumer.position(tp) < self._ends[tp]]:
                found = await self._consumer.getmany(*behind, timeout_ms=_WAIT_MS, max_records=_MOST_RECORDS)
                if records := [RawRecord.of(record) for each in found.values() for record in each]:
                    return records
        return []


def _in_time(record: RawRecord) -> RawRecord:
    """A record whose time is none has an unknown one in the log: what it says is kept, and a replay takes it."""
    return record if record.timestamp <= LAST_ARRIVAL else RawRecord.of(record, -1)


def _moment(instant: int | None, otherwise: str) -> str:
    return otherwise if instant is None else rfc3339(instant)
