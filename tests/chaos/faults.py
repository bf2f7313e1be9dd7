"""The workers that faults befall, and the threads that inflict them."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from confluent_kafka import KafkaException

from referral_stream.contracts.topics import SOURCES
from tests.chaos.load import Load
from tests.chaos.plan import NAMED, Fault, Planned, lane_of
from tests.chaos.poison import fat_customer, null_headers, poison
from tests.chaos.world import World, last
from tests.integration.live import Pipeline
from tests.services.process import ServerProcess, wait_until

SESSION_SECONDS: Final = 3.0
NOTHING_TO_STRIKE: Final = "nothing to strike"
_SMALL_BYTES: Final = 800
"""With what a record needs besides, less than the state of a customer to whom much has happened, more than most."""
_FLIPPED: Final = 16
_MAY_BE_REMOVED: Final = "may be removed"


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
    """One worker process, started again when it ends unasked, as a supervisor would do.

    If it says that its state folder may be removed, that is done first, as an operator would.
    """

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
                if self.data_dir and _MAY_BE_REMOVED in process.last_lines():
                    shutil.rmtree(self.data_dir, ignore_errors=True)  # as it says itself
                self._again_at = time.monotonic() + 1

    def has_said(self, event: str) -> bool:
        """Whether the process that runs now has a line of this event; one that has ended says nothing more."""
        process = self._process
        return process is None or not process.running or f" {event} " in process.log.read_text(errors="replace")

    @property
    def data_dir(self) -> Path | None:
        """Where its state is, if it is on the disk."""
        folder = self.settings.get("data_dir")
        return Path(folder) if folder else None

    def _gone(self) -> ServerProcess | None:
        """The process, if it has not ended by itself; from now on there shall be none."""
        with self._lock:
            process, self._process, self._again_at = self._process, None, None
            return process

    def _note(self, process: ServerProcess, *expected: int) -> None:
        if process.exit_code not in expected:
            self.exits.append(Exit(self.name, process.exit_code, expected, time.monotonic(), process.last_lines()))


class Chaos:
    """Inflicts a plan: on workers, services and input in a thread each, so that faults may overlap.

    A context: leaving it waits for the faults under way, and raises what went wrong in a thread. `inflicted` grows
    meanwhile.
    """

    def __init__(
        self, planned: list[Planned], workers: list[Worker], guest: Worker, world: World, load: Load, seed: int
    ) -> None:
        self._workers, self._guest, self._world, self._load = workers, guest, world, load
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self.planned = len(planned)
        self.inflicted: list[Inflicted] = []
        self.under_way: set[Fault] = set()
        lanes: dict[str, list[Planned]] = {"services": [], "workers": [], "input": []}
        for each in planned:
            lanes[lane_of(each.fault)].append(each)
        self._threads = [
            threading.Thread(target=self._run, args=(lane, random.Random(seed + place)))
            for place, lane in enumerate(lanes.values())
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
        """Returns when whatever was struck is there again; the name of it."""
        match lane_of(fault):
            case "services":
                return self._world.inflict(fault, rng)
            case "input":
                return self._pour(fault, rng)
            case _:
                return self._strike(fault, rng)

    def _strike(self, fault: Fault, rng: random.Random) -> str:
        """One worker, or all."""
        worker = rng.choice(self._workers)
        match fault:
            case Fault.KILL:
                worker.kill9()
                last(rng, 0, 2)
                worker.start()
            case Fault.TERM:
                worker.terminate()
                last(rng, 0, 2)
                worker.start()
            case Fault.STOP:
                worker.freeze(rng.uniform(SESSION_SECONDS, SESSION_SECONDS + 3))
            case Fault.DAMAGE:
                worker = rng.choice([each for each in self._workers if each.data_dir])
                worker.terminate()
                damaged = worker.data_dir is not None and flip_bytes(worker.data_dir, rng)
                worker.start()
                return worker.name if damaged else f"{worker.name}, {NOTHING_TO_STRIKE}"
            case Fault.KILL_ALL:
                for each in self._workers:
                    each.kill9()
                last(rng, 0, 2)
                for each in self._workers:
                    each.start()
                return "all"
            case Fault.JOIN:
                self._guest.start()
                # It may be told to leave at once, and would then have been there without a word.
                wait_until(lambda: self._guest.has_said("starting"), "the guest says that it starts")
                return self._guest.name
            case _:
                self._guest.terminate()
                return self._guest.name
        return worker.name

    def _pour(self, fault: Fault, rng: random.Random) -> str:
        """Something among the records, or another limit or number of partitions for them."""
        pipeline, kafka = self._load.pipeline, self._world.kafka
        match fault:
            case Fault.GROWTH:
                topic = rng.choice(SOURCES)
                _although_it_may_be_away(lambda: kafka.add_partitions(pipeline.topic(topic), 1))
                return topic
            case Fault.SMALL_RECORDS:
                changelog = f"{pipeline.name}-decide-customers-changelog"
                before = _named(fault, pipeline.log())
                _although_it_may_be_away(partial(kafka.set_topic, changelog, "max.message.bytes", str(_SMALL_BYTES)))
                last(rng, 4, 8)
                # Workers that are struck by something else just now write nothing there, and notice nothing.
                with contextlib.suppress(TimeoutError):
                    wait_until(lambda: _named(fault, pipeline.log()) > before, "a line names it", every=1.0)
                _although_it_may_be_away(partial(kafka.set_topic, changelog, "max.message.bytes", None))
                last(rng, 4, 8)
                # What an operator does about customers who are on hold because of it; there may be none.
                pipeline.run_command("deadletters", "replay", "--stage", "decide")
                return changelog
            case Fault.POISON:
                poured = self._load.pour(poison)
            case Fault.NULL_HEADERS:
                poured = self._load.pour(null_headers)
            case _:
                poured = self._load.pour(fat_customer)
        return f"{poured:,} records"


def _named(fault: Fault, log: str) -> int:
    """In how many lines."""
    return sum(log.count(f" {event} ") for event in NAMED[fault].events)


def _although_it_may_be_away(change: Callable[[], object]) -> None:
    """Another fault may have struck the broker: until it takes the change."""

    def is_done() -> bool:
        with contextlib.suppress(KafkaException):
            change()
            return True
        return False

    wait_until(is_done, "the broker takes a change of a topic", seconds=180, every=1.0)


def flip_bytes(folder: Path, rng: random.Random) -> bool:
    """Flip some bytes in the middle of a table's file, as a bad block does; whether there was one.

    Besides in all of the wake-ups, if there are any: a start reads those of the partitions that it is given, which need
    not be those that it had, so that the damage is noticed then. What is damaged of a customer is noticed when it is
    read, or never.
    """
    files = [file for file in sorted(folder.rglob("*.sst")) if file.stat().st_size > _FLIPPED]
    read_at_start = [file for file in files if "wakeups" in file.parts]
    for file in sorted({*read_at_start, *([rng.choice(files)] if files else [])}):
        _flip(file, rng)
    return bool(read_at_start)


def _flip(file: Path, rng: random.Random) -> None:
    with file.open("r+b") as opened:
        opened.seek(0, 2)
        # In the first half are the entries; index, filter and footer are behind them.
        opened.seek(rng.randrange(max(1, opened.tell() // 2 - _FLIPPED)))
        piece = opened.read(_FLIPPED)
        opened.seek(-len(piece), 1)
        opened.write(bytes(each ^ 0xFF for each in piece))


def crew(pipeline: Pipeline, home: Path, number: int) -> list[Worker]:
    """So many workers of every kind: with a name and state on disk, and without either."""
    workers = []
    for place in range(1, number + 1):
        name = f"worker-{place}"
        on_disk = {"static_member": name, "store": "rocksdb", "data_dir": str(home / name)}
        workers.append(Worker(name, pipeline, on_disk if place % 3 else {}))
    return workers
