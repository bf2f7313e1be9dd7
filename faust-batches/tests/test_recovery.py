"""Recovery: what ends it without having ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import pytest
from batch_builders import a_record, an_app
from faust.tables.recovery import RebalanceAgain, Recovery
from faust.types import TP
from faust_batches import BatchResult
from faust_batches.errors import ChangelogMismatch, WorkerFailed
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


class Described(Seeks):
    """A consumer that knows topics: their ids, and where they begin."""

    def __init__(self, ids: Mapping[str, str] | None, begin: int = 0) -> None:
        super().__init__()
        self.ids = ids
        self.begin = begin

    async def check_compacted(self, _topics: object) -> None:
        """They are."""

    async def topic_ids(self, _topics: object) -> Mapping[str, str] | None:
        return self.ids

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self.begin)


class Restarted:
    """An app with two tables of one partition, whose changelogs end at 100; started again with the folder it has."""

    def __init__(self, store: str, path: Path) -> None:
        self.app = an_app(store=store, datadir=path)
        self.app.stateful("a", lambda *_: BatchResult(), ["wakeups", "counts"])
        self.tables = self.app._role.tables
        self.tps = {table.changelog(0) for table in self.tables.values()}

    async def __aenter__(self) -> Self:
        for table in self.tables.values():
            await table.data.on_rebalance({table.changelog(0)}, set(), set())
        return self

    async def __aexit__(self, *_: object) -> None:
        for table in self.tables.values():
            await table.data.on_rebalance(set(), {table.changelog(0)}, set())

    def id_of(self, name: str) -> str:
        return self.tables[name].changelog_topic_name

    async def recovers_from(self, described: Described) -> dict[str, int]:
        """Per table, the offset before the one from which the changelog is going to be read."""
        recovery = self.app.recovery
        recovery._ports = replace(recovery._ports, changelogs=lambda: cast("Changelogs", described))
        recovery.active_tps = set(self.tps)
        for name in self.tables:
            tp = self.tables[name].changelog(0)
            recovery._add(self.tables[name], tp, recovery.active_offsets)
            recovery.active_highwaters[tp] = 99
        await recovery._build_offsets(described, self.tps, recovery.active_offsets, "active")
        return {name: recovery.active_offsets[table.changelog(0)] for name, table in self.tables.items()}


def ids(restarted: Restarted, *, wakeups: str = "one", counts: str = "one") -> dict[str, str]:
    return {restarted.id_of("wakeups"): f"wakeups-{wakeups}", restarted.id_of("counts"): f"counts-{counts}"}


OF_BEFORE = {"wakeups": 49, "counts": 59}
ANEW = {"wakeups": -1, "counts": -1}


async def filled(restarted: Restarted, known: Mapping[str, str]) -> None:
    """It has read both changelogs in part."""
    assert await restarted.recovers_from(Described(known)) == ANEW
    for name, position in OF_BEFORE.items():
        restarted.tables[name].write(0, {b"who": b"state"}, position)


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_a_state_of_a_topic_that_was_made_again_is_read_anew(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its offsets say nothing of the new one, which may be longer by now."""
    pytest.importorskip("rocksdict")
    async with Restarted(store, tmp_path) as worker:
        await filled(worker, ids(worker))
        assert await worker.recovers_from(Described(ids(worker))) == OF_BEFORE
        assert "stores_of_other_topics" not in caplog.text
        again = ids(worker, wakeups="two", counts="two")
        assert await worker.recovers_from(Described(again)) == ANEW
        assert [list(table.items(0)) for table in worker.tables.values()] == [[], []]
        (line,) = [record for record in caplog.records if record.message == "stores_of_other_topics"]
        assert "the topics were deleted and created again" in vars(line)["cause"]
        for name, position in OF_BEFORE.items():
            worker.tables[name].write(0, {}, position)
        assert await worker.recovers_from(Described(again)) == OF_BEFORE


async def test_what_was_set_aside_stays_until_the_right_changelog_is_read(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict")
    async with Restarted("rocksdb", tmp_path) as worker:
        await filled(worker, ids(worker))
        await worker.recovers_from(Described(ids(worker, wakeups="two", counts="two")))
        aside = sorted(tmp_path.rglob("0.other"))  # noqa: ASYNC240
        assert [folder.parent.name for folder in aside] == ["counts", "wakeups"]
        for table in worker.tables.values():
            await table.data.on_recovery_completed(set(), set())
        assert not [folder for folder in aside if folder.exists()]


@pytest.mark.parametrize("told", [True, False], ids=["ids are known", "a broker without ids"])
async def test_a_folder_of_an_earlier_version_is_read_anew_once(
    told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not say of which topic it is. Where no topic has an id, all is as before."""
    pytest.importorskip("rocksdict")
    async with Restarted("rocksdb", tmp_path) as worker:
        await filled(worker, {})
    async with Restarted("rocksdb", tmp_path) as worker:
        known = Described(ids(worker) if told else {})
        assert await worker.recovers_from(known) == (ANEW if told else OF_BEFORE)
        assert ("an earlier version wrote them" in str([vars(record) for record in caplog.records])) is told
        for name, position in OF_BEFORE.items():
            worker.tables[name].write(0, {b"who": b"state"}, position)
    async with Restarted("rocksdb", tmp_path) as worker:
        assert await worker.recovers_from(Described(ids(worker))) == (OF_BEFORE if told else ANEW)


@pytest.mark.parametrize("made_again", ["wakeups", "counts"])
async def test_a_changelog_that_was_made_again_alone_is_not_taken_for_the_whole_state(
    made_again: str, tmp_path: Path
) -> None:
    pytest.importorskip("rocksdict")
    async with Restarted("rocksdb", tmp_path) as worker:
        await filled(worker, ids(worker))
        with pytest.raises(ChangelogMismatch, match=f"{made_again}-changelog is another topic .* entries of the state"):
            await worker.recovers_from(Described(ids(worker, **{made_again: "two"})))
        assert worker.tables[made_again].get(0, b"who") == b"state"


async def test_a_folder_of_another_changelog_proves_nothing_of_one_that_lacks_its_head(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict")
    async with Restarted("rocksdb", tmp_path) as worker:
        await filled(worker, ids(worker))
        assert await worker.recovers_from(Described(ids(worker), begin=10)) == OF_BEFORE
        with pytest.raises(ChangelogMismatch, match="begins at 10: older entries were deleted"):
            await worker.recovers_from(Described(ids(worker, wakeups="two", counts="two"), begin=10))


async def test_a_recovery_whose_assignment_ends_before_the_topics_are_known_begins_again(tmp_path: Path) -> None:
    async with Restarted("memory", tmp_path) as worker:
        with pytest.raises(RebalanceAgain):
            await worker.recovers_from(Described(None))
