"""What an app tells about itself, and what a lane holds: counted without a broker."""

from __future__ import annotations

import asyncio
from time import monotonic

from batch_builders import SOURCE, a_record, an_app, settled, take_acks
from faust.types import TP
from faust_batches import Histogram, app_status, lag
from faust_batches.errors import Fenced
from faust_batches.fetched import BatchMessage
from faust_batches.lanes import Batch


class Gate:
    """A step that waits to be opened, and then raises what it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.raises: list[Exception] = []

    async def __call__(self, _batch: Batch) -> None:
        await self.open.wait()
        if self.raises:
            raise self.raises.pop(0)


class Scene:
    """An app that is not started, with one source."""

    def __init__(self, **settings: int) -> None:
        self.gate = Gate()
        self.app = an_app(**settings)
        self.app.lanes.add_topic(SOURCE, self.gate)
        take_acks(self.app)

    async def feed(self, *offsets: int, value: bytes = b"value") -> None:
        message = BatchMessage(TP(SOURCE, 0), [a_record(offset, value=value) for offset in offsets], 0)
        message.incref()
        self.app.batch_consumer.track_message(message)
        self.app.lanes.feed(message)
        await self.settle()

    async def settle(self) -> None:
        """Let the lanes do what they can without anybody's help."""
        await settled(self.app)

    def rests(self) -> bool:
        """Whether the partition is not fetched for now."""
        return TP(SOURCE, 0) in self.app.batch_consumer._buffered_partitions


async def test_a_lane_is_full_by_bytes_as_well_as_by_records() -> None:
    scene = Scene(max_queued_bytes=10_000)
    await scene.feed(0)  # is under way from now on, and queues no more
    await scene.feed(1, value=b"x" * 6_000)
    assert not scene.rests()
    await scene.feed(2, value=b"x" * 4_000)
    assert scene.rests()
    scene.gate.open.set()
    await scene.settle()
    assert not scene.rests()


async def test_a_batch_under_way_is_seen_with_its_age_and_what_waits_behind_it() -> None:
    scene = Scene()
    assert app_status(scene.app).attempt_seconds == 0
    begun = monotonic()
    await scene.feed(0, 1)
    await scene.feed(2, 3, 4)
    seen = app_status(scene.app)
    assert 0 < seen.attempt_seconds <= monotonic() - begun
    assert seen.queued == {SOURCE: 3}
    scene.gate.open.set()
    await scene.settle()
    seen = app_status(scene.app)
    assert (seen.attempt_seconds, seen.queued) == (0, {SOURCE: 0})


async def test_durable_batches_are_counted_by_size_and_given_up_ones_as_such() -> None:
    scene = Scene()
    scene.gate.open.set()
    await scene.feed(0, 1, 2)
    await scene.feed(3)
    meter = scene.app.meter
    assert meter.batch_records[SOURCE].sum == 4
    assert meter.batch_records[SOURCE].cumulated()[-1][1] == 2
    assert meter.batch_seconds[SOURCE].cumulated()[-1][1] == 2
    scene.gate.open.clear()
    await scene.feed(4)
    scene.app.membership.begin()  # so nobody asks for another one
    scene.gate.raises = [Fenced("source-0")]
    scene.gate.open.set()
    await scene.settle()
    assert (meter.dropped, meter.fenced) == (1, 1)
    assert meter.batch_records[SOURCE].sum == 4


async def test_positions_are_those_of_partitions_that_are_ours() -> None:
    scene = Scene()
    scene.gate.open.set()
    await scene.feed(0, 1)
    await scene.app.take_over({TP(SOURCE, 0), TP(SOURCE, 1)}, 1, {SOURCE})
    assert scene.app.positions() == {(SOURCE, 0): 2}
    await scene.app.take_over({TP(SOURCE, 1)}, 2, {SOURCE})
    assert scene.app.positions() == {}


def test_an_app_that_is_not_started_has_no_lag_and_is_no_member() -> None:
    app = an_app()
    assert lag(app) == {}
    seen = app_status(app)
    assert not seen.joined
    assert not seen.in_touch
    assert app._consumer is None, "looking makes nothing"


def test_a_value_counts_for_its_bound_and_all_above() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.5, 1.0, 1.1, 6.0):
        histogram.observe(value)
    assert histogram.cumulated() == [(1.0, 2), (5.0, 3), (float("inf"), 4)]
    assert histogram.sum == 8.6
