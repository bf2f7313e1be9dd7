"""Nobody is woken while ingest is behind: silence is no evidence then."""

from __future__ import annotations

import logging

import pytest
from aiokafka import TopicPartition

from referral_stream.runtime.topics_admin import TopicsProblem
from referral_stream.stream import backlog as module
from referral_stream.stream.backlog import LOOK_SECONDS, TOLERANCE_SECONDS, Backlog, read_up_to

USAGE, PROFILE = TopicPartition("product-usage", 0), TopicPartition("profile", 0)


class Sources:
    """What has been read of them, where they end, and what time it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = {USAGE: 0}
        self.ends = {USAGE: 0, PROFILE: 0}
        self.now = 1_000.0
        self.problem: Exception | None = None
        self.looks = 0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        self.backlog = Backlog(self.look)

    async def look(self) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        self.looks += 1
        if self.problem is not None:
            raise self.problem
        return dict(self.read), dict(self.ends)

    async def after(self, seconds: float) -> bool:
        self.now += seconds
        return await self.backlog.is_read()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Sources:
    return Sources(monkeypatch)


async def test_after_a_pause_of_days_nobody_is_woken_until_the_last_record_of_it_is_read(
    sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sources.ends = {USAGE: 900, PROFILE: 1}
    assert not await sources.after(0)
    sources.read = {USAGE: 900}  # the opt-out is still unread
    assert not await sources.after(1)
    sources.ends = {USAGE: 950, PROFILE: 1}  # and the world goes on
    sources.read = {USAGE: 940, PROFILE: 1}
    assert await sources.after(1)
    (held,) = [record for record in caplog.records if record.getMessage() == "wakeups_held"]
    assert vars(held)["unread"] == 901
    assert held.levelname == "INFO"  # as at every start
    assert "recovered" in caplog.text


async def test_a_start_that_lasts_is_a_warning(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    sources.ends = {USAGE: 900}
    for _ in range(4):
        assert not await sources.after(TOLERANCE_SECONDS / 2)
    levels = [record.levelname for record in caplog.records if record.getMessage() == "wakeups_held"]
    assert levels[-1] == "WARNING"


async def test_a_hold_after_a_time_of_rest_is_a_warning_at_once(
    sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await sources.after(0)
    sources.ends = {USAGE: 1}
    assert await sources.after(TOLERANCE_SECONDS)
    assert not await sources.after(LOOK_SECONDS)
    (held,) = [record for record in caplog.records if record.getMessage() == "wakeups_held"]
    assert held.levelname == "WARNING"


async def test_where_everything_is_read_nothing_is_held(sources: Sources) -> None:
    assert await sources.after(0)


async def test_records_that_have_just_come_hold_up_nobody(sources: Sources) -> None:
    assert await sources.after(0)
    for _ in range(100):  # ingest is never quite at the end
        sources.read = dict(sources.ends)
        sources.ends = {tp: end + 10 for tp, end in sources.ends.items()}
        assert await sources.after(LOOK_SECONDS)


async def test_ingest_that_does_not_go_on_holds_everybody_after_a_minute(sources: Sources) -> None:
    assert await sources.after(0)
    sources.ends = {USAGE: 1}
    assert await sources.after(TOLERANCE_SECONDS)
    assert not await sources.after(LOOK_SECONDS)


async def test_what_is_not_known_holds(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    sources.problem = TopicsProblem("group app-ingest: GroupAuthorizationFailedError")
    assert not await sources.after(0)
    (held,) = [record for record in caplog.records if record.getMessage() == "wakeups_held"]
    assert "nobody knows how far ingest has read: group app-ingest" in vars(held)["cause"]
    sources.problem = None
    assert await sources.after(1)


async def test_nobody_is_asked_more_often_than_needed(sources: Sources) -> None:
    for _ in range(10):
        assert await sources.after(LOOK_SECONDS / 10)
    assert sources.looks == 1


@pytest.mark.parametrize(
    ("committed", "read"),
    [
        ({USAGE: 30}, 30),
        ({}, 20),  # nobody knows: all that is there counts as unread
        ({USAGE: 7}, 20),  # what lapsed unread is not waited for
        ({USAGE: 90}, 20),  # of a topic that was deleted and made anew
    ],
)
def test_what_can_be_read_no_more_is_not_waited_for(committed: dict[TopicPartition, int], read: int) -> None:
    assert read_up_to({**committed, PROFILE: 3}, {USAGE: 20}, {USAGE: 40}) == {USAGE: read}
