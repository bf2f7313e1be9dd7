"""The referee beside real workers on a real broker: nothing to find while they work, and what is forged is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from referral_stream.audit.findings import AuditReport
from referral_stream.audit.referee import audit
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.policy_file.reading import parse_policy
from referral_stream.runtime.settings import Settings
from tests.integration.live import Pipeline, parsed
from tests.integration.scripted import POLICY, a_promoter
from tests.integration.scripted_run import ScriptedRun
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

WAVES = [[f"promoter-{wave}-{number}" for number in range(25)] for wave in range(4)]


def report_on(pipeline: Pipeline, **more: Any) -> AuditReport:
    return audit(Settings.model_validate(pipeline.settings), [parse_policy(pipeline.policy_file.read_bytes())], **more)


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("audited"), policy=POLICY) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


@pytest.fixture(scope="module")
def meanwhile(pipeline: Pipeline) -> list[AuditReport]:
    """Audits one after the other, while customers come in waves and until all have been asked or held out."""
    reports: list[AuditReport] = []
    waiting = {name for wave in WAVES for name in wave}
    decisions = pipeline.reader("referral-decisions")

    def all_asked() -> bool:
        reports.append(report_on(pipeline, patience_seconds=3))
        bodies = (parsed(record)["data"] for record in decisions.read())
        return waiting <= {body["customer_id"] for body in bodies if body["outcome"] in ("asked", "soft", "holdout")}

    for wave in WAVES:
        pipeline.publish(message for name in wave for message in a_promoter(name, pipeline.now(), 0))
        all_asked()
    wait_until(all_asked, "all promoters have been asked", seconds=120)
    return reports


def test_a_deployment_at_work_breaks_nothing(meanwhile: list[AuditReport]) -> None:
    assert [report.findings for report in meanwhile] == [()] * len(meanwhile)
    assert len({report.counts["events"] for report in meanwhile}) > 2, "it did not work meanwhile"
    assert meanwhile[-1].counts["asks"] > 0


def test_of_the_whole_script_everything_is_judged(scripted_pipeline: Pipeline, scripted_run: ScriptedRun) -> None:
    report = report_on(scripted_pipeline, uncommitted=True)
    assert report.findings == ()
    assert report.unchecked == ()
    assert report.counts["events"] == len(scripted_run.events)
    assert report.counts["events in flight"] == 0
    assert report.counts["decisions"] == len(scripted_run.decisions)
    assert report.counts["asks"] + report.counts["cancellations"] == len(scripted_run.asks)


@pytest.mark.usefixtures("meanwhile")
def test_what_is_forged_is_found_and_named(pipeline: Pipeline) -> None:
    sound = pipeline.run_command("audit")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "ok" in sound.stdout

    ask = next(said.record for said in pipeline.asks() if parsed(said.record)["type"] == "referral.ask.requested")
    message = parsed(ask)
    message["data"]["template"] = "another"
    second = append(pipeline, replace(ask, value=orjson.dumps(message)), pipeline.topic("referral-asks"))

    customer, value = min(pipeline.changelog("customers").items())
    stored = decode_customer(value)
    stored.entity.interactions += 1
    changelog = f"{pipeline.name}-decide-customers-changelog"
    state = replace(ask, key=customer, value=encode_customer(stored.entity, stored.mark), headers=())
    forged = append(pipeline, state, changelog)

    done = pipeline.run_command("audit", "--json")
    assert done.returncode == 1, done.stderr
    found = {each["invariant"]: each["positions"] for each in json.loads(done.stdout)["findings"]}
    first = f"{pipeline.topic('referral-asks')}-{ask.partition}@{ask.offset}"
    assert found["one_body_per_command"] == found["command_once"] == [first, second]
    assert found["state_is_fold"][0] == forged
    assert found["decisions_follow"] == [second]


def test_topics_that_are_not_there_can_not_be_audited(pipeline: Pipeline) -> None:
    done = pipeline.run_command("audit", topic_prefix="elsewhere.")
    assert done.returncode == 2
    assert "elsewhere.referral-asks does not exist; referral-stream topics create" in done.stderr


def test_an_earlier_policy_that_is_none_can_not_be_used(pipeline: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("nme = 'x'")
    done = pipeline.run_command("audit", "--policy", str(file))
    assert done.returncode == 2
    assert "nme" in done.stderr


def append(pipeline: Pipeline, record: RawRecord, topic: str) -> str:
    """Write a record that no worker wrote, on its key's partition; its position as a report shows it."""
    landed: list[str] = []
    producer = Producer({**pipeline.kafka.client_settings(), "partitioner": "murmur2_random"})
    producer.produce(
        topic,
        record.value,
        record.key,
        headers=list(record.headers),
        on_delivery=lambda _, message: landed.append(f"{topic}-{message.partition()}@{message.offset()}"),
    )
    assert producer.flush(30) == 0
    return landed[0]
