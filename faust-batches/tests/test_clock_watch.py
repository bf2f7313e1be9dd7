"""A worker whose clock is wrong: it says so, publishes nothing, loses nothing, and goes on once the clock is right."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from aiokafka.errors import InvalidTimestampError, NotLeaderForPartitionError
from batch_builders import LocalProducer, a_record, an_app
from faust_batches import Output
from faust_batches.clock_watch import ClockWatch
from faust_batches.errors import ClockRefused, Fenced
from faust_batches.lanes import CLOCK_SECONDS
from faust_batches.publish import Publisher
from test_lanes import Scene

OUTPUTS = [Output("out", b"value", b"key")]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


async def test_a_broker_that_refuses_our_time_is_said_once_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    clock, producer = ClockWatch(), LocalProducer()
    publisher = Publisher(900_000, clock=clock)
    for _ in range(3):
        producer.refusals = [InvalidTimestampError()]
        with pytest.raises(ClockRefused):
            await publisher.acknowledged(await publisher.send(producer, OUTPUTS))
    assert clock.refused
    (record,) = caplog.records
    assert (record.message, record.levelname, vars(record)["topic"]) == ("clock_refused", "ERROR", "out")
    assert vars(record)["clock_shows"].startswith(time.strftime("%Y-%m-%dT", time.gmtime()))
    assert "NTP" in vars(record)["to_fix"]

    await publisher.acknowledged(await publisher.send(producer, OUTPUTS))
    assert not clock.refused
    assert said(caplog) == ["clock_refused", "clock_accepted"]


async def test_another_failure_does_not_hide_it() -> None:
    publisher, producer = Publisher(900_000), LocalProducer()
    producer.refusals = [NotLeaderForPartitionError(), InvalidTimestampError()]
    outputs = [Output("out", b"value", partition=0), Output("out", b"value", partition=1)]
    with pytest.raises(ClockRefused):
        await publisher.acknowledged(await publisher.send(producer, outputs))


async def test_the_batch_is_made_again_until_the_clock_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faust_batches.lanes.CLOCK_SECONDS", 0)
    scene = Scene()
    scene.steps.free.set()
    scene.steps.raises = [ClockRefused(), ClockRefused()]
    scene.feed([0, 1])
    await scene.settle()
    assert scene.steps.offsets == [[0, 1]] * 3
    assert scene.committed() == 2
    assert scene.app.failure is None
    assert scene.app.meter.repeated == 2


@pytest.mark.parametrize("is_clock", [True, False])
async def test_a_fenced_batch_is_put_back_and_a_wrong_clock_is_no_rivalry(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, is_clock: bool
) -> None:
    """Its producer's sequence is broken: a new assignment makes another."""
    monkeypatch.setattr("faust_batches.lanes.CLOCK_SECONDS", 0)
    rejoined: list[int] = []
    scene = Scene()
    monkeypatch.setattr(scene.app.membership, "rejoin", rejoined.append)
    fenced = Fenced("a-0")
    fenced.__cause__ = ClockRefused() if is_clock else None
    scene.steps.free.set()
    scene.steps.raises = [fenced]
    scene.feed([0, 1])
    await scene.settle()
    assert rejoined == [0]
    assert scene.committed() is None
    assert scene.app.meter.fenced == (not is_clock)
    assert said(caplog) == ([] if is_clock else ["batch_put_back"])


async def test_a_rebalance_does_not_wait_for_the_clock() -> None:
    scene = Scene()
    scene.steps.free.set()
    scene.steps.raises = [ClockRefused()]
    scene.app.rebalancing_count += 1  # after the batch was taken
    scene.app.membership._settled_rebalances += 1
    scene.feed([0])
    await scene.settle()
    assert len(scene.steps.batches) == 1
    scene.app.rebalancing_count += 1
    async with asyncio.timeout(CLOCK_SECONDS / 2):
        while len(scene.steps.batches) == 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("ahead", "noticed"), [(-3600, False), (0, False), (1.5, False), (60, True)])
def test_a_record_from_the_future_is_noticed(caplog: pytest.LogCaptureFixture, ahead: float, noticed: bool) -> None:
    clock, record = ClockWatch(), a_record(7)
    record.timestamp = int((time.time() + ahead) * 1_000)
    clock.see([record])
    clock.see([record])
    assert (clock.behind_seconds > 0) == noticed
    if noticed:
        assert clock.behind_seconds == pytest.approx(ahead, abs=10)
        (line,) = caplog.records
        assert (line.message, line.levelno) == ("record_from_the_future", logging.WARNING)
        assert (vars(line)["offset"], round(vars(line)["seconds"], -1)) == (7, 60)


def test_what_was_seen_long_ago_says_nothing_about_now(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, record = ClockWatch(), a_record(7)
    record.timestamp = int((time.time() + 60) * 1_000)
    clock.see([record])
    later = time.monotonic() + 61
    monkeypatch.setattr("faust_batches.clock_watch.monotonic", lambda: later)
    assert clock.behind_seconds == 0


async def test_what_is_done_at_intervals_waits_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The lane has logged it: ten tracebacks a second would say no more."""
    monkeypatch.setattr("faust_batches.app.CLOCK_SECONDS", 0)
    app, turns = an_app(), 0
    monkeypatch.setattr(type(app), "ready", property(lambda _: True))

    async def action() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            app._stopped.set()
        raise ClockRefused

    app.periodic(0, action)
    async with asyncio.timeout(10):
        await app._run_periodic(app._periodics[0])
    assert turns == 3
    assert said(caplog) == []
