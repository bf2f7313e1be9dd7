"""The consumer's side: which partitions are ours, where each begins, what is read, and how far it is committed.

A partition is *opened* before anything of it is read: the group's offset says where, its metadata what is told behind
it. A group without an offset has read nothing yet, or its offset has lapsed, and nobody knows which: where there are
records then, somebody has to say so (``REWARDS_BEGIN``), since a payer would get every reward again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.orders import UnreadableReward, order_of
from referral_stream.rewards.progress import GroupProgress, progress_of
from referral_stream.rewards.telling import Telling
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.runtime.settings import PREFIX, RewardsSettings

logger = logging.getLogger(__name__)

POLL_MS: Final = 500
MOST_RECORDS: Final = 500
"""Of one look: a partition may hold that much more than its bound."""
OPEN_SECONDS: Final = 20.0
COMMIT_SECONDS: Final = 20.0
ENDS_SECONDS: Final = 2.0
REVOKED_SECONDS: Final = 5.0
"""How long requests in flight may end when their partition is taken away: everybody's rebalance waits for it."""


class WhereToBegin(Exception):
    """There are records, and no offset says whether they were told; the message says what to do."""


class RewardsReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Reads into the backlog, and commits what is told of it."""

    def __init__(
        self,
        settings: RewardsSettings,
        client: Mapping[str, Any],
        topic: str,
        backlog: RewardsBacklog,
        telling: Telling,
        now: Callable[[], int],
    ) -> None:
        session_ms = round(settings.session_timeout_seconds * 1_000)
        self.group = f"{settings.group_prefix}-rewards"
        self.consumer = AIOKafkaConsumer(
            **client,
            group_id=self.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(session_ms // 5, 200),
        )
        self._settings, self._client, self.topic = settings, dict(client), topic
        self._backlog, self._telling, self._now = backlog, telling, now
        self._to_open: set[TopicPartition] = set()
        self._committed: dict[int, tuple[int, str]] = {}
        self._dirty = asyncio.Event()
        self._committing = asyncio.Lock()
        self._throttle = LogThrottle(logger)
        self._unread: dict[int, int] = {}
        self._broken: Exception | None = None
        self.unreadable = 0
        self.assignments = 0
        self.looked_at = 0
        telling.on_told = self._dirty.set

    @property
    def opening(self) -> bool:
        """Whether partitions are ours of which nothing is read yet."""
        return bool(self._to_open)

    def lag(self) -> dict[int, int]:
        """Of each partition that is open what is read and not told, and what is not read, as of ``look_at_ends``."""
        waiting = self._backlog.waiting()
        return {partition: count + self._unread.get(partition, 0) for partition, count in waiting.items()}

    async def look_at_ends(self) -> None:
        """Ask the brokers how much is not read; what they do not answer at once stays as it was."""
        open_now = [TopicPartition(self.topic, partition) for partition in sorted(self._backlog.partitions)]
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(ENDS_SECONDS):
                ends = await self.consumer.end_offsets(open_now) if open_now else {}
                self._unread = {
                    tp.partition: max(0, end - await self.consumer.position(tp)) for tp, end in ends.items()
                }

    async def run(self) -> None:
        """Read until it is cancelled. Raises WhereToBegin, and KafkaError for what waiting does not help against."""
        while True:
            self.looked_at = self._now()
            if self._broken is not None:
                raise self._broken
            if self._to_open and not await self._opened():
                continue
            found = await self.consumer.getmany(timeout_ms=POLL_MS, max_records=MOST_RECORDS)
            for tp, records in found.items():
                self._take(tp, records)
            self._pause_and_resume()

    async def commit_always(self) -> None:
        """Commit whatever is told, soon after it was, until it is cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self.commit():
                await asyncio.sleep(1)
                self._dirty.set()

    async def commit(self) -> bool:
        """Commit how far each partition is told; whether that is known to have worked, or is another's affair now."""
        async with self._committing:
            wanted: dict[int, tuple[int, str]] = {}
            for partition in self._backlog.partitions:
                at = self._backlog.progress(partition)
                if self._committed.get(partition) != (at.next, at.metadata()):
                    wanted[partition] = (at.next, at.metadata())
            if not wanted:
                return True
            offsets = {TopicPartition(self.topic, partition): at for partition, at in wanted.items()}
            try:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await self.consumer.commit(offsets)
            except (CommitFailedError, IllegalStateError):
                return True  # a rebalance came first: who has the partitions now tells again what we could not mark
            except (KafkaError, TimeoutError) as error:
                self._throttle.warn("told_not_committed", type(error).__name__)
                return False
            self._throttle.settled()
            self._committed |= wanted
            return True

    # -- what aiokafka calls in a rebalance, and whose exceptions it swallows

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let what is in flight end, commit what is told, and forget the rest: its next owner tells it."""
        partitions = {tp.partition for tp in revoked}
        self._to_open = set()
        with self._telling.held_back():  # what was broken off is due again: by its next owner
            try:
                await self._telling.finish(REVOKED_SECONDS, partitions)
                await self.commit()
            except Exception as error:  # noqa: BLE001 (said by whoever runs us)
                self._broken = error
            self._forget(partitions)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is read of them before they are opened."""
        self.assignments += 1
        self._to_open = set(assigned)
        self._forget({tp.partition for tp in self._to_open})
        if self._to_open:
            self.consumer.pause(*self._to_open)

    def _forget(self, partitions: set[int]) -> None:
        self._backlog.drop(partitions)
        for partition in partitions:
            self._committed.pop(partition, None)

    # -- opening

    async def _opened(self) -> bool:
        """Whether all that is ours is open; where a broker is away it is not, and tried again."""
        wanted = set(self._to_open)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                found = await self._where_to_begin(wanted)
        except (KafkaError, TimeoutError) as error:
            self._throttle.warn("partitions_not_opened", type(error).__name__)
            await asyncio.sleep(1)
            return False
        self._throttle.settled()
        for tp, at in found.items():
            if tp in self._to_open and tp in self.consumer.assignment():
                self._to_open.discard(tp)
                self._backlog.open(tp.partition, at)
                self.consumer.seek(tp, at.next)
                self.consumer.resume(tp)
        self._to_open &= self.consumer.assignment()
        logger.info("partitions_opened", extra={"partitions": sorted(self._backlog.partitions)})
        self._dirty.set()  # an offset for each, also where nothing was read yet: from now on a missing one has lapsed
        return not self._to_open

    async def _where_to_begin(self, wanted: set[TopicPartition]) -> dict[TopicPartition, GroupProgress]:
        admin = AIOKafkaAdminClient(**self._client, request_timeout_ms=round(OPEN_SECONDS * 1_000))
        try:
            await admin.start()
            known = await admin.list_consumer_group_offsets(self.group, partitions=sorted(wanted))
        finally:
            await admin.close()
        begins = await self.consumer.beginning_offsets(sorted(wanted))
        ends = await self.consumer.end_offsets(sorted(wanted))
        found: dict[TopicPartition, GroupProgress] = {}
        for tp in sorted(wanted):
            at = known.get(tp)
            if at is None or at.offset < 0:
                found[tp] = GroupProgress(begins[tp], begins[tp])
                if ends[tp] > begins[tp] and self._settings.rewards_begin != "earliest":
                    raise WhereToBegin(self._no_offset(tp, ends[tp] - begins[tp]))
                continue
            found[tp] = progress_of(at.offset, at.metadata or "")
            if not begins[tp] <= at.offset <= ends[tp]:
                logger.error("rewards_lapsed", extra={"partition": tp.partition, "wanted": at.offset, "is": begins[tp]})
                found[tp] = GroupProgress(begins[tp], begins[tp])
        return found

    def _no_offset(self, tp: TopicPartition, records: int) -> str:
        return (
            f"{tp.topic}-{tp.partition} holds {records} records, and the group {self.group} has no offset there: it has"
            f" never run, or its offsets have lapsed. If the payer was told nothing of them, or knows every grant that"
            f" it was ever told: {PREFIX}REWARDS_BEGIN=earliest; else set the offsets with kafka-consumer-groups"
            " --reset-offsets"
        )

    # -- reading

    def _take(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        for record in records:
            try:
                order = order_of(
                    record.value, partition=tp.partition, offset=record.offset, written_at=record.timestamp
                )
            except UnreadableReward as reason:
                self.unreadable += 1
                place = {"partition": tp.partition, "offset": record.offset}
                logger.error("reward_unreadable", extra={"cause": str(reason), **place})  # noqa: TRY400 (it quotes nothing)
                order = None
            self._backlog.read(tp.partition, record.offset, order, self._now())
        self._telling.wake()
        self._dirty.set()

    def _pause_and_resume(self) -> None:
        paused = self.consumer.paused()
        for tp in self.consumer.assignment() - self._to_open:
            if tp in paused and self._backlog.has_room(tp.partition):
                self.consumer.resume(tp)
            elif tp not in paused and self._backlog.is_full(tp.partition):
                self.consumer.pause(tp)
