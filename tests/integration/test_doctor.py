"""``doctor`` on a real Kafka and Redis: what it says when all is well, and when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import pytest
import redis
from confluent_kafka import Producer

from referral_stream.contracts.topics import TABLES, TOPICS
from referral_stream.core.instants import HOUR, SECOND
from referral_stream.core.policy import Policy
from referral_stream.ops.doctor import _transactions, _versions
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings
from tests.integration.live import Pipeline
from tests.integration.scripted import a_promoter
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """``redis_server`` is asked for only for its skip where there is none: these tests change settings of theirs."""
    assert server.url != redis_server.url
    with Pipeline(kafka, server.url, tmp_path_factory.mktemp("doctor")) as pipeline:
        pipeline.create_topics()
        pipeline.start("ledger")
        wait_until(lambda: "ledger_rebuilt" in pipeline.log(), "the ledger is built")
        pipeline.stop()
        yield pipeline


def _wrong(pipeline: Pipeline, **settings: str) -> list[str]:
    """What ``doctor`` finds wrong, a line each; its exit code agrees."""
    done = pipeline.run_command("doctor", **settings)
    found = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert done.returncode == (1 if found else 0), done.stderr
    return found


def test_a_deployment_at_work_is_well_and_its_workers_are_counted(pipeline: Pipeline) -> None:
    pipeline.start()
    pipeline.publish(a_promoter("asked", pipeline.now()))
    pipeline.await_outcome("asked", "soft", "holdout", seconds=40)
    done = pipeline.run_command("doctor")
    pipeline.stop()
    assert done.returncode == 0, done.stdout
    for said in (
        f"faust-streaming {metadata.version('faust-streaming')}",
        f"topics: {len(TOPICS) + len(TABLES) + 1} as they should be",
        "clocks: no record is from the future",
        f"group {pipeline.name}-decide: 1 worker, stable",
        "warning  clock: not the real time: it shows 2026-06-16T",
        "in memory only: rebuilt from ledger-requests",
        "ledger: ready",
    ):
        assert said in done.stdout
    assert f"group {pipeline.name}-ingest: no worker, 0 records behind" in pipeline.run_command("doctor").stdout


def test_a_deployment_in_the_groups_of_another_is_refused_and_told_why(pipeline: Pipeline) -> None:
    """It has topics of its own; groups and changelogs are those of the deployment above, which is stopped."""
    staging = {"topic_prefix": f"{pipeline.name}.staging."}
    assert pipeline.run_command("topics", "create", **staging).returncode == 0
    taken = f"it reads {pipeline.topic('customer-events')}"
    assert any(
        f"group {pipeline.name}-decide: another deployment's: {taken}" in line for line in _wrong(pipeline, **staging)
    )
    done = pipeline.run_command("run", "decide", **staging)
    assert done.returncode == 1
    assert "reason=GroupTaken" in done.stderr, done.stderr
    assert f"the group {pipeline.name}-decide belongs to another app: {taken}" in done.stderr


def test_a_redis_that_may_forget_is_named_with_the_setting(pipeline: Pipeline, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        found = _wrong(pipeline)
        client.config_set("maxmemory-policy", "noeviction")
    problem = "maxmemory-policy is allkeys-lru: an evicted ask would be an ask forgotten, so nobody would be asked"
    assert found == [f"WRONG    Redis: {problem} once it has a maxmemory"]


def test_a_redis_that_lost_its_memory_is_named(pipeline: Pipeline, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    assert _wrong(pipeline) == []
    assert "not yet  ledger: not built: every ask waits for it" in pipeline.run_command("doctor").stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"redis_url": "redis://127.0.0.1:1/0"}, "WRONG    Redis: ConnectionError: cannot be reached: is it running"),
        (
            {"kafka_brokers": "127.0.0.1:1"},
            "WRONG    Kafka: no connection to Kafka at 127.0.0.1:1: nothing listens at 127.0.0.1:1",
        ),
        ({"partitions": "7"}, "has 4 partitions, the settings say 7"),
        (
            {"store": "rocksdb", "data_dir": "/dev/null/state"},
            "state folder: /dev/null/state cannot be written (Not a directory)",
        ),
    ],
    ids=["Redis away", "Kafka away", "partitions", "state folder"],
)
def test_what_is_wrong_is_said_and_hides_nothing_else(
    pipeline: Pipeline, server: RedisServer, settings: dict[str, str], said: str
) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    found = _wrong(pipeline, **settings)
    assert any(said in line for line in found), found


def test_a_transaction_that_nobody_ends_is_named_with_its_producer(pipeline: Pipeline, kafka: KafkaServer) -> None:
    """Its producer has died; the records behind it are there, and no worker of ours may read them."""
    topic, name = pipeline.topic("nps"), f"survey-tool-{pipeline.name}"
    dead = Producer({**kafka.client_settings(), "transactional.id": name, "transaction.timeout.ms": 600_000})
    dead.init_transactions(20)
    dead.begin_transaction()
    dead.produce(topic, b"{}", b"a customer", partition=1)
    assert dead.flush(20) == 0
    (line,) = [line for line in _wrong(pipeline) if "transaction" in line]
    assert f"source {topic}-1: an open transaction holds back 1 records from offset" in line
    assert f"({name}), which wrote last at 20" in line
    said = pipeline.run_command("doctor").stdout
    assert f"kafka-transactions.sh abort --topic {topic} --partition 1 --start-offset" in said.replace(
        "\n         ", " "
    )
    assert f"group {pipeline.name}-ingest: no worker, 1 records behind" in said
    dead.abort_transaction(20)


def test_what_a_wrong_clock_has_left_in_the_log_is_found(pipeline: Pipeline, kafka: KafkaServer) -> None:
    """A minute and a half ago a ledger was that far ahead, and could answer nobody in time."""
    now, producer = Clock().now(), Producer(kafka.client_settings())
    unavailable = b'{"type": "reservation.unavailable", "source": "referral-stream/ledger"}'
    for value, at in ((unavailable, now), (b"{}", now - 90 * SECOND)):
        producer.produce(pipeline.topic("customer-events"), value, b"a customer", partition=3, timestamp=at)
    assert producer.flush(20) == 0
    done = pipeline.run_command("doctor")
    assert "was written 90 s before the record before it" in done.stdout
    assert "ledger: 1 of its last " in done.stdout
    assert "answers were that it could not answer in time" in done.stdout


def test_a_record_from_the_future_means_that_a_clock_is_ahead(pipeline: Pipeline, kafka: KafkaServer) -> None:
    later = Clock().now() + HOUR // 2  # more than an hour the broker itself would refuse
    producer = Producer(kafka.client_settings())
    producer.produce(pipeline.topic("customer-events"), b"{}", b"a customer", partition=2, timestamp=later)
    assert producer.flush(20) == 0
    (line,) = [line for line in _wrong(pipeline) if "clocks" in line]
    assert f"records of {pipeline.topic('customer-events')}-2@" in line


@pytest.mark.parametrize(
    ("fencing", "longest_ms", "wrong"),
    [
        ("transactions", 14_999, True),
        ("transactions", 15_000, False),
        ("transactions", None, False),
        ("none", 1, False),
    ],
)
def test_transactions_that_the_brokers_would_not_take_are_told(
    fencing: str, longest_ms: int | None, *, wrong: bool
) -> None:
    settings = Settings.model_validate({"fencing": fencing})
    found = list(_transactions(Deployment(settings, Policy(), Clock()), longest_ms))
    assert [line.verdict for line in found] == ["WRONG"] * wrong


def test_releases_that_the_transport_was_not_made_for_are_named() -> None:
    requirements = ["aiokafka==0.14.0", "faust-streaming==0.15.3; python_version > '3'", "click>=8"]
    line = _versions(requirements, lambda name: "0.15.4" if name == "faust-streaming" else "0.14.0")
    assert line.remedy == "pip install faust-streaming==0.15.3"
    assert (
        _versions(
            requirements, {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "referral-stream": "1"}.__getitem__
        ).problem
        == ""
    )
