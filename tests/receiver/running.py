"""A receiver in this process, in front of a real broker, and clients of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from referral_stream.receiver.app import Receiver, RequestLimits
from referral_stream.receiver.endpoints import endpoints
from referral_stream.receiver.writer import SourceWriter
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.http_server import ConnectionLimits, listening
from referral_stream.runtime.settings import PREFIX, read_receiver_settings
from tests.receiver.signing import NOW, SECRETS, SIGNERS

TOKEN = "a-token-of-our-own-0123456789"
MAX_BODY = 4_096

OPEN = {f"WEBHOOK_SECRET_{vendor.upper()}": SECRETS[vendor] for vendor in SIGNERS} | {
    "WEBHOOK_TOKEN_POSTHOG": TOKEN,
    "HTTP_EVENTS_TOKEN": TOKEN,
    "HTTP_PUBLIC_URL": "https://hooks.example.com",
    "HTTP_MAX_BODY_BYTES": str(MAX_BODY),
}
"""Every way in."""

JSON = {"Content-Type": "application/json"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Running:
    """The receiver and an HTTP client of it."""

    receiver: Receiver
    writer: SourceWriter
    client: ClientSession
    bootstrap: str
    topics: tuple[str, ...] = field(default=())

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        async with self.client.post(path, data=body, headers=JSON | (headers or {})) as answer:
            return answer.status, await answer.json()

    async def records(self) -> list[Any]:
        """Everything on the source topics, by topic and partition in order of offset."""
        return await records_on(self.bootstrap, self.topics)


@asynccontextmanager
async def running(
    bootstrap: str, *, ack_seconds: float = 10.0, requests: int = 8, clock_shows: int = NOW, **given: str
) -> AsyncIterator[Running]:
    """A receiver with these settings (in capitals, without prefix; default: every endpoint), and its topics."""
    settings = read_receiver_settings(
        {f"{PREFIX}{name}": value for name, value in (OPEN | given).items()} | {f"{PREFIX}KAFKA_BROKERS": bootstrap}
    )
    ways_in = endpoints(settings)
    topics = tuple(sorted({endpoint.topic for endpoint in ways_in.values()}))
    await make_topics(bootstrap, topics)
    writer = SourceWriter(
        settings.kafka_client(), max_record_bytes=settings.http_max_body_bytes, ack_seconds=ack_seconds
    )
    receiver = Receiver(
        ways_in,
        writer,
        RequestLimits(settings.http_max_body_bytes, requests),
        public_url=settings.http_public_url,
        clock=Clock(clock_shows, time.time_ns() // 1_000_000),
    )
    await writer.start(topics)
    try:
        async with (
            listening(receiver.app(), "127.0.0.1", 0, ConnectionLimits(64, 64)) as here,
            ClientSession(f"http://127.0.0.1:{here.port}") as client,
        ):
            yield Running(receiver, writer, client, bootstrap, topics)
    finally:
        await writer.stop()


async def make_topics(bootstrap: str, topics: Iterable[str]) -> None:
    """The embedded broker makes a topic when somebody asks for it."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for topic in topics:
            await producer.partitions_for(topic)
    finally:
        await producer.stop()


async def records_on(bootstrap: str, topics: Iterable[str]) -> list[Any]:
    """All that these topics hold now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = []
        for topic in topics:
            await consumer._client._wait_on_metadata(topic)
            places += [TopicPartition(topic, each) for each in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[Any] = []
        while len(found) < sum(ends.values()):
            for some in (await consumer.getmany(timeout_ms=200)).values():
                found += some
        return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))
    finally:
        await consumer.stop()


async def until(condition: Callable[[], Any], description: str, *, seconds: float = 20.0) -> None:
    """Return as soon as `condition()` is true, or what it gives to await; raise `TimeoutError` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if await found if asyncio.iscoroutine(found) else found:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"waited {seconds:g} s in vain until {description}") from None
