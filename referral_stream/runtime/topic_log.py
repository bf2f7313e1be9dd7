"""Reading one of our topics from its start, outside any group: to its present end, and on from there."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from referral_stream.contracts.records import RawRecord
from referral_stream.runtime.clients import close, started
from referral_stream.runtime.connection import why_no_connection

STALL_SECONDS: Final = 30.0
"""A read that yields nothing for this long, with records still to come, has failed."""
_WAIT_MS: Final = 500
_ASK_SECONDS: Final = 5.0
_MOST_RECORDS: Final = 2_000

_Value = TypeVar("_Value")


class UnreadableTopic(ConnectionError):
    """The topic does not exist, or the broker does not let us read it; the message says which."""


async def cluster_id(client: dict[str, Any]) -> str:
    """What a cluster calls itself, whatever its addresses; empty if it is too old to say. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**client)
    try:
        async with asyncio.timeout(STALL_SECONDS), started(admin):
            return str((await admin.describe_cluster()).get("cluster_id") or "")
    except TimeoutError:
        raise KafkaTimeoutError("the brokers did not say which cluster they are") from None


class TopicReader:
    """Reads one topic. Records of open and aborted transactions are left out. Raises UnreadableTopic.

    ``client`` are aiokafka's connection settings. ``only``: which partitions are read, given how many there are; all by
    default. ``since``: records before that instant (epoch ms, the broker's timestamps) are left out, as far as the
    broker can tell.
    """

    def __init__(
        self,
        client: dict[str, Any],
        topic: str,
        *,
        only: Callable[[int], Collection[int]] | None = None,
        since: int | None = None,
    ) -> None:
        self._topic, self._client = topic, client
        self._only, self._since = only, since
        self._consumer = AIOKafkaConsumer(
            **client, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        self._partitions: list[TopicPartition] = []

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._consumer.start()
                await self._assign()
        except BaseException as error:
            await close(self._consumer)
            if isinstance(error, KafkaConnectionError):
                raise UnreadableTopic(await why_no_connection(self._client, error)) from error
            if isinstance(error, (KafkaError, TimeoutError)):
                raise self._unreadable(error) from error
            raise
        return self

    async def _assign(self) -> None:
        found = await partitions_of(self._consumer, self._topic)
        if not found:
            raise UnreadableTopic(f"{self._topic} does not exist; referral-stream topics create")
        wanted = found if self._only is None else found.intersection(self._only(len(found)))
        self._partitions = [TopicPartition(self._topic, partition) for partition in sorted(wanted)]
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning()
        if self._since is not None:
            for partition, offset in (await offsets_since(self._consumer, self._partitions, self._since)).items():
                self._consumer.seek(partition, offset)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close(self._consumer)

    async def extents(self) -> dict[int, tuple[int, int]]:
        """The first offset of each partition that is read, and its present end."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                begins: dict[TopicPartition, int] = await self._consumer.beginning_offsets(self._partitions)
        except (KafkaError, TimeoutError) as error:
            raise self._unreadable(error) from error
        return {tp.partition: (begins[tp], end) for tp, end in (await self._ends()).items()}

    async def present(self) -> AsyncIterator[list[RawRecord]]:
        """Everything from our position to the partitions' ends at the time of the call, each partition in order."""
        ends = await self._ends()
        while records := await self._next(ends, self._partitions):
            yield records

    async def present_by_instant(
        self, read: Callable[[RawRecord], tuple[int, _Value] | None], up_to: Mapping[int, int] | None = None
    ) -> AsyncIterator[_Value]:
        """As :meth:`present`, merged over the partitions by instant, then by partition.

        ``read`` gives a record's instant and what to yield for it; None leaves the record out. ``up_to``: offsets to
        read to, by partition, instead of the present ends; a record stands in front of each.
        """
        ends = await self._ends() if up_to is None else {TopicPartition(self._topic, p): up_to[p] for p in up_to}
        waiting: dict[TopicPartition, deque[tuple[int, _Value]]] = {tp: deque() for tp in self._partitions}
        first: list[tuple[int, TopicPartition]] = []
        empty = set(self._partitions)
        while True:
            # The earliest is known once every partition has delivered its next record, or has no more.
            while empty and (records := await self._next(ends, empty)):
                for record in records:
                    if up_to is not None and record.offset >= up_to[record.partition]:
                        continue
                    if (found := read(record)) is not None:
                        waiting[TopicPartition(record.topic, record.partition)].append(found)
                for tp in [tp for tp in empty if waiting[tp]]:
                    heapq.heappush(first, (waiting[tp][0][0], tp))
                    empty.remove(tp)
            empty.clear()
            if not first:
                return
            _, tp = heapq.heappop(first)
            yield waiting[tp].popleft()[1]
            if waiting[tp]:
                heapq.heappush(first, (waiting[tp][0][0], tp))
            else:
                empty.add(tp)

    async def following(self, tell: Callable[[bool], None]) -> AsyncGenerator[list[RawRecord]]:
        """What comes from our position on, for ever. ``tell`` hears when the brokers answer no more, and when again."""
        answered, asked_at = True, monotonic()
        while True:
            try:
                records = await self.more()
            except KafkaError as error:
                raise self._unreadable(error) from error
            if records:
                yield records
            elif monotonic() - asked_at > _ASK_SECONDS:
                asked_at, before = monotonic(), answered
                answered = await self._is_answered()
                if answered != before:
                    tell(answered)

    async def _is_answered(self) -> bool:
        """A consumer that waits for records does not notice that there is nobody to send any."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._consumer.end_offsets(self._partitions)
        except (KafkaError, TimeoutError):
            return False
        return True

    def _unreadable(self, error: Exception) -> UnreadableTopic:
        return UnreadableTopic(f"{self._topic} cannot be read: {str(error) or type(error).__name__}")

    async def _ends(self) -> dict[TopicPartition, int]:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._partitions)
        except (KafkaError, TimeoutError) as error:
            raise self._unreadable(error) from error
        return ends

    async def _next(self, ends: dict[TopicPartition, int], partitions: Collection[TopicPartition]) -> list[RawRecord]:
        """What comes next on these partitions; nothing once all of them are read up to ``ends``."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                while behind := [tp for tp in partitions if await self._consumer.position(tp) < ends[tp]]:
                    if records := await self.more(behind):
                        return records
        except (KafkaError, TimeoutError) as error:
            raise self._unreadable(error) from error
        return []

    async def more(self, partitions: list[TopicPartition] | None = None) -> list[RawRecord]:
        """What comes next, waiting a moment for it; nothing if nothing comes. Raises KafkaError."""
        wanted = self._partitions if partitions is None else partitions
        found = await self._consumer.getmany(*wanted, timeout_ms=_WAIT_MS, max_records=_MOST_RECORDS)
        return [RawRecord.of(record) for records in found.values() for record in records]


async def offsets_since(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], instant: int
) -> dict[TopicPartition, int]:
    """The first record of each partition of that instant (epoch ms) or later; the partition's end where there is none.

    The demo's broker looks no time up: of a partition in which it finds none of any time, the beginning.
    """
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, instant))
    offsets = {tp: at.offset for tp, at in found.items() if at is not None}
    if none := [tp for tp in partitions if tp not in offsets]:
        starts, ends = await consumer.beginning_offsets(none), await consumer.end_offsets(none)
        ever = await consumer.offsets_for_times(dict.fromkeys(none, 0))
        offsets |= {tp: starts[tp] if ever.get(tp) is None else ends[tp] for tp in none}
    return offsets


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The topic's partitions; none if there is no such topic. A broker that creates topics by itself does so."""
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 (partitions_for_topic answers from what is known already)
    return set(consumer.partitions_for_topic(topic) or ())
