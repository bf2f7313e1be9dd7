"""From a vendor's HTTP request to the decision: receiver, Kafka, workers; each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from referral_stream.contracts.deadletters import failure, original
from referral_stream.core.effects import Decision
from referral_stream.core.instants import MINUTE, SECOND
from tests.contracts.building import sample
from tests.integration.live import Pipeline, parsed
from tests.integration.webhooks import Door, receiving
from tests.receiver.signing import SECRETS
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

TOKEN = "a-token-of-our-own-0123456789"
SETTINGS = {
    "webhook_secret_stripe": SECRETS["stripe"],
    "webhook_token_delighted": TOKEN,
    "webhook_secret_typeform": SECRETS["typeform"],
    "http_events_token": TOKEN,
    "http_max_body_bytes": "100000",
}


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("receiver"), settings=SETTINGS) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


@pytest.fixture(scope="module")
def door(pipeline: Pipeline) -> Iterator[Door]:
    with receiving(pipeline) as door:
        yield door


def an_answer(customer: str, at: int) -> dict[str, Any]:
    """Delighted's webhook about a ten."""
    payload: dict[str, Any] = sample("delighted.survey_response_created")
    payload["event_id"] = f"event-{customer}"
    payload["event_data"] |= {"id": f"response-{customer}", "created_at": at // SECOND, "updated_at": at // SECOND}
    payload["event_data"]["person_properties"]["customer_id"] = customer
    return payload


def a_renewal(customer: str, at: int) -> dict[str, Any]:
    """Stripe's webhook about a subscription's next invoice, paid."""
    payload: dict[str, Any] = sample("stripe.invoice_paid.cycle")
    payload |= {"id": f"evt_{customer}", "created": at // SECOND}
    payload["data"]["object"] |= {"customer": customer, "id": f"in_{customer}"}
    return payload


def test_a_signed_and_a_token_webhook_are_decided(pipeline: Pipeline, door: Door) -> None:
    at = pipeline.now() - MINUTE
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert door.signed("stripe", a_renewal("renewed-by-http", at)) == 202
    assert door.post("/webhooks/delighted", an_answer("content-by-http", at), bearer) == 202
    assert pipeline.await_outcome("content-by-http", "deferred").trigger == "nps_promoter"
    assert pipeline.await_outcome("renewed-by-http", "deferred").trigger == "renewal"


def test_a_webhook_that_comes_twice_is_one_event(pipeline: Pipeline, door: Door) -> None:
    webhook = a_renewal("renewed-twice", pipeline.now() - MINUTE)
    assert [door.signed("stripe", webhook), door.signed("stripe", webhook)] == [202, 202]
    pipeline.await_outcome("renewed-twice", "deferred")
    reader = pipeline.reader("customer-events")

    def arrived() -> list[Any]:
        return [record for record in reader.read() if record.key == b"renewed-twice" and "invoice" in _type(record)]

    wait_until(lambda: len(arrived()) >= 2, "both have arrived")
    opened = {
        each.effect.opportunity_id
        for each in pipeline.decisions()
        if isinstance(each.effect, Decision) and each.effect.customer_id == "renewed-twice"
    }
    assert len(opened) == 1


def _type(record: Any) -> str:
    return str(parsed(record).get("type"))


def test_a_batch_of_cloud_events_is_decided(pipeline: Pipeline, door: Door) -> None:
    now = pipeline.now()
    event = {
        "specversion": "1.0",
        "id": "answer-1",
        "source": "shop",
        "type": "nps.responded",
        "subject": "content-by-event",
        "data": {"response_id": "r1", "score": 9},
    }
    batch = [event, event | {"id": "answer-2", "subject": "another-by-event"}]
    assert door.events(batch, TOKEN) == 202
    for customer in ("content-by-event", "another-by-event"):
        assert pipeline.await_outcome(customer, "deferred").decided_at >= now


def test_what_a_vendor_signed_and_nobody_understands_is_a_dead_letter(pipeline: Pipeline, door: Door) -> None:
    body = b'{"object": "something of Stripe\'s future"}'
    assert door.signed("stripe", body) == 202
    reader = pipeline.reader("dead-letters")

    def letters() -> list[Any]:
        return [letter for letter in reader.read() if original(letter).value == body]

    wait_until(letters, "the webhook is a dead letter", seconds=60)
    (letter,) = letters()
    assert failure(letter).error.startswith("unrecognised")
    assert original(letter).topic == pipeline.topic("billing")
    assert original(letter).header("referral-source") == "stripe"


def test_what_nobody_signed_is_on_no_topic(pipeline: Pipeline, door: Door) -> None:
    forged = an_answer("forged-by-http", pipeline.now())
    assert door.post("/webhooks/delighted", forged, {}) == 401
    assert door.post("/webhooks/delighted", forged, {"Authorization": "Bearer guessed-guessed-guessed"}) == 403
    assert all(b"forged-by-http" not in (record.value or b"") for record in pipeline.read("nps"))


def test_a_topic_that_refuses_a_record_refuses_no_other_after_it(
    kafka: KafkaServer, pipeline: Pipeline, door: Door
) -> None:
    """A refused record leaves a gap in an idempotent producer's sequence, at which a broker refuses all that follow."""
    _limit(kafka, pipeline.topic("nps"), 10_000)
    before = len(pipeline.read("nps"))
    for number in range(3):
        small = b'{"event_type": "form_response", "number": %d}' % number
        large = b'{"event_type": "form_response", "fill": "%s"}' % (b"x" * 20_000)
        assert [door.signed("typeform", small), door.signed("typeform", large), door.signed("typeform", small)] == [
            202,
            413,
            202,
        ]
    assert len(pipeline.read("nps")) == before + 6


def _limit(kafka: KafkaServer, topic: str, size: int) -> None:
    """The largest record that a topic takes from now on."""
    admin = AdminClient(kafka.client_settings())
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    (altered,) = admin.incremental_alter_configs([resource]).values()
    altered.result(20)

    def known() -> bool:
        (found,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return bool(found.result(20)["max.message.bytes"].value == str(size))

    wait_until(known, "the broker knows of the limit")
