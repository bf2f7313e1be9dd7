"""Faust tables that are written once per batch, and recovered one fetch at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from faust.stores import memory
from faust.tables.table import Table
from faust.types import TP, AppT

from faust_batches.batch import Record, Supersedes
from faust_batches.config import WorkerConfig
from faust_batches.errors import ChangelogMismatch, TransportError
from faust_batches.source import SourcePosition, source_position
from faust_batches.stores import MemoryStore, PartitionStore, RocksFolder


class PartitionStores(memory.Store):  # type: ignore[type-arg]  # generic in name only
    """Faust's view of the stores of one table: opens them at an assignment, drops them at a revocation."""

    def __init__(self, app: AppT, config: WorkerConfig, table: BatchTable, **kwargs: Any) -> None:
        super().__init__("memory://", app, table, **kwargs)
        self.open: dict[int, PartitionStore] = {}
        self._topic = table.changelog_topic_name
        self._folder = (
            RocksFolder(config.datadir / config.id / table.name, config.rocksdb_block_cache_bytes)
            if config.store == "rocksdb" and config.datadir is not None
            else None
        )
        self._open_timeout_seconds = config.session_timeout_seconds + config.stop_timeout_seconds
        self._opening = asyncio.Lock()

    def persisted_offset(self, tp: TP) -> int | None:
        store = self.open.get(tp.partition)
        return None if store is None else store.position

    def set_persisted_offset(self, tp: TP, offset: int) -> NoReturn:
        raise NotImplementedError("the position is written together with the entries")

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],  # noqa: ARG002  (Faust's signature)
        newly_assigned: set[TP],  # noqa: ARG002
        generation_id: int = 0,  # noqa: ARG002
    ) -> None:
        async with self._opening:  # a rebalance may overtake the one before it
            owned = {tp.partition for tp in assigned if tp.topic == self._topic}
            for partition in [each for each, store in self.open.items() if each not in owned or store.damaged]:
                self.open.pop(partition).close()
            for partition in owned - self.open.keys():
                self.open[partition] = await self._open(partition)

    async def reopen(self, partition: int) -> None:
        """A store that was found damaged: an empty one takes its place. Nothing, if it is no longer open."""
        async with self._opening:
            if (damaged := self.open.pop(partition, None)) is not None:
                damaged.close()
                self.open[partition] = await self._open(partition)

    async def begin_again(self, partition: int) -> None:
        """A store of another changelog is set aside: an empty one takes its place. Nothing, if it is not open."""
        async with self._opening:
            if (other := self.open.pop(partition, None)) is not None:
                other.close()
                if self._folder is not None:
                    self._folder.set_aside(partition)
                self.open[partition] = await self._open(partition)

    async def _open(self, partition: int) -> PartitionStore:
        if self._folder is None:
            return MemoryStore()
        return await self._folder.open(partition, timeout_seconds=self._open_timeout_seconds)

    async def on_recovery_completed(
        self,
        active_tps: set[TP],  # noqa: ARG002  (Faust's signature)
        standby_tps: set[TP],  # noqa: ARG002
    ) -> None:
        """The stores of foreign partitions were dropped in ``on_rebalance``."""
        if self._folder is not None:
            for partition in self.open:
                self._folder.recovered(partition)

    async def on_stop(self) -> None:
        while self.open:
            self.open.popitem()[1].close()
        await super().on_stop()


class BatchTable(Table):  # type: ignore[type-arg]  # generic in name only
    """bytes -> bytes. Read with ``get`` and ``items``, written with ``write`` once changelog records are durable."""

    data: PartitionStores

    def __init__(self, app: AppT, config: WorkerConfig, name: str, *, supersedes: Supersedes | None = None) -> None:
        super().__init__(app, name=name, key_type=bytes, value_type=bytes, partitions=config.partitions)
        self._config = config
        self._supersedes = supersedes
        self._stale: defaultdict[int, set[bytes]] = defaultdict(set)

    def _new_store(self) -> PartitionStores:
        return PartitionStores(
            self.app, self._config, self, table_name=self.name, key_type=bytes, value_type=bytes, loop=self.loop
        )

    async def read_again(self, partition: int) -> None:
        """Begin the recovery of a partition anew, with an empty store in the place of a damaged one."""
        self._stale.pop(partition, None)
        await self.data.reopen(partition)

    async def begin_again(self, partition: int) -> None:
        """Begin the recovery of a partition anew, with an empty store in the place of one of another changelog."""
        self._stale.pop(partition, None)
        await self.data.begin_again(partition)

    def log_id(self, partition: int) -> str | None:
        """The id of the changelog that the entries come from; ``None``: never recorded, or not our partition now."""
        store = self.data.open.get(partition)
        return None if store is None else store.log

    def belong_to(self, partition: int, log: str) -> None:
        """Record the changelog that all entries of this partition come from, if it is ours now. Raises as ``write``."""
        if (store := self.data.open.get(partition)) is not None:
            store.belong_to(log)

    def lookup(self, partition: int) -> Callable[[bytes], bytes | None]:
        """``get`` of one partition, for as long as that is ours: a batch asks it for every record."""
        return self.data.open[partition].get

    def get(self, partition: int, key: bytes) -> bytes | None:  # type: ignore[override]  # not Faust's mapping
        return self.data.open[partition].get(key)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:  # type: ignore[override]  # not Faust's mapping
        return self.data.open[partition].items()

    def changelog(self, partition: int) -> TP:
        return TP(self.changelog_topic_name, partition)

    def position(self, partition: int) -> int:
        """Offset of the last changelog record that is applied; -1: none."""
        position = self.data.open[partition].position
        return -1 if position is None else position

    def source(self, partition: int) -> SourcePosition | None:
        """How far the entries have read the source; ``None``: the changelog does not say."""
        return self.data.open[partition].source

    def write(
        self,
        partition: int,
        changes: Mapping[bytes, bytes | None],
        position: int,
        source: SourcePosition | None = None,
    ) -> None:
        """Take over what the changelog holds up to the offset ``position``, ``changes`` being the last of it.

        Raises:
            StateFolderUnusable: nothing of it is taken over.
        """
        self.data.open[partition].write(changes, position, source)
        self._stale[partition] -= changes.keys()

    def stale(self, partition: int) -> dict[bytes, bytes | None]:
        """Entries whose last changelog record is a zombie's: to be written again, as given here."""
        return {key: self.get(partition, key) for key in self._stale[partition]}

    def load(self, partition: int, records: Sequence[Record]) -> None:
        """Recovery: take over fetched changelog records, in order.

        The last record of a key wins, unless its value may not supersede an earlier one (a former owner wrote it late):
        then the earlier one stays, and is ``stale``.

        Raises:
            ChangelogMismatch: a record that is not an entry of this table, by its position. StoreDamaged,
                StateFolderUnusable: about the store.
        """
        store, stale = self.data.open[partition], self._stale[partition]
        changes: dict[bytes, bytes | None] = {}
        for record in records:
            key, value = record.key, record.value
            if key is None:
                raise self._foreign(partition, record, "it has no key")
            try:
                if self._is_older(store, changes, key, value):
                    stale.add(key)
                    continue
            except TransportError:
                raise  # of the store, not of the record
            except Exception as exc:
                raise self._foreign(partition, record, str(exc)) from exc
            changes[key] = value
            stale.discard(key)
        recorded = (position for record in reversed(records) if (position := source_position(record)) is not None)
        store.write(changes, records[-1].offset, next(recorded, None))

    def _is_older(
        self, store: PartitionStore, changes: Mapping[bytes, bytes | None], key: bytes, value: bytes | None
    ) -> bool:
        """Whether ``value`` may not replace the present one."""
        if self._supersedes is None or value is None:
            return False
        current = changes[key] if key in changes else store.get(key)
        return current is not None and not self._supersedes(value, current)

    def _foreign(self, partition: int, record: Record, cause: str) -> ChangelogMismatch:
        return ChangelogMismatch(
            f"{self.changelog_topic_name}-{partition}@{record.offset} is not an entry of this table: {cause}"
        )

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        kept = {tp.partition for tp in assigned if tp.topic == self.changelog_topic_name}
        for partition in self._stale.keys() - kept:
            del self._stale[partition]
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Nothing is ever buffered by Faust: recovery calls ``load``."""

    def on_key_set(self, key: bytes, value: bytes) -> NoReturn:  # noqa: ARG002  (Faust's signature)
        raise TypeError("a batch table is written by its app's processor only")

    def on_key_del(self, key: bytes) -> NoReturn:  # noqa: ARG002  (Faust's signature)
        raise TypeError("a batch table is written by its app's processor only")
