"""``referral-stream deadletters`` beside a running pipeline: what nobody understood is mapped, replayed and decided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.integration.live import Message, Pipeline
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

MAPPINGS = """
[[mapping]]
name = "in-app survey"
when = { adapter = "json", topic = "nps", name = "survey answered" }
type = "nps.responded"
subject = "$.user"
data.response_id = "$.answer.id"
data.score = { path = "$.answer.stars", as = "int" }
"""


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("letters")) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


def answered(user: str, stars: str) -> Message:
    payload = {"name": "survey answered", "user": user, "answer": {"id": f"{user}/1", "stars": stars}}
    return Message("nps", orjson.dumps(payload), user.encode())


def listed(pipeline: Pipeline, *options: str) -> dict[str, Any]:
    done = pipeline.run_command("deadletters", "list", "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_a_new_mapping_understands_is_replayed_and_decided_once(pipeline: Pipeline) -> None:
    pipeline.publish([answered("ana", "9"), answered("ben", "many")])
    reader = pipeline.reader("dead-letters")
    wait_until(lambda: len(reader.read()) == 2, "both records are dead letters", seconds=90)
    assert listed(pipeline)["counts"] == {"ingest": {"unrecognised": 2}}
    assert "stars" not in pipeline.run_command("deadletters", "list").stdout
    assert "stars" in pipeline.run_command("deadletters", "list", "--payload").stdout

    mappings = pipeline.home / "mappings.toml"
    mappings.write_text(MAPPINGS)
    dry = pipeline.run_command("deadletters", "replay", "--dry-run", mappings_file=str(mappings))
    assert (dry.returncode, len(reader.read())) == (0, 2)
    replayed = pipeline.run_command("deadletters", "replay", mappings_file=str(mappings))

    assert replayed.returncode == 1, "one of them failed again"
    assert pipeline.await_outcome("ana", "deferred").trigger == "nps_promoter"
    (left,) = listed(pipeline)["letters"]
    assert (left["cause"], left["attempt"]) == ("invalid", 2)
    assert left["error"] == "invalid: mapping in-app survey: data.score: cannot be read as int"

    again = pipeline.run_command("deadletters", "replay", "--cause", "unrecognised", mappings_file=str(mappings))
    assert (again.returncode, again.stdout) == (0, "0 events appended\n")
    assert listed(pipeline, "--all")["counts"] == {"ingest": {"unrecognised": 1, "invalid": 1}}


def test_a_mapping_file_with_faults_keeps_a_worker_from_starting(pipeline: Pipeline) -> None:
    broken = pipeline.home / "broken.toml"
    broken.write_text('[[mapping]]\nwhen = { adapter = "json" }\ntype = "nps.responed"\nsubject = "$.user"\n')
    refused = pipeline.run_command("run", "ingest", mappings_file=str(broken))
    assert refused.returncode == 2
    assert "mapping[1]: type: unknown; did you mean 'nps.responded'?" in refused.stderr


def test_without_a_broker_it_says_where_and_ends_with_1(pipeline: Pipeline) -> None:
    done = pipeline.run_command("deadletters", "list", kafka_brokers="127.0.0.1:9")
    assert done.returncode == 1
    assert "no connection to Kafka at 127.0.0.1:9: nothing listens at 127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_replay_says_which_topic_is_gone_and_leaves_the_letters_open(kafka: KafkaServer, pipeline: Pipeline) -> None:
    pipeline.stop()
    gone = pipeline.topic("customer-events")
    kafka.delete_topic(gone)
    anyone = pipeline.home / "anyone.toml"
    anyone.write_text(MAPPINGS.replace("nps.responded", "customer.suppressed").partition("data.response_id")[0])
    failed = pipeline.run_command("deadletters", "replay", mappings_file=str(anyone))
    assert failed.returncode == 1
    assert f"these topics do not exist: {gone}; referral-stream topics create" in failed.stderr
    assert listed(pipeline)["counts"] == {"ingest": {"invalid": 1}}
