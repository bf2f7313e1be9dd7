"""What ``doctor`` concludes from what brokers say."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from referral_stream.contracts.topics import SOURCES, Topics
from referral_stream.core.policy import Policy
from referral_stream.ops.doctor import _positions, _sessions
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings
from referral_stream.runtime.topics_admin import GroupSeen

NPS, BILLING = TopicPartition("nps", 0), TopicPartition("billing", 0)


class Brokers:
    """A consumer of sources with one partition each; ``begins`` is where they begin, if not at 0."""

    def __init__(self, begins: dict[TopicPartition, int]) -> None:
        self._begins = begins
        self._client = self

    async def _wait_on_metadata(self, _topic: str) -> None:
        pass

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0}

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._begins.get(tp, 0) for tp in partitions}


@pytest.mark.parametrize(
    ("committed", "begins", "nps"),
    [
        ({BILLING: 3}, {}, 0),  # nothing is committed: all that is there is behind
        ({BILLING: 3}, {NPS: 20}, 20),
        ({BILLING: 3, NPS: 7}, {NPS: 20}, 20),  # what lapsed cannot be read any more
        ({BILLING: 3, NPS: 30}, {NPS: 20}, 30),
    ],
)
async def test_a_partition_without_a_committed_offset_is_behind_too(
    committed: dict[TopicPartition, int], begins: dict[TopicPartition, int], nps: int
) -> None:
    group = GroupSeen("g-ingest", "Stable", 1, committed)
    found = await _positions(cast("Any", Brokers(begins)), "ingest", group, Topics(""))
    assert found == {TopicPartition(topic, 0): 0 for topic in SOURCES} | {BILLING: 3, NPS: nps}


async def test_a_group_that_has_never_run_is_nowhere() -> None:
    assert await _positions(cast("Any", Brokers({})), "ingest", GroupSeen("g-ingest", "Empty", 0, {}), Topics("")) == {}


@pytest.mark.parametrize(
    ("least_ms", "most_ms", "wrong"),
    [(6_000, 1_800_000, False), (10_001, 1_800_000, True), (1_000, 9_999, True), (None, 1, False), (1, None, False)],
)
def test_a_session_timeout_that_the_brokers_do_not_allow_is_told(
    least_ms: int | None, most_ms: int | None, *, wrong: bool
) -> None:
    deployment = Deployment(Settings.model_validate({"session_timeout_seconds": 10}), Policy(), Clock())
    assert [line.verdict for line in _sessions(deployment, least_ms, most_ms)] == ["WRONG"] * wrong
