"""Recovery: what ends it without having ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from batch_builders import a_record, an_app
from faust.tables.recovery import Recovery
from faust.types import TP
from faust_batches import BatchResult
from faust_batches.errors import WorkerFailed
from faust_batches.fetched import Fetched
from faust_batches.ports import Changelogs
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


class Seeks:
    """The consumer, as far as recovery asks it to read from somewhere else."""

    def __init__(self) -> None:
        self.wanted: list[Mapping[TP, int]] = []

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self.wanted.append(partitions)


async def test_a_recovery_that_finds_the_store_damaged_begins_again_with_an_empty_one(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict")
    app, seeks = an_app(store="rocksdb", datadir=tmp_path), Seeks()
    app.stateful("a", lambda *_: BatchResult(), {"counts": lambda _new, _old: True})
    table = app._role.tables["counts"]
    tp = table.changelog(0)
    await table.data.on_rebalance({tp}, set(), {tp})
    table.write(0, {b"k%04d" % n: b"%040d" % (n * 7919) for n in range(2_000)}, 1_999)
    await table.data.on_rebalance(set(), {tp}, set())
    (file,) = tmp_path.rglob("*.sst")  # noqa: ASYNC240
    content = bytearray(file.read_bytes())
    middle = len(content) // 2  # beyond the block with the position: else it would be found when it is opened
    content[middle : middle + 16] = bytes(byte ^ 0xFF for byte in content[middle : middle + 16])
    file.write_bytes(content)
    await table.data.on_rebalance({tp}, set(), {tp})

    recovery = app.recovery
    recovery._ports = replace(recovery._ports, changelogs=lambda: cast("Changelogs", seeks))
    recovery.in_recovery, recovery.active_tps, recovery.tp_to_table[tp] = True, {tp}, table
    recovery.active_offsets[tp], recovery.active_highwaters[tp] = 1_999, 9_999
    changed = [a_record(2_000 + n, key=b"k%04d" % n) for n in range(2_000)]
    await recovery.apply(tp, Fetched(2_000, changed))
    assert (table.position(0), recovery.active_offsets[tp], seeks.wanted) == (-1, -1, [{tp: 0}])

    await recovery.apply(tp, Fetched(0, [a_record(n, key=b"k%04d" % n) for n in range(2_000)]))
    assert table.position(0) == 1_999
    assert len(list(table.items(0))) == 2_000
    aside = file.parents[1] / "0.damaged"
    assert aside.exists()
    await table.data.on_recovery_completed({tp}, set())
    assert not aside.exists()
    await table.data.on_rebalance(set(), {tp}, set())
