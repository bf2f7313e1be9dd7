"""Reading one of our own topics to its present end, merged over the partitions by instant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from random import Random
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError
from confluent_kafka.admin import AdminClient

from referral_stream.contracts.codec import encode_effect, encode_event
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import LedgerRenewed, ReservationConfirmed
from referral_stream.core.events import Event
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerUnavailable
from referral_stream.ledger.rounds import holds
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker
from referral_stream.runtime import topic_log
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.topic_log import TopicReader, cluster_id
from referral_stream.stream.generations import Begun, Generations, NewerGeneration, kept_switches
from tests.ledger.builders import T0, a_pause, a_request, a_resumption
from tests.rules import rule


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


class WrittenTopic:
    """A topic of the test's own; ``client`` are the settings to read it with."""

    def __init__(self, producer: AIOKafkaProducer, bootstrap: str) -> None:
        prefix = f"{uuid4().hex[:8]}-"
        self.producer, self.name = producer, f"{prefix}ledger-requests"
        self.client = {"bootstrap_servers": bootstrap}
        self.generations = Generations(self.client, Topics(prefix), Clock(), Policy())

    async def write(self, partition: int, *values: bytes) -> None:
        for value in values:
            await self.producer.send(self.name, value, partition=partition)
        await self.producer.flush()

    async def keep(self, *words: Event) -> None:
        """Keep these words on switches."""
        for each in kept_switches(self.generations._topics, words, T0):
            await self.producer.send_and_wait(each.topic, each.value, key=each.key)

    async def records(self) -> int:
        """How many there are on the topic of the generations."""
        async with TopicReader(self.client, self.generations._topics.ledger_generations) as reader:
            return sum([len(records) async for records in reader.present()])

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
    assert await history_of(topic) == confirmed
    assert [record.message for record in caplog.records if record.name.endswith("generations")] == [
        "unreadable_request"
    ]


async def history_of(topic: WrittenTopic, begun: Begun | None = None) -> list[LedgerOperation]:
    """What a ledger is built from, here and now."""
    begun = begun or await topic.generations.begin(0)
    return [each async for each in topic.generations.history(begun)]


async def test_generations_are_numbered_by_the_log_and_above_what_is_known(topic: WrittenTopic) -> None:
    assert await topic.generations.newest() == 0
    numbers = [(await topic.generations.begin(0)).number, (await topic.generations.begin(1)).number]
    assert numbers == [1, 2]
    assert await topic.generations.newest() == 2
    assert (await topic.generations.begin(5)).number == 6, "as if the topic had been made anew"


async def test_a_generation_is_built_from_what_stands_in_front_of_its_marks_without_void_grants(
    topic: WrittenTopic,
) -> None:
    first = await topic.generations.begin(0)
    counted, void, later = (
        holds([a_request(name)], generation=number, now=T0)[0] for name, number in (("a", 1), ("b", 1), ("c", 2))
    )
    await topic.write(2, encode_effect(counted, T0))
    second = await topic.generations.begin(first.number)
    await topic.write(2, encode_effect(void, T0), encode_effect(later, T0))

    assert await history_of(topic, second) == [counted]
    assert await history_of(topic, await topic.generations.begin(second.number)) == [counted, later]


@rule("11.3")
async def test_what_persons_did_with_switches_is_part_of_the_history_when_its_record_has_lapsed(
    topic: WrittenTopic,
) -> None:
    pauses = [a_pause(now=T0 - 5), a_pause("segment", "smb", now=T0 + 5)]
    over = [a_pause("trigger", "nps_promoter", now=T0 - 7), a_resumption("trigger", "nps_promoter", now=T0 - 6)]
    asked = [ReservationConfirmed(command_id=f"c{now}", customer_id="ana", now=now) for now in (T0, T0 + 10)]
    await topic.write(2, *(encode_effect(each, each.now) for each in asked))
    await topic.keep(*over, *pauses, a_pause(now=T0 - 9))
    await topic.producer.send_and_wait(topic.generations._topics.ledger_generations, b"stray", partition=0)

    assert await history_of(topic) == [over[1], pauses[0], asked[0], pauses[1], asked[1]]
    begun = await topic.generations.begin(0)
    await topic.keep(*over, *pauses)
    assert await topic.generations.newest() == begun.number, "a switch is no generation"


@rule("11.3")
async def test_a_rebuild_keeps_what_nobody_has_kept_yet(topic: WrittenTopic) -> None:
    """Pauses of before switches were kept; and what a worker of an older version took from the log meanwhile."""
    known, ended = a_pause("segment", "smb", now=T0), a_resumption("segment", "smb", now=T0 + 1)
    stands, over = a_pause(now=T0 - 1), a_resumption("trigger", "nps_promoter", now=T0)
    await topic.keep(known)
    await topic.write(1, *map(encode_event, (stands, known, over, ended)))
    await history_of(topic)
    words = (await topic.generations._announced()).switches.newest
    assert {str(which): word for which, word in words.items()} == {"all": stands, "segment smb": ended}
    before = await topic.records()
    await history_of(topic)
    assert await topic.records() == before + 1, "its own announcement alone"


async def test_a_mark_that_nobody_believed_makes_no_grant_void_and_ends_no_rebuild(
    topic: WrittenTopic, caplog: pytest.LogCaptureFixture
) -> None:
    first = await topic.generations.begin(0)
    counted = holds([a_request("a")], generation=first.number, now=T0)[0]
    await topic.write(2, encode_effect(LedgerRenewed(generation=10**9, now=T0), T0), encode_effect(counted, T0))
    assert await history_of(topic) == [counted]
    assert [record.message for record in caplog.records if record.name.endswith("generations")] == ["mark_not_believed"]


async def test_of_a_topic_that_was_made_anew_the_numbers_are_used_up_at_once_and_never_without_end(
    topic: WrittenTopic,
) -> None:
    async with asyncio.timeout(20):
        assert (await topic.generations.begin(3_000)).number == 3_001
    with pytest.raises(LedgerUnavailable, match=r"ledger 1000000000 is known, and .*ledger-generations ends at 3002"):
        await topic.generations.begin(10**9)
    assert await topic.generations.newest() == 3_002


async def test_a_rebuild_ends_where_the_log_has_a_newer_one(topic: WrittenTopic) -> None:
    begun = await topic.generations.begin(0)
    newer = LedgerRenewed(generation=begun.number + 1, now=T0)
    await topic.write(1, encode_effect(newer, T0))
    with pytest.raises(NewerGeneration):
        await history_of(topic, Begun(begun.number, {**begun.ends, 1: begun.ends[1] + 1}))


async def test_without_a_broker_the_ledgers_history_fails_as_kafka_does_so_that_the_batch_is_tried_again() -> None:
    nobody = Generations({"bootstrap_servers": "127.0.0.1:1"}, Topics(), Clock(), Policy())
    with pytest.raises(KafkaConnectionError) as failed:
        _ = [each async for each in nobody.history(Begun(1, {0: 1}))]
    assert failed.value.__cause__ is None


async def test_a_read_that_brings_nothing_may_be_tried_again_too(
    topic: WrittenTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_reader: TopicReader, _partitions: object = None) -> list[RawRecord]:
        await asyncio.sleep(0.01)
        return []

    await topic.write(0, b"1")
    monkeypatch.setattr(TopicReader, "more", nothing)
    reading = topic.generations.history(await topic.generations.begin(0))
    monkeypatch.setattr(topic_log, "STALL_SECONDS", 2.0)
    with pytest.raises(KafkaTimeoutError, match="cannot be read"):
        await anext(reading)


async def test_a_cluster_says_who_it_is(broker: EmbeddedBroker) -> None:
    """As another client hears it."""
    found = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).cluster_id
    assert found
    assert await cluster_id({"bootstrap_servers": broker.bootstrap}) == found


async def test_who_follows_hears_once_that_the_brokers_are_away_and_once_that_they_are_back(
    topic: WrittenTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_log, "_ASK_SECONDS", 0.0)
    answers, told = iter([True, False, False, True]), list[bool]()

    async def answered() -> bool:
        found = next(answers, None)
        if found is None:
            await topic.write(0, b"1")
        return found is not False

    await topic.write(0, b"0")
    async with TopicReader(topic.client, topic.name) as reader:
        monkeypatch.setattr(reader, "_is_answered", answered)
        async with aclosing(reader.following(told.append)) as following:
            found = [await anext(following), await anext(following)]
    assert [record.value for records in found for record in records] == [b"0", b"1"]
    assert told == [False, True]


async def test_a_broker_that_has_ended_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_log, "_ASK_SECONDS", 3.0)
    with EmbeddedBroker() as broker:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
            await producer.send_and_wait("some-topic", b"0")
        reader = TopicReader({"bootstrap_servers": broker.bootstrap}, "some-topic")
        await reader.__aenter__()
        assert await reader._is_answered()
    assert not await reader._is_answered()
    await reader.__aexit__(None, None, None)
