from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from batch_builders import SOURCE, an_app
from faust_batches import BatchApp, BatchResult, Read, Record, run_worker
from faust_batches.errors import BrokersMoved, TopicsMismatch, WorkEnded
from faust_batches.run import _watchdog


def nothing(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
    return BatchResult()


def test_a_worker_without_a_broker_waits_says_so_and_asks_to_be_restarted(caplog: pytest.LogCaptureFixture) -> None:
    app = an_app(start_wait_seconds=1.0)
    app.stateless([SOURCE], nothing)
    assert run_worker(app) == 75
    (waiting,) = [vars(record) for record in caplog.records if record.message == "brokers_awaited"]
    assert waiting["cause"].startswith("no Kafka broker at ")
    assert waiting["at_most_seconds"] == 1
    (failed,) = [vars(record) for record in caplog.records if record.message == "worker_not_started"]
    assert failed["reason"] == "BrokersAway"
    assert "within 1 s: no Kafka broker at " in failed["cause"]


def test_a_worker_leaves_no_watchdog_behind() -> None:
    app = an_app(start_wait_seconds=0.1)
    app.stateless([SOURCE], nothing)
    run_worker(app)
    assert all(thread.finished.is_set() for thread in threading.enumerate() if isinstance(thread, threading.Timer))


@pytest.mark.parametrize(
    ("failure", "code"), [(None, 70), (TopicsMismatch("in does not exist"), 1), (BrokersMoved("moved"), 75)]
)
def test_a_worker_that_does_not_stop_in_time_ends_with_the_code_of_what_has_failed(
    failure: Exception | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, ended = an_app(), list[int]()
    monkeypatch.setattr("faust_batches.run.os._exit", ended.append)
    if failure is not None:
        app.fail(failure)
    _watchdog([app]).function()
    assert ended == [code]


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ([BrokersMoved("moved")], 75),
        ([BrokersMoved("moved"), ValueError("a fault")], 1),
        ([None, WorkEnded("a task")], 75),
    ],
)
def test_only_a_worker_that_a_restart_helps_asks_for_one(
    failures: list[Exception | None], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 means that no restart helps; it wins."""
    apps = [an_app(id=f"app-{number}") for number in range(len(failures))]

    async def begin(apps: Sequence[BatchApp]) -> None:
        for app, failure in zip(apps, failures, strict=True):
            app.membership.start()
            if failure is not None:
                app.fail(failure)

    monkeypatch.setattr("faust_batches.run._start_all", begin)
    assert run_worker(*apps) == code


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_while_it_is_entering_what_is_beside_it_ends_it_in_order(signals: int) -> None:
    left: list[str] = []

    @asynccontextmanager
    async def entered() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            left.append("entered")

    @asynccontextmanager
    async def slow_to_enter() -> AsyncIterator[None]:
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
        yield
        pytest.fail("it went on")

    app = an_app()
    app.stateless([SOURCE], nothing)
    assert run_worker(app, beside=[entered(), slow_to_enter()]) == 0
    assert left == ["entered"]
    assert not app.started
