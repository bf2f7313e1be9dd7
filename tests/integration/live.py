"""The pipeline as an operator runs it: real worker processes on a real broker and a real Redis, driven by a test.

Every pipeline has topics and groups of its own, so that many tests share one broker. Its clock starts where the test
says, and runs at the speed of real time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from referral_stream.contracts.codec import decode_effect
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.topics import SOURCES
from referral_stream.core.effects import AskRequested, Decision, Effect
from referral_stream.core.events import FACT_TYPES
from referral_stream.core.instants import parse_instant, rfc3339
from tests.services.cluster import KafkaCluster
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until

PARTITIONS = 4
"""Of the topics that are ours."""

UNEVEN: Mapping[str, int] = dict(zip(SOURCES, (6, 3, 2, 5, 4, 7, 1), strict=True))
"""Partitions of the source topics: nobody ever agreed on a number."""

TUESDAY = parse_instant("2026-06-16T10:00:00+02:00")[0]
"""10:00 in Berlin."""

EMAIL_KEY = "a key for the integration tests"

Isolation: TypeAlias = Literal["read_committed", "read_uncommitted"]
Partitioner: TypeAlias = Literal["murmur2_random", "consistent_random"]
"""How a producer maps keys to partitions: as Java's client does, or with CRC32 as librdkafka does by default."""


@dataclass(frozen=True, slots=True)
class Message:
    """A record as some producer writes it to a source topic."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partitioner: Partitioner = "murmur2_random"


@dataclass(frozen=True, slots=True)
class Said:
    """A record of ours, read and decoded; ``now`` is the clock instant in its header."""

    record: RawRecord
    now: int
    effect: Effect


@dataclass
class Topic:
    """A reader of one topic from its start; keeps what it has read."""

    settings: Mapping[str, Any]
    name: str
    shown_as: str
    isolation: Isolation = "read_committed"
    records: list[RawRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._consumer = Consumer(
            {
                **self.settings,
                "group.id": "the test reads",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": self.isolation,
                "fetch.wait.max.ms": 50,
            }
        )
        partitions = self._consumer.list_topics(self.name, timeout=20).topics[self.name].partitions
        self._consumer.assign([TopicPartition(self.name, partition, 0) for partition in partitions])
        self._behind = set(partitions)

    def read(self) -> list[RawRecord]:
        """Everything up to an end of the topic that was reached since the call; by partition in order of offset."""
        while True:
            messages = self._consumer.consume(1000, 0.02)
            for message in messages:
                error = message.error()
                if error is None:
                    self._behind.add(message.partition() or 0)
                    self.records.append(_raw(message, self.shown_as))
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._behind.discard(message.partition() or 0)
            if not messages and not self._behind:
                return self.records

    def close(self) -> None:
        self._consumer.close()


class Pipeline:
    """One deployment: its settings, its topics, its workers.

    ``policy`` is the text of a policy file, ``user`` a user of a secured broker, ``settings`` are further ones by their
    names in small letters; an empty one is left out. Leaving the context ends every worker.
    """

    def __init__(
        self,
        kafka: KafkaServer | KafkaCluster,
        redis_url: str,
        home: Path,
        *,
        policy: str = "",
        start: int = TUESDAY,
        user: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = f"live-{uuid4().hex[:8]}"
        self.home = home
        self.kafka = kafka
        self._client = kafka.client_settings(user) if user else kafka.client_settings()
        self._start, self._started_at = start, _real_now()
        self._workers: list[ServerProcess] = []
        self._commands: list[ServerProcess] = []
        self._readers: list[Topic] = []
        self._producers: dict[Partitioner, Producer] = {}
        self.policy_file = home / "policy.toml"
        self.policy_file.write_text(policy)
        self.environment: dict[str, str] = {}
        """Variables of the workers that are no settings of ours."""
        self.settings = {
            "kafka_brokers": kafka.bootstrap,
            "redis_url": redis_url,
            "email_key": EMAIL_KEY,
            "topic_prefix": f"{self.name}.",
            "group_prefix": self.name,
            "partitions": str(PARTITIONS),
            "session_timeout_seconds": "3",
            "policy_file": str(self.policy_file),
            "clock_start": str(self._start),
            "clock_started_at": str(self._started_at),
            "status_port": "0",
            **(settings or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self._workers, *self._commands):
            if process.running:
                process.kill9()
        for reader in self._readers:
            reader.close()

    def now(self) -> int:
        """What the clock of the workers shows, epoch ms."""
        return self._start + _real_now() - self._started_at

    def topic(self, name: str) -> str:
        """The full name of a topic of the contract."""
        return f"{self.name}.{name}"

    def log(self) -> str:
        """What the workers have said so far."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.home.glob("worker-*.log")))

    # -- its processes

    def create_topics(self, sources: Mapping[str, int] = UNEVEN) -> None:
        """The source topics as their producers made them, and by our own command what is missing then."""
        if sources:
            self.kafka.create_topics({self.topic(name): count for name, count in sources.items()})
        made = self.run_command("topics", "create")
        assert made.returncode == 0, made.stderr

    def run_command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """``referral-stream`` with these arguments, to its end."""
        command = self._command(*arguments, **settings)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=self.home)

    def begin_command(self, *arguments: str, **settings: str) -> ServerProcess:
        """The same in the background, until this context is left; ``log`` has what it prints."""
        log = self.home / f"command-{len(self._commands)}.log"
        begun = ServerProcess(f"referral-stream {arguments[0]}", self._command(*arguments, **settings), log)
        self._commands.append(begun)
        return begun

    def start(self, role: str = "all", **settings: str) -> ServerProcess:
        """Start a worker; it reads from its topics some seconds later."""
        log = self.home / f"worker-{len(self._workers)}.log"
        worker = ServerProcess(f"referral-stream run {role}", self._command("run", role, **settings), log)
        self._workers.append(worker)
        return worker

    def stop(self) -> None:
        """SIGTERM to every worker; fails unless it ends in good order."""
        for worker in self._workers:
            if worker.running:
                worker.stop()
                assert worker._process.returncode == 0, self.log()[-4000:]

    def _command(self, *arguments: str, **settings: str) -> list[str]:
        # A clean environment: settings of whoever runs the tests are not the deployment's.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ours = {f"REFERRAL_STREAM_{name.upper()}": value for name, value in (self.settings | settings).items() if value}
        root = Path(__file__).parents[2]
        code = {"PYTHONPATH": f"{root}:{root / 'faust-batches' / 'src'}"}  # of this checkout, whatever is installed
        assigned = [f"{name}={value}" for name, value in (kept | ours | code | self.environment).items()]
        return ["env", "-i", *assigned, sys.executable, "-m", "referral_stream", *arguments]

    # -- what goes in

    def publish(self, messages: Iterable[Message]) -> None:
        """Write records to topics of the contract; return when the broker has them."""
        lost: list[str] = []
        for message in messages:
            producer = self._producer(message.partitioner)
            while True:
                try:
                    producer.produce(
                        self.topic(message.topic),
                        message.value,
                        message.key,
                        headers=list(message.headers),
                        on_delivery=lambda error, _: lost.append(str(error)) if error else None,
                    )
                    break
                except BufferError:
                    producer.poll(0.5)
        for producer in self._producers.values():
            assert producer.flush(30) == 0
        assert lost == []

    def _producer(self, partitioner: Partitioner) -> Producer:
        if partitioner not in self._producers:
            settings = {"partitioner": partitioner, "linger.ms": 5, "message.max.bytes": 2_000_000}
            self._producers[partitioner] = Producer({**self._client, **settings})
        return self._producers[partitioner]

    # -- what comes out

    def reader(self, name: str, isolation: Isolation = "read_committed") -> Topic:
        """A reader of a topic of the contract, to be read again and again."""
        return self._reader(self.topic(name), name, isolation)

    def changelog(self, table: str) -> dict[bytes, bytes]:
        """The last value of every key of a table of the decide agent."""
        name = f"{self.name}-decide-{table}-changelog"
        last = {record.key or b"": record.value for record in self._reader(name, table, "read_committed").read()}
        return {key: value for key, value in last.items() if value is not None}

    def positions(self) -> dict[bytes, bytes]:
        """How far the roles have read, as they have noted it."""
        records = self._reader(f"{self.name}-positions", "positions", "read_committed").read()
        return {record.key or b"": record.value or b"" for record in records}

    def read(self, name: str, isolation: Isolation = "read_committed") -> list[RawRecord]:
        """All records of a topic of the contract that are there now."""
        return list(self.reader(name, isolation).read())

    def asks(self, isolation: Isolation = "read_committed") -> list[Said]:
        """Commands and their cancellations."""
        return [_said(record) for record in self.read("referral-asks", isolation)]

    def decisions(self) -> list[Said]:
        return [_said(record) for record in self.read("referral-decisions")]

    def _reader(self, name: str, shown_as: str, isolation: Isolation) -> Topic:
        reader = Topic(self._client, name, shown_as, isolation)
        self._readers.append(reader)
        return reader

    # -- waiting

    def await_clock(self, instant: int) -> None:
        """Return when the clock shows ``instant``."""
        wait_until(lambda: self.now() >= instant, "the clock has come so far", seconds=600)

    def await_facts(self, ids: set[str], *, seconds: float = 120) -> None:
        """Return when the events of these ids, and perhaps others, are on ``customer-events``."""
        reader = self.reader("customer-events")

        def arrived() -> bool:
            return ids <= {parsed(record)["id"] for record in facts(reader.read())}

        self.await_until(arrived, f"{len(ids)} events are on customer-events", seconds)

    def await_decided(self, wanted: Callable[[Decision], bool], what: str, *, seconds: float = 90) -> Decision:
        """The first decision that is ``wanted``."""
        reader = self.reader("referral-decisions")
        found: list[Decision] = []

        def there() -> bool:
            effects = (_said(record).effect for record in reader.read())
            found.extend(each for each in effects if isinstance(each, Decision) and wanted(each))
            return bool(found)

        self.await_until(there, what, seconds)
        return found[0]

    def await_outcome(self, customer: str, *outcomes: str, seconds: float = 90) -> Decision:
        """A decision about this customer with one of these outcomes."""

        def wanted(decision: Decision) -> bool:
            return decision.customer_id == customer and decision.outcome in outcomes

        return self.await_decided(wanted, f"{customer} is {' or '.join(outcomes)}", seconds=seconds)

    def await_until(self, condition: Callable[[], bool], description: str, seconds: float) -> None:
        """``wait_until``, with what the workers said if it was in vain."""
        try:
            wait_until(condition, description, seconds=seconds, every=0.1)
        except TimeoutError as late:
            late.add_note(self.log()[-4000:])
            raise


def cloud_event(kind: str, customer: str | None, at: int, data: Mapping[str, Any], **attributes: Any) -> dict[str, Any]:
    """A structured CloudEvent with an event time in epoch ms."""
    whole = {"specversion": "1.0", "id": uuid4().hex, "source": "shop", "type": kind, "time": rfc3339(at), "data": data}
    return whole | ({"subject": customer} if customer is not None else {}) | attributes


def facts(records: Iterable[RawRecord]) -> list[RawRecord]:
    """Of records of ``customer-events`` what producers said, without wake-ups and the ledger's answers."""
    return [record for record in records if parsed(record).get("type") in FACT_TYPES]


def requested(said: Iterable[Said]) -> dict[str, AskRequested]:
    """The commands among them, by command id; fails where an id comes twice."""
    found: dict[str, AskRequested] = {}
    for each in said:
        if isinstance(each.effect, AskRequested):
            assert each.effect.command_id not in found, f"command {each.effect.command_id} twice"
            found[each.effect.command_id] = each.effect
    return found


def parsed(record: RawRecord) -> Any:
    """The value as JSON; an empty object where it is none."""
    try:
        return orjson.loads(record.value or b"{}")
    except orjson.JSONDecodeError:
        return {}


def _said(record: RawRecord) -> Said:
    return Said(record, int(record.header("now") or 0), decode_effect(record.value or b""))


def _raw(message: Any, shown_as: str) -> RawRecord:
    return RawRecord(
        topic=shown_as,
        partition=message.partition(),
        offset=message.offset(),
        timestamp=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
    )


def _real_now() -> int:
    return time.time_ns() // 1_000_000
