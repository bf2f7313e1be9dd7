from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from referral_stream.local.broker import PARTITION_BYTES, PARTITIONS, EmbeddedBroker, PartitionUsage
from referral_stream.local.errors import BrokerFull, ServiceFailed
from tests.local.orphans import lives, start_then_be_killed
from tests.services.process import wait_until

RECORD_BYTES = 100_000


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def producer(broker: EmbeddedBroker) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True)
    await producer.start()
    yield producer
    await producer.stop()


def records_in(broker: EmbeddedBroker, topic: str) -> list[int]:
    """Records counted per partition; empty before the topic is known."""
    return [row.records for row in sorted(broker.usage(), key=_partition) if row.topic == topic]


def _partition(row: PartitionUsage) -> int:
    return row.partition


async def fill_up(broker: EmbeddedBroker, producer: AIOKafkaProducer, topic: str, partition: int) -> int:
    """Send as the demo does, asking for room first, until that is refused; return how many records were taken."""
    sent = 0
    with contextlib.suppress(BrokerFull):
        while True:
            broker.require_room()
            await producer.send_and_wait(topic, b"x" * RECORD_BYTES, partition=partition)
            sent += 1
            wait_until(partial(_counted, broker, topic, partition, sent), "the record is counted", seconds=10)
    return sent


def _counted(broker: EmbeddedBroker, topic: str, partition: int, records: int) -> bool:
    counts = records_in(broker, topic)
    return bool(counts) and counts[partition] == records


async def test_what_is_sent_is_read_by_a_group_with_its_key_headers_and_time(
    broker: EmbeddedBroker, producer: AIOKafkaProducer
) -> None:
    sent_at = 1_790_000_000_000
    await producer.send_and_wait("nps", b"value", key=b"cus-ana", headers=[("now", b"1")], timestamp_ms=sent_at)
    consumer = AIOKafkaConsumer(
        "nps", bootstrap_servers=broker.bootstrap, group_id="readers", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        record = await consumer.getone()
        await consumer.commit()
        place = TopicPartition(record.topic, record.partition)
        assert (record.key, record.value, record.headers, record.timestamp) == (
            b"cus-ana",
            b"value",
            (("now", b"1"),),
            sent_at,
        )
        assert await consumer.committed(place) == 1
    finally:
        await consumer.stop()


async def test_a_topic_comes_into_being_with_four_partitions(producer: AIOKafkaProducer) -> None:
    await producer.send_and_wait("fresh", b"value")
    assert await producer.partitions_for("fresh") == set(range(PARTITIONS))


async def test_a_batch_keeps_its_records_in_order(broker: EmbeddedBroker, producer: AIOKafkaProducer) -> None:
    values = [b"%d" % number for number in range(500)]
    batch = producer.create_batch()
    for value in values:
        assert batch.append(key=None, value=value, timestamp=1) is not None
    batch.close()
    await (await producer.send_batch(batch, "events", partition=2))
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition("events", 2)
        consumer.assign([place])
        read: list[bytes] = []
        while len(read) < len(values):
            read += [record.value for record in (await consumer.getmany(place, timeout_ms=1000)).get(place, ())]
        assert read == values
    finally:
        await consumer.stop()


async def test_usage_counts_every_record_of_every_partition(broker: EmbeddedBroker, producer: AIOKafkaProducer) -> None:
    for partition, records in ((0, 3), (3, 40)):
        for _ in range(records):
            await producer.send_and_wait("billing", b"x" * 100, key=b"k" * 8, partition=partition)
    wait_until(lambda: records_in(broker, "billing") == [3, 0, 0, 40], "each record is counted", seconds=10)
    fullest, *_ = broker.usage()
    assert (fullest.topic, fullest.partition) == ("billing", 3)
    assert 40 * 108 < fullest.size_bytes < 40 * 208


async def test_input_is_refused_before_the_first_record_would_be_dropped(
    broker: EmbeddedBroker, producer: AIOKafkaProducer
) -> None:
    place = TopicPartition("support", 1)
    sent = await fill_up(broker, producer, place.topic, place.partition)
    with pytest.raises(BrokerFull, match=r"partition 1 of support holds 4\.\d MB"):
        broker.require_room()
    assert 0.7 * PARTITION_BYTES < sent * RECORD_BYTES < PARTITION_BYTES
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap)
    await consumer.start()
    try:
        assert await consumer.beginning_offsets([place]) == {place: 0}
        assert await consumer.end_offsets([place]) == {place: sent}
    finally:
        await consumer.stop()


def test_brokers_side_by_side_are_strangers() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.bootstrap != other.bootstrap


def test_a_stopped_broker_leaves_no_process_and_may_be_started_again() -> None:
    broker = EmbeddedBroker()
    broker.start()
    first = broker.pid
    broker.stop()
    broker.stop()
    assert not lives(first)
    broker.start()
    try:
        assert broker.usage() == ()
    finally:
        broker.stop()


def test_a_broker_that_died_says_so(broker: EmbeddedBroker) -> None:
    os.kill(broker.pid, signal.SIGKILL)
    with pytest.raises(ServiceFailed, match="died"):
        broker.usage()


def test_a_broker_does_not_outlive_a_parent_that_is_killed() -> None:
    said = start_then_be_killed(
        "from referral_stream.local.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker(); broker.start(); print(f'pid={broker.pid}')"
    )
    wait_until(lambda: not lives(int(said["pid"])), "the orphaned broker has ended", seconds=10)
