"""From a referral that became a customer to the payer and back: all roles, each a process of its own."""

from __future__ import annotations

from pathlib import Path

import orjson

from referral_stream.core.ids import grant_id
from referral_stream.core.instants import MINUTE, parse_instant
from tests.integration.live import Message, Pipeline, cloud_event, parsed
from tests.integration.test_rewards import start
from tests.rewards.paying import SECRET, PayerServer, http
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

POLICY = """
[rewards]
enabled = true
default_segment = "all"

[rewards.programmes.all]
kind = "credit"
amount_minor = 5000
currency = "EUR"
"""


@rule("A4.19", "A4.20")
def test_a_converted_referral_is_paid_or_its_owner_hears_of_it(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with PayerServer(answers={"bo": [http(422, b'{"reference": "closed"}')]}) as payer:
        settings = {"rewards_url": payer.url, "rewards_secret": SECRET}
        with Pipeline(kafka, redis_server.url, tmp_path, policy=POLICY, settings=settings) as pipeline:
            pipeline.create_topics()
            pipeline.start()
            start(pipeline)
            at = pipeline.now() - MINUTE
            for customer in ("ana", "bo"):
                pipeline.publish(a_conversion(customer, at))
            wanted = {grant_id(customer, f"r-{customer}") for customer in ("ana", "bo")}
            pipeline.await_until(lambda: set(payer.keys()) == wanted, "both are sent to the payer", 120)
            reader = pipeline.reader("referral-followups")

            def failed() -> list[str]:
                bodies = [parsed(record).get("data", {}) for record in reader.read()]
                return [body["customer_id"] for body in bodies if body.get("kind") == "reward_failed"]

            pipeline.await_until(lambda: failed() == ["bo"], "bo's owner hears that it failed", 120)
            (settled,) = [each for each in map(parsed, pipeline.read("responses")) if each["type"] == "reward.settled"]
            assert abs(parse_instant(settled["time"])[0] - pipeline.now()) < 10 * MINUTE, "by the deployment's clock"
            pipeline.stop()


def a_conversion(customer: str, at: int) -> list[Message]:
    """Somebody was referred, and became a customer."""
    contact = {"ref": f"lead-of-{customer}", "consented": True}
    said = [
        cloud_event("referral.given", customer, at, {"referral_id": f"r-{customer}", "contact": contact}),
        cloud_event(
            "referral.status_changed", customer, at + 1, {"referral_id": f"r-{customer}", "status": "converted"}
        ),
    ]
    return [Message("responses", orjson.dumps(each), customer.encode()) for each in said]
