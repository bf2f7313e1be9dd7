"""The real workers on the embedded broker and Redis, and a world that happens to them.

The clock is real while something happens and jumps over the hours in which nothing does: windows, quiet hours and slots
are those of the default policy. Before each jump everything that is under way has come to rest.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust_batches import BatchApp, running
from msgspec.structs import replace

from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import to_datetime, utc_day
from referral_stream.demo.display import Screen
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker
from referral_stream.local.redis_server import EmbeddedRedis
from referral_stream.runtime.clients import close
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import TEST_EMAIL_KEY, Settings
from referral_stream.stream.apps import decide_role, ingest_role, ledger_role
from referral_stream.stream.wakeups import Wakeups

REST_LOOKS: Final = 3
REST_SECONDS: Final = 0.01
"""At rest: nothing new in this many polls in a row, this far apart. An appended record is visible within about 2 ms."""

FETCH_WAIT_SECONDS: Final = 0.01
"""The embedded broker answers a waiting fetch only when its time is over, not when a record comes."""

STEP_SECONDS: Final = 20.0
"""A step that takes longer has hung: the demo reports it and fails."""


class DemoFailed(Exception):
    """The demo could not be played to its end; the message says why."""


def parsed(line: dict[str, Any], number: int) -> RawRecord:
    return parse_line(json.dumps(line).encode(), file="demo world", number=number)


def demo_settings(broker: EmbeddedBroker, redis: EmbeddedRedis, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "kafka_brokers": (broker.bootstrap,),
            "redis_url": redis.url,
            "email_key": TEST_EMAIL_KEY,
            "partitions": PARTITIONS,
            "fencing": "none",  # the embedded broker's transactions are unusable: decision record 1
            "store": "memory",
            "data_dir": folder,
        }
    )


@asynccontextmanager
async def workers(deployment: Deployment) -> AsyncIterator[Demo]:
    wakeups = Wakeups()
    roles = (ingest_role(deployment), decide_role(deployment, wakeups), ledger_role(deployment))
    apps = tuple(role.app for role in roles)
    producer = AIOKafkaProducer(**deployment.client())
    # A question after end offsets queues behind a fetch that waits for records: let it not wait long.
    consumer = AIOKafkaConsumer(
        **deployment.client(), auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=5
    )
    try:  # from here on: an interrupted start has to be stopped as well
        await producer.start()
        await consumer.start()
        await _touch_topics(producer, deployment)
        async with running(*apps):
            demo = Demo(deployment, apps, wakeups, producer, consumer)
            await demo.until_ready()
            yield demo
    finally:
        await close(consumer)
        await close(producer)


async def _touch_topics(producer: AIOKafkaProducer, deployment: Deployment) -> None:
    """The embedded broker creates a topic when its metadata is asked for."""
    for name in (*deployment.topics.every, deployment.positions):
        await producer.partitions_for(name)


class Demo:
    """The running workers, the world's hand on their clock, and an outside reader of their output."""

    def __init__(
        self, deployment: Deployment, apps: Iterable[BatchApp], wakeups: Wakeups, producer: Any, consumer: Any
    ) -> None:
        topics = deployment.topics
        self.clock, self.apps, self.wakeups = deployment.clock, tuple(apps), wakeups
        self.producer, self.consumer = producer, consumer
        self.inner = [TopicPartition(t, p) for t in (*topics.sources, topics.customer_events, topics.ledger_requests)
                      for p in range(PARTITIONS)]  # fmt: skip
        self.sources = [TopicPartition(t, p) for t in topics.sources for p in range(PARTITIONS)]
        self.results = {
            topics.referral_decisions: "decisions",
            topics.referral_asks: "asks",
            topics.referral_followups: "followups",
            topics.referral_rewards: "rewards",
        }
        outer = [TopicPartition(t, p) for t in (*self.results, topics.dead_letters) for p in range(PARTITIONS)]
        self.topics = topics
        self.world: list[RawRecord] = []
        self.messages: dict[str, list[dict[str, Any]]] = {topic: [] for topic in self.results}
        consumer.assign([*outer, *self.sources])
        consumer.pause(*self.sources)  # until `listen`: what the world sends is known

    async def until_ready(self) -> None:
        """Until every role owns its partitions."""
        async with asyncio.timeout(STEP_SECONDS):
            while not all(app.ready for app in self.apps):  # noqa: ASYNC110 (three apps, each with states of its own)
                await asyncio.sleep(0.05)

    async def play(self, world: list[RawRecord], screen: Screen, require_room: Callable[[], None]) -> None:
        """Let the world happen, record by record, and everything that falls due between."""
        self.world += world
        for _, day in groupby(world, key=lambda record: (utc_day(record.timestamp), record.historical)):
            records = list(day)
            require_room()
            # A backfilled day may arrive in one go; what is news happens at its minute.
            for portion in [records] if records[0].historical else [[record] for record in records]:
                await self.happen(portion, screen)

    async def happen(self, records: list[RawRecord], screen: Screen) -> None:
        """Let the records happen at the instant of the last one, and everything that falls due before."""
        await self.wait_until(records[-1].timestamp, screen)
        await self._send(records)
        await self._rest(screen)

    async def wait_until(self, instant: int, screen: Screen) -> None:
        """Let time pass, from one due instant to the next."""
        await self._rest(screen)
        while (due := self.wakeups.next_due()) is not None and due <= instant:
            self.clock.jump_to(due)
            async with asyncio.timeout(STEP_SECONDS):
                # Until the timer has seen it and the decision has moved it.
                while self.wakeups.next_due() == due:  # noqa: ASYNC110 (a heap, not an event)
                    await asyncio.sleep(REST_SECONDS)
            await self._rest(screen)
        self.clock.jump_to(instant)

    async def listen(self) -> None:
        """From now on, everything that comes in is part of the world, from any sender."""
        await self.consumer.seek_to_end(*self.sources)
        self.consumer.resume(*self.sources)

    async def look(self, screen: Screen) -> None:
        """Show what the workers have written since."""
        self._check_alive()
        if await self._read(screen):
            self.tick(screen)

    def tick(self, screen: Screen) -> None:
        screen.tick(to_datetime(self.clock.now()))

    def commands(self) -> Iterator[dict[str, Any]]:
        """What was asked of the messaging worker: the ``data`` of every ask, in the order they came."""
        for message in self.messages[self.topics.referral_asks]:
            if message["type"] == "referral.ask.requested":
                yield message["data"]

    async def _send(self, records: list[RawRecord]) -> None:
        for record in records:
            await self.producer.send(record.topic, record.value, key=record.key, headers=list(record.headers))
        await self.producer.flush()

    async def _rest(self, screen: Screen) -> None:
        """Until every record has been fully processed, and everything written has been shown."""
        looks = 0
        try:
            async with asyncio.timeout(STEP_SECONDS):
                while looks < REST_LOOKS:
                    self._check_alive()
                    ends = await self.consumer.end_offsets(self.inner)
                    done: dict[tuple[str, int], int] = {}
                    for app in self.apps:
                        done |= app.positions()
                    rested = all(done.get((tp.topic, tp.partition), 0) >= end for tp, end in ends.items())
                    looks = looks + 1 if rested and not await self._read(screen) else 0
                    await asyncio.sleep(REST_SECONDS)
        except TimeoutError:
            raise DemoFailed(f"the workers did not come to rest within {STEP_SECONDS:g} s") from None
        self.tick(screen)

    def _check_alive(self) -> None:
        for app in self.apps:
            if app.failure is not None:
                raise DemoFailed(f"{app.config.id} stopped: {app.failure!r}")

    async def _read(self, screen: Screen) -> bool:
        """Show what the workers have written since; returns whether there was anything."""
        found = False
        for tp, records in (await self.consumer.getmany(timeout_ms=0)).items():
            for record in records:
                found = True
                if tp.topic in self.messages:
                    message = json.loads(record.value)
                    self.messages[tp.topic].append(message)
                    screen.show(message)
                elif tp.topic == self.topics.dead_letters:
                    screen.warn(_refusal(RawRecord.of(record)))
                else:
                    came = RawRecord.of(record, self.clock.at(record.timestamp))
                    self.world.append(replace(came, partition=0, offset=len(self.world)))
        return found

    def save(self, output: Path) -> None:
        """Write what happened as a recorded log, and what was decided, for looking closer."""
        output.mkdir(parents=True, exist_ok=True)
        world = sorted(self.world, key=lambda record: record.timestamp)
        (output / "world.jsonl").write_bytes(b"".join(render_line(record) + b"\n" for record in world))
        for topic, name in self.results.items():
            messages = sorted(self.messages[topic], key=lambda message: (message["time"], message["subject"]))
            lines = "".join(json.dumps(message, sort_keys=True) + "\n" for message in messages)
            (output / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def _refusal(letter: RawRecord) -> str:
    return f"not used, now a dead letter of {letter.header('source-topic')}: {letter.header('error')}"
