"""A worker that starts while the brokers are away, or loses them meanwhile, waits for them: for so long, and loudly."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from faust_batches.run import EXIT_RESTART

from tests.integration.live import Pipeline
from tests.night import by_night
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, free_port, wait_until
from tests.services.proxy import Proxy, _reset

NO_REDIS: Final = "redis://127.0.0.1:1/0"


class Dying(Proxy):
    """It resets all connections at one that may be chosen, and takes no other for a while."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self._countdown = 0
        self._away_seconds = self._away_until = 0.0

    def die_at(self, connection: int, seconds: float = 3.0) -> None:
        """Be away for so long from the so-manyth connection on."""
        self._countdown, self._away_seconds = connection, seconds

    def come_back(self) -> None:
        self._countdown, self._away_until = 0, 0.0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._countdown -= 1
        if self._countdown == 0:
            self._away_until = time.monotonic() + self._away_seconds
            for each in list(self._open):
                each.reset()
        if time.monotonic() < self._away_until:
            _reset(writer)
        else:
            await super()._serve(reader, writer)


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[KafkaServer, Dying]]:
    """One that clients reach through the proxy alone."""
    kafka, port = KafkaServer(), free_port()
    front = Dying(kafka.behind(port))
    front.port = port
    with front, kafka:
        yield kafka, front


@pytest.fixture
def pipeline(broker: tuple[KafkaServer, Dying], tmp_path: Path) -> Iterator[Pipeline]:
    kafka, front = broker
    with Pipeline(kafka, NO_REDIS, tmp_path, settings={"kafka_brokers": front.address}) as pipeline:
        pipeline.create_topics(sources={})
        yield pipeline


def is_ready(worker: ServerProcess) -> bool:
    return "partitions_ready" in worker.log.read_text()


def said_nothing_ugly(worker: ServerProcess) -> bool:
    return (
        re.search("Traceback|Unclosed|Task was destroyed|never retrieved|never awaited", worker.log.read_text()) is None
    )


def stopped(worker: ServerProcess) -> int:
    worker.stop()
    return worker.exit_code


def test_a_worker_that_is_started_before_its_broker_waits_and_runs(pipeline: Pipeline) -> None:
    kafka = pipeline.kafka
    assert isinstance(kafka, KafkaServer)
    kafka.stop()
    try:
        worker = pipeline.start("decide")
        wait_until(lambda: "brokers_awaited" in pipeline.log(), "it says that it waits")
        time.sleep(5)
        assert worker.running
    finally:
        kafka.start()
    wait_until(lambda: is_ready(worker), "it runs")
    assert "brokers_answer_again" in pipeline.log()
    assert said_nothing_ugly(worker), pipeline.log()
    assert stopped(worker) == 0


@pytest.mark.parametrize(
    "connection", [1, *map(by_night, (2, 3, 4)), 5, by_night(6), 7, by_night(8), 9, *map(by_night, (11, 13))]
)
def test_a_broker_that_dies_while_a_worker_starts_is_waited_for(
    pipeline: Pipeline, broker: tuple[KafkaServer, Dying], connection: int
) -> None:
    """Whatever the connection is for: topics, the group, positions, the producer, the consumer, its coordinator."""
    broker[1].die_at(connection)
    worker = pipeline.start("decide")
    wait_until(lambda: is_ready(worker) or not worker.running, "it runs")
    assert worker.running, pipeline.log()
    broker[1].come_back()
    assert said_nothing_ugly(worker), pipeline.log()
    assert stopped(worker) == 0


@pytest.mark.parametrize("connection", [1, *map(by_night, (3, 5, 7)), 9])
def test_a_worker_that_waits_in_vain_asks_for_a_restart(
    pipeline: Pipeline, broker: tuple[KafkaServer, Dying], connection: int
) -> None:
    broker[1].die_at(connection, seconds=60)
    worker = pipeline.start("decide", start_wait_seconds="2")
    try:
        wait_until(lambda: not worker.running, "it has ended")
    finally:
        broker[1].come_back()
    assert worker.exit_code == EXIT_RESTART, pipeline.log()
    assert "reason=BrokersAway" in pipeline.log()
    assert re.search("(worker_not_started|app_failed) .*within 2 s: .*Bring the brokers back", pipeline.log())
    assert said_nothing_ugly(worker), pipeline.log()


@pytest.mark.parametrize("connection", [1, *map(by_night, (3, 5, 7)), 9])
def test_a_worker_that_waits_can_be_stopped(
    pipeline: Pipeline, broker: tuple[KafkaServer, Dying], connection: int
) -> None:
    broker[1].die_at(connection, seconds=60)
    worker = pipeline.start("decide")
    try:
        wait_until(lambda: "brokers_awaited" in pipeline.log(), "it waits")
        assert stopped(worker) == 0, pipeline.log()
    finally:
        broker[1].come_back()
    assert said_nothing_ugly(worker), pipeline.log()
