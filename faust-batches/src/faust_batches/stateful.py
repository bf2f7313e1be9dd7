"""A batch with state. The order of its effects is the argument for its correctness:

1. compute: the processor reads the stores and returns outputs and changes; nothing has happened yet;
2. make sure that we still own the partition;
3. publish the outputs and the changelog records of all tables, every acknowledgement awaited
   - ``transactions``: all of it in one transaction, fenced per partition, then commit;
   - ``none``: outputs first, then the changelogs one after the other, the table with the marks last: what a mark skips
     has been published;
4. write the local stores, each with its changelog position;
5. call ``on_changes``;
6. acknowledge the source offset (in the lane); it is committed later.

A crash before the commit of 3: nothing has happened (``none``: outputs may be published; they are repeated,
identical). A crash after it: recovery restores the changes, and the source continues where the table with the marks
stands (``SourcePosition``); the processor skips by its own mark what is redelivered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP

from faust_batches.batch import Changes, Output, Processor
from faust_batches.errors import BatchRefused, Fenced, ForeignWrite, RecordTooLarge
from faust_batches.fence import Fence
from faust_batches.lanes import Batch
from faust_batches.meter import Meter
from faust_batches.plain_producer import PlainSender
from faust_batches.ports import Feed
from faust_batches.publish import Publisher, Sent
from faust_batches.source import SourcePosition
from faust_batches.table import BatchTable

ChangesCallback: TypeAlias = Callable[[int, Changes], None]


class Stateful:
    """See the module's docstring. The last of ``tables`` holds the marks."""

    def __init__(
        self,
        processor: Processor,
        tables: dict[str, BatchTable],
        *,
        meter: Meter,
        feed: Callable[[], Feed],
        publisher: Publisher,
        plain: PlainSender,
        fence: Fence | None,
        on_changes: ChangesCallback | None,
        read_limits: Callable[[], Awaitable[None]],
        partitions: int,
    ) -> None:
        """Without ``fence``, outputs and changelogs are sent in order through ``plain``.

        ``read_limits`` asks the brokers how large records may be: awaited where they have refused one. ``partitions``:
        of the source; the changelog records it with the position.
        """
        self._processor = processor
        self._tables = tables
        self._marks = next(reversed(tables))
        self._meter = meter
        self._feed = feed
        self._publisher = publisher
        self._plain = plain
        self._fence = fence
        self._on_changes = on_changes
        self._read_limits = read_limits
        self._partitions = partitions
        self._ends = ChangelogEnds()

    def begin_assignment(self) -> None:
        self._ends.clear()

    def set_end(self, changelog: TP, next_offset: int) -> None:
        """Recovery is complete: our next record in ``changelog`` lands at ``next_offset``."""
        self._ends.expect(changelog, next_offset)

    async def __call__(self, batch: Batch) -> None:
        partition = batch.tp.partition
        limits = self._entry_limits()
        outputs, changes = self._compute(batch)
        if not (outputs or changes):
            return
        await self._feed().check_owner(batch.tp, batch.assignment)
        try:
            if self._fence is None:
                positions = await self._publish_in_order(batch, outputs, changes)
            else:
                positions = await self._publish_fenced(self._fence, batch, outputs, changes)
        except RecordTooLarge as exc:
            if self._entry_limits() == limits:
                raise
            raise BatchRefused(str(exc)) from exc  # the processor counted on the limit of before
        except (BatchRefused, Fenced) as exc:
            if isinstance(exc, BatchRefused) or isinstance(exc.__cause__, BatchRefused):
                await self._read_limits()
            raise
        for name, entries in changes.items():
            table = self._tables[name]
            position = positions.get(name, table.position(partition))
            table.write(partition, entries, position, self._source(name, batch))
        if changes:
            self._announce(partition, changes)

    def _entry_limits(self) -> list[int]:
        return [self._publisher.entry_limit(table.changelog_topic_name) for table in self._tables.values()]

    def _announce(self, partition: int, changes: Changes) -> None:
        if self._on_changes is not None:
            self._on_changes(partition, changes)

    def _compute(self, batch: Batch) -> tuple[Sequence[Output], Changes]:
        partition = batch.tp.partition
        outputs: Sequence[Output] = ()
        changes: Changes = {}
        if batch.records:
            lookups = {name: table.lookup(partition) for name, table in self._tables.items()}
            begun = monotonic()
            result = self._processor(partition, batch.records, lambda table, key: lookups[table](key))
            self._meter.step_seconds[batch.tp.topic].observe(monotonic() - begun)
            outputs = self._publisher.admit([*result.first, *result.outputs] if result.first else result.outputs)
            changes = {name: entries for name, entries in result.changes.items() if entries}
        for name, table in self._tables.items():
            if repairs := table.stale(partition):
                room = self._publisher.entry_limit(table.changelog_topic_name)
                fitting = {key: value for key, value in repairs.items() if len(key) + len(value or b"") <= room}
                if fitting or name in changes:
                    changes[name] = fitting | changes.get(name, {})
        return outputs, changes

    def source(self, partition: int) -> SourcePosition | None:
        """How far the state of a recovered partition has read its source; ``None``: its changelog does not say."""
        return self._tables[self._marks].source(partition)

    def _source(self, name: str, batch: Batch) -> SourcePosition | None:
        if name != self._marks or not batch.records:
            return None
        return SourcePosition.after(batch.records[-1], self._partitions)

    async def _send_changes(
        self, producer: AIOKafkaProducer, name: str, batch: Batch, entries: Mapping[bytes, bytes | None]
    ) -> list[Sent]:
        changelog, source = self._tables[name].changelog(batch.tp.partition), self._source(name, batch)
        return await self._publisher.send_changes(producer, changelog, entries, source.headers() if source else ())

    async def _publish_fenced(
        self, fence: Fence, batch: Batch, outputs: Sequence[Output], changes: Changes
    ) -> dict[str, int]:
        publisher = self._publisher
        changelogs: dict[str, list[Sent]] = {}

        async def send(producer: AIOKafkaProducer) -> Sequence[Sent]:
            sent = await publisher.send(producer, outputs)
            for name, entries in changes.items():
                changelogs[name] = await self._send_changes(producer, name, batch, entries)
                sent += changelogs[name]
            return sent

        begun = monotonic()
        await fence.transact(batch.tp, batch.assignment, publisher, send)
        self._meter.publish_seconds.observe(monotonic() - begun)
        # The commit marker takes the offset after the last record: no one else can have written there.
        last = {name: of_table[-1] for name, of_table in changelogs.items()}
        bases = {name: sent.future.result().offset for name, sent in last.items()}
        return {name: base + last[name].records for name, base in bases.items() if base >= 0}

    async def _publish_in_order(self, batch: Batch, outputs: Sequence[Output], changes: Changes) -> dict[str, int]:
        if outputs:
            await self._plain.send(outputs)
        positions = {}
        for name in self._tables:  # in the order of their declaration, not in that of the processor's answer
            if entries := changes.get(name):
                changelog = self._tables[name].changelog(batch.tp.partition)
                # Before each of them: a worker frozen at the one before must not overwrite what its successor wrote.
                await self._feed().check_owner(batch.tp, batch.assignment)
                try:
                    written = await self._send_changes(self._plain.producer, name, batch, entries)
                    await self._plain.acknowledged(written)
                except KafkaError:
                    self._ends.doubt(changelog, len(entries))
                    raise
                for sent in written:
                    self._ends.landed(changelog, sent.future.result().offset, sent.records)
                positions[name] = self._ends.end(changelog) - 1
        return positions


class ChangelogEnds:
    """Where our next changelog records must land; anything else is a foreign write.

    Records whose acknowledgement failed may have landed nevertheless: that many offsets of doubt are allowed, once.
    """

    def __init__(self) -> None:
        self._expected: dict[TP, int] = {}
        self._doubt: defaultdict[TP, int] = defaultdict(int)

    def clear(self) -> None:
        self._expected.clear()
        self._doubt.clear()

    def expect(self, changelog: TP, next_offset: int) -> None:
        self._expected[changelog] = next_offset

    def end(self, changelog: TP) -> int:
        return self._expected[changelog]

    def doubt(self, changelog: TP, records: int) -> None:
        self._doubt[changelog] += records

    def landed(self, changelog: TP, base: int, records: int) -> None:
        """Account for ``records`` acknowledged at ``base`` (negative: the broker knows only that they landed).

        Raises:
            ForeignWrite: they are not where they should be.
        """
        expected, doubt = self._expected[changelog], self._doubt.pop(changelog, 0)
        if base < 0:
            base = expected
        if not expected <= base <= expected + doubt:
            raise ForeignWrite(f"{changelog.topic}-{changelog.partition}: wrote at {base}, expected {expected}")
        self._expected[changelog] = base + records
