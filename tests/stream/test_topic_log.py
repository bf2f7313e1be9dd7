"""Reading one of our own topics to its present end, merged over the partitions by instant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.records import RawRecord
from referral_stream.core.effects import ReservationConfirmed
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker
from referral_stream.runtime import topic_log
from referral_stream.runtime.topic_log import TopicReader
from referral_stream.stream.ledger_agent import ledger_history


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


class WrittenTopic:
    """A topic of the test's own; ``client`` are the settings to read it with."""

    def __init__(self, producer: AIOKafkaProducer, bootstrap: str) -> None:
        self.producer, self.name = producer, f"{uuid4().hex[:8]}-ledger-requests"
        self.client = {"bootstrap_servers": bootstrap}

    async def write(self, partition: int, *values: bytes) -> None:
        for value in values:
            await self.producer.send(self.name, value, partition=partition)
        await self.producer.flush()

    async def merged(self) -> list[tuple[int, int]]:
        """Partition and instant of what was read; a record is its own instant, or ``bad``."""

        def read(record: RawRecord) -> tuple[int, tuple[int, int]] | None:
            value = record.value or b""
            return None if value == b"bad" else (int(value), (record.partition, int(value)))

        async with TopicReader(self.client, self.name) as reader:
            return [each async for each in reader.present_by_instant(read)]


@pytest.fixture
async def topic(broker: EmbeddedBroker) -> AsyncIterator[WrittenTopic]:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    yield WrittenTopic(producer, broker.bootstrap)
    await producer.stop()


@pytest.mark.parametrize("at_once", [1, 3, 2_000])
async def test_partitions_are_merged_by_instant_and_then_by_number(
    topic: WrittenTopic, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(topic_log, "_MOST_RECORDS", at_once)
    dice = Random(at_once)
    written = {partition: sorted(dice.randrange(30) for _ in range(20 * partition)) for partition in range(PARTITIONS)}
    for partition, instants in written.items():
        if instants:  # the first partition stays empty
            await topic.write(partition, *(b"%d" % instant for instant in instants))
    expected = sorted((instant, partition) for partition, instants in written.items() for instant in instants)
    assert await topic.merged() == [(partition, instant) for instant, partition in expected]


async def test_a_partitions_own_order_stays_even_where_its_instants_go_back(topic: WrittenTopic) -> None:
    await topic.write(0, b"5", b"1")
    await topic.write(1, b"3", b"4")
    assert await topic.merged() == [(1, 3), (1, 4), (0, 5), (0, 1)]


async def test_what_cannot_be_read_is_left_out(topic: WrittenTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_log, "_MOST_RECORDS", 2)
    await topic.write(0, b"bad", b"bad", b"bad", b"2", b"bad")
    await topic.write(2, b"1", b"bad", b"3")
    assert await topic.merged() == [(2, 1), (0, 2), (2, 3)]


async def test_an_empty_topic_has_nothing_to_merge(topic: WrittenTopic) -> None:
    assert await topic.merged() == []


async def test_the_ledgers_history_is_its_requests_and_no_stray_record(
    topic: WrittenTopic, caplog: pytest.LogCaptureFixture
) -> None:
    confirmed = [ReservationConfirmed(command_id=f"c{now}", customer_id="ana", now=now) for now in (1, 2, 3)]
    for partition, effect in zip((3, 0, 1), confirmed, strict=True):
        await topic.write(partition, encode_effect(effect, effect.now))
    await topic.write(0, b"stray")
    assert [each async for each in ledger_history(topic.client, topic.name)] == confirmed
    assert [record.message for record in caplog.records if record.name.endswith("ledger_agent")] == [
        "unreadable_request"
    ]


async def test_without_a_broker_the_ledgers_history_fails_as_kafka_does_so_that_the_batch_is_tried_again() -> None:
    with pytest.raises(KafkaConnectionError) as failed:
        _ = [each async for each in ledger_history({"bootstrap_servers": "127.0.0.1:1"}, "ledger-requests")]
    assert failed.value.__cause__ is None


async def test_a_read_that_brings_nothing_may_be_tried_again_too(
    topic: WrittenTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_reader: TopicReader, _partitions: object = None) -> list[RawRecord]:
        await asyncio.sleep(0.01)
        return []

    await topic.write(0, b"1")
    monkeypatch.setattr(TopicReader, "more", nothing)
    reading = ledger_history(topic.client, topic.name)
    monkeypatch.setattr(topic_log, "STALL_SECONDS", 2.0)
    with pytest.raises(KafkaTimeoutError, match="cannot be read"):
        await anext(reading)
