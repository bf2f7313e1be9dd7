from __future__ import annotations

from pathlib import Path

import pytest
from batch_builders import a_record, an_app
from faust.types import TP
from faust_batches.errors import ChangelogMismatch
from faust_batches.table import BatchTable

CHANGELOG = "app-counts-changelog"


def owned(*partitions: int) -> set[TP]:
    return {TP(CHANGELOG, partition) for partition in partitions} | {
        TP("source", partition) for partition in partitions
    }


async def a_table(*partitions: int, store: str = "memory", path: Path | None = None) -> BatchTable:
    app = an_app(store=store, datadir=path)
    table = BatchTable(app, app.config, "counts", supersedes=lambda new, old: int(new) >= int(old))
    await table.on_rebalance(owned(*partitions), set(), owned(*partitions))
    return table


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_the_last_record_of_a_key_wins(store: str, tmp_path: Path) -> None:
    table = await a_table(0, store=store, path=tmp_path)
    table.load(0, [a_record(0, key=b"a", value=b"1"), a_record(1, key=b"b", value=b"1")])
    table.load(
        0, [a_record(2, key=b"a", value=None), a_record(5, key=b"b", value=b"2"), a_record(6, key=b"a", value=b"0")]
    )
    assert sorted(table.items(0)) == [(b"a", b"0"), (b"b", b"2")]
    assert table.position(0) == 6
    assert table.stale(0) == {}
    await table.data.stop()


@pytest.mark.parametrize("split", [1, 2, 3])
async def test_an_older_value_after_a_newer_one_is_ignored_and_to_be_repaired(split: int) -> None:
    table = await a_table(0)
    log = [a_record(0, key=b"a", value=b"7"), a_record(1, key=b"a", value=b"3"), a_record(2, key=b"b", value=b"1")]
    table.load(0, log[:split])
    if log[split:]:
        table.load(0, log[split:])
    assert table.get(0, b"a") == b"7"
    assert table.stale(0) == {b"a": b"7"}
    assert table.position(0) == 2


async def test_a_repair_is_due_until_the_key_is_written() -> None:
    table = await a_table(0)
    table.load(0, [a_record(0, key=b"a", value=b"7"), a_record(1, key=b"a", value=b"3")])
    table.write(0, {b"b": b"1"}, 2)
    assert table.stale(0) == {b"a": b"7"}
    table.write(0, {b"a": b"8"}, 3)
    assert table.stale(0) == {}


async def test_a_newer_value_in_the_changelog_needs_no_repair() -> None:
    table = await a_table(0)
    table.load(0, [a_record(0, value=b"7"), a_record(1, value=b"3"), a_record(2, value=b"8")])
    assert (table.get(0, b"key"), table.stale(0)) == (b"8", {})


async def test_a_lost_partition_is_forgotten_and_a_kept_one_is_not() -> None:
    table = await a_table(0, 1)
    for partition in (0, 1):
        table.write(partition, {b"a": b"1"}, 3)
    await table.on_rebalance(owned(1, 2), owned(0), owned(2))
    assert {partition: list(table.items(partition)) for partition in (1, 2)} == {1: [(b"a", b"1")], 2: []}
    assert table.persisted_offset(TP(CHANGELOG, 1)) == 3
    assert table.persisted_offset(TP(CHANGELOG, 2)) is None
    with pytest.raises(KeyError):
        table.get(0, b"a")
    await table.on_rebalance(owned(0), owned(1, 2), owned(0))
    assert list(table.items(0)) == []


async def test_of_a_partition_that_was_given_away_no_changelog_is_known_and_none_is_recorded() -> None:
    """A rebalance may come while a recovery compares state and changelogs: nobody is there to be compared then."""
    table = await a_table(0, 1)
    for partition in (0, 1):
        table.belong_to(partition, "an-id")
    await table.on_rebalance(owned(1), owned(0), set())
    table.belong_to(0, "another")
    assert [table.log_id(partition) for partition in (0, 1)] == [None, "an-id"]


async def test_a_changelog_record_without_a_key_is_refused() -> None:
    table = await a_table(0)
    with pytest.raises(ChangelogMismatch, match=f"{CHANGELOG}-0@5 is not an entry of this table: it has no key"):
        table.load(0, [a_record(5, key=None)])


async def test_nobody_writes_a_table_past_the_changelog() -> None:
    table = await a_table(0)
    with pytest.raises(TypeError):
        table[b"a"] = b"1"
