"""The faults: a seeded plan of them, the workers they befall, and the threads that inflict them."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self, assert_never

from tests.integration.live import Pipeline
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess
from tests.services.redis import RedisServer

SESSION_SECONDS: Final = 3.0


class Fault(StrEnum):
    KILL = "worker: kill -9"
    KILL_ALL = "all workers: kill -9"
    TERM = "worker: SIGTERM"
    STOP = "worker: SIGSTOP beyond its session"
    BROKER = "broker: kill -9"
    REDIS = "Redis: kill -9"
    REDIS_FORGETS = "Redis: kill -9, memory lost"
    JOIN = "a worker joins"
    LEAVE = "a worker leaves"


PER_TWENTY_MINUTES: Final = {
    Fault.KILL: 42,
    Fault.KILL_ALL: 2,
    Fault.TERM: 6,
    Fault.STOP: 6,
    Fault.BROKER: 9,
    Fault.REDIS: 3,
    Fault.REDIS_FORGETS: 3,
    Fault.JOIN: 6,
    Fault.LEAVE: 6,
}
_TWENTY_MINUTES: Final = 1_200.0


_SERVICES: Final = frozenset({Fault.BROKER, Fault.REDIS, Fault.REDIS_FORGETS})


@dataclass(frozen=True, slots=True)
class Planned:
    """`at` in seconds from the begin."""

    at: float
    fault: Fault


def plan(rng: random.Random, seconds: float) -> list[Planned]:
    """So many of each kind as the duration asks for, at least one; at any time, so that some come close together."""
    faults = [
        fault
        for fault, number in PER_TWENTY_MINUTES.items()
        for _ in range(math.ceil(number * seconds / _TWENTY_MINUTES))
    ]
    rng.shuffle(faults)
    # Nobody can leave who has not joined.
    turns = iter([Fault.JOIN, Fault.LEAVE] * len(faults))
    faults = [next(turns) if fault in {Fault.JOIN, Fault.LEAVE} else fault for fault in faults]
    return list(map(Planned, sorted(rng.uniform(0, seconds) for _ in faults), faults))


@dataclass(frozen=True, slots=True)
class Inflicted:
    """A fault as it happened; instants of `monotonic()`. From `ended` on, whatever it struck is there again."""

    fault: Fault
    victim: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker that ended by itself, or not as it was told to; `at` in `monotonic()`, and the last lines it said."""

    worker: str
    code: int
    expected: tuple[int, ...]
    at: float
    log: str

    def __str__(self) -> str:
        told = f"not {self.expected[0]}" if self.expected else "unasked"
        return f"{self.worker}: exit code {self.code}, {told}\n{self.log}"


@dataclass
class Worker:
    """One worker process, started again when it ends unasked, as a supervisor would do."""

    name: str
    pipeline: Pipeline
    settings: dict[str, str]
    exits: list[Exit] = field(default_factory=list)
    starts: int = 0
    _process: ServerProcess | None = None
    _again_at: float | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self) -> None:
        with self._lock:
            if self._process is None:
                self._process = self.pipeline.start("all", **self.settings)
                self.starts += 1
            self._again_at = None

    def kill9(self) -> None:
        process = self._gone()
        if process is not None:
            process.kill9()
            self._note(process, -signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM; a worker that has not gone after half a minute is killed, which its exit code tells."""
        process = self._gone()
        if process is not None:
            process.stop()
            # Before it has taken over the signal, Python itself ends by it.
            self._note(process, 0, -signal.SIGTERM)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP for so long, then SIGCONT."""
        process = self._process
        if process is not None:
            process.pause()
            time.sleep(seconds)
            process.resume()

    def keep_alive(self) -> None:
        """If it ended by itself, start it again a second later."""
        with self._lock:
            if self._again_at is not None and time.monotonic() >= self._again_at:
                self.start()
            elif self._process is not None and not self._process.running:
                process, self._process = self._process, None
                process.stop()
                self._note(process)
                self._again_at = time.monotonic() + 1

    def _gone(self) -> ServerProcess | None:
        """The process, if it has not ended by itself; from now on there shall be none."""
        with self._lock:
            process, self._process, self._again_at = self._process, None, None
            return process

    def _note(self, process: ServerProcess, *expected: int) -> None:
        if process.exit_code not in expected:
            self.exits.append(Exit(self.name, process.exit_code, expected, time.monotonic(), process.last_lines()))


class Chaos:
    """Inflicts a plan: on the workers in one thread, on the services in another, so that faults may overlap.

    A context: leaving it waits for the faults under way, and raises what went wrong in a thread. `inflicted` grows
    meanwhile.
    """

    def __init__(
        self,
        planned: list[Planned],
        workers: list[Worker],
        guest: Worker,
        kafka: KafkaServer,
        redis: RedisServer,
        seed: int,
    ) -> None:
        self._workers, self._guest, self._kafka, self._redis = workers, guest, kafka, redis
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self.planned = len(planned)
        self.inflicted: list[Inflicted] = []
        self.under_way: set[Fault] = set()
        on_services = [each for each in planned if each.fault in _SERVICES]
        on_workers = [each for each in planned if each.fault not in _SERVICES]
        self._threads = [
            threading.Thread(target=self._run, args=(lane, random.Random(seed + place)))
            for place, lane in enumerate((on_services, on_workers))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    @property
    def is_over(self) -> bool:
        """Whether all of the plan was inflicted, or a thread has failed."""
        return bool(self._errors) or not any(thread.is_alive() for thread in self._threads)

    def _run(self, lane: list[Planned], rng: random.Random) -> None:
        begin = time.monotonic()
        try:
            for planned in lane:
                if self._over.wait(max(0.0, begin + planned.at - time.monotonic())):
                    return
                self.under_way.add(planned.fault)
                began = time.monotonic()
                victim = self._inflict(planned.fault, rng)
                self.under_way.discard(planned.fault)
                self.inflicted.append(Inflicted(planned.fault, victim, began, time.monotonic()))
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            self._errors.append(error)

    def _inflict(self, fault: Fault, rng: random.Random) -> str:
        """Returns when whatever was struck is there again; the name of the worker that was."""
        worker = rng.choice(self._workers)
        match fault:
            case Fault.KILL:
                worker.kill9()
                _last(rng, 0, 2)
                worker.start()
            case Fault.TERM:
                worker.terminate()
                _last(rng, 0, 2)
                worker.start()
            case Fault.STOP:
                worker.freeze(rng.uniform(SESSION_SECONDS, SESSION_SECONDS + 3))
            case Fault.KILL_ALL:
                for each in self._workers:
                    each.kill9()
                _last(rng, 0, 2)
                for each in self._workers:
                    each.start()
                return "all"
            case Fault.JOIN:
                self._guest.start()
                return self._guest.name
            case Fault.LEAVE:
                self._guest.terminate()
                return self._guest.name
            case Fault.BROKER:
                self._kafka.kill9()
                _last(rng, 0, 4)
                self._kafka.start()
                return "broker"
            case Fault.REDIS | Fault.REDIS_FORGETS:
                self._redis.kill9()
                if fault is Fault.REDIS_FORGETS:
                    self._redis.forget()
                _last(rng, 0, 8)
                self._redis.start()
                return "Redis"
            case _:
                assert_never(fault)
        return worker.name


def _last(rng: random.Random, least: float, most: float) -> None:
    """Let the fault last: this is no synchronisation, nothing is expected afterwards."""
    time.sleep(rng.uniform(least, most))


def crew(pipeline: Pipeline, home: Path, number: int) -> list[Worker]:
    """So many workers of every kind: with a name and state on disk, and without either."""
    workers = []
    for place in range(1, number + 1):
        name = f"worker-{place}"
        on_disk = {"static_member": name, "store": "rocksdb", "data_dir": str(home / name)}
        workers.append(Worker(name, pipeline, on_disk if place % 3 else {}))
    return workers
