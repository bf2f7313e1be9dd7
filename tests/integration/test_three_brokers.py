"""Three brokers, every record on three of them and acknowledged by two: one may die at any time, and nothing shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.live import PARTITIONS, UNEVEN, Pipeline, parsed, requested
from tests.integration.scripted import a_promoter
from tests.night import nightly
from tests.services.cluster import KafkaCluster
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

WAVE = 40
"""Customers per wave."""

UNLIMITED = "name = 'patient'\n[breaker]\nenabled = false"


@pytest.fixture(scope="module")
def cluster(kafka: KafkaServer) -> Iterator[KafkaCluster]:
    """``kafka`` is asked for only for its skip where there is none."""
    assert kafka.bootstrap
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pipeline(
    cluster: KafkaCluster, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("three-brokers")
    with Pipeline(cluster, redis_server.url, folder, policy=UNLIMITED, settings={"replication": "3"}) as pipeline:
        pipeline.create_topics()
        yield pipeline


def test_topics_are_made_so_that_a_broker_may_die(pipeline: Pipeline) -> None:
    assert pipeline.run_command("topics", "check").returncode == 0
    fewer = pipeline.run_command("topics", "check", replication="4")
    assert fewer.returncode == 1
    assert "has 3 replicas, the settings say 4" in fewer.stdout
    assert "min.insync.replicas is 2, should be 3" in fewer.stdout


@nightly
def test_every_customer_is_asked_once_while_one_broker_after_the_other_dies(
    cluster: KafkaCluster, pipeline: Pipeline
) -> None:
    workers = [pipeline.start(), pipeline.start()]
    decisions = pipeline.reader("referral-decisions")
    expected: set[bytes] = set()

    def all_judged() -> bool:
        judged = (record.key for record in decisions.read() if parsed(record)["data"]["outcome"] in {"soft", "holdout"})
        return expected <= set(judged)

    for number, node in enumerate((None, *cluster.nodes)):
        if node is not None:
            node.kill9()
        wave = [f"wave-{number}-{customer}" for customer in range(WAVE)]
        pipeline.publish(message for customer in wave for message in a_promoter(customer, pipeline.now()))
        expected |= {customer.encode() for customer in wave}
        pipeline.await_until(all_judged, f"wave {number} is asked, or held out", seconds=60)
        if node is not None:
            node.start()
            cluster.await_in_sync({pipeline.topic("customer-events"): PARTITIONS, **_sources(pipeline)})
    pipeline.stop()
    assert [worker.exit_code for worker in workers] == [0, 0]
    asked = requested(pipeline.asks())  # fails where a command comes twice
    assert {command.customer_id.encode() for command in asked.values()} <= expected
    assert len(asked) > len(expected) * 0.8  # one in ten is held out


def _sources(pipeline: Pipeline) -> dict[str, int]:
    return {pipeline.topic(name): count for name, count in UNEVEN.items()}
