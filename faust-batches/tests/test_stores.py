from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from faust_batches.errors import StateFolderUnusable
from faust_batches.stores import MemoryStore, PartitionStore, RocksFolder


async def a_store(kind: str, path: Path) -> PartitionStore:
    if kind == "memory":
        return MemoryStore()
    return await RocksFolder(path, 1 << 20).open(0, timeout_seconds=5)


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
async def test_entries_and_position_change_together(kind: str, tmp_path: Path) -> None:
    store = await a_store(kind, tmp_path)
    assert (store.position, list(store.items())) == (None, [])
    store.write({b"a": b"1", b"b": b"2", b"c": b""}, 7)
    store.write({b"a": None, b"b": b"3", b"gone": None}, 9)
    assert (store.position, sorted(store.items())) == (9, [(b"b", b"3"), (b"c", b"")])
    assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (None, b"3", b"")
    store.close()


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
async def test_entries_can_be_read_on_while_others_are_written(kind: str, tmp_path: Path) -> None:
    store = await a_store(kind, tmp_path)
    store.write({b"%03d" % n: b"old" for n in range(100)}, 0)
    reading = store.items()
    found = [next(reading)]
    store.write({b"%03d" % n: b"new" for n in range(50, 150)} | {b"049": None}, 1)
    found += reading

    values = dict(found)
    assert len(found) == len(values)
    assert {b"%03d" % n: b"old" for n in range(49)}.items() <= values.items()
    assert {values[b"%03d" % n] for n in range(50, 100)} <= {b"old", b"new"}
    store.close()


def test_memory_keeps_the_very_object_that_was_written() -> None:
    store, value = MemoryStore(), bytes(bytearray(b"a value of its own"))
    store.write({b"a": value}, 0)
    assert store.get(b"a") is value


async def test_rocksdb_comes_back_with_entries_and_position(tmp_path: Path) -> None:
    store = await a_store("rocksdb", tmp_path)
    store.write({b"a": b"1"}, 41)
    store.close()
    again = await a_store("rocksdb", tmp_path)
    assert (again.position, list(again.items())) == (41, [(b"a", b"1")])
    again.close()


async def test_partitions_of_a_folder_are_apart(tmp_path: Path) -> None:
    folder = RocksFolder(tmp_path, 1 << 20)
    zero, one = [await folder.open(partition, timeout_seconds=5) for partition in (0, 1)]
    zero.write({b"a": b"1"}, 1)
    assert (one.position, list(one.items())) == (None, [])
    zero.close()
    one.close()


async def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    folder = RocksFolder(tmp_path, 1 << 20)
    first = await folder.open(0, timeout_seconds=5)
    with pytest.raises(
        StateFolderUnusable, match=r"/0 is in use by process \d+: every worker needs a folder of its own"
    ):
        await folder.open(0, timeout_seconds=0.3)
    waiting = asyncio.create_task(folder.open(0, timeout_seconds=10))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.close()
    (await waiting).close()


async def test_a_table_key_cannot_meet_the_key_of_the_position(tmp_path: Path) -> None:
    store = await a_store("rocksdb", tmp_path)
    with pytest.raises(ValueError, match="zero byte"):
        store.write({b"\x00position": b"1"}, 0)
    assert store.position is None
    store.close()


def rights_of_others(folder: Path) -> list[int]:
    """At each database in it."""
    return [file.parent.stat().st_mode & 0o077 for file in folder.rglob("CURRENT")]


async def test_nobody_else_can_read_a_state(tmp_path: Path) -> None:
    pytest.importorskip("rocksdict")
    before = os.umask(0o022)
    try:
        store = await a_store("rocksdb", tmp_path / "customers")
        store.close()
    finally:
        os.umask(before)
    assert rights_of_others(tmp_path) == [0]
