"""More partitions for the log of all decisions, while everything runs: its number is part of the state.

Not among the faults of a soak: there is no going on. All roles must stop, and say what has happened and what to do.
"""

from __future__ import annotations

from pathlib import Path

from tests.integration.live import PARTITIONS, Pipeline
from tests.integration.scripted import a_promoter
from tests.night import nightly
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer


@nightly
def test_new_partitions_of_customer_events_stop_every_role_with_a_line_that_names_them(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Pipeline(kafka, redis_server.url, tmp_path) as pipeline:
        pipeline.create_topics()
        roles = {role: pipeline.start(role) for role in ("ingest", "decide", "ledger")}
        pipeline.publish(a_promoter("before", pipeline.now()))
        pipeline.await_outcome("before", "soft", "holdout")
        topic = pipeline.topic("customer-events")
        assert kafka.add_partitions(topic, 2) == PARTITIONS + 2
        wait_until(lambda: not any(worker.running for worker in roles.values()), "every role has ended", seconds=660)
        for role, worker in roles.items():
            worker.stop()
            said = worker.log.read_text()
            assert worker.exit_code == 1, f"{role}\n{said[-4000:]}"
            (line,) = [line for line in said.splitlines() if " app_failed " in line]
            assert topic in line
            assert f"{PARTITIONS + 2} partitions" in line
            assert "Traceback" not in said
