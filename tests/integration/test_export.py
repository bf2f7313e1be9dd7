"""``referral-stream export`` beside a running pipeline: its log replays as what was decided live.

``explain`` without a log is tried here too: from the topics it tells the story that their log tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.integration.live import Pipeline
from tests.integration.scripted import a_promoter
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("export")) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


def test_what_was_decided_live_is_decided_again_from_the_log(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.publish(a_promoter("ana", pipeline.now()))
    pipeline.await_outcome("ana", "deferred", "soft", "direct", "holdout")
    pipeline.stop()
    log = tmp_path / "ours.jsonl.gz"
    done = pipeline.run_command("export", "--output", str(log))
    assert done.returncode == 0, done.stderr
    events = len(pipeline.read("customer-events"))
    assert done.stdout.startswith(f"{pipeline.topic('customer-events')}: {events} records, ")
    assert "note: " not in done.stdout

    replayed = pipeline.run_command("replay", str(log), "--output", str(tmp_path / "out"))
    assert replayed.returncode == 0, replayed.stderr
    assert "exact replay" in replayed.stdout
    live = {said.record.value for said in pipeline.decisions()}
    assert live
    assert live == set((tmp_path / "out" / "decisions.jsonl").read_bytes().splitlines())
    told = pipeline.run_command("explain", "ana", "--log", str(log))
    assert told.returncode == 0, told.stderr


@rule("11.26")
def test_the_topics_tell_the_same_story_as_their_log(pipeline: Pipeline, tmp_path: Path) -> None:
    live = explained(pipeline, "ana")
    log = tmp_path / "ours.jsonl"
    assert pipeline.run_command("export", "--output", str(log)).returncode == 0
    replayed = explained(pipeline, "ana", "--log", str(log), "--at", live["at"])
    assert live == replayed
    assert live["timeline"]
    assert live["opportunities"]


def explained(pipeline: Pipeline, *arguments: str) -> dict[str, Any]:
    done = pipeline.run_command("explain", *arguments, "--format", "json", "--language", "de")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_customer_nobody_knows_is_explained_by_an_error(pipeline: Pipeline) -> None:
    done = pipeline.run_command("explain", "nobody\x1b")
    assert (done.returncode, done.stdout) == (1, "")
    assert r"nothing is known about 'nobody\x1b'" in done.stderr


def test_an_exported_changelog_is_a_snapshot(pipeline: Pipeline, tmp_path: Path) -> None:
    """It has seen all that there is, so nothing is decided again."""
    changelog, state, log = f"{pipeline.name}-decide-customers-changelog", tmp_path / "state", tmp_path / "ours"
    assert pipeline.run_command("export", "--topic", changelog, "--output", str(state)).returncode == 0
    assert pipeline.run_command("export", "--output", str(log)).returncode == 0
    done = pipeline.run_command("replay", str(log), "--state", str(state), "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "exact replay" in done.stdout
    assert (tmp_path / "out" / "decisions.jsonl").read_bytes() == b""


def test_source_topics_are_one_log_without_what_was_never_committed(pipeline: Pipeline, tmp_path: Path) -> None:
    topic = pipeline.topic("nps")
    producer = Producer(
        {**pipeline.kafka.client_settings(), "transactional.id": topic, "transaction.timeout.ms": 60_000}
    )
    producer.init_transactions(20)
    for number, end in enumerate((producer.commit_transaction, producer.abort_transaction, None)):
        producer.begin_transaction()
        producer.produce(topic, b"\xff%d" % number, b"of a transaction", partition=0)
        producer.flush(20)
        if end is not None:
            end(20)
    try:
        log = tmp_path / "sources.jsonl"
        done = pipeline.run_command("export", "--topic", "nps", "--topic", "profile", "--output", str(log))
    finally:
        producer.abort_transaction(20)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["topic"] for line in lines} == {topic, pipeline.topic("profile")}
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    assert [line["value"] for line in lines if line.get("key") == "of a transaction"] == [{"base64": "/zA="}]


def test_without_a_broker_or_a_topic_it_says_so_and_leaves_no_file(pipeline: Pipeline, tmp_path: Path) -> None:
    for options, settings, problem in (
        ((), {"kafka_brokers": "127.0.0.1:9"}, "nothing listens at 127.0.0.1:9"),
        (("--topic", "nsp"), {}, "did you mean 'nps'?"),
        (("--from", "2100-01-01"), {}, f"nothing on {pipeline.topic('customer-events')} from 2100-01-01"),
    ):
        done = pipeline.run_command("export", "--output", str(tmp_path / "log"), *options, **settings)
        assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
