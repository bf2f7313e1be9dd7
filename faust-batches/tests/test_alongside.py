"""What runs alongside an app: there before the first record, there until the last batch is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from batch_builders import PARTITIONS, an_app
from faust_batches import BatchApp, BatchResult, Read, Record, running


class Story:
    """What happened, in its order; ``done`` once ten records have been taken."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.records = 0
        self.done = asyncio.Event()

    def take(self, _partition: int, records: Sequence[Record], _read: Read) -> BatchResult:
        self.told.append("batch")
        self.records += len(records)
        if self.records == 10:
            self.done.set()
        return BatchResult()

    @asynccontextmanager
    async def companion(self, name: str) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        self.told.append(f"{name} enters")
        try:
            yield
        finally:
            self.told.append(f"{name} leaves")


def an_app_on(broker: str, topic: str, story: Story) -> BatchApp:
    app = an_app(id=f"app-{topic}", brokers=(broker,), partitions=PARTITIONS, fencing="none")
    app.stateless([topic], story.take)
    return app


async def test_companions_enter_before_the_first_batch_and_leave_after_the_last_in_reverse(
    broker: str,
) -> None:
    topic, story = uuid4().hex, Story()
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    for number in range(10):
        await producer.send_and_wait(topic, b"%d" % number)
    await producer.stop()
    app = an_app_on(broker, topic, story)
    app.alongside(story.companion("one"))
    app.alongside(story.companion("two"))

    async with running(app), asyncio.timeout(30):
        await story.done.wait()

    batches = [word for word in story.told if word == "batch"]
    assert batches
    assert story.told == ["one enters", "two enters", *batches, "two leaves", "one leaves"]


async def test_a_companion_that_can_not_begin_keeps_the_app_from_starting(broker: str) -> None:
    story = Story()
    app = an_app_on(broker, uuid4().hex, story)

    @asynccontextmanager
    async def unable() -> AsyncIterator[None]:
        raise ConnectionError("no aliases")
        yield

    app.alongside(story.companion("one"))
    app.alongside(unable())

    with pytest.raises(ConnectionError, match="no aliases"):
        async with running(app):
            raise AssertionError("it has started")
    assert story.told == ["one enters", "one leaves"]


async def test_a_batch_that_never_ends_does_not_keep_the_program_from_ending(
    broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Faust waits for it, and does not let that be cancelled; the batch itself can be."""
    topic, begun = uuid4().hex, asyncio.Event()

    async def never_ends(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
        begun.set()
        await asyncio.Event().wait()
        return BatchResult()

    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    await producer.send_and_wait(topic, b"")
    await producer.stop()
    app = an_app(id=f"app-{topic}", brokers=(broker,), partitions=PARTITIONS, fencing="none", stop_timeout_seconds=0.5)
    app.stateless([topic], never_ends)
    async with running(app):
        await begun.wait()
    assert "worker_stuck" in [record.message for record in caplog.records]
    assert app.failure is None
