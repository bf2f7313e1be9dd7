"""What the writer refuses by itself, so that no producer has to be replaced for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from referral_stream.receiver import writer
from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.receiver.writer import SourceWriter, TooLarge


class Broker:
    """In the place of producers: it takes what is no larger than the topic's limit."""

    def __init__(self, limit: int) -> None:
        self.limit, self.sent, self.producers = limit, 0, 0

    async def send(self, _topic: str, value: bytes, *_: Any, **__: Any) -> asyncio.Future[None]:
        self.sent += 1
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(value) > self.limit:
            answer.set_exception(MessageSizeTooLargeError())
        else:
            answer.set_result(None)
        return answer

    async def stop(self) -> None:
        """Replaced."""


@pytest.fixture
def broker() -> Broker:
    return Broker(limit=100_000)


@pytest.fixture
def source(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> SourceWriter:
    async def started(_: SourceWriter) -> Broker:
        broker.producers += 1
        return broker

    monkeypatch.setattr(SourceWriter, "_started", started)
    found = SourceWriter({}, max_record_bytes=200_000, ack_seconds=5)
    found._producer = broker
    return found


def of(size: int, topic: str = "nps") -> SourceRecord:
    return SourceRecord(topic, b"x" * size)


async def test_a_record_above_our_own_limit_never_comes_to_the_producer(source: SourceWriter, broker: Broker) -> None:
    for record in (
        of(300_000),
        SourceRecord("nps", b"", b"k" * 300_000),
        SourceRecord("nps", b"", None, (("h", b"x" * 300_000),)),
    ):
        with pytest.raises(TooLarge):
            await source.write([of(10), record])
    assert (broker.sent, broker.producers) == (0, 0)
    await source.write([of(10)])


async def test_what_a_topic_has_refused_is_refused_for_it_from_then_on_and_tried_again_later(
    source: SourceWriter, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(writer, "monotonic", lambda: now)
    for _ in range(3):
        with pytest.raises(TooLarge):
            await source.write([of(150_000)])
    with pytest.raises(TooLarge):
        await source.write([of(160_000)])
    assert (broker.sent, broker.producers) == (1, 1)
    await source.write([of(90_000)])
    broker.limit = 200_000
    await source.write([of(150_000, topic="billing")])
    now += writer.REFUSED_SECONDS + 1
    await source.write([of(150_000)])


async def test_a_small_record_is_not_remembered_it_may_have_been_beside_others(
    source: SourceWriter, broker: Broker
) -> None:
    broker.limit = 500
    for _ in range(2):
        with pytest.raises(TooLarge):
            await source.write([of(1_000)])
    assert broker.sent == 2
