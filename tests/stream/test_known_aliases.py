"""The alias topic as an ingest worker sees it: whole before the first record, followed from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from referral_stream.contracts.codec import encode_event, event_headers
from referral_stream.contracts.inbound.aliases import Aliases
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.runtime.topic_log import UnreadableTopic
from referral_stream.stream.known_aliases import KnownAliases, read_aliases
from tests.stream.records import an_event

NOW = 1_781_596_800_000


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


class AliasTopic:
    def __init__(self, producer: AIOKafkaProducer, bootstrap: str) -> None:
        self.producer = producer
        self.name = f"{uuid4().hex[:8]}-customer-aliases"
        self.client = {"bootstrap_servers": bootstrap}
        self.failures: list[BaseException] = []

    async def say(self, alias: str, customer: str, now: int = NOW) -> None:
        event = an_event("customer.aliased", now, customer, alias=alias)
        await self.producer.send_and_wait(
            self.name, encode_event(event), key=alias.encode(), headers=list(event_headers(event, now))
        )

    def known_to(self, aliases: Aliases) -> KnownAliases:
        return KnownAliases(self.client, self.name, aliases, lambda error, _: self.failures.append(error))


@pytest.fixture
async def topic(broker: EmbeddedBroker) -> AsyncIterator[AliasTopic]:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    yield AliasTopic(producer, broker.bootstrap)
    await producer.stop()


async def learnt(aliases: Aliases, alias: str, customer: str) -> None:
    """Return when the alias stands for the customer; fails if that never happens."""
    async with asyncio.timeout(20):
        while aliases.customer(alias) != customer:  # noqa: ASYNC110 (a dictionary, not an event)
            await asyncio.sleep(0.01)


async def test_all_that_is_known_is_known_before_the_first_record(topic: AliasTopic) -> None:
    for number in range(200):
        await topic.say(f"anonymous-{number}", f"cus-{number}")
    await topic.say("anonymous-7", "cus-ana", NOW + 1)

    aliases = Aliases()
    async with topic.known_to(aliases):
        assert aliases.customer("anonymous-199") == "cus-199"
        assert aliases.customer("anonymous-7") == "cus-ana"


async def test_what_another_worker_learns_is_followed(topic: AliasTopic) -> None:
    await topic.say("cookie", "device")
    aliases = Aliases()
    async with topic.known_to(aliases):
        await topic.say("device", "cus-ana", NOW + 1)
        await learnt(aliases, "cookie", "cus-ana")
    assert topic.failures == []


async def test_two_who_were_made_aliases_of_each_other_are_one_for_every_worker(topic: AliasTopic) -> None:
    """Two workers that knew nothing of each other wrote one each, on partitions that are read in any order."""
    for number in range(8):
        await topic.say(f"first-{number}", f"second-{number}", NOW)
        await topic.say(f"second-{number}", f"first-{number}", NOW + 1)

    aliases = await read_aliases(topic.client, topic.name)

    assert [aliases.customer(f"first-{number}") for number in range(8)] == [f"second-{number}" for number in range(8)]


async def test_poison_on_the_topic_keeps_no_worker_from_starting(topic: AliasTopic) -> None:
    await topic.producer.send_and_wait(topic.name, b"\xff", key=b"poison")
    await topic.producer.send_and_wait(topic.name, None, key=b"tombstone")
    await topic.say("anonymous-7", "cus-ana")

    assert (await read_aliases(topic.client, topic.name)).customer("anonymous-7") == "cus-ana"


async def test_without_a_broker_there_is_one_line_that_says_so() -> None:
    with pytest.raises(
        UnreadableTopic, match=r"^no connection to Kafka at 127\.0\.0\.1:9: nothing listens at 127\.0\.0\.1:9"
    ):
        await read_aliases({"bootstrap_servers": "127.0.0.1:9"}, "customer-aliases")
