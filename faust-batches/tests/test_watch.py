"""What stands still is noted, and told from what moves, waits or has nothing to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from batch_builders import SOURCE, an_app
from faust.types import TP
from faust_batches import BatchApp
from faust_batches.errors import WorkEnded
from faust_batches.lanes import Batch
from faust_batches.status import Ends
from faust_batches.watch import Standstill, Watch

FIRST, SECOND = TP(SOURCE, 0), TP(SOURCE, 1)


def test_what_moves_does_not_stand_and_what_is_done_is_forgotten() -> None:
    still = Standstill()
    assert still.note([(FIRST, 5), (SECOND, 5)], 100.0) == {FIRST: 0.0, SECOND: 0.0}
    assert still.note([(FIRST, 5), (SECOND, 6)], 110.0) == {FIRST: 10.0, SECOND: 0.0}
    assert still.note([(SECOND, 6)], 120.0) == {SECOND: 10.0}
    assert still.note([(FIRST, 5)], 130.0) == {FIRST: 0.0}


@contextmanager
def a_watched_app(monkeypatch: pytest.MonkeyPatch, sources: dict[TP, tuple[int, int]]) -> Iterator[BatchApp]:
    """An app that is not started; brokers confirm it, and it has read ``sources`` so far (position, left)."""
    app = an_app()
    monkeypatch.setattr(app.batch_consumer, "silence_seconds", lambda: 0.0)
    monkeypatch.setattr("faust_batches.watch.readable", lambda _app: sources)
    monkeypatch.setattr("faust_batches.watch.ends", lambda _app: {})
    yield app


async def test_only_a_source_with_something_to_read_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {FIRST: (5, 0), SECOND: (5, 3)}
    with a_watched_app(monkeypatch, sources) as app:
        watch = Watch(app)
        for now in (100.0, 160.0):
            watch.look(now)
        assert app.standing_seconds == 60.0
        sources[SECOND] = (6, 2)
        watch.look(170.0)
        assert app.standing_seconds == 0.0


async def test_without_brokers_nothing_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_watched_app(monkeypatch, {FIRST: (5, 3)}) as app:
        watch = Watch(app)
        watch.look(100.0)
        monkeypatch.setattr(app.batch_consumer, "silence_seconds", lambda: 60.0)
        watch.look(160.0)
        assert app.standing_seconds == 0.0
        monkeypatch.setattr(app.batch_consumer, "silence_seconds", lambda: 0.0)
        watch.look(170.0)
        assert app.standing_seconds == 0.0


async def test_a_rebalance_without_end_and_what_the_app_expects_itself_stand_still_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_watched_app(monkeypatch, {}) as app:
        due: list[int | None] = [None]
        app.expects("wakeups", lambda: due[0])
        watch = Watch(app)
        watch.look(100.0)
        watch.look(160.0)
        assert app.standing_seconds == 0.0
        due[0] = 7
        watch.look(170.0)
        watch.look(190.0)
        assert app.standing_seconds == 20.0
        app.on_rebalance_start()
        watch.look(200.0)
        watch.look(230.0)
        assert app.standing_seconds == 30.0
        app.meter.recovered["counts"] += 1
        watch.look(240.0)
        assert app.standing_seconds == 0.0


async def test_an_open_transaction_is_named_once_it_lasts_and_not_at_every_look(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    at = {FIRST: Ends(5, 9), SECOND: Ends(7, 7)}
    with a_watched_app(monkeypatch, {}) as app:  # with a session timeout of 10 s
        monkeypatch.setattr("faust_batches.watch.ends", lambda _app: at)
        watch = Watch(app)
        said = []
        for now in (100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0):
            watch.look(now)
            said.append(len(caplog.records))
        assert said == [0, 0, 1, 1, 1, 2, 2]
        record = vars(caplog.records[0])
        told = {name: record[name] for name in ("msg", "topic", "partition", "offset", "records", "seconds")}
        assert told == {
            "msg": "open_transaction", "topic": SOURCE, "partition": 0, "offset": 5, "records": 4, "seconds": 20,
        }  # fmt: skip
        at[FIRST] = Ends(9, 9)
        watch.look(170.0)
        at[FIRST] = Ends(9, 12)
        watch.look(180.0)
        assert len(caplog.records) == 2


async def nothing(_batch: Batch) -> None: ...


async def test_a_lane_that_is_cancelled_ends_the_worker() -> None:
    """Faust and asyncio end a cancelled task without a word, and its partition would wait for ever."""
    app = an_app()
    app.lanes.add_topic(SOURCE, nothing)
    lane = app.lanes._lane(FIRST)
    await asyncio.sleep(0)
    lane.task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert isinstance(app.failure, WorkEnded)


async def test_work_that_ought_to_last_and_ends_ends_the_worker() -> None:
    app = an_app()
    task = asyncio.ensure_future(app._lasting(asyncio.sleep(60), "the timer"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert str(app.failure) == "the timer has ended"
