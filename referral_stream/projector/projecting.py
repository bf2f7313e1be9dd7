"""From the topics to Redis: which partitions are ours, where each begins, and one batch after the other.

Where a partition begins is what the read models themselves say, not the group's offset: what is applied is known with
what was written. Positions are committed to the group as well, for whoever looks at its lag. If the read models are
behind what we believe, Redis has lost data, all or some: it is applied again from where they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

from referral_stream.contracts.topics import changelogs
from referral_stream.ledger.redis_answers import LoginWatch, code_of, meaning
from referral_stream.read_models.projecting import Operation, Projected, Projection, Touched
from referral_stream.read_models.writing import Writer, WriteRefused
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.log_throttle import LogThrottle

logger = logging.getLogger(__name__)

ROLE: Final = "projector"
POLL_MS: Final = 300
OPEN_SECONDS: Final = 20.0
COMMIT_SECONDS: Final = 20.0
COMMIT_EVERY_SECONDS: Final = 5.0
LOOK_EVERY_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0


class TopicMadeAnew(Exception):
    """The read models are ahead of a topic: it is not the one that they were made of. The message says what to do."""


class Projecting(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Applies the topics to the read models; ``most`` records at a time, of all partitions together."""

    def __init__(self, deployment: Deployment, writer: Writer, *, most: int) -> None:
        settings = deployment.settings
        session_ms = round(settings.session_timeout_seconds * 1_000)
        names = deployment.topics
        self.group = deployment.group(ROLE)
        self._states = changelogs(deployment.group("decide"))[0]
        self._projection = Projection()
        self._take = {
            names.referral_decisions: self._projection.decisions,
            names.referral_followups: self._projection.followups,
            names.referral_rewards: self._projection.rewards,
            names.ledger_requests: self._projection.controls,
        }
        self._records = names.referral_records
        self.topics = (*self._take, self._records, self._states)
        self.consumer = AIOKafkaConsumer(
            **deployment.client(),
            group_id=self.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(session_ms // 5, 200),
            # What concerns one customer lies in one partition of each topic, and is best applied by one worker.
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        self._writer, self._clock, self._real, self._most = writer, deployment.clock, Clock(), most
        self._at: dict[TopicPartition, int | None] = {}
        self._to_open: set[TopicPartition] = set()
        self._committed: dict[TopicPartition, int] = {}
        self._throttle = LogThrottle(logger)
        self._looked_at = self._committed_at = 0.0
        self.lag: dict[TopicPartition, int] = {}
        self.available: bool | None = None
        self.login = LoginWatch()
        self.assignments = self.rebuilds = self.looked_at = 0
        self.applied: Counter[str] = Counter(dict.fromkeys(self.topics, 0))

    @property
    def unreadable(self) -> Counter[str]:
        return self._projection.unreadable

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        """What is ours, and open."""
        return frozenset(self._at)

    @property
    def opening(self) -> bool:
        return bool(self._to_open)

    @property
    def leads(self) -> bool:
        """Whether this is the worker that does what one of all has to do: it owns the first partition of all."""
        return TopicPartition(self._records, 0) in self._at

    async def run(self) -> None:
        """Apply until it is cancelled. Raises TopicMadeAnew, OtherForm, and KafkaError for what waiting cannot help."""
        while True:
            self.looked_at = self._real.now()
            try:
                if self._to_open:
                    await self._open()
                    continue
                found = await self.consumer.getmany(timeout_ms=POLL_MS, max_records=self._most)
                await self._apply_all(found)
                await self._now_and_then()
            except WriteRefused as refused:
                await self._wait_for_redis(refused)

    async def commit(self) -> None:
        """Commit where each partition is, for whoever looks at the group; what fails is committed the next time."""
        self._committed_at = monotonic()
        wanted = {tp: at for tp, at in self._at.items() if at is not None and self._committed.get(tp) != at}
        if not wanted:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self.consumer.commit(wanted)
        except (CommitFailedError, IllegalStateError):
            return
        except (KafkaError, TimeoutError) as error:
            self._throttle.warn("projected_not_committed", type(error).__name__)
            return
        self._committed |= wanted

    # -- what aiokafka calls in a rebalance

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget them: their next owner asks the read models where it is."""
        for tp in revoked:
            self._at.pop(tp, None)
            self._committed.pop(tp, None)
        self._to_open = set()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is read of them before they are opened."""
        self.assignments += 1
        self._reopen(assigned)

    def _reopen(self, partitions: Iterable[TopicPartition]) -> None:
        self._to_open = set(partitions)
        for tp in self._to_open:
            self._at.pop(tp, None)
        if self._to_open:
            self.consumer.pause(*self._to_open)

    # -- opening

    async def _open(self) -> None:
        """Find out where each partition is. What a broker does not answer is tried again."""
        wanted = sorted(self._to_open)
        await self._writer.check()
        known = await self._writer.positions()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                begins = await self.consumer.beginning_offsets(wanted)
                ends = await self.consumer.end_offsets(wanted)
        except (KafkaError, TimeoutError) as error:
            self._throttle.warn("partitions_not_opened", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            return
        for tp in wanted:
            at = known.get((tp.topic, tp.partition))
            if at is not None and at > ends[tp]:
                raise TopicMadeAnew(
                    f"{tp.topic}-{tp.partition} ends at {ends[tp]}, and the read models are at {at}: the topic was made"
                    " anew; run: referral-stream run projector --reset"
                )
            if at is not None and at < begins[tp]:
                place = {"topic": tp.topic, "partition": tp.partition, "wanted": at, "is": begins[tp]}
                logger.warning("read_models_lack_records", extra=place)
            if tp in self._to_open and tp in self.consumer.assignment():
                self._at[tp] = at
                self.consumer.seek(tp, begins[tp] if at is None else max(at, begins[tp]))
                self.consumer.resume(tp)
        self._to_open = set()
        self.available = True
        self.login.note(None)
        self._throttle.settled()
        logger.info("partitions_opened", extra={"partitions": len(self._at)})

    # -- applying

    async def _apply_all(self, found: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        """Side by side: while Redis applies one batch, the next is prepared."""
        batches = [self._apply(tp, records) for tp, records in found.items() if tp in self._at and records]
        if not batches:
            return
        errors = [each for each in await asyncio.gather(*batches, return_exceptions=True) if each is not None]
        if errors:
            raise errors[0]
        self.available = True
        self.login.note(None)

    async def _apply(self, tp: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        expected = self._at[tp]
        operations, touched = self._operations(tp.topic, records)
        after = records[-1].offset + 1
        try:
            applied = await self._writer.apply(
                tp.topic, tp.partition, expected, after, operations, touched,
                now=self._clock.now(), real_now=self._real.now(),
            )  # fmt: skip
        except WriteRefused:
            self._go_to(tp, expected, records[0].offset)
            raise
        if applied.done:
            self.applied[tp.topic] += len(records)
            if tp in self._at:
                self._at[tp] = after
            return
        logger.warning(
            "read_models_elsewhere",
            extra={"topic": tp.topic, "partition": tp.partition, "wanted": expected or 0, "is": applied.at or 0},
        )
        if tp in self._at:
            self.rebuilds += applied.at is None
            self._reopen(self.consumer.assignment())

    def _go_to(self, tp: TopicPartition, at: int | None, offset: int) -> None:
        """Read the batch again."""
        if tp in self._at and self._at[tp] == at and tp in self.consumer.assignment():
            self.consumer.seek(tp, offset)

    def _operations(self, topic: str, records: Sequence[ConsumerRecord]) -> tuple[list[Operation], dict[str, Touched]]:
        read = [Projected(each.key or b"", each.value, _now(each)) for each in records]
        if topic == self._records:
            return [], self._projection.records(read)
        if topic == self._states:
            return self._projection.states(read)
        return self._take[topic](read), {}

    # -- now and then

    async def _now_and_then(self) -> None:
        now = monotonic()
        while now - self._looked_at >= LOOK_EVERY_SECONDS and not await self._writer.has_room():
            self.available, self.looked_at = False, self._real.now()
            self._throttle.warn("read_models_full", "80 % of maxmemory is used")
            await asyncio.sleep(RETRY_SECONDS)
        if now - self._committed_at >= COMMIT_EVERY_SECONDS:
            await self.commit()
        if now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            await self._look()

    async def _look(self) -> None:
        """How far we are, and whether the read models are where we believe: on a quiet topic no batch would say."""
        known = await self._writer.positions()
        self.available = True
        self.login.note(None)
        if any(known.get((tp.topic, tp.partition)) != at for tp, at in self._at.items()):
            lost = not known and any(at is not None for at in self._at.values())
            logger.warning("read_models_elsewhere", extra={"wanted": len(self._at), "is": len(known)})
            self.rebuilds += lost
            self._reopen(self.consumer.assignment())
            return
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                ends = await self.consumer.end_offsets(sorted(self._at)) if self._at else {}
                self.lag = {tp: max(0, end - await self.consumer.position(tp)) for tp, end in ends.items()}
        except (KafkaError, TimeoutError, IllegalStateError):
            return

    async def _wait_for_redis(self, refused: WriteRefused) -> None:
        self.available = False
        cause = refused.__cause__
        self.login.note(cause)
        says = str(refused) if cause is None else f"{code_of(cause)}: {meaning(cause).says}"
        self._throttle.warn("read_models_unavailable", says)
        if cause is not None and meaning(cause).elsewhere:
            await self._writer.look_up_again()
        await asyncio.sleep(RETRY_SECONDS)


def _now(record: ConsumerRecord) -> int:
    """Our stamp in a record's headers; 0 without a usable one."""
    for name, value in record.headers:
        if name == "now" and value is not None and value.isdigit():
            return int(value)
    return 0
