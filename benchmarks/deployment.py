"""One deployment for a benchmark: topics and groups of its own on the shared broker, and its worker processes.

How a rate is measured: the workers start and work through a few records, so that they are connected, own their
partitions and have imported everything. Then they are frozen (SIGSTOP), the whole job is written to the broker, and
they go on: the clock runs from that instant to the timestamp of the last record that the job left in any of its topics.
Neither the start of Python nor the joining of groups counts, and no engine has to tell when it began.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from faust_batches import Output, partition_of

from benchmarks.mix import START, Sourced, mix
from benchmarks.watch import Watch
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import SOURCES, TABLES, Topics
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import ROLES
from referral_stream.stream.ingest import Ingest
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until

ROOT = Path(__file__).parents[1]

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

EMAIL_KEY = "a key for benchmarks only"

POLICY = """\
[breaker]
floor = 1_000_000  # the burst breaker would take the job for what it guards against, and ask nobody
"""

WARM_UP = 400
"""Records that the workers see before the job: of customers of their own, over all partitions."""

BATCH = 1_000
QUIET_SECONDS = 1.5
START_SECONDS = 60.0
WORK_SECONDS = 300.0


class Rate(NamedTuple):
    """Events per second of wall-clock time, and per second of CPU time, of all the workers together."""

    wall: float
    cpu: float


class Worker(ServerProcess):
    """A running process."""

    def cpu_seconds(self) -> float:
        """CPU time it has used. Linux: the clock of another process, as `clock_getcpuclockid(3)` names it."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def resident_bytes(self) -> int:
        """Physical memory that it holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Services(NamedTuple):
    """Where the broker and Redis listen."""

    kafka: KafkaServer
    redis_url: str


class Deployment:
    """See the module's docstring. Leaving the context ends its workers and removes its topics."""

    def __init__(self, services: Services, *, partitions: int = PARTITIONS, policy: str = POLICY) -> None:
        self.services, self.partitions = services, partitions
        self.prefix = f"bench-{os.urandom(4).hex()}-"
        self.group = f"{self.prefix}g"
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="referral-stream-bench-")))
        self.policy = self.folder / "policy.toml"
        self.policy.write_text(policy, encoding="utf-8")
        self._started_at = time.time_ns() // 1_000_000
        self.running: list[Worker] = []
        self.clock = Clock(START, self._started_at)
        """What the workers' clocks show, unless one is started with settings of its own."""
        self.watch = self._stack.enter_context(Watch(services.kafka.bootstrap))
        services.kafka.create_topics({self.topic(name): count for name, count in SOURCE_PARTITIONS.items()})
        create = Worker("topics create", self._command("-m", "referral_stream", "topics", "create"), self.log)
        wait_until(lambda: not create.running, "the topics are made", seconds=START_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.running:
            worker.kill9()
        self._stack.close()
        admin = AdminClient({"bootstrap.servers": self.services.kafka.bootstrap})
        ours = [name for name in admin.list_topics(timeout=20).topics if self.prefix in name]
        for removed in admin.delete_topics(ours).values():
            removed.result(30)

    # -- names

    def topic(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def changelog(self, table: str) -> str:
        return f"{self.group}-decide-{table}-changelog"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def ingested(self) -> list[tuple[str, str]]:
        """What the ingest hop reads: group and topic."""
        return [(f"{self.group}-ingest", self.topic(name)) for name in SOURCES]

    @property
    def decided(self) -> list[tuple[str, str]]:
        return [(f"{self.group}-decide", self.topic("customer-events"))]

    @property
    def groups(self) -> list[str]:
        """Of all roles."""
        return [f"{self.group}-{role}" for role in ROLES]

    # -- processes

    def environment(self, **more: str) -> dict[str, str]:
        settings = {
            "KAFKA_BROKERS": self.services.kafka.bootstrap,
            "REDIS_URL": self.services.redis_url,
            "EMAIL_KEY": EMAIL_KEY,
            "TOPIC_PREFIX": self.prefix,
            "GROUP_PREFIX": self.group,
            "PARTITIONS": str(self.partitions),
            "POLICY_FILE": str(self.policy),
            "DATA_DIR": str(self.folder / "state"),
            "CLOCK_START": str(START),
            "CLOCK_STARTED_AT": str(self._started_at),
            "SESSION_TIMEOUT_SECONDS": "60",  # they are frozen while the job is written
            "LOG_LEVEL": "WARNING",
            "STATUS_PORT": "0",
            **more,
        }
        return {f"REFERRAL_STREAM_{name}": value for name, value in settings.items()}

    def _command(self, *arguments: str, python: str = sys.executable, **settings: str) -> list[str]:
        assigned = [f"{name}={value}" for name, value in self.environment(**settings).items()]
        return ["env", f"PYTHONPATH={ROOT}:{ROOT / 'faust-batches' / 'src'}", *assigned, python, *arguments]

    def start(self, *arguments: str, python: str = sys.executable, **settings: str) -> Worker:
        """A Python process with the deployment's settings in its environment; `end` ends it."""
        worker = Worker(" ".join(arguments), self._command(*arguments, python=python, **settings), self.log)
        self.running.append(worker)
        return worker

    def kill9(self, worker: Worker) -> None:
        self.running.remove(worker)
        worker.kill9()

    def end(self, worker: Worker) -> None:
        """SIGTERM. Raises RuntimeError with its words if it fails."""
        self.running.remove(worker)
        worker.resume()
        worker.stop(40)
        if worker.exit_code:
            raise RuntimeError(f"{worker.name} ended with {worker.exit_code}:\n{worker.last_lines()}")

    @contextmanager
    def process(self, *arguments: str, python: str = sys.executable, **settings: str) -> Iterator[Worker]:
        """Such a process, ended by SIGTERM. Raises RuntimeError with its words if it fails."""
        worker = self.start(*arguments, python=python, **settings)
        try:
            yield worker
        finally:
            if worker in self.running:
                self.end(worker)

    @contextmanager
    def worker(self, role: str, **settings: str) -> Iterator[Worker]:
        """`referral-stream run`, started by now, and perhaps not ready yet."""
        with self.process("-m", "referral_stream", "run", role, **settings) as worker:
            yield worker

    def await_members(self, groups: Iterable[str], members: int = 1) -> None:
        """Return when each of these groups has so many members, all with partitions."""
        for group in groups:
            self._await(partial(self.watch.shared_out, group, members), f"{group} has {members} members")

    def await_done(self, done: Sequence[tuple[str, str]], seconds: float = WORK_SECONDS) -> None:
        """Return when each group has committed all of its topic."""
        for group, topic in done:
            self._await(partial(self.watch.caught_up, group, topic), f"{group} is done", seconds)

    def _await(self, condition: Callable[[], object], description: str, seconds: float = START_SECONDS) -> None:
        def there_or_dead() -> object:
            return condition() or self._dead()

        try:
            wait_until(there_or_dead, description, seconds=seconds)
        except TimeoutError as late:
            late.add_note(self._last_words())
            raise
        if dead := self._dead():
            raise RuntimeError(f"{dead.name} ended with {dead.exit_code} before {description}:\n{self._last_words()}")

    def _dead(self) -> Worker | None:
        """A worker that has ended, though nobody has stopped it."""
        return next((worker for worker in self.running if not worker.running), None)

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    # -- what goes in

    def load(self, records: Iterable[Sourced]) -> None:
        """Write source records as producers do: librdkafka's own partitioner, not ours."""
        with writing(self.services.kafka.bootstrap) as producer:
            for number, record in enumerate(records):
                producer.produce(self.topic(record.topic), record.value, record.key)
                if number % BATCH == 0:
                    producer.poll(0)

    def fill(self, outputs: Iterable[Output]) -> None:
        """Write records of ours, as `canonical` makes them."""
        with writing(self.services.kafka.bootstrap) as producer:
            for number, output in enumerate(outputs):
                producer.produce(
                    self.topic(output.topic),
                    output.value,
                    output.key,
                    partition_of(output.key or b"", self.partitions),
                    headers=list(output.headers),
                )
                if number % BATCH == 0:
                    producer.poll(0)

    # -- measuring

    def rate(
        self,
        workers: Sequence[Worker],
        job: Callable[[], None],
        events: int,
        *,
        done: Sequence[tuple[str, str]],
        written: Sequence[str],
    ) -> Rate:
        """How fast these workers, which have nothing to do now, take the job.

        They have ended when the groups of ``done`` (group, topic) have committed all, and nothing has been added to the
        topics of ``written`` for a while.
        """
        for worker in workers:
            worker.pause()
        job()
        cpu_begun = sum(worker.cpu_seconds() for worker in workers)
        begun = time.time()
        for worker in workers:
            worker.resume()
        cpu_ended = self._until_quiet(workers, done, written)
        ended = max(self.watch.last_timestamp(topic) for topic in written) / 1000
        return Rate(events / (ended - begun), events / (cpu_ended - cpu_begun))

    def _until_quiet(self, workers: Sequence[Worker], done: Sequence[tuple[str, str]], written: Sequence[str]) -> float:
        """The workers' CPU seconds when the last record was written."""
        cpu_ended, before, changed_at = 0.0, -1, time.monotonic()
        deadline = changed_at + WORK_SECONDS
        while True:
            cpu = sum(worker.cpu_seconds() for worker in workers)
            now, ends = time.monotonic(), sum(self.watch.end(topic) for topic in written)
            if ends != before:
                before, changed_at, cpu_ended = ends, now, cpu
            elif now - changed_at > QUIET_SECONDS and all(self.watch.caught_up(*each) for each in done):
                return cpu_ended
            if now > deadline:
                raise TimeoutError(f"not done after {WORK_SECONDS:.0f} s: {self._last_words()}")
            if self._dead():
                raise RuntimeError(f"a worker ended: {self._last_words()}")
            time.sleep(0.05)

    def said(self) -> Counter[str]:
        """What came out: decisions by outcome, ``asks``, and ``requests`` to the ledger."""
        found: Counter[str] = Counter()
        for value in self.watch.values(self.topic("referral-decisions")):
            found[orjson.loads(value)["data"]["outcome"]] += 1
        for value in self.watch.values(self.topic("referral-asks")):
            found["asks"] += orjson.loads(value)["type"] == "referral.ask.requested"
        found["requests"] = sum(1 for _ in self.watch.values(self.topic("ledger-requests")))
        return found

    @property
    def outbound(self) -> list[str]:
        """The topics and changelogs that the decide hop writes to."""
        names = ("referral-asks", "referral-decisions", "ledger-requests")
        return [*map(self.topic, names), *map(self.changelog, TABLES)]


@contextmanager
def writing(brokers: str) -> Iterator[Producer]:
    """A producer; on leaving, all that was produced has been acknowledged. Raises RuntimeError if some was not."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.messages": 0})
    yield producer
    if left := producer.flush(60):
        raise RuntimeError(f"{left} records were not delivered")


def canonical(records: Iterable[Sourced]) -> list[Output]:
    """What the ingest hop makes of source records; topics are without prefix."""
    ingest = Ingest(Topics(), Boundary(email_key=EMAIL_KEY.encode()), Clock(START, time.time_ns() // 1_000_000))
    raw = [
        RawRecord(topic=record.topic, partition=0, offset=offset, timestamp=START, key=record.key, value=record.value)
        for offset, record in enumerate(records)
    ]
    outputs: list[Output] = []
    for begin in range(0, len(raw), BATCH):
        outputs += ingest(0, raw[begin : begin + BATCH], lambda _table, _key: None).outputs
    return outputs


def warm_up() -> list[Sourced]:
    """Records for `Deployment.load` before the job: usage alone, of customers whom the job does not know."""
    usage = (record for record in mix(2 * WARM_UP, WARM_UP, seed=99) if record.topic == "product-usage")
    return [
        record._replace(key=record.key.replace(b"cus_", b"warm_"), value=record.value.replace(b'"cus_', b'"warm_'))
        for record, _ in zip(usage, range(WARM_UP), strict=False)
    ]
