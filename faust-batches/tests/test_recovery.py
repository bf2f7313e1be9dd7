"""Recovery: what ends it without having ended it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from batch_builders import an_app
from faust.tables.recovery import Recovery
from faust_batches import BatchResult
from faust_batches.errors import WorkerFailed
from faust_batches.recovery import BatchRecovery, BatchTableManager
from mode.services import ServiceTask


async def test_a_recovery_cancelled_while_the_worker_runs_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the broker dies under it: mode would end the task without a word, and the tables would never be ready."""
    began: list[int] = []

    async def faust_recovery(recovery: Recovery) -> None:
        while not recovery.should_stop:
            await recovery.signal_recovery_start.wait()
            recovery.signal_recovery_start.clear()
            began.append(recovery._generation_id)
            if len(began) == 1:
                raise asyncio.CancelledError
            recovery._stopped.set()

    monkeypatch.setattr(Recovery, "_restart_recovery", ServiceTask(faust_recovery))
    app = an_app()
    app.stateful("a", lambda *_: BatchResult(), ["counts"])
    recovery = cast("BatchTableManager", app.tables).recovery
    recovery._generation_id = 7
    recovery.signal_recovery_start.set()
    async with asyncio.timeout(10):
        await BatchRecovery._restart_recovery.fun(recovery)
    assert began == [7, 7]
    assert "recovery_cancelled" in caplog.text


async def test_a_recovery_cancelled_by_the_stop_of_the_worker_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def faust_recovery(recovery: Recovery) -> None:
        recovery._stopped.set()
        raise asyncio.CancelledError

    monkeypatch.setattr(Recovery, "_restart_recovery", ServiceTask(faust_recovery))
    app = an_app()
    app.stateful("a", lambda *_: BatchResult(), ["counts"])
    with pytest.raises(asyncio.CancelledError):
        await BatchRecovery._restart_recovery.fun(cast("BatchTableManager", app.tables).recovery)


async def test_a_recovery_that_is_itself_cancelled_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the loop is torn down: it must not be held up, and the worker must not live on without its tables."""

    async def faust_recovery(recovery: Recovery) -> None:
        await recovery.signal_recovery_start.wait()

    monkeypatch.setattr(Recovery, "_restart_recovery", ServiceTask(faust_recovery))
    app = an_app()
    app.stateful("a", lambda *_: BatchResult(), ["counts"])
    recovery = cast("BatchTableManager", app.tables).recovery
    task = asyncio.ensure_future(BatchRecovery._restart_recovery.fun(recovery))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(app.failure, WorkerFailed)
