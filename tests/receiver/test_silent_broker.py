"""A producer that nobody answers is replaced: the next one asks for the brokers again, with today's password."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from referral_stream.receiver import writer
from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.receiver.writer import NotWritten, SourceWriter

RECORD = SourceRecord("nps", b"{}", None, ())


class Producer:
    """It gets through if its password is the one that counts."""

    counts = "before"
    made: list[Producer]

    def __init__(self, **settings: Any) -> None:
        self.password = settings["sasl_plain_password"]
        self.stopped = False
        self.made.append(self)

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    async def send(self, *_: object, **__: object) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.password == self.counts:
            answer.set_result(None)
        return answer


async def test_a_producer_that_nobody_answers_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Producer.made = []
    password = "before"
    monkeypatch.setattr(writer, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(writer, "SILENT_SECONDS", 0.0)
    made = SourceWriter(
        {"sasl_plain_password": password},
        max_record_bytes=1_000,
        ack_seconds=0.01,
        client_now=lambda: {"sasl_plain_password": password},
    )
    made._producer = await made._started()
    await made.write([RECORD])
    password = Producer.counts = "after"
    for _ in range(2):  # the second one has waited for long enough
        with pytest.raises(NotWritten):
            await made.write([RECORD])
    await asyncio.gather(*made._retired)
    await made.write([RECORD])
    await made.stop()
    assert [producer.stopped for producer in Producer.made] == [True, True]
    assert "producer_replaced" in [record.message for record in caplog.records]


async def test_a_topic_that_takes_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Producer):
        async def send(self, *_: object, **__: object) -> asyncio.Future[None]:
            raise UnknownTopicOrPartitionError

    monkeypatch.setattr(writer, "AIOKafkaProducer", Gone)
    made = SourceWriter({"sasl_plain_password": ""}, max_record_bytes=1_000, ack_seconds=1.0)
    made._producer = await made._started()
    with pytest.raises(NotWritten, match=r"^UnknownTopicOrPartitionError: nps$"):
        await made.write([RECORD])
    await made.stop()
