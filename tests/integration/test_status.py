"""What real workers tell about themselves: while all is well, while a service is frozen, and when a port is taken."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from confluent_kafka import Producer
from faust_batches.config import WorkerConfig

from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import ReservationConfirmed
from referral_stream.core.instants import SECOND
from tests.integration.live import PARTITIONS, Message, Pipeline
from tests.integration.scripted import a_promoter
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, free_port, wait_until
from tests.services.redis import RedisServer

POLICY = """
[moments]
rival_wait_seconds = 0
[triggers.nps_promoter]
window_hours = 1
settle_seconds = 1
[holdout]
percent = 0
"""

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Answer(NamedTuple):
    status: int
    body: bytes


class StatusPage:
    """A worker's status page, asked from outside."""

    def __init__(self) -> None:
        self.port = free_port()

    @property
    def setting(self) -> dict[str, str]:
        return {"status_port": str(self.port)}

    def ask(self, path: str, method: str = "GET") -> Answer:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())

    def ready(self) -> bool:
        try:
            return self.ask("/ready").status == 200
        except OSError:
            return False

    def why(self, role: str) -> str:
        """What the role lacks."""
        told: dict[str, Any] = json.loads(self.ask("/ready").body)
        why: str = told["roles"][role].get("why", "")
        return why

    def numbers(self, name: str, *labels: str) -> float:
        """The sum of the samples of this name that have all these labels, written ``name="value"``."""
        text = self.ask("/metrics").body.decode()
        samples = [(found[1], found[2] or "", float(found[3])) for found in SAMPLE.finditer(text)]
        return sum(value for each, given, value in samples if each == name and set(labels) <= set(given.split(",")))


@pytest.fixture
def page() -> StatusPage:
    return StatusPage()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to be frozen."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def pipeline(kafka: KafkaServer, redis: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis.url, tmp_path, policy=POLICY) as pipeline:
        pipeline.create_topics()
        yield pipeline


def test_a_worker_tells_that_it_is_ready_and_what_it_has_done(pipeline: Pipeline, page: StatusPage) -> None:
    worker = pipeline.start(**page.setting)
    wait_until(page.ready, "all roles are ready", seconds=60)
    assert json.loads(page.ask("/live").body) == {"live": True}
    told = json.loads(page.ask("/ready").body)["roles"]
    assert told["decide"] == {"ready": True, "partitions": {pipeline.topic("customer-events"): PARTITIONS}}
    assert told["ledger"] == {"ready": True, "partitions": {pipeline.topic("ledger-requests"): PARTITIONS}}
    assert told["ingest"]["partitions"][pipeline.topic("billing")] == 2
    wait_until(
        lambda: page.numbers("referral_stream_projector_redis_available") == 1, "the projector works beside", seconds=60
    )

    sent = a_promoter("ana", pipeline.now(), -2 * SECOND)  # has to settle, so the timer has to wake her
    pipeline.publish([*sent, Message("nps", b"\xff")])
    pipeline.await_outcome("ana", "asked", "soft")
    wait_until(lambda: page.numbers("referral_stream_lag_records") == 0, "nothing is left to be dealt with")

    def number(name: str, *labels: str) -> float:
        return page.numbers(f"referral_stream_{name}", *labels)

    assert number("ingested_records_total", 'outcome="accepted"') == len(sent)
    assert number("dead_letters_total", 'stage="ingest"', 'cause="undecodable"') == 1
    assert number("decisions_total", 'trigger="nps_promoter"') >= 1
    assert number("ledger_answers_total", 'type="reservation.granted"') == 1
    assert number("ledger_available") == 1
    assert number("wakeup_delay_seconds_count") >= 1
    nps = f'topic="{pipeline.topic("nps")}"'
    assert number("batch_records_sum", 'role="ingest"', nps) == sum(each.topic == "nps" for each in sent) + 1
    assert number("published_records_total", f'topic="{pipeline.topic("referral-asks")}"') == 1
    assert number("ready") == 3
    assert page.numbers("process_resident_memory_bytes") > 0

    assert page.ask("/").status == 404
    assert {page.ask(path, "POST").status for path in ("/live", "/ready", "/metrics")} == {405}
    assert page.ask("/metrics", "HEAD").status == 405
    pipeline.stop()
    assert not worker.running


def test_a_worker_that_owns_nothing_because_others_do_is_ready(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    pages = [StatusPage(), StatusPage()]
    with Pipeline(kafka, redis_server.url, tmp_path, settings={"partitions": "1"}) as pipeline:
        pipeline.create_topics()
        for page in pages:
            pipeline.start("decide", **page.setting)

        def owned() -> list[float]:
            return sorted(page.numbers("referral_stream_partitions") for page in pages)

        wait_until(lambda: all(page.ready() for page in pages) and owned() == [0, 1], "both are ready", seconds=60)


def test_a_taken_port_is_named_with_its_remedy(pipeline: Pipeline) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pipeline.run_command("run", "ledger", status_port=str(port))
    (line,) = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert f"127.0.0.1:{port}" in line
    assert "REFERRAL_STREAM_STATUS_PORT" in line
    assert done.returncode == 1


BACKLOG, PADDING = 120_000, 3_000
"""Records and bytes of spaces in each: several times what lanes may hold."""


def fill(pipeline: Pipeline) -> int:
    """Confirmations, which the ledger must not lose, on ``ledger-requests``; their size all together."""
    producer = Producer({**pipeline.kafka.client_settings(), "linger.ms": 20})
    size = 0
    for number in range(BACKLOG):
        customer = f"customer-{number}"
        confirmed = ReservationConfirmed(command_id=f"command-{number}", customer_id=customer, now=pipeline.now())
        value = encode_effect(confirmed, pipeline.now()) + b" " * PADDING
        size += len(value)
        producer.produce(pipeline.topic("ledger-requests"), value, customer.encode())
        producer.poll(0)
    assert producer.flush(60) == 0
    return size


def resident(worker: ServerProcess) -> int:
    """Bytes of memory."""
    return int(psutil.Process(worker.pid).memory_info().rss)


def test_worker_is_live_but_not_ready_while_redis_is_frozen(
    pipeline: Pipeline, redis: RedisServer, page: StatusPage
) -> None:
    patient = {"session_timeout_seconds": "10"}  # no rebalance, however busy this machine is
    worker = pipeline.start("ledger", **page.setting, **patient)
    wait_until(page.ready, "the ledger is ready", seconds=60)
    before = resident(worker)
    redis.pause()
    backlog = fill(pipeline)

    config = WorkerConfig(id="any", brokers=("any:9092",), partitions=PARTITIONS)
    most = 3 * PARTITIONS * (config.max_queued_bytes + config.max_fetch_bytes)  # raw, unpacked, and what the heap keeps
    assert backlog > 2 * most

    def lanes_are_full() -> bool:
        held = page.numbers("referral_stream_queued_records") * PADDING
        return held >= 0.9 * PARTITIONS * config.max_queued_bytes  # padding is not all of a record

    wait_until(lanes_are_full, "every lane is full", seconds=60)
    wait_until(lambda: page.numbers("referral_stream_lag_records") >= BACKLOG, "the lag counts what was not fetched")
    assert page.numbers("referral_stream_queued_records") * PADDING < most
    assert resident(worker) - before < most
    wait_until(lambda: page.why("ledger") == "Redis does not answer", "the silence is noticed")
    assert page.ask("/live").status == 200

    pipeline.stop()  # in good order, although a batch can not be finished
    redis.resume()
    worker = pipeline.start("ledger", **page.setting, **patient)
    wait_until(page.ready, "the ledger is ready again", seconds=60)
    wait_until(lambda: page.numbers("referral_stream_lag_records") == 0, "the backlog is dealt with", seconds=120)
    assert page.numbers("referral_stream_batch_records_sum") == BACKLOG
    # Beside full lanes a batch of each has been taken apart, and the heap keeps some of that; of a backlog, nothing.
    assert resident(worker) - before < 4 * most / 3 < backlog
    pipeline.stop()


def test_while_the_broker_is_frozen_the_worker_is_live_but_not_ready(tmp_path: Path, page: StatusPage) -> None:
    with KafkaServer() as broker, RedisServer() as redis, Pipeline(broker, redis.url, tmp_path) as pipeline:
        pipeline.create_topics()
        pipeline.start(**page.setting)
        wait_until(page.ready, "all roles are ready", seconds=60)
        broker.pause()
        wait_until(lambda: page.why("decide") == "the broker does not answer", "the silence is noticed", seconds=60)
        assert page.ask("/live").status == 200
        assert page.ask("/metrics").status == 200
        broker.resume()
        wait_until(page.ready, "all roles are ready again", seconds=120)
        pipeline.stop()
