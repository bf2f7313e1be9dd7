"""What several tests of the transport need: a configuration, records, messages, and a producer without a broker."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import ConsumerRecord, RecordMetadata, TopicPartition
from faust.transport.conductor import Conductor
from faust.types import TP
from faust_batches import BatchApp, WorkerConfig, create_app
from faust_batches.fetched import BatchMessage

SOURCE = "source"
PARTITIONS = 4


def a_config(**settings: Any) -> WorkerConfig:
    """Nothing listens at its broker: for apps that are never started."""
    defaults: dict[str, Any] = {"id": "app", "brokers": ("127.0.0.1:9",), "partitions": PARTITIONS}
    return WorkerConfig(**defaults | settings)


def an_app(**settings: Any) -> BatchApp:
    return create_app(a_config(**settings))


def take_acks(app: BatchApp) -> None:
    """Count acks for `SOURCE`, as an app does from its start on."""
    cast("Conductor", app.topics)._acking_topics.add(SOURCE)


async def settled(app: BatchApp) -> None:
    """Return when the lanes have done what they can without anybody's help, their pauses over."""
    for _ in range(2):
        for _ in range(20):
            await asyncio.sleep(0)
        over = max((lane._begins_at for lane in app.lanes._lanes.values()), default=0.0)
        if (left := over - monotonic()) > 0:
            await asyncio.sleep(left + 0.005)
    for _ in range(20):
        await asyncio.sleep(0)


def a_record(offset: int, *, key: bytes | None = b"key", value: bytes | None = b"value") -> ConsumerRecord:
    return ConsumerRecord(SOURCE, 0, offset, offset, 0, key, value, None, len(key or b""), len(value or b""), ())


def records_at(*offsets: int) -> list[ConsumerRecord]:
    return [a_record(offset) for offset in offsets]


def a_message(offsets: Iterable[int], *, partition: int = 0, assignment: int = 0) -> BatchMessage:
    message = BatchMessage(TP(SOURCE, partition), records_at(*offsets), assignment)
    message.incref()
    return message


@dataclass(eq=False)
class LocalProducer:
    """Takes batches as aiokafka's producer does, and acknowledges them at once; `refusals` come first."""

    partitions: int = PARTITIONS
    refusals: list[Exception] = field(default_factory=list)
    batches: list[tuple[TopicPartition, bytes]] = field(default_factory=list)
    ends: defaultdict[TopicPartition, int] = field(default_factory=lambda: defaultdict(int))

    async def partitions_for(self, _topic: str) -> set[int]:
        return set(range(self.partitions))

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1000, 0)

    async def send_batch(self, builder: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.refusals:
            future.set_exception(self.refusals.pop(0))
            return future
        tp = TopicPartition(topic, partition)
        future.set_result(RecordMetadata(topic, partition, tp, self.ends[tp], 0, 0, 0))
        self.ends[tp] += builder.record_count()
        self.batches.append((tp, bytes(builder._build())))
        return future

    @property
    def records(self) -> dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]]:
        """(key, value) of what arrived, per topic and partition."""
        found: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
        for tp, buffer in self.batches:
            found[tp.topic, tp.partition] += [(record.key, record.value) for record in DefaultRecordBatch(buffer)]
        return dict(found)
