"""A Kafka broker for the demo: memory only, nothing to install except the confluent-kafka wheel."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from referral_stream.local.errors import BrokerFull, ServiceFailed, ServiceMissing

PARTITIONS = 4
"""Partitions of every topic: the broker creates a topic at its first use, and always with four."""

PARTITION_BYTES = 5 * 1024 * 1024
"""What the broker keeps per partition. Beyond that it silently drops the oldest batches."""

ROOM_FRACTION = 0.8
"""Input ends here: what is already in flight, and what the workers write in response, still has to fit."""

_START_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PartitionUsage:
    """What one partition holds. ``size_bytes`` is an upper bound for uncompressed records."""

    topic: str
    partition: int
    records: int
    size_bytes: int


class EmbeddedBroker:
    """A broker on a loopback port, in a separate process, that ends with this process, however that ends.

    A separate process, because its threads must neither compete with the workers for one interpreter nor vanish with
    a worker that is killed, and because a fork of a process that runs librdkafka is not safe.

        with EmbeddedBroker() as broker:
            broker.bootstrap      # "127.0.0.1:40123"
            broker.require_room() # before each portion of input

    It is a broker for one worker per consumer group, without transactions, compaction or ``CreateTopics``; see
    docs/decisions/0001-embedded-broker.md.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._bootstrap = ""
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the running broker."""
        return self._bootstrap

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Start the broker and wait until it answers. ``ServiceMissing`` without its wheel, else ``ServiceFailed``."""
        if self._process is not None:
            raise ServiceFailed("The embedded broker is already running.")
        if find_spec("confluent_kafka") is None:
            raise ServiceMissing("The embedded broker needs the package confluent-kafka: pip install confluent-kafka")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("broker_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the workers: they drain into a broker that still runs
        )
        try:
            self._bootstrap = str(json.loads(self._answer(_START_SECONDS)))
        except ServiceFailed:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process and forget every record; a broker that is not running is left as it is."""
        process, self._process, self._bootstrap = self._process, None, ""
        if process is None:
            return
        try:
            process.communicate(timeout=_STOP_SECONDS)  # closes the pipe, at which the process ends
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def usage(self) -> tuple[PartitionUsage, ...]:
        """Every partition, the fullest first, as counted up to some 100 ms ago."""
        with self._asking:
            question = cast("IO[str]", self._running().stdin)
            try:
                question.write("usage\n")
                question.flush()
            except OSError as gone:
                raise ServiceFailed("The embedded broker has died.") from gone
            rows = json.loads(self._answer(_ANSWER_SECONDS))
        return tuple(sorted((PartitionUsage(*row) for row in rows), key=lambda row: -row.size_bytes))

    def require_room(self) -> None:
        """Return if the broker can take more; else raise ``BrokerFull``, which names the partition."""
        fullest = next(iter(self.usage()), None)
        if fullest is not None and fullest.size_bytes >= ROOM_FRACTION * PARTITION_BYTES:
            raise BrokerFull(
                f"The embedded broker takes no more input: it keeps {PARTITION_BYTES / 2**20:.0f} MB per partition, in "
                f"memory, and partition {fullest.partition} of {fullest.topic} holds "
                f"{fullest.size_bytes / 2**20:.1f} MB. It is meant for a demo; use Apache Kafka for more."
            )

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ServiceFailed("The embedded broker is not running.")
        return self._process

    def _answer(self, seconds: float) -> str:
        answers = cast("IO[str]", self._running().stdout)
        readable, _, _ = select.select([answers], [], [], seconds)
        line = answers.readline() if readable else ""
        if not line.endswith("\n"):
            raise ServiceFailed(f"The embedded broker did not answer within {seconds:.0f} s, or has died.")
        return line
