"""The demo: the real workers on the embedded broker and Redis, and a small world that happens to them.

The clock is real where something happens and jumps over the hours in which nothing does: windows, quiet hours and slots
are those of the default policy. Before each jump everything that is under way has come to rest.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust_batches import BatchApp, running
from rich.console import Console

from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import MINUTE, to_datetime, utc_day
from referral_stream.core.policy import Policy
from referral_stream.core.zones import zone
from referral_stream.demo.display import DecisionBoard, Screen, on_screen
from referral_stream.demo.world import CAST, HOME, demo_world
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker
from referral_stream.local.redis_server import EmbeddedRedis
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import TEST_EMAIL_KEY, Settings
from referral_stream.stream.apps import decide_role, ingest_role, ledger_role
from referral_stream.stream.wakeups import Wakeups

REST_LOOKS: Final = 3
REST_SECONDS: Final = 0.01
"""At rest: nothing new at so many looks in a row, so far apart. An appended record is visible within about 2 ms."""

FETCH_WAIT_SECONDS: Final = 0.01
"""The embedded broker answers a waiting fetch only when its time is over, not when a record comes."""

STEP_SECONDS: Final = 20.0
"""A step that takes longer has hung: the demo says so and fails."""


class DemoFailed(Exception):
    """The demo could not be played to its end; the message says why."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it, for the exit code and for tests."""

    asks: int
    reasons: frozenset[str]


async def play(console: Console, output: Path, *, keep: bool = False) -> Played:
    """Play the whole demo on ``console``; with ``keep`` stay up afterwards until SIGINT or SIGTERM.

    The log of what happened and what was decided goes to ``output``. Raises DemoFailed, EmbeddedServiceError,
    WorkerFailed. Nothing is left running.
    """
    with EmbeddedBroker() as broker, EmbeddedRedis() as redis, tempfile.TemporaryDirectory() as folder:
        console.print("broker and Redis are up (in memory, on this machine only); the workers join …", style="dim")
        world = [_parsed(line, number) for number, line in enumerate(demo_world(), 1)]
        clock = Clock()
        clock_start = min(record.timestamp for record in world if not record.historical) - MINUTE
        clock = Clock(clock_start, clock.now())
        deployment = Deployment(_settings(broker, redis, Path(folder)), Policy(), clock, FETCH_WAIT_SECONDS)
        async with _workers(deployment) as demo:
            board = DecisionBoard({c.customer_id: c.title for c in CAST}, zone(HOME))
            with on_screen(board, console) as screen:
                await demo.play(world, screen, broker.require_room)
            demo.save(output, world)
            console.print(board.closing(_next_steps(output, keep=keep)))
            if keep:
                await _until_interrupted(demo, lambda: console.print(_how_to_join(broker, redis)))
            return Played(demo.asks, frozenset(demo.reasons))


def _parsed(line: dict[str, Any], number: int) -> RawRecord:
    return parse_line(json.dumps(line).encode(), file="demo world", number=number)


def _settings(broker: EmbeddedBroker, redis: EmbeddedRedis, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "kafka_brokers": (broker.bootstrap,),
            "redis_url": redis.url,
            "email_key": TEST_EMAIL_KEY,
            "partitions": PARTITIONS,
            "fencing": "none",  # the embedded broker's transactions are not for use: decision record 1
            "data_dir": folder,
        }
    )


@asynccontextmanager
async def _workers(deployment: Deployment) -> AsyncIterator[Demo]:
    wakeups = Wakeups()
    roles = (ingest_role(deployment), decide_role(deployment, wakeups), ledger_role(deployment))
    apps = tuple(role.app for role in roles)
    producer = AIOKafkaProducer(**deployment.client())
    # A question after end offsets queues behind a fetch that waits for records: let it not wait long.
    consumer = AIOKafkaConsumer(
        **deployment.client(), auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=5
    )
    await producer.start()
    await consumer.start()
    try:
        await _touch_topics(producer, deployment)
        async with running(*apps):
            demo = Demo(deployment, apps, wakeups, producer, consumer)
            await demo.until_ready()
            yield demo
    finally:
        await consumer.stop()
        await producer.stop()


async def _touch_topics(producer: AIOKafkaProducer, deployment: Deployment) -> None:
    """The embedded broker creates a topic when its metadata is asked for."""
    for name in deployment.topics.every:
        await producer.partitions_for(name)


class Demo:
    """The running workers, the world's hand on their clock, and an outside reader of what they say."""

    def __init__(
        self, deployment: Deployment, apps: Iterable[BatchApp], wakeups: Wakeups, producer: Any, consumer: Any
    ) -> None:
        topics = deployment.topics
        self.clock, self.apps, self.wakeups = deployment.clock, tuple(apps), wakeups
        self.producer, self.consumer = producer, consumer
        self.inner = [TopicPartition(t, p) for t in (*topics.sources, topics.customer_events, topics.ledger_requests)
                      for p in range(PARTITIONS)]  # fmt: skip
        outer = [TopicPartition(t, p) for t in (topics.referral_decisions, topics.referral_asks)
                 for p in range(PARTITIONS)]  # fmt: skip
        self.topics = topics
        self.messages: dict[str, list[dict[str, Any]]] = {topics.referral_decisions: [], topics.referral_asks: []}
        self.asks = 0
        self.reasons: set[str] = set()
        consumer.assign(outer)

    async def until_ready(self) -> None:
        """Until every role owns its partitions."""
        async with asyncio.timeout(STEP_SECONDS):
            while not all(app.ready for app in self.apps):  # noqa: ASYNC110 (three apps, each with states of its own)
                await asyncio.sleep(0.05)

    async def play(self, world: list[RawRecord], screen: Screen, require_room: Callable[[], None]) -> None:
        """Let the world happen, record by record, and everything that falls due between."""
        for _, day in groupby(world, key=lambda record: (utc_day(record.timestamp), record.historical)):
            records = list(day)
            require_room()
            # A backfilled day may arrive in one go; what is news happens at its minute.
            for portion in [records] if records[0].historical else [[record] for record in records]:
                await self._pass_until(portion[-1].timestamp, screen)
                self.clock.jump_to(portion[-1].timestamp)
                await self._send(portion)
                await self._rest(screen)

    async def _pass_until(self, instant: int, screen: Screen) -> None:
        """Let time pass, from one due instant to the next."""
        await self._rest(screen)
        while (due := self.wakeups.next_due()) is not None and due <= instant:
            self.clock.jump_to(due)
            async with asyncio.timeout(STEP_SECONDS):
                # Until the timer has seen it and the decision has moved it.
                while self.wakeups.next_due() == due:  # noqa: ASYNC110 (a heap, not an event)
                    await asyncio.sleep(REST_SECONDS)
            await self._rest(screen)

    async def _send(self, records: list[RawRecord]) -> None:
        for record in records:
            await self.producer.send(record.topic, record.value, key=record.key, headers=list(record.headers))
        await self.producer.flush()

    async def _rest(self, screen: Screen) -> None:
        """Until every record has gone all the way, and everything said has been shown."""
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
        screen.tick(to_datetime(self.clock.now()))

    def _check_alive(self) -> None:
        for app in self.apps:
            if app.failure is not None:
                raise DemoFailed(f"{app.config.id} stopped: {app.failure!r}")

    async def _read(self, screen: Screen) -> bool:
        """Show what the workers have said since; whether there was anything."""
        found = False
        for tp, records in (await self.consumer.getmany(timeout_ms=0)).items():
            for record in records:
                found = True
                if tp.topic in self.messages:
                    self._take(tp.topic, json.loads(record.value), screen)
        return found

    def _take(self, topic: str, message: dict[str, Any], screen: Screen) -> None:
        self.messages[topic].append(message)
        self.asks += message["type"] == "referral.ask.requested"
        if message["data"].get("outcome") in ("suppressed", "deferred", "expired", "cancelled"):
            self.reasons |= {r["gate"] for r in message["data"]["reasons"] if r["answer"] != "pass"}
        screen.show(message)

    def save(self, output: Path, world: list[RawRecord]) -> None:
        """Write what happened as a recorded log, and what was decided, for looking closer."""
        output.mkdir(parents=True, exist_ok=True)
        (output / "world.jsonl").write_bytes(b"".join(render_line(record) + b"\n" for record in world))
        for topic, name in ((self.topics.referral_decisions, "decisions"), (self.topics.referral_asks, "asks")):
            messages = sorted(self.messages[topic], key=lambda message: (message["time"], message["subject"]))
            lines = "".join(json.dumps(message, sort_keys=True) + "\n" for message in messages)
            (output / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def _next_steps(output: Path, *, keep: bool) -> list[tuple[str, str]]:
    command, world = _command(), output / "world.jsonl"
    steps = [
        (f"less {output / 'asks.jsonl'}", "the commands a messaging worker would get"),
        (f"less {output / 'decisions.jsonl'}", "every decision with all fourteen reasons"),
        (f"{command} explain cus-deniz --log {world}", "one customer's story in plain words"),
        (f"{command} replay {world} --output replayed", "the same week under a virtual clock"),
        ("docs/guarantees.md", "what is promised, and how it is tested"),
        ('README.md, "Beside your event bus"', "with a real Kafka and Redis"),
    ]
    return steps if keep else [*steps, (f"{command} demo --keep", "the same, and it stays up for playing with it")]


def _command() -> str:
    """How this program was called, to be typed again."""
    called = Path(sys.argv[0])
    return "python -m referral_stream" if called.name == "__main__.py" else str(called)


def _how_to_join(broker: EmbeddedBroker, redis: EmbeddedRedis) -> str:
    return (
        f"\nStill up: Kafka at {broker.bootstrap}, Redis at {redis.url}. Write events to nps, billing, support …;\n"
        f"read referral-asks and referral-decisions (kcat -b {broker.bootstrap} -t referral-asks). Ctrl-C ends it."
    )


async def _until_interrupted(demo: Demo, announce: Callable[[], None]) -> None:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, interrupted.set)
    announce()
    while not interrupted.is_set():
        demo._check_alive()  # noqa: SLF001 (the same module)
        with suppress(TimeoutError):
            await asyncio.wait_for(interrupted.wait(), 1.0)
