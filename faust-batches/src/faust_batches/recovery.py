"""Recovery of tables from their changelogs, a fetch at a time (Faust's own: a record at a time, and 30 times slower).

Faust's assignor, seeks, highwaters and rebalance logic stay; what changes is how records arrive (``apply``) and that
the stores, which know their positions, are asked for them. No standbys.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery
from faust.types import TP, AppT
from mode import Service

from faust_batches.errors import REFILL, ChangelogMismatch, NeedsOperator, StoreDamaged, WorkerFailed
from faust_batches.fetched import Fetched, contiguous
from faust_batches.ports import Ports
from faust_batches.table import BatchTable
from faust_batches.topic_ids import is_another

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
"""Between a recovery that was cancelled and the next: what cancelled it may do so again."""


class BatchRecovery(Recovery):
    """See the module's docstring."""

    def __init__(self, app: AppT, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        self._ports = Ports.of(app)

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing is queued: ``apply`` replaces Faust's task of this name."""

    @Service.task
    async def _restart_recovery(self) -> None:
        """Faust's own, begun again when something it waits for is cancelled under it.

        mode ends a cancelled task without a word; the worker would then wait for its tables for ever. A cancellation of
        this task itself ends it, and the worker with it.
        """
        while not self.should_stop:
            try:
                await Recovery._restart_recovery.fun(self)
            except asyncio.CancelledError:
                if self.should_stop:
                    raise
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    self._ports.membership.fail(WorkerFailed("the recovery was cancelled"))
                    raise
                logger.warning("recovery_cancelled", extra={"generation": self._generation_id})
                self.signal_recovery_start.set()
                await self.sleep(_AGAIN_SECONDS)

    def _add(self, table: Any, tp: TP, offsets: Any) -> None:
        self.tp_to_table[tp] = table
        offsets[tp] = table.persisted_offset(tp)  # Faust may remember an older one

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        self._ports.membership.recovered = generation_id
        await super().on_recovery_completed(generation_id)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        self._ports.membership.recovered = generation_id  # as above, of an app without tables
        await super()._resume_streams(generation_id)

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:
        await super()._build_offsets(consumer, tps, destination, title)
        if not tps:
            return
        changelogs, topics = self._ports.changelogs(), {tp.topic for tp in tps}
        await changelogs.check_compacted(topics)
        ids = await changelogs.topic_ids(topics)
        if ids is None:
            raise RebalanceAgain
        begins = await consumer.earliest_offsets(*tps)
        foreign = {tp for tp in tps if self._is_foreign(tp, ids.get(tp.topic))}
        for tp in tps:
            persisted = self.tp_to_table[tp].persisted_offset(tp)  # Faust takes the beginning where there is none
            self._check_head(tp, begins[tp], 0 if persisted is None or tp in foreign else persisted + 1)
            end, held = self.active_highwaters.get(tp, -1) + 1, destination[tp] + 1
            if held > end:
                raise ChangelogMismatch(
                    f"{tp.topic}-{tp.partition} ends at {end}, but the state folder holds it up to {held}: it was "
                    "recreated or cut short, or the folder belongs to another deployment. Take an empty folder if the "
                    "changelog is right; else new topics and a new group, refilled by replay"
                )
        self._check_together(foreign, ids)
        await self._begin_again(foreign)
        for tp in tps:
            if tp in foreign:
                destination[tp] = -1
            if (log := ids.get(tp.topic)) is None:
                continue
            table = cast("BatchTable", self.tp_to_table[tp])
            try:
                table.belong_to(tp.partition, log)
            except StoreDamaged:
                await table.read_again(tp.partition)
                table.belong_to(tp.partition, log)
                destination[tp] = -1

    def _is_foreign(self, tp: TP, log: str | None) -> bool:
        """Whether the store holds entries of another changelog than ``log``, or does not say of which.

        A changelog that was made again under its name grows past where the store stands: read on from there, it would
        lack what is below, and keep what is no longer so.
        """
        table = cast("BatchTable", self.tp_to_table[tp])
        return log is not None and table.persisted_offset(tp) is not None and table.log_id(tp.partition) != log

    def _check_together(self, foreign: set[TP], ids: Mapping[str, str]) -> None:
        """The tables of a partition are one state: a changelog that was made again alone lacks what the others hold."""
        held = {tp: cast("BatchTable", table).log_id(tp.partition) for tp, table in self.tp_to_table.items()}
        for tp in sorted(tp for tp in foreign if held[tp] is not None):
            for other in sorted(self.active_tps):
                table = self.tp_to_table.get(other)
                if other.partition != tp.partition or table is None or table.persisted_offset(other) is None:
                    continue
                if held[other] is not None and not is_another(held[other], ids.get(other.topic)):
                    raise ChangelogMismatch(
                        f"{tp.topic} is another topic than the one that the state was read from, while {other.topic} "
                        f"is still the same: entries of the state are gone. {REFILL}"
                    )

    async def _begin_again(self, foreign: set[TP]) -> None:
        """Set aside what belongs to another changelog, with one line for all of it."""
        if not foreign:
            return
        unknown = [tp for tp in foreign if cast("BatchTable", self.tp_to_table[tp]).log_id(tp.partition) is None]
        for tp in sorted(foreign):
            await cast("BatchTable", self.tp_to_table[tp]).begin_again(tp.partition)
        fields = {
            "app": self._ports.config.id,
            "topics": ", ".join(sorted({tp.topic for tp in foreign})),
            "partitions": len({tp.partition for tp in foreign}),
            "cause": "they do not say of which topic they are: an earlier version wrote them"
            if len(unknown) == len(foreign)
            else "the topics were deleted and created again, or the folder belongs to another deployment",
        }
        logger.warning("stores_of_other_topics", extra=fields)

    def _check_head(self, tp: TP, begin: int, held: int) -> None:
        """A changelog that is only compacted begins at 0 for ever: one that begins above has lost entries.

        What the local store holds (up to ``held``) was read from the beginning, so nothing is missing if it reaches as
        far. Nobody else could take the partition over, though.
        """
        if begin > held:
            raise ChangelogMismatch(
                f"{tp.topic}-{tp.partition} begins at {begin}: older entries were deleted, so some may be missing. "
                f"{REFILL}, and let cleanup.policy of changelogs be compact, nothing else"
            )
        if begin > 0:
            fields = {"topic": tp.topic, "partition": tp.partition, "begins_at": begin, "held_up_to": held}
            logger.error("changelog_head_lost", extra=fields)

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Any, title: str) -> None:  # noqa: ARG002
        if tps:
            await consumer.seek_wait({tp: offsets[tp] + 1 for tp in tps})  # Faust seeks one back, below the beginning

    def _set_recovery_started(self) -> None:
        super()._set_recovery_started()
        self.signal_recovery_end.clear()

    async def apply(self, tp: TP, fetched: Fetched) -> None:
        """Load fetched changelog records, or seek again when records before them are missing.

        A fetch is never dropped for being of an older assignment: it can outlive a short rebalance and its seek, and
        dropping it would leave a hole. Contiguity is the only criterion.
        """
        if not self.in_recovery or tp not in self.active_tps:
            return  # after recovery, these are our own writes: older than what the store holds by now
        seen = self.active_offsets[tp]
        if seen is None:
            return  # recovery has not determined its start yet; it will seek
        if fetched.went_back:
            raise ChangelogMismatch(f"{tp.topic}-{tp.partition} ends below {fetched.start}: it was recreated meanwhile")
        records = contiguous(fetched, seen + 1)
        if records is None:
            await self._seek_again(tp)
            return
        if records:
            table = cast("BatchTable", self.tp_to_table[tp])
            try:
                table.load(tp.partition, records)
            except StoreDamaged:
                await table.read_again(tp.partition)
                if tp in self.active_tps:
                    self.active_offsets[tp] = table.position(tp.partition)
                    await self._seek_again(tp)
                return
            self._ports.meter.recovered[table.name] += len(records)
            self.active_offsets[tp] = records[-1].offset
        self._check_progress()

    def left(self) -> dict[str, int]:
        """How many changelog offsets are still to be read, by table; empty where nothing is being recovered."""
        if not self.in_recovery:
            return {}
        found: dict[str, int] = {}
        for tp, end in self.active_highwaters.items():
            table, seen = self.tp_to_table.get(tp), self.active_offsets.get(tp)
            if table is not None and seen is not None:
                found[table.name] = found.get(table.name, 0) + max(0, end - seen)
        return found

    async def _seek_again(self, tp: TP) -> None:
        wanted = self.active_offsets[tp] + 1
        logger.info("recovered_again", extra={"topic": tp.topic, "partition": tp.partition, "offset": wanted})
        with suppress(IllegalStateError):  # no longer assigned
            await self._ports.changelogs().seek_wait({tp: wanted})

    async def skip_invisible_end(self) -> None:
        """Nothing came: a log that ends in transaction markers, or in records compacted away, shows no last record."""
        changelogs, offsets = self._ports.changelogs(), self.active_offsets
        for tp, end in list(self.active_highwaters.items()):
            seen, fetched_to = offsets.get(tp), changelogs.fetched_to(tp)
            if tp not in self.active_tps or seen is None or fetched_to is None or seen >= end:
                continue
            if fetched_to > seen + 1:
                await self._seek_again(tp)
                continue
            with suppress(IllegalStateError):
                position = await changelogs.position(tp)
                if (position or 0) > end and changelogs.flow_active and offsets.get(tp) == seen:
                    offsets[tp] = end
        self._check_progress()

    def _check_progress(self) -> None:
        if self.in_recovery and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()  # stays set: the task that waits for it may start later


class BatchTableManager(TableManager):
    """Starts our recovery instead of Faust's."""

    @property
    def recovery(self) -> BatchRecovery:
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast("BatchRecovery", self._recovery)

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().on_rebalance(*args, **kwargs)
        except NeedsOperator as exc:  # Faust would log it three times, with its traceback
            Ports.of(self.app).membership.fail(exc)

    async def on_start(self) -> None:
        # Faust sleeps a second here, for agents declared late. Here, all are declared before the start.
        await self._update_channels()
        await self.recovery.start()
