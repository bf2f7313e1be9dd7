"""Faust's consumer, delivering whole fetches instead of records.

Four rules keep it lossless (each has a test):

0. *The log is the one that we know.* A state records the last record it includes, and that record has to be there; a
   log may neither end below what was read of it, nor begin above. With a state, the app fails; without one, nothing can
   be skipped by mistake, and what exists is read.
1. *Contiguity.* Every fetch carries the offset where it began: the last seek, or the end of the fetch before it. It is
   delivered only if it begins at or below the wanted offset; else records are missing and we seek back. Offsets that
   are missing *within* a fetch are real (transaction markers, compaction, retention).
2. *Nothing is delivered during a rebalance*: Faust clears its stream queues on the way out of one, and a later commit
   would pass what was cleared. What is held back is read again afterwards.
3. *Acks count for their own assignment only.* Batches of a partition are acked in order, and the commit follows the
   last one.

Assignments are counted locally, and this count replaces Kafka's generation throughout Faust: a member that
rejoins may be given the same generation again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, cast

from aiokafka.errors import (
    IllegalStateError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
)
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import Message
from mode.utils.futures import notify

from faust_batches.consumer_thread import BatchConsumerThread, RebalanceListener
from faust_batches.errors import (
    REFILL,
    ChangelogMismatch,
    NotOwner,
    SourceMismatch,
    TopicsMismatch,
    WorkEnded,
)
from faust_batches.fetched import BatchMessage, Fetched, contiguous
from faust_batches.ports import Ports
from faust_batches.source import SourcePosition
from faust_batches.topics import require_compacted

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.25  # a partition that is resumed meanwhile waits at most this long for its buffered records
_RECOVERY_POLL_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 0.5
_ALL_PAUSED_SECONDS: Final = 0.02
_LEASE_SHARE: Final = 0.7  # of the session timeout: how old the last confirmed heartbeat may be
_LEASE_CHECK_SECONDS: Final = 0.05


class BatchConsumer(driver.Consumer):
    """See the module's docstring."""

    RebalanceListener = RebalanceListener

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ports = Ports.of(self.app)
        self._undelivered: set[TP] = set()
        self._begun: dict[TP, int] = {}
        """Where this assignment began to read."""
        self.known_ids: dict[str, str] = {}
        """Of the topics that we read, as of the present assignment."""
        self._unproven: dict[TP, SourcePosition] = {}
        """Partitions whose next record has to be the last one that their state has seen."""

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- fetching --------------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch until ``fetcher`` (or this consumer) stops."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow.wait())
                    continue
                if self._undelivered and not self._ports.membership.rebalancing:
                    await self._read_again()
                active = self._get_active_partitions()
                if not active:  # all paused or full: a set cannot be awaited, and aiokafka takes {} for "all"
                    await self.sleep(_ALL_PAUSED_SECONDS)
                    continue
                await self._fetch(active)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as exc:  # noqa: BLE001  (whatever ends the fetching ends the worker)
            self._ports.membership.fail(exc)
        finally:
            if not (self.should_stop or fetcher.should_stop or self.app.should_stop):
                self._ports.membership.fail(WorkEnded("reading has ended"))

    async def _fetch(self, active: set[TP]) -> None:
        try:
            fetched = cast("dict[TP, Fetched]", await self._getmany(active, self._patience()))
        except KafkaError as exc:
            if not exc.retriable:
                raise
            logger.warning("fetch_failed", extra={"cause": repr(exc), "again_in_seconds": _RETRY_SECONDS})
            await self.sleep(_RETRY_SECONDS)
            return
        recovery = self._ports.recovery()
        for tp, part in fetched.items():
            if not self._is_changelog_tp(tp):
                if not await self._deliver(tp, part):
                    self._undelivered.add(tp)
            elif self.flow_active and tp in self._get_active_partitions():
                await recovery.apply(tp, part)  # what is left out here, recovery finds missing, and seeks
            await asyncio.sleep(0)
        if not fetched and recovery.in_recovery:
            await recovery.skip_invisible_end()

    def _patience(self) -> float:
        """Seconds to wait for records. That a changelog has no more of them to show is noticed when none come."""
        return _RECOVERY_POLL_SECONDS if self._ports.recovery().in_recovery else _POLL_SECONDS

    async def _deliver(self, tp: TP, fetched: Fetched) -> bool:
        """Hand a fetch to its agent; whether all of it is delivered, or is going to be fetched again."""
        assignment, wanted = self._ports.membership.assignment, self._read_offset[tp]
        if not self._may_deliver(assignment) or wanted is None:
            return False
        if fetched.went_back:
            if self._ports.state.has_state(tp):
                raise SourceMismatch(f"{_name(tp)} ends below {fetched.start}, up to where it was read. {REFILL}")
            wanted = fetched.records[0].offset  # it was recreated or cut short
            logger.error("source_begins_again", extra=_fields(tp, wanted) | {"read_up_to": fetched.start})
            self._committed_offset[tp] = None
            self._ports.state.begins_again(tp)
        records = contiguous(fetched if not fetched.went_back else Fetched(wanted, fetched.records), wanted)
        if records is None:
            await self._seek_back(tp, wanted)
            return True
        if records and (seen := self._unproven.pop(tp, None)) is not None:
            if not seen.follows(records[0]):
                raise SourceMismatch(
                    f"{_name(tp)} is not the log that its state was made from: another record stands at "
                    f"{seen.next_offset - 1}. {REFILL}"
                )
            records = records[1:]
            self._read_offset[tp] = seen.next_offset
        size = self._ports.config.max_batch_records
        for begin in range(0, len(records), size):
            part = records[begin : begin + size]
            await self.wait_first(self.callback(BatchMessage(tp, part, assignment)), self.suspend_flow.wait())
            if not self._may_deliver(assignment):
                return False  # the position is the next assignment's now
            self._read_offset[tp] = part[-1].offset + 1
        return True

    def _may_deliver(self, assignment: int) -> bool:
        membership = self._ports.membership
        return self.flow_active and not membership.rebalancing and assignment == membership.assignment

    async def _read_again(self) -> None:
        """Fetches were held back during a rebalance; if nothing followed them, nothing would reveal the gap."""
        undelivered, self._undelivered = self._undelivered, set()
        for tp in undelivered:
            wanted = self._read_offset[tp]
            if wanted is not None:
                await self._seek_back(tp, wanted)

    async def _seek_back(self, tp: TP, wanted: int) -> None:
        logger.info("source_read_again", extra=_fields(tp, wanted))
        try:
            await self.seek_wait({tp: wanted})
            self._read_offset[tp] = wanted
        except (IllegalStateError, TimeoutError):
            logger.info("partition_no_longer_owned", extra=_fields(tp))

    async def perform_seek(self) -> None:
        """Seek the source partitions to where we continue, and remember the positions.

        With a state, that is where the state stands; without, it is the committed offset, or else the beginning.

        Raises:
            SourceMismatch, ChangelogMismatch: the log, or the state, is not what it was.
        """
        membership = self._ports.membership
        assignment = membership.assignment
        sources = [tp for tp in self.assignment() if not self._is_changelog_tp(tp)]
        committed = await self._thread.committed(sources)
        ids = await self.topic_ids({tp.topic for tp in sources})
        if ids is None:
            return
        stateless = {tp.topic for tp in sources if not self._ports.state.has_state(tp)}
        reached = self._ports.state.reached(committed, {topic: ids[topic] for topic in stateless & ids.keys()})
        begins = {TP(*tp): offset for tp, offset in (await self.earliest_offsets(*sources)).items()}
        ends = {TP(*tp): offset for tp, offset in (await self.highwaters(*sources)).items()}
        if assignment != membership.assignment:
            return  # the next assignment seeks for itself
        states = self._ports.state.state_positions(sources)
        self._unproven.clear()
        positions: dict[TP, int] = {}
        for tp in sources:
            offset, state = reached[tp], states.get(tp)
            if state is not None:
                positions[tp] = self._after_state(tp, state, begins[tp], ends[tp])
            elif offset is None or offset < 0:
                positions[tp] = self._at_first(tp, begins[tp])
            else:
                positions[tp] = self._after_commit(tp, offset, begins[tp], ends[tp])
        await self.seek_wait(positions)
        await self._ports.state.keep_positions(positions)
        if assignment != membership.assignment:
            return
        self._read_offset.update(positions)
        self._begun = positions
        self._committed_offset.update({tp: at if at == committed[tp] else None for tp, at in positions.items()})
        stands = {tp: state.next_offset for tp, state in states.items() if state is not None}
        stands |= {tp: at for tp, at in positions.items() if not self._ports.state.has_state(tp)}
        # After a crash between state and commit, or where offsets lapsed or were reset, whoever asks the group how far
        # it is would be told too little; on a source where nothing comes any more, for ever.
        await self._commit_offsets({tp: offset for tp, offset in stands.items() if offset != (committed[tp] or 0)})

    def _after_state(self, tp: TP, state: SourcePosition, begin: int, end: int) -> int:
        """Where to read on after ``state``: from the last record that it has seen, which has to be unchanged."""
        partitions = self._ports.config.partitions
        if state.partitions != partitions:
            raise TopicsMismatch(
                f"the state of {_name(tp)} was made when {tp.topic} had {state.partitions} partitions; now it has "
                f"{partitions}, and a key may have moved to a partition that knows nothing of it. {REFILL}"
            )
        if end < state.next_offset:
            raise SourceMismatch(
                f"{_name(tp)} ends at {end}, but its state has seen it up to {state.next_offset}: it was recreated or "
                f"cut short. {REFILL}"
            )
        if begin > state.next_offset:
            raise SourceMismatch(
                f"{_name(tp)} begins at {begin}, but its state has seen it up to {state.next_offset} only: the records "
                f"in between are gone. {REFILL}"
            )
        if begin == state.next_offset:  # the last record that it has seen has expired
            return begin
        self._unproven[tp] = state
        return state.next_offset - 1

    def _at_first(self, tp: TP, begin: int) -> int:
        """Where to begin, when nothing says that this partition was ever read."""
        if begin > 0 and self._ports.state.has_state(tp):
            raise SourceMismatch(
                f"{_name(tp)} begins at {begin}, and there is no state: what was removed before it is missing. {REFILL}"
            )
        return begin

    def _after_commit(self, tp: TP, committed: int, begin: int, end: int) -> int:
        """Where to read on after the offset ``committed``, when no state records it."""
        state = self._ports.state
        if state.has_state(tp) and committed > 0 and not state.has_changelog(tp.partition):
            raise ChangelogMismatch(
                f"the state of {_name(tp)} is gone: it was read up to {committed}, but its changelog is empty. {REFILL}"
            )
        if begin <= committed <= end:
            return committed
        if state.has_state(tp):
            raise SourceMismatch(f"{_name(tp)} holds {begin} to {end}, but was read up to {committed}. {REFILL}")
        logger.error("source_gap", extra=_fields(tp, begin) | {"end": end, "read_up_to": committed})
        return begin

    def request_rejoin(self) -> None:
        self._thread.request_rejoin()

    def fetch_patiently(self) -> None:
        """The rebalance is over (``BatchConsumerThread.fetch_patiently``)."""
        self._thread.fetch_patiently()

    def fetched_to(self, tp: TP) -> int | None:
        return self._thread.next_offsets.get(tp)

    @property
    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The loops in which this consumer has tasks."""
        return [self.loop, self._thread.thread_loop]

    def pause_fetching(self, tp: TP) -> None:
        """Stop fetching a partition whose lane is full."""
        self._buffered_partitions.add(tp)
        self._get_active_partitions().discard(tp)

    def resume_fetching(self, tp: TP) -> None:
        if tp in self._buffered_partitions:
            self._buffered_partitions.discard(tp)
            self._get_active_partitions().add(tp)

    # -- acks and commits ------------------------------------------------------------------------------------------

    def acknowledge(self, message: BatchMessage) -> None:
        message.ack(self)

    def ack(self, message: Message) -> bool:
        if message.generation_id != self._ports.membership.assignment:
            self.forget(message)
            return False
        return super().ack(message)

    def forget(self, message: Message) -> None:
        """Stop waiting for this batch without committing it: it will be delivered again, here or elsewhere."""
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit: the offset after the last acked batch. Lanes ack in order, so there is no gap below it."""
        acked = self._acked[tp]
        if not acked:
            return None
        last = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1

    async def _commit_offsets(
        self,
        offsets: Mapping[TP, int],
        start_new_transaction: bool = True,  # noqa: ARG002, FBT001, FBT002  (Faust's signature)
    ) -> bool:
        """Nothing has to be flushed first: a batch is acked when all that it published is acknowledged."""
        assignment = self.assignment()
        owned = {tp: offset for tp, offset in offsets.items() if tp in assignment}
        if not owned:
            return False
        try:
            committed = await self._thread.commit(owned)
        except KafkaError as exc:
            self._ports.membership.fail(exc)
            return False
        if committed:
            self._committed_offset.update(owned)
            state = self._ports.state
            await state.keep_positions({tp: at for tp, at in owned.items() if not state.has_state(tp)})
        else:
            for tp, offset in owned.items():
                self._acked[tp].append(offset - 1)
        return committed

    async def commit_invisible_ends(self) -> None:
        """Commit beyond what nobody is shown at the end of a source: transaction markers, and what was aborted.

        Otherwise a group that has read everything would seem to be behind for ever.
        """
        passed: dict[TP, int] = {}
        for tp in self.assignment():
            read = self._read_offset[tp]
            if read is None or self._is_changelog_tp(tp) or self._ports.state.has_state(tp):
                continue
            if (self._committed_offset[tp] or 0) < read != self._begun.get(tp):
                continue  # something is under way
            with suppress(IllegalStateError):
                position = await self.position(tp)
                if (position or 0) > read and self._read_offset[tp] == read and self.fetched_to(tp) in (None, read):
                    passed[tp] = cast("int", position)
        if passed and not self._ports.membership.rebalancing:
            await self._commit_offsets(passed)

    # -- rebalances ------------------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        ports = self._ports
        ports.work.drop_queued()
        self._buffered_partitions.clear()
        # Batches that have begun are finished. Faust would wait for them too, but forget their acks before it commits.
        await ports.work.idle()
        await self.commit()
        await super().on_partitions_revoked(revoked)
        ports.state.partitions_lost()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        topics = self._thread.topics()
        try:
            # Before recovery reads the ends of the changelogs: the former owner must not be able to extend them.
            await self._ports.state.take_over(assigned, generation_id, topics)
        except (KafkaConnectionError, OSError) as exc:
            # Nothing of this assignment has begun, and nothing will: the next one takes it from here.
            logger.warning("partitions_not_taken", extra={"partitions": len(assigned), "cause": repr(exc)})
            self.request_rejoin()
            return
        except Exception as exc:  # noqa: BLE001  (without it, the app must not continue)
            self._ports.membership.fail(exc)
            return
        await super().on_partitions_assigned(assigned, generation_id)

    def known_brokers(self) -> list[tuple[str, int]]:
        """The addresses that the client dials."""
        consumer = self._thread._consumer
        return [(broker.host, broker.port) for broker in consumer._client.cluster.brokers()] if consumer else []

    async def check_compacted(self, topics: Iterable[str]) -> None:
        """As ``require_compacted``. A broker that is away is waited for, as long as the assignment lasts."""
        policies = await self._described(lambda: self._thread.cleanup_policies(topics))
        require_compacted(policies or {})

    async def topic_ids(self, topics: Iterable[str]) -> dict[str, str] | None:
        """As the function of this name. A broker that is away is waited for; ``None``: the assignment is over."""
        found = await self._described(lambda: self._thread.topic_ids(topics))
        self.known_ids |= found or {}
        return found

    async def _described(self, question: Callable[[], Awaitable[dict[str, str]]]) -> dict[str, str] | None:
        """What a broker says of topics, nothing if it does not know the question; ``None``: the assignment is over."""
        membership = self._ports.membership
        assignment = membership.assignment
        while assignment == membership.assignment and not membership.stopping:
            try:
                return await question()
            except IncompatibleBrokerVersion:  # one that knows no settings: the embedded broker
                return {}
            except KafkaError as exc:
                logger.warning("topics_not_described", extra={"cause": repr(exc), "again_in_seconds": _RETRY_SECONDS})
                await asyncio.sleep(_RETRY_SECONDS)
        return None

    def silence_seconds(self) -> float:
        """How long ago the group last acknowledged us: the age of the last heartbeat that was confirmed."""
        return monotonic() - self._thread.lease

    async def check_owner(self, tp: TP, assignment: int) -> None:
        """Return when the group is known to count us as owner of ``tp``; wait while that is uncertain.

        This alone is no fence: a pause between this check and the broker is enough for a stale write.

        Raises:
            NotOwner: the assignment is over, or about to be.
        """
        thread, membership = self._thread, self._ports.membership
        while True:
            coordinator = thread._ensure_consumer()._coordinator
            if (
                assignment != membership.assignment
                or coordinator.generation != thread.coordinator_generation
                or tp not in self.assignment()
            ):
                raise NotOwner(f"{tp.topic}-{tp.partition}")
            if self.silence_seconds() < _LEASE_SHARE * self._ports.config.session_timeout_seconds:
                return
            if (
                membership.rebalancing
            ):  # the rebalance waits for this batch, and the heartbeat perhaps for the rebalance
                raise NotOwner(f"{tp.topic}-{tp.partition}")
            await asyncio.sleep(_LEASE_CHECK_SECONDS)


def _name(tp: TP) -> str:
    return f"{tp.topic}-{tp.partition}"


def _fields(tp: TP, offset: int | None = None) -> dict[str, Any]:
    """For the log: which partition, and where in it."""
    fields: dict[str, Any] = {"topic": tp.topic, "partition": tp.partition}
    return fields if offset is None else fields | {"offset": offset}
