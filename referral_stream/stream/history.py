"""Reading one of our own topics from its start to its present end, outside of any group."""

from __future__ import annotations

import heapq
import logging
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from referral_stream.contracts.codec import decode_request
from referral_stream.contracts.errors import Undecodable
from referral_stream.core.events import Event
from referral_stream.core.ledger.caps import LedgerOperation

logger = logging.getLogger(__name__)

BUFFERED = 5_000


async def ledger_history(client: dict[str, Any], topic: str) -> AsyncIterator[LedgerOperation]:
    """All records of ``ledger-requests`` that are there now, merged over the partitions by their instant.

    ``client`` are aiokafka's connection settings. Raises KafkaError.
    """
    consumer = AIOKafkaConsumer(
        **client, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in sorted(await partitions_of(consumer, topic))]
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        buffers: dict[TopicPartition, list[LedgerOperation]] = {tp: [] for tp in partitions}
        open_ = set(partitions)
        heads: list[tuple[int, int, TopicPartition]] = []
        positions = dict.fromkeys(partitions, 0)
        while True:
            for tp in list(open_):
                if await consumer.position(tp) >= ends[tp]:
                    open_.discard(tp)
            waiting = [tp for tp in open_ if positions[tp] >= len(buffers[tp])]
            if waiting:
                for tp in open_:
                    full = len(buffers[tp]) - positions[tp] >= BUFFERED
                    (consumer.pause if full else consumer.resume)(tp)
                for tp, records in (await consumer.getmany(timeout_ms=500, max_records=BUFFERED)).items():
                    fresh = _decoded(records)
                    if fresh and positions[tp] >= len(buffers[tp]):
                        heapq.heappush(heads, (_instant(fresh[0]), tp.partition, tp))
                    buffers[tp] = buffers[tp][positions[tp] :] + fresh
                    positions[tp] = 0
                continue
            if not heads:
                if open_:
                    continue
                return
            _, _, tp = heapq.heappop(heads)
            yield buffers[tp][positions[tp]]
            positions[tp] += 1
            if positions[tp] < len(buffers[tp]):
                heapq.heappush(heads, (_instant(buffers[tp][positions[tp]]), tp.partition, tp))
    finally:
        await consumer.stop()


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The topic's partitions; none if there is no such topic. A broker that creates topics by itself does so."""
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 (partitions_for_topic answers from what is known already)
    return set(consumer.partitions_for_topic(topic) or ())


def _decoded(records: list[Any]) -> list[LedgerOperation]:
    operations = []
    for record in records:
        try:
            operations.append(decode_request(record.value or b""))
        except Undecodable:
            logger.warning("unreadable_request", extra={"partition": record.partition, "offset": record.offset})
    return operations


def _instant(operation: LedgerOperation) -> int:
    return operation.time if isinstance(operation, Event) else operation.now
