"""Workers are killed, stopped, frozen and restarted under load; what they leave behind must be exact.

The check looks from outside: it replays the input topic and compares every customer's state, the second table, and
every command with the changelogs and the output topic. `TESTS_TORTURE_SECONDS=300` runs longer and mixes the
faults at random; `TESTS_TORTURE_SEED` repeats a run's faults and load.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from tests.integration.transport_worker import PARTITIONS, SESSION_SECONDS, command_id, is_pending, step
from tests.night import by_night, seed
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until

LONG_SECONDS = float(os.environ.get("TESTS_TORTURE_SECONDS", "0"))
SEED = seed("TESTS_TORTURE_SEED", by_day=1)
LOAD_SECONDS = LONG_SECONDS or 18
EVENTS_PER_SECOND = 5_000
CUSTOMERS = 5_000
COMPACTED_AT_ONCE = {
    "cleanup.policy": "compact",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
}
"""So that workers recover from logs whose cleaner has left gaps and markers only."""


@dataclass
class Setup:
    run: str
    brokers: str
    store: str
    fencing: str
    home: Path


@dataclass
class Worker:
    """A worker process that is restarted when it ends unasked, as any supervisor would do."""

    setup: Setup
    name: str
    ended_unasked: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        setup = self.setup
        with (setup.home / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.integration.transport_worker", setup.run, self.name, setup.brokers),
                    *(setup.store, setup.fencing, str(setup.home / self.name)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def send(self, sign: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(sign)

    def end(self, sign: signal.Signals) -> int:
        """Exit code after `sign`."""
        with self._lock:
            assert self.process is not None
            process, self.process = self.process, None
        process.send_signal(sign)
        return process.wait(40)

    def last_lines(self) -> str:
        lines = (self.setup.home / f"{self.name}.log").read_text(errors="replace").splitlines()
        return "\n".join([f"--- {self.name}, seed {SEED}", *lines[-60:]])

    @property
    def is_fenced(self) -> bool:
        return self.setup.fencing == "transactions"

    def keep_alive(self) -> None:
        with self._lock:
            if self.process is not None and (code := self.process.poll()) is not None:
                self.ended_unasked.append(code)
                self.start()


def read(setup: Setup, topic: str) -> list[list[Message]]:
    """All records of a topic per partition, as a reader with read_committed sees them."""
    consumer = Consumer(
        {
            "bootstrap.servers": setup.brokers,
            "group.id": f"{setup.run}-check",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found: list[list[Message]] = [[] for _ in range(PARTITIONS)]
    ended: set[int | None] = set()
    deadline = time.monotonic() + 60
    while len(ended) < PARTITIONS:
        assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
        for message in consumer.consume(10_000, 0.5):
            error = message.error()
            if error is None:
                found[message.partition() or 0].append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return found


def load(setup: Setup, rng: random.Random, until: float, failed: list[object]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": setup.brokers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "log_level": 2,
        }
    )
    sequences: Counter[int] = Counter()
    begin = time.monotonic()
    sent = 0
    while (now := time.monotonic()) < until:
        while sent < (now - begin) * EVENTS_PER_SECOND:
            customer = int(CUSTOMERS * rng.random() ** 2)
            sequences[customer] += 1
            producer.produce(
                f"{setup.run}-in",
                json.dumps({"sequence": sequences[customer], "amount": rng.randrange(1000)}),
                f"customer-{customer}",
                on_delivery=lambda error, _message: failed.append(error) if error else None,
            )
            sent += 1
        producer.poll(0.01)
    producer.flush()


def is_caught_up(setup: Setup) -> bool:
    consumer = Consumer({"bootstrap.servers": setup.brokers, "group.id": setup.run})
    try:
        partitions = [TopicPartition(f"{setup.run}-in", partition) for partition in range(PARTITIONS)]
        return all(
            committed.offset == consumer.get_watermark_offsets(committed, timeout=10)[1]
            for committed in consumer.committed(partitions, timeout=10)
        )
    finally:
        consumer.close()


def last_values(partitions: list[list[Message]]) -> dict[bytes, Any]:
    values: dict[bytes, Any] = {}
    for records in partitions:
        for record in records:
            key, value = record.key(), record.value()
            assert isinstance(key, bytes)
            if value is None:
                values.pop(key, None)
            else:
                values[key] = json.loads(value)
    return values


def check(setup: Setup) -> dict[str, int]:
    """What is wrong, counted; all zero is exact."""
    states: dict[bytes, Any] = {}
    commands: dict[str, Any] = {}
    disorder = 0
    for partition, records in enumerate(read(setup, f"{setup.run}-in")):
        for record in records:
            key, offset = record.key(), record.offset()
            assert isinstance(key, bytes)
            assert offset is not None
            event = json.loads(record.value() or b"")
            old = states.get(key, {})
            disorder += event["sequence"] != old.get("sequence", 0) + 1
            new, command = step(old, event, command_id(partition, offset))
            states[key] = new | {"at": offset + 1}
            if command is not None:
                commands[command["id"]] = command
    assert commands
    assert not disorder, "the load itself is out of order"
    changelog = read(setup, f"{setup.run}-accounts-changelog")
    assert all(records[0].offset() for records in changelog), "the changelogs were not compacted meanwhile"
    accounts = last_values(changelog)
    pending = last_values(read(setup, f"{setup.run}-pending-changelog"))
    seen: Counter[str] = Counter()
    differing = 0
    for records in read(setup, f"{setup.run}-out"):
        for record in records:
            command = json.loads(record.value() or b"")
            seen[command["id"]] += 1
            differing += command != commands.get(command["id"])
    return {
        "wrong states": sum(accounts.get(key) != state for key, state in states.items())
        + len(accounts.keys() - states),
        "wrong pending": sum((key in pending) != is_pending(state) for key, state in states.items()),
        "missing commands": len(commands.keys() - seen.keys()),
        "unexpected commands": len(seen.keys() - commands.keys()),
        "differing commands": differing,
        "repeated commands": sum(seen.values()) - len(seen),
    }


@contextmanager
def kept_alive(*workers: Worker) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            for worker in workers:
                worker.keep_alive()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        for worker in workers:
            print(worker.last_lines())  # noqa: T201  (shown when the test fails)
            if worker.process is not None:
                worker.process.send_signal(signal.SIGCONT)
                worker.process.kill()
                worker.process.wait()


@contextmanager
def tortured(kafka: KafkaServer, home: Path, store: str, fencing: str) -> Iterator[tuple[list[Worker], float]]:
    """Two workers under load until the given `monotonic()` time; after the block, what they leave behind is checked."""
    setup = Setup(f"torture-{uuid4().hex[:8]}", kafka.bootstrap, store, fencing, home)
    kafka.create_topics({f"{setup.run}-in": PARTITIONS, f"{setup.run}-out": PARTITIONS})
    kafka.create_topics(
        {f"{setup.run}-accounts-changelog": PARTITIONS, f"{setup.run}-pending-changelog": PARTITIONS},
        COMPACTED_AT_ONCE,
    )
    # Workers that keep state on a disk come back to it: they are static members of their group.
    names = ("static-one", "static-two") if store == "rocksdb" else ("one", "two")
    workers = [Worker(setup, name) for name in names]
    failed: list[object] = []
    until = time.monotonic() + LOAD_SECONDS
    loader = threading.Thread(target=load, args=(setup, random.Random(SEED), until, failed))
    loader.start()
    for worker in workers:
        worker.start()
    with kept_alive(*workers):
        pause(4)  # both have joined and work
        yield workers, until
        loader.join()
        assert not failed
        wait_until(lambda: is_caught_up(setup), "all input is processed and committed", seconds=90, every=0.5)
        assert [worker.end(signal.SIGTERM) for worker in workers] == [0, 0]
    found = check(setup)
    if fencing == "none":
        del found["repeated commands"]  # allowed: same id, same body
    assert found == dict.fromkeys(found, 0), f"seed {SEED}, unasked exits {[w.ended_unasked for w in workers]}"


def pause(seconds: float) -> None:
    """Let the load go on for a while: this is no synchronisation, nothing is expected afterwards."""
    time.sleep(seconds)


def faults(rng: random.Random) -> Iterator[str]:
    """Each kind once, in any order; or for ever."""
    kinds = ["kill -9", "SIGTERM", "SIGSTOP"]
    while True:
        rng.shuffle(kinds)
        yield from kinds
        if not LONG_SECONDS:
            return


def inflict(fault: str, worker: Worker, rng: random.Random) -> None:
    while_down = rng.uniform(0.2, 1.5)
    if fault == "SIGSTOP":
        worker.send(signal.SIGSTOP)
        pause(SESSION_SECONDS + while_down)  # others take over meanwhile
        worker.send(signal.SIGCONT)
        return
    code = worker.end(signal.SIGKILL if fault == "kill -9" else signal.SIGTERM)
    # Without fencing, a write that a zombie gets through stops both workers in good order, and perhaps just now.
    assert code in ((-signal.SIGKILL,) if fault == "kill -9" else (0,) if worker.is_fenced else (0, 1))
    pause(while_down)
    worker.start()


@pytest.mark.timeout(LONG_SECONDS + 180)
@pytest.mark.parametrize(
    ("store", "fencing"), [("rocksdb", "transactions"), by_night("memory", "none"), by_night("memory", "transactions")]
)
def test_what_workers_leave_behind_is_exact_whatever_happens_to_them(
    kafka: KafkaServer, tmp_path: Path, store: str, fencing: str
) -> None:
    rng = random.Random(SEED)
    with tortured(kafka, tmp_path, store, fencing) as (workers, until):
        for number, fault in enumerate(faults(rng)):
            inflict(fault, workers[number % len(workers)], rng)
            pause(rng.uniform(1, SESSION_SECONDS))
            if time.monotonic() > until:
                break
    if fencing == "transactions":
        assert [worker.ended_unasked for worker in workers] == [[], []]


@pytest.mark.timeout(LONG_SECONDS + 180)
@pytest.mark.usefixtures("kafka")  # so that it is skipped where there is none
@pytest.mark.parametrize("fencing", ["transactions", by_night("none")])
def test_what_workers_leave_behind_is_exact_although_the_broker_crashes(tmp_path: Path, fencing: str) -> None:
    rng = random.Random(SEED)
    with KafkaServer() as kafka, tortured(kafka, tmp_path, "memory", fencing) as (_, until):
        while time.monotonic() < until - 10:
            kafka.kill9()
            pause(rng.uniform(0, 2))
            kafka.start()
            pause(rng.uniform(3, 8))
