"""``record`` and ``decisions`` beside a running pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from tests.integration.live import Message, Pipeline, cloud_event
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer


@pytest.fixture
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("record")) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


def say(pipeline: Pipeline, topic: str, kind: str, **data: Any) -> None:
    pipeline.publish([Message(topic, orjson.dumps(cloud_event(kind, "ana", pipeline.now(), data)), b"ana")])


def referred(pipeline: Pipeline, referral: str, name: str, *, consented: bool) -> None:
    contact = {"ref": f"of {referral}", "name": name, "company": "Roe Ltd", "consented": consented}
    say(pipeline, "responses", "referral.given", referral_id=referral, contact=contact)


@rule("A5.6", "A5.7", "A6.1", "A6.2", "7.5", "7.7")
def test_a_name_is_shown_while_the_contact_consents_and_the_record_until_the_erasure(pipeline: Pipeline) -> None:
    referred(pipeline, "ref-1", "Lee Roe", consented=True)
    referred(pipeline, "ref-2", "Kim Poe", consented=False)
    shown: dict[str, str] = {}

    def record(*options: str) -> str:
        done = pipeline.run_command("record", "ana", *options)
        shown["newest"] = done.stdout + done.stderr
        return done.stdout

    wait_until(lambda: "referrals: 2 given" in record(), "both are recorded", seconds=90)
    assert "ref-1  Lee Roe, Roe Ltd, given" in shown["newest"]
    assert "Kim" not in shown["newest"]
    assert "ref-2  given, not to be contacted" in shown["newest"]
    contacts = json.loads(record("--format", "json"))["referred_contacts"]
    assert [(each["referral_id"], each.get("name")) for each in contacts] == [("ref-1", "Lee Roe"), ("ref-2", None)]

    figures = json.loads(pipeline.run_command("metrics", "--format", "json").stdout)
    assert (figures["customers"], figures["total"]["quality"]["of"]) == (1, 2)
    assert "Lee" not in json.dumps(figures)

    referred(pipeline, "ref-1", "Lee Roe", consented=False)
    wait_until(lambda: record().count("not to be contacted") == 2, "the consent is withdrawn", seconds=60)
    assert "Lee" not in shown["newest"]

    say(pipeline, "profile", "customer.erasure_requested")
    wait_until(lambda: record() == "", "there is no record any more", seconds=60)
    assert "no record of 'ana': " in shown["newest"]
    assert pipeline.run_command("record", "ana").returncode == 1


@rule("8.1")
def test_decisions_are_printed_from_their_topic_and_on_request_as_they_are_made(pipeline: Pipeline) -> None:
    follower = pipeline.begin_command("decisions", "--follow")
    say(pipeline, "nps", "nps.responded", score=10, response_id="r-1")

    def decided(*options: str) -> str:
        return pipeline.run_command("decisions", *options).stdout

    wait_until(lambda: "ana" in decided(), "the first decision", seconds=90)
    today = datetime.fromtimestamp(pipeline.now() / 1000, UTC).date()
    assert decided("--customer", "ana", "--from", str(today)) == decided()
    assert decided("--customer", "ben") == decided("--from", str(today + timedelta(days=2))) == ""
    assert {each["data"]["customer_id"] for each in json.loads(decided("--json"))} == {"ana"}

    say(pipeline, "nps", "nps.responded", score=2, response_id="r-1")
    wait_until(lambda: len(decided().splitlines()) > 1, "the last decision", seconds=60)
    wait_until(lambda: follower.log.read_text() == decided(), "the follower prints all of them", seconds=60)


def test_without_a_broker_it_says_where_and_ends_with_1(pipeline: Pipeline) -> None:
    done = pipeline.run_command("record", "ana", kafka_brokers="127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing listens at 127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
