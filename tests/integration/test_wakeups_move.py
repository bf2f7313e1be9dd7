"""What is pending belongs to a partition: whoever owns it wakes its customers, on time and once."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from referral_stream.contracts.state import decode_wakeup
from referral_stream.core.instants import MINUTE, SECOND
from tests.integration.live import Pipeline, parsed, requested
from tests.integration.scripted import a_promoter
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

CUSTOMERS = 24
SETTLES_AFTER = 20 * MINUTE
"""By the default policy: 15 minutes for corrections, 5 for rivals."""
DUE_AFTER = 25 * SECOND
"""From the events: enough for a worker to join, and for another one to be given up."""


def members(admin: AdminClient, group: str) -> int:
    """How many share the group's partitions among them; 0 while that is not settled."""
    found = admin.describe_consumer_groups([group])[group].result(20)
    if found.state != ConsumerGroupState.STABLE:
        return 0
    return sum(bool(member.assignment.topic_partitions) for member in found.members)


def test_wakeups_move_with_their_partitions_when_workers_join_or_die(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Pipeline(kafka, redis_server.url, tmp_path) as pipeline:
        pipeline.create_topics()
        first = pipeline.start()
        due = pipeline.now() + DUE_AFTER
        names = [f"cus-{n}" for n in range(CUSTOMERS)]
        for name in names:
            now = pipeline.now()
            pipeline.publish(a_promoter(name, now, SETTLES_AFTER - (due - now), strong=True, account_id=f"of-{name}"))
        pending = {name.encode(): due for name in names}
        pipeline.await_until(
            lambda: {key: decode_wakeup(value).due for key, value in pipeline.changelog("wakeups").items()} == pending,
            "all are waiting",
            seconds=20,
        )
        pipeline.start()
        admin, group = AdminClient(kafka.client_settings()), f"{pipeline.name}-decide"
        pipeline.await_until(lambda: members(admin, group) == 2, "a second worker has joined", seconds=20)
        first.kill9()
        assert pipeline.now() < due

        reader = pipeline.reader("referral-decisions")

        def spoken_for() -> set[str]:
            bodies = (parsed(record)["data"] for record in reader.read())
            return {body["customer_id"] for body in bodies if body["outcome"] in ("asked", "soft", "holdout")}

        pipeline.await_until(lambda: spoken_for() == set(names), "all are asked, or held out", seconds=60)
        pipeline.stop()
        asks = pipeline.asks()

    assert len(requested(asks)) > CUSTOMERS // 2
    assert min(each.now for each in asks) >= due
