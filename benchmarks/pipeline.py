"""Throughput of the live pipeline: real worker processes, a real Kafka, a real Redis.

The whole job lies in the source topics before a worker starts. A *hop* is one role; a rate is events per second between
the first and the last record that the hop wrote, by the timestamps in the records themselves, so neither the start of
Python nor the joining of groups counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from benchmarks.mix import START, Sourced, mix
from referral_stream.stream.names import SOURCES
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until

PARTITIONS = 4
SOURCE_PARTITIONS = {
    "product-usage": 4,
    "nps": 2,
    "billing": 3,
    "support": 1,
    "relationship": 2,
    "profile": 2,
    "responses": 1,
}
"""Producers cut their topics as they like."""

FIRST_BATCH = 1000
"""The first batch was worked on before the first record was written: it does not count."""

POLICY = """\
[breaker]
floor = 1_000_000  # the burst breaker would take the job for what it guards against, and ask nobody
"""

QUIET_SECONDS = 1.5
TIMEOUT_SECONDS = 100.0


class Rate(NamedTuple):
    """Events per second of wall-clock time, and per second of the worker's CPU time."""

    wall: float
    cpu: float


class Worker(NamedTuple):
    """A running process."""

    pid: int

    def cpu_seconds(self) -> float:
        """CPU time it has used. Linux: the clock of another process, as `clock_getcpuclockid(3)` names it."""
        return time.clock_gettime((~self.pid << 3) | 2)


class Services(NamedTuple):
    """Where the broker and Redis listen."""

    kafka: KafkaServer
    redis_url: str


class Deployment:
    """One set of topics and groups of its own on the shared broker, with the job loaded into its source topics."""

    def __init__(self, services: Services, events: int, *, partitions: int = PARTITIONS):
        self.services, self.events, self.partitions = services, events, partitions
        self.prefix = f"bench-{uuid4().hex[:8]}-"
        self.group = f"{self.prefix}g"
        self._scratch = tempfile.TemporaryDirectory(prefix="referral-stream-bench-")
        self.folder = Path(self._scratch.name)
        self.policy = self.folder / "policy.toml"
        self.policy.write_text(POLICY, encoding="utf-8")
        services.kafka.create_topics({f"{self.prefix}{name}": count for name, count in SOURCE_PARTITIONS.items()})
        self._run_to_end("topics", "create")
        self.load(mix(events))

    def topic(self, name: str) -> str:
        return f"{self.prefix}{name}"

    @property
    def changelog(self) -> str:
        return f"{self.group}-decide-customers-changelog"

    def load(self, records: Iterable[Sourced]) -> None:
        """Produce the records as producers do: librdkafka's own partitioner, not ours."""
        producer = Producer(
            {
                "bootstrap.servers": self.services.kafka.bootstrap,
                "linger.ms": 20,
                "queue.buffering.max.messages": 0,
            }
        )
        for number, record in enumerate(records):
            producer.produce(self.topic(record.topic), record.value, record.key)
            if number % 1000 == 0:
                producer.poll(0)
        if left := producer.flush(60):
            raise RuntimeError(f"{left} records were not delivered")

    def environment(self, **more: str) -> dict[str, str]:
        settings = {
            "KAFKA_BROKERS": self.services.kafka.bootstrap,
            "REDIS_URL": self.services.redis_url,
            "EMAIL_KEY": "a key for benchmarks only",
            "TOPIC_PREFIX": self.prefix,
            "GROUP_PREFIX": self.group,
            "PARTITIONS": str(self.partitions),
            "POLICY_FILE": str(self.policy),
            "DATA_DIR": str(self.folder / "state"),
            "CLOCK_START": str(START),
            "CLOCK_STARTED_AT": str(time.time_ns() // 1_000_000),
            "LOG_LEVEL": "WARNING",
            **more,
        }
        return os.environ | {f"REFERRAL_STREAM_{name}": value for name, value in settings.items()}

    def _run_to_end(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "referral_stream", *arguments]
        subprocess.run(command, env=self.environment(), check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def worker(self, role: str, **settings: str) -> Iterator[Worker]:
        """A worker process; it must still run at the end, and stop in good order."""
        command = [sys.executable, "-m", "referral_stream", "run", role]
        with self.process(command, self.environment(**settings)) as process:
            yield process

    def stock(self, hops: str) -> AbstractContextManager[Worker]:
        """A worker of stock faust-streaming for the same job."""
        return self.process([sys.executable, "-m", "benchmarks.stock_faust", hops], self.environment())

    @contextmanager
    def process(self, command: Sequence[str], environment: dict[str, str]) -> Iterator[Worker]:
        """A program that is ended by SIGTERM. Raises RuntimeError with its words if it fails."""
        log = self.folder / "worker.log"
        with log.open("ab") as sink, subprocess.Popen(command, env=environment, stdout=sink, stderr=sink) as started:
            try:
                yield Worker(started.pid)
            finally:
                started.terminate()
                try:
                    code = started.wait(40)
                except subprocess.TimeoutExpired:
                    started.kill()
                    code = started.wait()
        if code:
            raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{log.read_text()[-3000:]}")

    def measure(self, process: Worker, first: str, last: str, done: Iterable[tuple[str, str]]) -> Rate:
        """The rate from the first record of topic ``first`` to the last one of ``last``.

        It has ended when the groups of ``done`` (group, topic) have committed all of their topic, and nothing has been
        written to ``last`` for a while.
        """
        with Watch(self.services.kafka.bootstrap) as watch:
            begun = cpu_begun = cpu_ended = 0.0
            written, changed_at = 0, time.monotonic()
            deadline = changed_at + TIMEOUT_SECONDS
            while True:
                cpu = process.cpu_seconds()
                if not begun and watch.end(first):
                    begun, cpu_begun = time.monotonic(), cpu
                now, ends = time.monotonic(), watch.end(last)
                if ends != written:
                    written, changed_at, cpu_ended = ends, now, cpu
                elif begun and now - changed_at > QUIET_SECONDS and all(watch.lag(*each) == 0 for each in done):
                    break
                if now > deadline:
                    raise TimeoutError(f"not done after {TIMEOUT_SECONDS:.0f} s")
                time.sleep(0.05)
            seconds = (watch.last_timestamp(last) - watch.first_timestamp(first)) / 1000
        counted = self.events - FIRST_BATCH
        return Rate(counted / seconds, counted / (cpu_ended - cpu_begun))

    def outcomes(self) -> Counter[str]:
        """What came out: decisions by outcome, and ``asks``."""
        found: Counter[str] = Counter()
        with Watch(self.services.kafka.bootstrap) as watch:
            for value in watch.values(self.topic("referral-decisions")):
                found[orjson.loads(value)["data"]["outcome"]] += 1
            found["asks"] = sum(
                orjson.loads(value)["type"] == "referral.ask.requested"
                for value in watch.values(self.topic("referral-asks"))
            )
        return found

    @property
    def ingested(self) -> list[tuple[str, str]]:
        return [(f"{self.group}-ingest", self.topic(name)) for name in SOURCES]

    @property
    def decided(self) -> list[tuple[str, str]]:
        return [(f"{self.group}-decide", self.topic("customer-events"))]


def both_hops(
    services: Services, events: int, partitions: int = PARTITIONS, **settings: str
) -> tuple[Rate, Counter[str]]:
    """All roles in one process: from the source topics to the states; and what came out."""
    deployment = Deployment(services, events, partitions=partitions)
    with deployment.worker("all", **settings) as process:
        rate = deployment.measure(
            process, deployment.topic("customer-events"), deployment.changelog, deployment.ingested + deployment.decided
        )
    return rate, deployment.outcomes()


def each_hop(services: Services, events: int, **settings: str) -> tuple[Rate, Rate]:
    """The ingest hop, and after it the decide hop, alone: without a ledger, so no reservation is answered."""
    deployment = Deployment(services, events)
    target = deployment.topic("customer-events")
    with deployment.worker("ingest") as process:
        ingest = deployment.measure(process, target, target, deployment.ingested)
    with deployment.worker("decide", **settings) as process:
        decide = deployment.measure(process, deployment.changelog, deployment.changelog, deployment.decided)
    return ingest, decide


def stock_both_hops(services: Services, events: int) -> Rate:
    """`both_hops` on stock Faust, without a ledger."""
    deployment = Deployment(services, events)
    group = f"{deployment.group}-decide"  # one app is one group
    done = [(group, topic) for _, topic in deployment.ingested + deployment.decided]
    with deployment.stock("both") as process:
        return deployment.measure(process, deployment.topic("customer-events"), deployment.changelog, done)


def stock_decide_hop(services: Services, events: int) -> Rate:
    """The decide hop on stock Faust, of a topic that our ingest has filled."""
    deployment = Deployment(services, events)
    target = deployment.topic("customer-events")
    with deployment.worker("ingest") as process:
        deployment.measure(process, target, target, deployment.ingested)
    with deployment.stock("decide") as process:
        return deployment.measure(process, deployment.changelog, deployment.changelog, deployment.decided)


class Watch:
    """Looks at topics and groups from outside."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._consumers: dict[str, Consumer] = {}
        self._partitions: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def _consumer(self, group: str = "watch") -> Consumer:
        if group not in self._consumers:
            self._consumers[group] = Consumer(
                {
                    "bootstrap.servers": self._brokers,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                }
            )
        return self._consumers[group]

    def partitions(self, topic: str) -> list[TopicPartition]:
        if topic not in self._partitions:
            known = self._consumer().list_topics(topic, timeout=10).topics[topic].partitions
            if not known:
                return []
            self._partitions[topic] = sorted(known)
        return [TopicPartition(topic, partition) for partition in self._partitions[topic]]

    def ends(self, topic: str) -> dict[int, int]:
        """Per partition, the offset of the next record."""
        found: dict[int, int] = {}
        for tp in self.partitions(topic):
            wait_until(partial(self._put_end, tp, found), f"the broker leads {topic}", seconds=20)
        return found

    def _put_end(self, tp: TopicPartition, found: dict[int, int]) -> bool:
        """False while the broker, short of CPU, is not counted as leader of the partition."""
        with suppress(KafkaException):
            found[tp.partition] = self._consumer().get_watermark_offsets(tp, timeout=10)[1]
        return tp.partition in found

    def end(self, topic: str) -> int:
        """How many offsets the topic has, all partitions together."""
        return sum(self.ends(topic).values())

    def lag(self, group: str, topic: str) -> int:
        """Offsets the group has not committed yet."""
        ends = self.ends(topic)
        committed = self._consumer(group).committed(self.partitions(topic), timeout=10)
        return sum(max(0, ends[tp.partition] - max(0, tp.offset)) for tp in committed)

    def first_timestamp(self, topic: str) -> int:
        """Epoch ms of the earliest of the partitions' first records."""
        heads = dict.fromkeys(self.ends(topic), (0, 1))
        return min(message.timestamp()[1] for message in self._messages(topic, heads))

    def last_timestamp(self, topic: str) -> int:
        """Epoch ms of the latest record; a partition's last offset may be that of a transaction marker."""
        tails = {partition: (max(0, end - 10), end) for partition, end in self.ends(topic).items()}
        return max(message.timestamp()[1] for message in self._messages(topic, tails))

    def values(self, topic: str) -> Iterator[bytes]:
        """Every committed value of the topic."""
        everything = {partition: (0, end) for partition, end in self.ends(topic).items()}
        return (message.value() or b"" for message in self._messages(topic, everything))

    def _messages(self, topic: str, spans: dict[int, tuple[int, int]]) -> Iterator[Message]:
        """The records in ``[begin, end)`` of each partition, or up to its present end."""
        consumer = self._consumer()
        consumer.assign([TopicPartition(topic, partition, begin) for partition, (begin, _) in spans.items()])
        reading = set(spans)
        while reading:
            for message in consumer.consume(500, timeout=0.2):
                fault, partition = message.error(), message.partition() or 0
                if fault is not None and fault.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (its public name)
                    raise KafkaException(fault)
                end = spans[partition][1]
                if fault is None and (message.offset() or 0) < end:
                    yield message
                if fault is not None or (message.offset() or 0) >= end - 1:
                    reading.discard(partition)
