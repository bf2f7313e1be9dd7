"""Reading a topic of ours from its start, outside of any group: to the end that it has now, and on from there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from referral_stream.contracts.records import RawRecord
from referral_stream.stream.history import partitions_of

STALL_SECONDS: Final = 30.0
"""A read that brings nothing for so long, with records still to come, has failed."""
_WAIT_MS: Final = 500
_MOST_RECORDS: Final = 2_000


class UnreadableTopic(ConnectionError):
    """The topic does not exist, or the broker does not let us read it; the message says which."""


class TopicReader:
    """Reads one topic. Records of open and aborted transactions are left out. Raises UnreadableTopic.

    ``client`` are aiokafka's connection settings.
    """

    def __init__(self, client: dict[str, Any], topic: str) -> None:
        self._topic = topic
        self._consumer = AIOKafkaConsumer(
            **client, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        self._partitions: list[TopicPartition] = []

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._consumer.start()
                await self._assign()
        except (KafkaError, TimeoutError) as error:
            await self._consumer.stop()
            raise self._unreadable(error) from error
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def _assign(self) -> None:
        found = await partitions_of(self._consumer, self._topic)
        if not found:
            raise UnreadableTopic(f"{self._topic} does not exist; referral-stream topics create")
        self._partitions = [TopicPartition(self._topic, partition) for partition in sorted(found)]
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def present(self) -> AsyncIterator[list[RawRecord]]:
        """Everything from where we are to the ends that the partitions have at the call, each partition in order."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                ends = await self._consumer.end_offsets(self._partitions)
            behind = await self._behind(ends)
            while behind:
                async with asyncio.timeout(STALL_SECONDS):
                    while not (records := await self.more(behind)) and behind:
                        behind = await self._behind(ends)
                if records:
                    yield records
                behind = await self._behind(ends)
        except (KafkaError, TimeoutError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> UnreadableTopic:
        return UnreadableTopic(f"{self._topic} can not be read: {str(error) or type(error).__name__}")

    async def _behind(self, ends: dict[TopicPartition, int]) -> list[TopicPartition]:
        return [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]

    async def more(self, partitions: list[TopicPartition] | None = None) -> list[RawRecord]:
        """What comes next, waiting a moment for it; nothing if nothing comes. Raises KafkaError."""
        wanted = self._partitions if partitions is None else partitions
        found = await self._consumer.getmany(*wanted, timeout_ms=_WAIT_MS, max_records=_MOST_RECORDS)
        return [RawRecord.of(record) for records in found.values() for record in records]
