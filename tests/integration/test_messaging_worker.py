"""The whole way on a real Kafka: event, pipeline, command, example worker, mail, acknowledgement, state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.codec import decode_request
from referral_stream.contracts.state import decode_customer
from referral_stream.core.asks import Ask
from referral_stream.core.effects import ReservationConfirmed, ReservationReleased
from referral_stream.core.instants import DAY, HOUR
from referral_stream.testing import Limits, Unreachable, check_worker
from tests.integration.live import Message, Pipeline, Said, cloud_event, parsed, requested
from tests.integration.mail import POLICY, Mailbox, noon, serving
from tests.integration.scripted import a_promoter
from tests.messaging.example import ExampleWorker
from tests.messaging.naive import RULES, NaiveWorker
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

ADDRESSES = """
[cus-ana]
name = "Ana Beispiel"
email = "ana@customers.example"
language = "de-DE"

[cus-ben]
name = "Ben Example"
email = "ben@gone.example"
"""


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp_server(mailbox: Mailbox) -> Iterator[str]:
    with serving(mailbox) as address:
        yield address


@pytest.fixture
def pipeline(kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    start = time.time_ns() // 1_000_000
    with Pipeline(kafka, redis_server.url, tmp_path, policy=POLICY, start=start) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


@pytest.fixture
def worker(pipeline: Pipeline, smtp_server: str, tmp_path: Path) -> Iterator[ExampleWorker]:
    book = tmp_path / "addresses.toml"
    book.write_text(ADDRESSES)
    settings = {
        "ASKS_TOPIC": pipeline.topic("referral-asks"),
        "RESPONSES_TOPIC": pipeline.topic("responses"),
        "GROUP": pipeline.topic("messaging-worker"),
        "ADDRESS_BOOK": str(book),
        "SMTP_SERVER": smtp_server,
        "SENDER_ADDRESS": "robin@acme.example",
    }
    with ExampleWorker(pipeline.kafka.bootstrap, tmp_path, settings) as worker:
        yield worker


def promoter(pipeline: Pipeline, customer: str) -> list[Message]:
    """One who scored us half an hour ago, and whose quiet hours are far away."""
    now = pipeline.now()
    known = cloud_event("customer.profile_changed", customer, now - DAY, {"time_zone": noon(now)})
    zone = Message("profile", orjson.dumps(known), customer.encode())
    return [zone, *a_promoter(customer, now, HOUR // 2, strong=True)]


def statuses(pipeline: Pipeline, customer: str) -> list[str]:
    """What has been acknowledged about the customer, in order."""
    events = [parsed(record) for record in pipeline.read("responses")]
    return [str(event["data"]["status"]) for event in events if event["subject"] == customer]


def only_ask(pipeline: Pipeline, customer: str) -> Ask:
    """The customer's one ask, as the decide agent's changelog has it."""
    (ask,) = decode_customer(pipeline.changelog("customers")[customer.encode()]).entity.asks
    return ask


def ledger_heard(pipeline: Pipeline, kind: type, command: str) -> bool:
    requests = [decode_request(record.value or b"") for record in pipeline.read("ledger-requests")]
    return any(isinstance(request, kind) and getattr(request, "command_id", "") == command for request in requests)


def command_of(asks: list[Said], customer: str) -> str:
    (command,) = (ask.command_id for ask in requested(asks).values() if ask.customer_id == customer)
    return command


@pytest.mark.usefixtures("worker")
def test_a_promoter_gets_one_mail_and_the_ask_counts_as_sent(pipeline: Pipeline, mailbox: Mailbox) -> None:
    pipeline.publish(promoter(pipeline, "cus-ana"))
    pipeline.await_outcome("cus-ana", "asked")
    wait_until(
        lambda: "sent" in statuses(pipeline, "cus-ana"), "the mail is acknowledged as sent", seconds=60, every=0.2
    )
    command = command_of(pipeline.asks(), "cus-ana")
    assert mailbox.received() == [("ana@customers.example", f"<{command}@acme.example>")]
    assert statuses(pipeline, "cus-ana") == ["sent"]
    wait_until(
        lambda: ledger_heard(pipeline, ReservationConfirmed, command), "the ledger is told that it was sent", every=0.2
    )
    ask = only_ask(pipeline, "cus-ana")
    assert ask.command_id == command
    assert ask.reached
    assert ask.failed_at is None


@pytest.mark.usefixtures("worker")
def test_a_mail_that_cannot_be_delivered_gives_the_reservation_back(pipeline: Pipeline, mailbox: Mailbox) -> None:
    pipeline.publish(promoter(pipeline, "cus-ben"))
    pipeline.await_outcome("cus-ben", "asked")
    wait_until(lambda: "failed" in statuses(pipeline, "cus-ben"), "the failure is acknowledged", seconds=60, every=0.2)
    command = command_of(pipeline.asks(), "cus-ben")
    wait_until(lambda: ledger_heard(pipeline, ReservationReleased, command), "the reservation is given back", every=0.2)
    assert mailbox.mails == []
    ask = only_ask(pipeline, "cus-ben")
    assert not ask.reached
    assert not ask.counts


def test_the_example_worker_keeps_the_contract_on_a_real_kafka_too(kafka: KafkaServer, tmp_path: Path) -> None:
    kafka.create_topics({"kit.asks": 3, "kit.followups": 3, "kit.responses": 2})
    settings = {"ASKS_TOPIC": "kit.asks", "RESPONSES_TOPIC": "kit.responses", "GROUP": "kit.worker"}
    with ExampleWorker(kafka.bootstrap, tmp_path, settings) as worker:
        report = check_worker(
            kafka.bootstrap,
            asks_topic="kit.asks",
            responses_topic="kit.responses",
            followups_topic="kit.followups",
            restart=worker.restart,
            deliveries=worker.deliveries,
            owner_items=worker.owner_items,
        )
        assert worker.stop() == 0
    assert report.passed, str(report)
    assert report.skipped == ()


def test_the_kit_names_the_topic_that_is_missing_and_aiokafka_adds_nothing(
    kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.create_topics({"kit.only.asks": 1})
    with pytest.raises(Unreachable, match=r"^kit\.only\.responses: no such topic"):
        check_worker(kafka.bootstrap, asks_topic="kit.only.asks", responses_topic="kit.only.responses")
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aiokafka")] == []


def test_a_worker_that_reads_uncommitted_commands_is_found_out(kafka: KafkaServer) -> None:
    topics: dict[str, Any] = {f"{name}_topic": f"kit.loose.{name}" for name in ("asks", "responses", "followups")}
    kafka.create_topics(dict.fromkeys(topics.values(), 1))
    heeded = [rule for rule in RULES if rule != "commits"]
    with NaiveWorker(kafka.bootstrap, heeded, **topics):
        report = check_worker(kafka.bootstrap, **topics, limits=Limits(answer=3, early=1.5, quiet=0.6))
    assert report.failed == ("uncommitted", "followup_uncommitted"), str(report)
