"""Static membership together with fenced transactions: a restart without a rebalance, and one name taken twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.live import Pipeline, requested
from tests.integration.scripted import a_promoter
from tests.night import nightly
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

SESSION_SECONDS = 12


@pytest.fixture
def pipeline(kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    settings = {"session_timeout_seconds": str(SESSION_SECONDS), "static_member": "one"}
    with Pipeline(kafka, redis_server.url, tmp_path, settings=settings) as pipeline:
        pipeline.create_topics()
        for role in ("ingest", "ledger"):
            pipeline.start(role)
        yield pipeline


def _ask(pipeline: Pipeline, customer: str) -> None:
    pipeline.publish(a_promoter(customer, pipeline.now()))
    pipeline.await_outcome(customer, "soft", "holdout")


def test_a_restarted_static_member_goes_on_before_its_old_session_ends(
    pipeline: Pipeline,
) -> None:
    worker = pipeline.start("decide")
    _ask(pipeline, "before")
    for round_ in range(3):
        worker.kill9()
        killed = time.monotonic()
        worker = pipeline.start("decide")
        _ask(pipeline, f"after the crash {round_}")
        assert time.monotonic() - killed < SESSION_SECONDS * 0.8
    assert len(requested(pipeline.asks())) <= 4  # fails where a command comes twice
    pipeline.stop()


@nightly
def test_one_of_two_workers_of_one_name_exits_with_a_line_that_says_why(pipeline: Pipeline) -> None:
    rivals = [pipeline.start("decide"), pipeline.start("decide")]
    wait_until(lambda: not all(rival.running for rival in rivals), "one of them has given up", seconds=90, every=0.2)
    ended = next(rival for rival in rivals if not rival.running)
    assert ended.exit_code == 1
    log = ended.log.read_text(encoding="utf-8", errors="replace")
    assert "as 'one-decide' too: every worker needs a static name of its own" in log
    assert "Traceback" not in log
    pipeline.start("decide", static_member="two")
    _ask(pipeline, "asked all the same")
    requested(pipeline.asks())  # fails where a command comes twice
