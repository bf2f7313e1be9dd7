"""A Kafka that changes under its workers: another app's group, other addresses, other passwords, lost packets."""

from __future__ import annotations

from functools import partial

import pytest
from faust_batches import BatchApp, create_app, running
from faust_batches.errors import GroupTaken

from tests.integration.test_outages import KEYS, counting_app, counts, one_of_each, with_topics
from tests.integration.test_transport import PARTITIONS, Counting, a_config, echo, until
from tests.services.kafka import KafkaServer


def namesakes(run: str, brokers: str) -> list[BatchApp]:
    """Apps that read other topics than the app ``run``, in its group: with tables of the same name, and without."""
    stateful, stateless = (create_app(a_config(run, brokers)) for _ in range(2))
    stateful.stateful(f"{run}-other-in", Counting(f"{run}-out"), ["counts"])
    stateless.stateless([f"{run}-other-in"], echo(f"{run}-out"))
    return [stateful, stateless]


async def test_a_second_app_in_the_group_is_refused_and_the_first_one_notices_nothing(
    kafka: KafkaServer,
) -> None:
    run = with_topics(kafka)
    kafka.create_topics({f"{run}-other-in": PARTITIONS})
    app, counting = counting_app(run, kafka.bootstrap)

    async def refused() -> None:
        for namesake in namesakes(run, kafka.bootstrap):
            with pytest.raises(GroupTaken, match=f"the group {run} belongs to another app: it reads .*{run}-in"):
                async with running(namesake):
                    pass

    async with running(app):
        await until(lambda: app.ready, "the app is ready")  # it has committed nothing yet
        before = app.meter.assignments
        await refused()
        one_of_each(kafka.bootstrap, f"{run}-in")
        await until(partial(counting.has_seen, len(KEYS)), "the records are processed")
        assert (app.meter.assignments, app.failure) == (before, None)
    await refused()  # the first one does not run, but its changelogs are there
    async with running(counting_app(run, kafka.bootstrap)[0]):
        pass
    assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS)
