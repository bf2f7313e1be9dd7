from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic

import pytest
from aiokafka.errors import KafkaError, NotLeaderForPartitionError, TopicAuthorizationFailedError
from batch_builders import SOURCE, a_message, an_app, settled, take_acks
from faust_batches import BatchApp, Rest, lanes
from faust_batches.errors import BatchRefused, NotOwner
from faust_batches.fetched import BatchMessage
from faust_batches.lanes import Batch


class Steps:
    """A step that waits to be released, and raises what it is told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.raises: list[Exception] = []
        self.free = asyncio.Event()

    async def __call__(self, batch: Batch) -> Rest | None:
        self.batches.append(batch)
        await self.free.wait()
        if self.raises:
            raise self.raises.pop(0)
        return None

    @property
    def offsets(self) -> list[list[int]]:
        return [[record.offset for record in batch.records] for batch in self.batches]


class Scene:
    """An app that is not started, with a lane for each partition that is fed."""

    def __init__(self, **settings: int) -> None:
        self.steps = Steps()
        self.app: BatchApp = an_app(**{"max_batch_records": 10, "max_queued_records": 40} | settings)
        take_acks(self.app)
        self.app.lanes.add_topic(SOURCE, self.steps)
        self.messages: list[BatchMessage] = []

    def feed(self, offsets: Iterable[int], partition: int = 0, assignment: int = 0) -> BatchMessage:
        message = a_message(offsets, partition=partition, assignment=assignment)
        self.app.batch_consumer.track_message(message)
        self.messages.append(message)
        self.app.lanes.feed(message)
        return message

    async def settle(self) -> None:
        """Let the lanes do what they can without anybody's help."""
        await settled(self.app)

    def committed(self, partition: int = 0) -> int | None:
        return self.app.batch_consumer._new_offset(self.messages[0].tp._replace(partition=partition))


async def test_what_queues_up_forms_the_next_batch() -> None:
    scene = Scene()
    for begin in range(0, 12, 4):
        scene.feed(range(begin, begin + 4))
        await scene.settle()
    assert scene.steps.offsets == [[0, 1, 2, 3]]
    scene.steps.free.set()
    await scene.settle()
    assert scene.steps.offsets == [[0, 1, 2, 3], list(range(4, 12))]
    assert scene.committed() == 12


async def test_a_lane_pauses_for_as_long_as_the_batch_took_and_then_takes_what_has_come() -> None:
    scene = Scene()
    scene.feed(range(2))
    await asyncio.sleep(0.02)
    scene.steps.free.set()
    await asyncio.sleep(0)
    scene.feed([2])
    scene.feed([3])
    for _ in range(20):
        await asyncio.sleep(0)
    assert scene.steps.offsets == [[0, 1]]
    await scene.settle()
    assert scene.steps.offsets == [[0, 1], [2, 3]]


async def test_a_pause_has_a_bound() -> None:
    scene = Scene()
    scene.feed(range(2))
    await asyncio.sleep(2 * lanes._LONGEST_PAUSE_SECONDS)
    scene.steps.free.set()
    await asyncio.sleep(0.01)
    scene.feed([2])
    (lane,) = scene.app.lanes._lanes.values()
    assert 0 < lane._begins_at - monotonic() <= lanes._LONGEST_PAUSE_SECONDS
    await scene.settle()
    assert scene.steps.offsets == [[0, 1], [2]]


async def test_a_full_batch_ends_a_pause_and_whoever_comes_late_meets_none() -> None:
    scene = Scene()
    scene.feed(range(2))
    await asyncio.sleep(0.04)
    scene.steps.free.set()
    await asyncio.sleep(0)
    scene.feed(range(2, 6))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(scene.steps.batches) == 1
    scene.feed(range(6, 12))
    for _ in range(20):
        await asyncio.sleep(0)
    assert scene.steps.offsets == [[0, 1], list(range(2, 12))]
    await scene.settle()
    scene.feed([12])
    for _ in range(20):
        await asyncio.sleep(0)
    assert scene.steps.offsets[2:] == [[12]]


async def test_what_is_dropped_in_a_pause_is_not_worked_on() -> None:
    scene = Scene()
    scene.feed(range(2))
    await asyncio.sleep(0.02)
    scene.steps.free.set()
    await asyncio.sleep(0)
    scene.feed([2])
    await asyncio.wait_for(scene.app.lanes.idle(), 1)  # a rebalance does not wait for a pause
    scene.app.lanes.drop_queued()
    await scene.settle()
    assert scene.steps.offsets == [[0, 1]]
    assert not scene.app.batch_consumer.unacked


async def test_a_batch_holds_at_most_what_is_configured() -> None:
    scene = Scene()
    scene.steps.free.set()
    for begin in range(0, 24, 4):
        scene.feed(range(begin, begin + 4))
    await scene.settle()
    assert [len(batch.records) for batch in scene.steps.batches] == [8, 8, 8]


async def test_a_batch_never_mixes_assignments() -> None:
    scene = Scene()
    scene.feed(range(4))
    scene.app.membership.begin()
    scene.feed(range(4), assignment=1)
    scene.steps.free.set()
    await scene.settle()
    assert [batch.assignment for batch in scene.steps.batches] == [0, 1]


async def test_partitions_do_not_wait_for_each_other() -> None:
    scene = Scene()
    scene.feed([0], partition=0)
    scene.feed([0], partition=1)
    await scene.settle()
    assert {batch.tp.partition for batch in scene.steps.batches} == {0, 1}


async def test_acks_are_in_order_and_only_for_what_is_done() -> None:
    scene = Scene()
    scene.feed(range(10))
    await scene.settle()
    scene.feed(range(10, 20))
    await scene.settle()
    assert scene.committed() is None
    assert [message.acked for message in scene.messages] == [False, False]
    scene.steps.free.set()
    await scene.settle()
    assert scene.committed() == 20
    assert scene.steps.offsets == [list(range(10)), list(range(10, 20))]


@pytest.mark.parametrize("error", [NotLeaderForPartitionError(), BatchRefused("too large")])
async def test_a_batch_is_tried_again_as_it_was(error: KafkaError | BatchRefused) -> None:
    scene = Scene()
    scene.steps.raises = [error]
    scene.steps.free.set()
    scene.feed(range(4))
    async with asyncio.timeout(5):
        await scene.settle()
        await scene.app.lanes.idle()
    assert scene.steps.offsets == [[0, 1, 2, 3]] * 2
    assert scene.committed() == 4
    assert scene.app.failure is None


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError("source"), ZeroDivisionError()])
async def test_any_other_error_stops_the_app_and_acks_nothing_more(error: Exception) -> None:
    scene = Scene()
    scene.steps.raises = [error]
    scene.steps.free.set()
    scene.feed(range(4))
    await scene.settle()
    scene.feed(range(4, 8))
    await scene.settle()
    assert scene.app.failure is error
    assert scene.steps.offsets == [[0, 1, 2, 3]]
    assert scene.committed() is None
    assert not scene.app.batch_consumer.unacked


async def test_a_dropped_batch_takes_all_that_follows_with_it_until_the_next_assignment() -> None:
    scene = Scene()
    scene.steps.raises = [NotOwner("gone")]
    scene.feed(range(10))
    await scene.settle()
    scene.feed(range(10, 14))
    scene.app.on_rebalance_start()  # with a group to ask, the lane would ask for this
    scene.steps.free.set()
    await scene.settle()
    scene.app.membership._settled_rebalances = scene.app.rebalancing_count
    scene.feed(range(14, 16))
    await scene.settle()
    assert scene.steps.offsets == [list(range(10))]
    assert scene.committed() is None
    assert not scene.app.batch_consumer.unacked
    scene.app.membership.begin()
    scene.feed(range(10), assignment=1)
    await scene.settle()
    assert scene.committed() == 10


async def test_a_full_lane_lets_its_partition_rest_until_it_is_half_empty() -> None:
    scene = Scene()
    consumer, tp = scene.app.batch_consumer, a_message([0]).tp
    consumer._set_active_tps({tp})
    for begin in range(0, 60, 10):
        assert consumer._get_active_partitions() == ({tp} if begin <= 40 else set())
        scene.feed(range(begin, begin + 10))
        await scene.settle()
    scene.steps.free.set()
    await scene.settle()
    assert consumer._get_active_partitions() == {tp}
    assert scene.committed() == 60


async def test_dropping_what_is_queued_leaves_the_batch_under_way_alone() -> None:
    scene = Scene()
    scene.feed(range(4))
    await scene.settle()
    scene.feed(range(4, 8))
    scene.app.lanes.drop_queued()
    assert len(scene.app.batch_consumer.unacked) == 1
    scene.steps.free.set()
    await scene.settle()
    assert scene.steps.offsets == [[0, 1, 2, 3]]
    assert scene.committed() == 4


async def test_nothing_is_taken_during_a_rebalance() -> None:
    scene = Scene()
    scene.app.on_rebalance_start()
    scene.feed(range(4))
    await scene.settle()
    assert scene.steps.batches == []
    assert not scene.app.batch_consumer.unacked


async def test_a_repair_comes_before_the_first_records() -> None:
    scene = Scene()
    scene.steps.free.set()
    scene.app.lanes.repair(a_message([0]).tp, 0)
    scene.feed(range(2))
    await scene.settle()
    assert scene.steps.offsets == [[], [0, 1]]


async def test_closing_ends_the_batch_under_way_without_an_ack() -> None:
    scene = Scene()
    scene.feed(range(4))
    await scene.settle()
    await scene.app.lanes.close()
    assert scene.committed() is None
    assert not scene.app.batch_consumer.unacked


class LeavesSomething(Steps):
    """A step whose batches have a rest, each done when its first offset is let go of."""

    def __init__(self) -> None:
        super().__init__()
        self.free.set()
        self.rests: dict[int, asyncio.Future[None]] = {}

    async def __call__(self, batch: Batch) -> Rest | None:
        await super().__call__(batch)
        offset = batch.records[0].offset
        if offset % 2:
            return None
        self.rests[offset] = asyncio.get_running_loop().create_future()

        async def rest() -> None:
            await self.rests[offset]

        return rest


class LeavingScene(Scene):
    def __init__(self) -> None:
        super().__init__(max_batch_records=1)
        self.leaving = LeavesSomething()
        self.app.lanes._steps[SOURCE] = self.steps = self.leaving


async def test_a_lane_goes_on_while_a_batch_has_a_rest_and_commits_nothing_behind_it() -> None:
    scene = LeavingScene()
    for offset in range(4):
        scene.feed([offset])
    await scene.settle()
    assert scene.steps.offsets == [[0], [1], [2], [3]]
    assert scene.committed() is None

    scene.leaving.rests[2].set_result(None)
    await scene.settle()
    assert scene.committed() is None, "the first one is not done"

    idle = asyncio.ensure_future(scene.app.lanes.idle())
    await scene.settle()
    assert not idle.done(), "a rebalance waits for it"
    scene.leaving.rests[0].set_result(None)
    await scene.settle()
    assert scene.committed() == 4
    assert idle.done()


async def test_a_rest_that_cannot_be_done_by_us_puts_back_all_that_is_not_acknowledged() -> None:
    scene = LeavingScene()
    for offset in range(3):
        scene.feed([offset])
    await scene.settle()

    rejoined = list[int]()
    scene.app.membership._request_rejoin = lambda: rejoined.append(1)
    scene.leaving.rests[0].set_exception(NotOwner())
    await scene.settle()

    assert scene.committed() is None
    assert scene.leaving.rests[2].cancelled()
    assert not scene.app.batch_consumer._unacked_messages


async def test_a_rest_that_fails_for_a_moment_is_tried_again() -> None:
    scene = LeavingScene()
    scene.feed([0])
    await scene.settle()

    failed = scene.leaving.rests[0]
    scene.leaving.rests[0] = asyncio.get_running_loop().create_future()
    scene.leaving.rests[0].set_result(None)
    failed.set_exception(NotLeaderForPartitionError())
    async with asyncio.timeout(10):
        await scene.app.lanes.idle()
    assert scene.committed() == 1
