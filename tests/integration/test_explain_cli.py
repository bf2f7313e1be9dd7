"""``referral-stream explain`` beside a running pipeline: from the topics the same story as from their log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.live import Pipeline
from tests.integration.scripted import a_promoter
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

COMPARED = ("customer_id", "summary", "time_zone", "policy", "opportunities", "timeline", "awaited", "next", "tracks")


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("explain")) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


def told(pipeline: Pipeline, *arguments: str) -> dict[str, Any]:
    done = pipeline.run_command("explain", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@rule("11.26")
def test_the_topics_tell_the_same_story_as_their_log(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.publish(a_promoter("ana", pipeline.now()))
    pipeline.await_outcome("ana", "deferred", "soft", "direct", "holdout")
    live = told(pipeline, "ana")
    log = tmp_path / "ours.jsonl"
    assert pipeline.run_command("export", "--output", str(log)).returncode == 0
    replayed = told(pipeline, "ana", "--log", str(log), "--at", live["at"])
    assert {name: live.get(name) for name in COMPARED} == {name: replayed.get(name) for name in COMPARED}
    assert live["timeline"]
    assert live["opportunities"]

    german = pipeline.run_command("explain", "ana", "--language", "de", "--format", "markdown")
    assert german.returncode == 0, german.stderr
    assert "## Was geschah" in german.stdout


def test_a_customer_nobody_knows_ends_with_1(pipeline: Pipeline) -> None:
    done = pipeline.run_command("explain", "nobody\x1b")
    assert (done.returncode, done.stdout) == (1, "")
    assert r"nothing is known about 'nobody\x1b'" in done.stderr
