"""Local stores whose files are damaged, or cannot be used: named for what they are, and never read in part."""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import pytest
from faust_batches.errors import NotOwner, StateFolderUnusable, StoreDamaged
from faust_batches.stores import RocksFolder, RocksStore

ENTRIES = {b"k%05d" % n: b"%040d" % (n * 7919) for n in range(3_000)}
LAST = 41

pytest.importorskip("rocksdict")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def opened(path: Path) -> RocksStore:
    return await RocksFolder(path, 1 << 20).open(0, timeout_seconds=5)


async def written(path: Path) -> Path:
    """The folder of a store with all entries, closed."""
    store = await opened(path)
    store.write(ENTRIES, LAST)
    store.close()
    return path / "0"


def the_file(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def flip(file: Path, at: float = 0.5) -> None:
    """Change 16 bytes in the middle."""
    content = bytearray(file.read_bytes())
    begin = int(len(content) * at)
    content[begin : begin + 16] = bytes(byte ^ 0xFF for byte in content[begin : begin + 16])
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


async def test_reading_does_not_end_at_a_block_that_cannot_be_read(tmp_path: Path) -> None:
    folder = await written(tmp_path)
    flip(the_file(folder, "*.sst"))
    store = await opened(tmp_path)
    entries = store.items()
    with pytest.raises(StoreDamaged, match=r"/0 is damaged: Corruption: block checksum mismatch"):
        list(entries)
    with pytest.raises(StoreDamaged):  # whoever asks again is not told that this is the end
        next(entries)
    assert store.damaged
    store.close()


async def test_a_block_that_cannot_be_read_is_damage_to_whoever_asks_for_its_entries(tmp_path: Path) -> None:
    folder = await written(tmp_path)
    flip(the_file(folder, "*.sst"))
    store = await opened(tmp_path)
    found, damaged = 0, 0
    for key, value in ENTRIES.items():
        try:
            assert store.get(key) == value
            found += 1
        except StoreDamaged:
            damaged += 1
    assert found > 0
    assert damaged > 0
    store.close()


async def test_a_store_that_was_found_damaged_is_set_aside_when_it_is_opened_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = await written(tmp_path)
    flip(the_file(folder, "*.sst"))
    store = await opened(tmp_path)
    with pytest.raises(StoreDamaged):
        list(store.items())
    store.close()

    databases = RocksFolder(tmp_path, 1 << 20)  # as after a restart
    again = await databases.open(0, timeout_seconds=5)
    assert (again.position, list(again.items()), again.damaged) == (None, [], False)
    assert (tmp_path / "0.damaged" / "CURRENT").exists()
    assert [each.message for each in caplog.records] == ["store_damaged", "store_read_again"]
    assert "Corruption" in caplog.records[-1].cause  # type: ignore[attr-defined]

    again.write(ENTRIES, LAST)
    databases.recovered(0)
    assert not (tmp_path / "0.damaged").exists()
    assert dict(again.items()) == ENTRIES
    again.close()


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.sst", cut),
        ("*.sst", Path.unlink),
        ("*.sst", lambda file: flip(file, 0.999)),
        ("CURRENT", Path.unlink),
        ("CURRENT", cut),
        ("CURRENT", flip),
        ("MANIFEST-*", Path.unlink),
        ("MANIFEST-*", cut),
        ("MANIFEST-*", flip),
    ],
)
async def test_a_store_that_cannot_be_opened_for_damage_is_set_aside(
    tmp_path: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    folder = await written(tmp_path)
    damage(the_file(folder, pattern))
    store = await opened(tmp_path)
    assert (store.position, list(store.items())) == (None, [])
    store.write(ENTRIES, LAST)
    assert dict(store.items()) == ENTRIES
    store.close()


async def test_what_a_crash_and_a_damaged_list_of_files_leave_is_an_earlier_table_without_holes(tmp_path: Path) -> None:
    """A log beside the tables would bring back the last writes on top of an older table, and skip those between."""
    child = f"""
import asyncio, os
from pathlib import Path
from faust_batches.stores import RocksFolder
async def main():
    store = await RocksFolder(Path({str(tmp_path)!r}), 1 << 20).open(0, timeout_seconds=5)
    for n in range(3):
        store.write({{b"k%d" % n: b"v"}}, n)
        if n < 2:
            store._db.flush()
    os._exit(0)
asyncio.run(main())
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", child], check=True)
    manifest = the_file(tmp_path / "0", "MANIFEST-*")
    whole, seen = manifest.read_bytes(), set()
    kept = tmp_path / "kept"
    (tmp_path / "0").rename(kept)
    for size in range(len(whole), 0, -40):
        here = tmp_path / str(size)
        shutil.copytree(kept, here)
        (here / manifest.name).write_bytes(whole[:size])
        store = await RocksFolder(tmp_path, 1 << 20).open(size, timeout_seconds=5)
        expected = [] if store.position is None else [b"k%d" % n for n in range(store.position + 1)]
        assert [key for key, _ in store.items()] == expected, store.position
        seen.add(store.position)
        store.close()
    assert {None, 0, 1} <= seen


async def test_a_store_that_is_damaged_again_is_not_read_again_for_ever(tmp_path: Path) -> None:
    databases = RocksFolder(tmp_path, 1 << 20)
    for _ in range(2):
        folder = tmp_path / "0"
        store = await databases.open(0, timeout_seconds=5)
        store.write(ENTRIES, LAST)
        store.close()
        (folder / "CURRENT").unlink()
    with pytest.raises(StateFolderUnusable, match="damaged again, after it was read from its changelog"):
        await databases.open(0, timeout_seconds=5)


async def test_a_closed_store_has_no_end(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    store.write(ENTRIES, LAST)
    entries = store.items()
    assert len(list(islice(entries, 7))) == 7
    store.close()
    with pytest.raises(NotOwner):
        next(entries)
    again = await opened(tmp_path)  # nothing keeps the old one open
    again.close()


@linux
async def test_a_lock_that_another_process_holds_is_named_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faust_batches.stores._LOCK_REPORT_SECONDS", 0)
    (tmp_path / "0").mkdir()
    child = f"""
import sys, rocksdict
store = rocksdict.Rdict({str(tmp_path / "0")!r}, rocksdict.Options(raw_mode=True))
print("open", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # noqa: ASYNC220
        assert other.stdout is not None
        assert other.stdout.readline()
        with pytest.raises(StateFolderUnusable, match=f"/0 is in use by process {other.pid}: every worker needs"):
            await RocksFolder(tmp_path, 1 << 20).open(0, timeout_seconds=0.3)
        assert other.stdin is not None
        other.stdin.close()
    (record,) = [each for each in caplog.records if each.message == "store_locked"]
    assert record.held_by == f"process {other.pid}"  # type: ignore[attr-defined]


@contextmanager
def room_for(files: int) -> Iterator[None]:
    """Let this process open only so many more files."""
    in_use = {int(each.name) for each in Path("/proc/self/fd").iterdir()}
    limit = next(limit for limit in count(1) if limit - sum(fd < limit for fd in in_use) > files)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@linux
async def test_too_many_open_files_are_no_fault_of_the_folder(tmp_path: Path) -> None:
    await written(tmp_path)
    refusals = 0
    for files in range(1, 30):  # wherever in opening a database the limit is hit
        try:
            with room_for(files):
                (await opened(tmp_path)).close()
        except StateFolderUnusable as refused:
            assert "Too many open files" in str(refused)  # noqa: PT017  (until it can be opened)
            assert "The folder is sound" in str(refused)  # noqa: PT017
            assert "removed" not in str(refused)  # noqa: PT017
            refusals += 1
        else:
            break
    assert refusals > 3
    store = await opened(tmp_path)
    assert dict(store.items()) == ENTRIES
    store.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("IO error: No space left on device: While appending to file: /d/1.sst: No space left on device", "Free space"),
        ("IO error: While open a file for appending: /d/LOG: Permission denied", "Give this user the right"),
        ("Permission denied (os error 13)", "Give this user the right"),
        ("IO error: While open a file for appending: /d/1.log: Read-only file system", "mounted read-only"),
        ("IO error: While pread offset 0 len 4096: /d/1.sst: Input/output error", "Its disk is failing"),
        ("IO error: While open directory: /d: Too many open files in system", "fs.file-max"),
        ("IO error: While open a file: /d/block/lock: Disk quota exceeded", "quota"),
        ("Corruption: IO error: While open a file for random read: /d/1.sst: Too many open files", "ulimit -n"),
        ("Invalid argument: Column families not opened: other", "may be removed"),
    ],
)
async def test_every_trouble_has_its_own_remedy_and_none_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise Exception(text)  # noqa: TRY002  (as rocksdict does)

    monkeypatch.setattr("rocksdict.Rdict", fails)
    async with asyncio.timeout(5):
        with pytest.raises(StateFolderUnusable) as refused:
            await RocksFolder(tmp_path, 1 << 20).open(0, timeout_seconds=60)
    assert str(refused.value).startswith(f"the state folder {tmp_path}/0 cannot be opened: {text}. ")
    assert told in str(refused.value)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderUnusable, match=r"the state folder .*/file/0 cannot be opened"):
        await opened(tmp_path / "file")


async def test_nobody_else_may_read_what_is_stored(tmp_path: Path) -> None:
    folder = await written(tmp_path)
    assert folder.stat().st_mode & 0o077 == 0
