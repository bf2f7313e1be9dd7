"""Where a table's entries live on this worker: one store per owned partition, holding entries AND changelog position.

An entry and the position that it brings the store to are written together, so a store never claims more, or less, than
it holds. Stores know no Faust, no Kafka and no other partition: losing a partition is dropping its store.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, Self, cast
from weakref import WeakSet

from faust_batches.errors import NotOwner, StateFolderUnusable, StoreDamaged, TransportError
from faust_batches.source import SourcePosition

if TYPE_CHECKING:
    import rocksdict  # an optional dependency


logger = logging.getLogger(__name__)


class PartitionStore(Protocol):
    """Entries of one partition of one table."""

    position: int | None
    """Offset of the last changelog record that the entries include; ``None``: of nothing."""
    source: SourcePosition | None
    """How far the entries have read the source, as recorded in the changelog; ``None``: not recorded."""
    log: str | None
    """The id of the changelog that the entries were read from; ``None``: not recorded."""

    @property
    def damaged(self) -> bool:
        """Whether it was found damaged: it has to be closed, and opened again."""
        ...

    def get(self, key: bytes, /) -> bytes | None: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry. The store may be written to meanwhile: a changed entry may come in its old or new form."""
        ...

    def write(self, changes: Mapping[bytes, bytes | None], position: int, source: SourcePosition | None = None) -> None:
        """All or nothing: apply ``changes`` (``None`` deletes), move to ``position``, and to ``source`` if given."""
        ...

    def belong_to(self, log: str) -> None:
        """Record the changelog that the entries come from, before the first of them is written."""
        ...

    def close(self) -> None: ...


class MemoryStore:
    """A dict. It keeps the very ``bytes`` object that was written, so a reader may cache by identity."""

    __slots__ = ("_entries", "get", "log", "position", "source")

    damaged: Final = False

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self.get = self._entries.get
        self.position: int | None = None
        self.source: SourcePosition | None = None
        self.log: str | None = None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        entries = self._entries
        return ((key, entries[key]) for key in tuple(entries) if key in entries)

    def write(self, changes: Mapping[bytes, bytes | None], position: int, source: SourcePosition | None = None) -> None:
        entries = self._entries
        for key, value in changes.items():
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
        self.position = position
        self.source = source or self.source

    def belong_to(self, log: str) -> None:
        self.log = log

    def close(self) -> None:
        self._entries.clear()


_POSITION_KEY: Final = b"\x00position"  # no table key begins with a zero byte (checked on write)
_SOURCE_KEY: Final = b"\x00source"
_LOG_KEY: Final = b"\x00log"
_LOCK_RETRY_SECONDS: Final = 0.2
_LOCK_REPORT_SECONDS: Final = 1.0
_DAMAGED: Final = "DAMAGED"  # a file in a database's folder: set it aside before it is opened again
_PRIVATE: Final = 0o700
_MAX_OPEN_TABLE_FILES: Final = 64  # of 64 MiB: 4 GiB for a partition of a table, and a cache of handles beyond that
_FEWEST_FILES: Final = 8  # a database without table files: its lock, log, manifest and directories
_WRITE_BUFFER_BYTES: Final = 16 << 20

FILES_PER_STORE: Final = _FEWEST_FILES + _MAX_OPEN_TABLE_FILES
"""How many files a database may have open."""


class RocksStore:
    """A RocksDB database. Survives the process: recovery then reads only what the changelog has gained since.

    It has no write-ahead log: the changelog is that. So what a crash leaves is the table as it was at some earlier
    position, and never one with a hole in it; a log beside damaged files would make just that.
    """

    __slots__ = (
        *("__weakref__", "_db", "_new_batch", "_path", "_read", "_reading", "_unlogged"),
        *("log", "position", "source"),
    )

    def __init__(self, db: rocksdict.Rdict, path: Path) -> None:
        from rocksdict import WriteBatch, WriteOptions  # noqa: PLC0415  (optional dependency)

        self._db, self._path = db, path
        self._new_batch = WriteBatch
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # a property, whatever its stub says
        self._reading: WeakSet[_Entries] = WeakSet()
        self._read = db.get
        stored = self.get(_POSITION_KEY)
        self.position: int | None = None if stored is None else int(stored)
        read = self.get(_SOURCE_KEY)
        self.source: SourcePosition | None = None if read is None else SourcePosition.decode(read)
        log = self.get(_LOG_KEY)
        self.log: str | None = None if log is None else log.decode()

    @property
    def damaged(self) -> bool:
        return (self._path / _DAMAGED).exists()

    def get(self, key: bytes, /) -> bytes | None:
        """Raises StoreDamaged, StateFolderUnusable."""
        try:
            return cast("bytes | None", self._read(key))
        except Exception as exc:  # rocksdict raises plain Exception
            raise self.failed("read", exc) from exc

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """As in ``PartitionStore``. Its end is the table's end. Raises StoreDamaged, StateFolderUnusable."""
        entries = _Entries(self, self._db.iter())
        self._reading.add(entries)
        return entries

    def write(self, changes: Mapping[bytes, bytes | None], position: int, source: SourcePosition | None = None) -> None:
        """As in ``PartitionStore``. Raises StoreDamaged, StateFolderUnusable."""
        batch = self._new_batch(raw_mode=True)
        for key, value in changes.items():
            if key[:1] == b"\x00":
                raise ValueError("a table key must not begin with a zero byte")
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_POSITION_KEY, b"%d" % position)
        if source is not None:
            batch.put(_SOURCE_KEY, source.encode())
        self._write(batch)
        self.position = position
        self.source = source or self.source

    def belong_to(self, log: str) -> None:
        """As in ``PartitionStore``: a crash that loses this loses all that was written later, too. Raises as above."""
        if log != self.log:
            batch = self._new_batch(raw_mode=True)
            batch.put(_LOG_KEY, log.encode())
            self._write(batch)
            self.log = log

    def _write(self, batch: rocksdict.WriteBatch) -> None:
        try:
            self._db.write(batch, self._unlogged)
        except Exception as exc:  # rocksdict raises plain Exception
            raise self.failed("written", exc) from exc

    def close(self) -> None:
        """Never raises: what is not on the disk is in the changelog."""
        for entries in list(self._reading):  # each would keep the database open
            entries.close()
        try:
            self._db.close()
        except Exception as exc:  # noqa: BLE001  (plain, as above)
            logger.warning("store_not_closed", extra={"cause": str(_unusable(self._path, "written", exc))})

    def failed(self, what: str, exc: Exception) -> TransportError:
        """What an exception of rocksdict means. A damaged database is marked: it is set aside when next opened."""
        if not _is_damage(exc):
            return _unusable(self._path, what, exc)
        try:
            if not self.damaged:
                (self._path / _DAMAGED).write_text(str(exc), encoding="utf-8", errors="replace")
                logger.error("store_damaged", extra={"folder": str(self._path), "cause": str(exc)})
        except OSError as error:
            return _unusable(self._path, "written", error)
        return StoreDamaged(f"{self._path} is damaged: {exc}")


class _Entries:
    """Iterates over a database. RocksDB's own iterator just ends at a block that it cannot read."""

    __slots__ = ("__weakref__", "_cursor", "_failure", "_store")

    def __init__(self, store: RocksStore, cursor: rocksdict.RdictIter) -> None:
        self._store = store
        self._cursor: rocksdict.RdictIter | None = cursor
        self._failure: TransportError = NotOwner("the store is closed")
        cursor.seek_to_first()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        cursor = self._cursor
        if cursor is None:
            raise self._failure
        while cursor.valid():
            key, value = cursor.key(), cursor.value()
            cursor.next()
            if key[:1] != b"\x00":
                return key, value
        try:
            cursor.status()
        except Exception as exc:  # rocksdict raises plain Exception
            self._failure = self._store.failed("read", exc)
            self._cursor = cursor = None  # not even the traceback may keep the database open
            raise self._failure from exc
        raise StopIteration

    def close(self) -> None:
        """Let go of the database; from now on this raises, for it has not come to the end."""
        self._cursor = None


_LOCK_HELD: Final = ("IO error: While lock file: ", "IO error: lock hold by current process")
_REMEDIES: Final = {
    # In this order: the text of the first contains that of the second.
    errno.ENFILE: "The folder is sound: this machine may open no more files. Raise fs.file-max",
    errno.EMFILE: "The folder is sound: this process may open no more files. Raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENOSPC: "Free space, and restart: what is missing here is read from the changelog",
    errno.EDQUOT: "Raise this user's quota, and restart: what is missing here is read from the changelog",
    errno.EFBIG: "Its files may not grow: raise the limit of their size (ulimit -f, LimitFSIZE=), and restart",
    errno.EACCES: "Give this user the right to read and write it, or choose another folder",
    errno.EPERM: "Give this user the right to read and write it, or choose another folder",
    errno.EROFS: "Its file system is mounted read-only, as after a disk fault: mount it writable, or choose another",
    errno.EIO: "Its disk is failing: choose a folder on another one. All of it is read from the changelog",
}
_OTHER_REMEDY: Final = "All of it is in the changelog, too: the folder may be removed"


def _is_lock_held(exc: Exception) -> bool:
    """Whether a database is open elsewhere. The texts of damage hold the word "lock" as well, in "block"."""
    text = str(exc)
    return text.startswith(_LOCK_HELD) and not (
        text.startswith(_LOCK_HELD[0]) and not text.endswith((os.strerror(errno.EAGAIN), os.strerror(errno.EACCES)))
    )


def _error_number(exc: Exception) -> int | None:
    """Of one of the operating system's errors for which there is a remedy."""
    text = str(exc)
    return next((number for number in _REMEDIES if os.strerror(number) in text), None)


def _is_damage(exc: Exception) -> bool:
    """Whether a database's files are not what RocksDB wrote: changed, cut short, or missing."""
    text = str(exc)
    missing = text.startswith("IO error: ") and os.strerror(errno.ENOENT) in text
    return isinstance(exc, StoreDamaged) or (
        _error_number(exc) is None and (text.startswith("Corruption: ") or missing)
    )


def _unusable(path: Path, what: str, exc: Exception) -> StateFolderUnusable:
    remedy = _REMEDIES.get(_error_number(exc) or 0, _OTHER_REMEDY)
    return StateFolderUnusable(f"the state folder {path} cannot be {what}: {exc}. {remedy}")


def _lock_holder(path: Path) -> str:
    """Which process has the database open, as far as this system says."""
    try:
        inode = (path / "LOCK").stat().st_ino
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    except OSError:
        return "another process"
    # 1: POSIX  ADVISORY  WRITE 11838 fe:00:10045023 0 EOF
    held = [fields[4] for fields in locks if fields[1] == "POSIX" and fields[5].rpartition(":")[2] == str(inode)]
    return f"process {held[0]}" if held and int(held[0]) > 0 else "another process"  # of another container: 0


class RocksFolder:
    """The databases of one table, one folder per partition, with one block cache for all of them."""

    def __init__(self, path: Path, block_cache_bytes: int) -> None:
        import rocksdict  # noqa: PLC0415  (optional dependency)

        self._path = path
        self._set_aside: set[int] = set()
        table = rocksdict.BlockBasedOptions()
        table.set_bloom_filter(10, block_based=False)
        table.set_block_cache(rocksdict.Cache(block_cache_bytes))
        self._options = rocksdict.Options(raw_mode=True)
        self._options.create_if_missing(True)  # noqa: FBT003  (foreign signature)
        self._options.set_block_based_table_factory(table)
        self._options.set_max_open_files(_MAX_OPEN_TABLE_FILES)
        self._options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        self._options.set_keep_log_file_num(2)

    async def open(self, partition: int, *, timeout_seconds: float) -> RocksStore:
        """Open a partition's database; waits while another process, perhaps our dying predecessor, holds its lock.

        A damaged one is set aside, and an empty one is opened in its place: all of it is in the changelog.

        Raises:
            StateFolderUnusable: anything else is wrong with the folder, or the lock is still held.
        """
        path = self._path / str(partition)
        begun, reported = monotonic(), False
        while True:
            try:
                return self._opened(path)
            except StateFolderUnusable:
                raise
            except Exception as exc:  # rocksdict raises plain Exception
                if _is_damage(exc):
                    self._put_aside(partition, str(exc))
                    continue
                if not _is_lock_held(exc):
                    raise _unusable(path, "opened", exc) from exc
            waited = monotonic() - begun
            if waited >= timeout_seconds:
                raise StateFolderUnusable(
                    f"the state folder {path} is in use by {_lock_holder(path)}: every worker needs a folder of its own"
                )
            if not reported and waited >= _LOCK_REPORT_SECONDS:
                reported = True
                fields = {"folder": str(path), "held_by": _lock_holder(path), "seconds": timeout_seconds}
                logger.warning("store_locked", extra=fields)
            await asyncio.sleep(_LOCK_RETRY_SECONDS)

    def _opened(self, path: Path) -> RocksStore:
        from rocksdict import Rdict  # noqa: PLC0415  (optional dependency)

        path.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        marked = path / _DAMAGED
        if marked.exists():
            raise StoreDamaged(marked.read_text(encoding="utf-8", errors="replace"))
        db = Rdict(str(path), options=self._options)
        try:
            return RocksStore(db, path)
        except TransportError:
            db.close()
            raise

    def _put_aside(self, partition: int, cause: str) -> None:
        """Not removed: should the changelog turn out not to be whole, this is what is left."""
        path, aside = self._path / str(partition), self._aside(partition)
        if partition in self._set_aside:
            raise StateFolderUnusable(
                f"the state folder {path} is damaged again, after it was read from its changelog: {cause}. "
                f"{_REMEDIES[errno.EIO]}"
            )
        try:
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        except OSError as exc:
            raise _unusable(path, "set aside", exc) from exc
        self._set_aside.add(partition)
        fields = {"folder": str(path), "moved_to": aside.name, "cause": cause}
        logger.error("store_read_again", extra=fields)

    def set_aside(self, partition: int) -> None:
        """A closed database of another changelog: it makes room, and stays until all of the right one has been read."""
        path, aside = self._path / str(partition), self._other(partition)
        try:
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        except OSError as exc:
            raise _unusable(path, "set aside", exc) from exc

    def recovered(self, partition: int) -> None:
        """All that the changelog holds is in the store: remove what was set aside for it."""
        shutil.rmtree(self._other(partition), ignore_errors=True)
        aside = self._aside(partition)
        if aside.exists():
            shutil.rmtree(aside, ignore_errors=True)
            logger.warning("damaged_store_removed", extra={"folder": str(aside)})

    def _aside(self, partition: int) -> Path:
        return self._path / f"{partition}.damaged"

    def _other(self, partition: int) -> Path:
        return self._path / f"{partition}.other"
