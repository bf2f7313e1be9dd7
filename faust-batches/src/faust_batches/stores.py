"""Where a table's entries live on this worker: one store per owned partition, holding entries AND changelog position.

An entry and the position that it brings the store to are written together, so a store never claims more, or less, than
it holds. Stores know no Faust, no Kafka and no other partition: losing a partition is dropping its store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from faust_batches.errors import StateFolderUnusable
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

    def get(self, key: bytes, /) -> bytes | None: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry. The store may be written to meanwhile: a changed entry may come in its old or new form."""
        ...

    def write(self, changes: Mapping[bytes, bytes | None], position: int, source: SourcePosition | None = None) -> None:
        """All or nothing: apply ``changes`` (``None`` deletes), move to ``position``, and to ``source`` if given."""
        ...

    def close(self) -> None: ...


class MemoryStore:
    """A dict. It keeps the very ``bytes`` object that was written, so a reader may cache by identity."""

    __slots__ = ("_entries", "get", "position", "source")

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self.get = self._entries.get
        self.position: int | None = None
        self.source: SourcePosition | None = None

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

    def close(self) -> None:
        self._entries.clear()


_POSITION_KEY: Final = b"\x00position"  # no table key begins with a zero byte (checked on write)
_SOURCE_KEY: Final = b"\x00source"
_LOCK_RETRY_SECONDS: Final = 0.2


class RocksStore:
    """A RocksDB database. Survives the process: recovery then reads only what the changelog has gained since.

    Writes are not synced to the disk one by one: after a power cut the database is older, as its position shows.
    """

    __slots__ = ("_db", "_new_batch", "_path", "get", "position", "source")

    def __init__(self, db: rocksdict.Rdict, path: Path) -> None:
        from rocksdict import WriteBatch  # noqa: PLC0415  (optional dependency)

        self._db, self._path = db, path
        self._new_batch = WriteBatch
        self.get = db.get
        stored = db.get(_POSITION_KEY)
        self.position: int | None = None if stored is None else int(stored)
        read = db.get(_SOURCE_KEY)
        self.source: SourcePosition | None = None if read is None else SourcePosition.decode(read)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        entries = cast("Iterator[tuple[bytes, bytes]]", self._db.items())  # raw mode: nothing but bytes
        return (entry for entry in entries if entry[0][:1] != b"\x00")

    def write(self, changes: Mapping[bytes, bytes | None], position: int, source: SourcePosition | None = None) -> None:
        """As in ``PartitionStore``. Raises StateFolderUnusable."""
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
        try:
            self._db.write(batch)
        except Exception as exc:  # rocksdict raises plain Exception
            raise _unusable(self._path, "written", exc) from exc
        self.position = position
        self.source = source or self.source

    def close(self) -> None:
        try:
            self._db.close()
        except Exception as exc:  # noqa: BLE001  (plain, as above; what is not on the disk is in the changelog)
            logger.warning("store_not_closed", extra={"cause": str(_unusable(self._path, "written", exc))})


def _unusable(path: Path, what: str, exc: Exception) -> StateFolderUnusable:
    return StateFolderUnusable(
        f"the state folder {path} cannot be {what}: {exc}. Free space or repair the disk, and restart: what "
        "is missing here is read from the changelog. A folder that stays unreadable may be removed"
    )


class RocksFolder:
    """The databases of one table, one folder per partition, with one block cache for all of them."""

    def __init__(self, path: Path, block_cache_bytes: int) -> None:
        import rocksdict  # noqa: PLC0415  (optional dependency)

        self._path = path
        table = rocksdict.BlockBasedOptions()
        table.set_bloom_filter(10, block_based=False)
        table.set_block_cache(rocksdict.Cache(block_cache_bytes))
        self._options = rocksdict.Options(raw_mode=True)
        self._options.create_if_missing(True)  # noqa: FBT003  (foreign signature)
        self._options.set_block_based_table_factory(table)
        self._options.set_max_open_files(512)
        self._options.set_keep_log_file_num(2)

    async def open(self, partition: int, *, timeout_seconds: float) -> RocksStore:
        """Open a partition's database; waits while another process, perhaps our dying predecessor, holds its lock.

        Raises:
            StateFolderUnusable: anything is wrong with the folder. TimeoutError: the lock is still held.
        """
        from rocksdict import Rdict  # noqa: PLC0415  (optional dependency)

        path = self._path / str(partition)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise _unusable(path, "made", exc) from exc
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    return RocksStore(Rdict(str(path), options=self._options), path)
                except Exception as exc:  # rocksdict raises plain Exception
                    if "lock" not in str(exc).lower():
                        raise _unusable(path, "opened", exc) from exc
                await asyncio.sleep(_LOCK_RETRY_SECONDS)
