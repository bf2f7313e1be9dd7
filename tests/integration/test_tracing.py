"""A trace from the event to the command, through real topics: what an instrumented messaging worker would find."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from referral_stream.core.instants import HOUR
from tests.integration.live import Message, Pipeline, parsed
from tests.integration.scripted import a_promoter
from tests.integration.test_status import POLICY
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SPAN = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]")


def test_the_command_has_the_header_of_its_event_and_the_decision_that_of_a_batch(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Pipeline(kafka, redis_server.url, tmp_path, policy=POLICY, settings={"tracing": "on"}) as pipeline:
        # An SDK, without an exporter, as the API itself loads it.
        pipeline.environment["OTEL_PYTHON_TRACER_PROVIDER"] = "sdk_tracer_provider"
        pipeline.create_topics()
        pipeline.start()
        pipeline.publish(traced(message) for message in a_promoter("ana", pipeline.now(), HOUR // 2))
        pipeline.await_outcome("ana", "soft")
        (ask,) = pipeline.asks()
        assert ask.record.header("traceparent") == parsed(ask.record)["traceparent"] == TRACE
        for decision in pipeline.decisions():
            own = decision.record.header("traceparent")
            assert own is not None
            assert SPAN.fullmatch(own)
            assert own != TRACE
        assert "tracing_without_sdk" not in pipeline.log()
        pipeline.stop()


def traced(message: Message) -> Message:
    """As an instrumented producer sends it."""
    return replace(message, headers=(*message.headers, ("traceparent", TRACE.encode())))
