"""Ingest is away for nine days, and its offsets lapse: nothing is read again, and nothing counts twice."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from referral_stream.core.instants import DAY
from tests.integration.live import Message, Pipeline, cloud_event, facts
from tests.night import nightly
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until

NO_REDIS = "redis://127.0.0.1:1/0"
DAYS = 20


def usage(pipeline: Pipeline, days: range) -> list[Message]:
    """Ten uses on each of these days, counted from the beginning of the test."""
    events = (
        cloud_event("usage.recorded", "ana", pipeline._start + day * DAY, {"count": 10}) | {"id": f"use-{day}"}
        for day in days
    )
    headers = (("content-type", b"application/cloudevents+json"),)
    return [Message("product-usage", orjson.dumps(event), b"ana", headers) for event in events]


def arrived(pipeline: Pipeline) -> int:
    return len(facts(pipeline.read("customer-events")))


@nightly
@pytest.mark.parametrize("lost", ["the offsets", "the offsets and the positions"])
def test_after_nine_days_away_without_offsets_nothing_counts_twice(
    kafka: KafkaServer, tmp_path: Path, lost: str
) -> None:
    with Pipeline(kafka, NO_REDIS, tmp_path, settings={"session_timeout_seconds": "10"}) as pipeline:
        pipeline.create_topics()
        pipeline.publish(usage(pipeline, range(-DAYS, 0)))
        pipeline.start("ingest")
        wait_until(lambda: arrived(pipeline) == DAYS, "the usage has arrived", seconds=120)
        pipeline.stop()

        admin, group = AdminClient(kafka.client_settings()), f"{pipeline.name}-ingest"
        admin.delete_consumer_groups([group])[group].result(30)
        if lost == "the offsets and the positions":
            kafka.delete_topic(f"{pipeline.name}-positions")
            pipeline.run_command("topics", "create")
        later = str(pipeline._start + 9 * DAY)
        pipeline.publish(usage(pipeline, range(9)))
        worker = pipeline.start("ingest", clock_start=later)
        if lost == "the offsets and the positions":
            wait_until(lambda: not worker.running, "ingest has ended", seconds=120)
            assert f"nothing says how far {group} has read its sources" in pipeline.log()
            assert arrived(pipeline) == DAYS
            return
        wait_until(lambda: arrived(pipeline) >= DAYS + 9, "the usage of the pause has arrived", seconds=120)
        pipeline.stop()
        assert arrived(pipeline) == DAYS + 9
        assert "offsets_went_back" in pipeline.log()
