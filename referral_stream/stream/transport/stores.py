"""Where a table's entries live on this worker: one store per owned partition, holding entries AND changelog position.

An entry and the position that it brings the store to are written together, so a store never claims more, or less, than
it holds. Stores know no Faust, no Kafka and no other partition: losing a partition is dropping its store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    import rocksdict


class PartitionStore(Protocol):
    """Entries of one partition of one table."""

    position: int | None
    """Offset of the last changelog record that the entries include; `None`: of nothing."""

    def get(self, key: bytes, /) -> bytes | None: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...

    def write(self, changes: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply `changes` (`None` deletes) and move to `position`, both or neither."""
        ...

    def close(self) -> None: ...


class MemoryStore:
    """A dict. It keeps the very `bytes` object that was written, so a reader may cache by identity."""

    __slots__ = ("_entries", "get", "position")

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self.get = self._entries.get
        self.position: int | None = None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._entries.items())

    def write(self, changes: Mapping[bytes, bytes | None], position: int) -> None:
        entries = self._entries
        for key, value in changes.items():
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
        self.position = position

    def close(self) -> None:
        self._entries.clear()


_POSITION_KEY: Final = b"\x00position"  # no table key begins with a zero byte (checked on write)
_LOCK_RETRY_SECONDS: Final = 0.2


class RocksStore:
    """A RocksDB database. Survives the process: recovery then reads only what the changelog has gained since.

    Writes are not synced to the disk one by one: after a power cut the database is older, and says so by its position.
    """

    __slots__ = ("_db", "_new_batch", "get", "position")

    def __init__(self, db: rocksdict.Rdict) -> None:
        from rocksdict import WriteBatch  # noqa: PLC0415  (optional dependency)

        self._db = db
        self._new_batch = WriteBatch
        self.get = db.get
        stored = db.get(_POSITION_KEY)
        self.position: int | None = None if stored is None else int(stored)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        entries = cast("Iterator[tuple[bytes, bytes]]", self._db.items())  # raw mode: nothing but bytes
        return (entry for entry in entries if entry[0] != _POSITION_KEY)

    def write(self, changes: Mapping[bytes, bytes | None], position: int) -> None:
        batch = self._new_batch(raw_mode=True)
        for key, value in changes.items():
            if key[:1] == b"\x00":
                raise ValueError("a table key must not begin with a zero byte")
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_POSITION_KEY, b"%d" % position)
        self._db.write(batch)
        self.position = position

    def close(self) -> None:
        self._db.close()


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
        """Open a partition's database; waits while another process, perhaps our dying predecessor, holds its lock."""
        from rocksdict import Rdict  # noqa: PLC0415  (optional dependency)

        self._path.mkdir(parents=True, exist_ok=True)
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    return RocksStore(Rdict(str(self._path / str(partition)), options=self._options))
                except Exception as exc:  # rocksdict raises plain Exception
                    if "lock" not in str(exc).lower():
                        raise
                await asyncio.sleep(_LOCK_RETRY_SECONDS)
