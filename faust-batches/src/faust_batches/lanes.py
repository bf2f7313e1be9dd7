"""One lane per source partition: batches of a partition strictly in order, partitions side by side.

What queues up while a batch is under way forms the next one. A batch may leave something for later (``Rest``); the lane
goes on, and acknowledges nothing behind it until that is done. A lane that drops a batch drops everything after it,
until the next assignment delivers it again: going on would let a later commit pass the dropped one.

Unless a full batch waits, a lane pauses after each for as long as it took. Without that, every lane would be busy all
the time at any rate worth mentioning, with batches of a few records, whose fixed costs keep all the others, and the
broker, waiting. Records that come rarely meet no pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol, TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, ProducerClosed
from faust.types import TP

from faust_batches.batch import Output, Record, Rest
from faust_batches.config import WorkerConfig
from faust_batches.errors import BatchRefused, ClockRefused, Fenced, NotOwner, WorkEnded
from faust_batches.fetched import BatchMessage
from faust_batches.membership import Membership
from faust_batches.meter import Meter
from faust_batches.ports import Feed

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
CLOCK_SECONDS: Final = 5.0
"""Between two tries of what the broker refuses because of our clock. Each may take a rebalance."""
_LOOK_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 0.05
_ROOM_AGAIN: Final = 0.5  # a full lane has its partition fetched again when it is this full
# aiokafka does not call these retriable. A closed producer is one that another lane has just had renewed.
_RETRIABLE_TOO: Final = (KafkaConnectionError, KafkaTimeoutError, ProducerClosed)

_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition and one assignment, in offset order. Without records it only repairs (``Stateful``)."""

    tp: TP
    assignment: int
    records: Sequence[Record]


Step = Callable[[Batch], Awaitable[Rest | None]]
"""Makes the effects of a batch durable, or raises; what it returns makes the rest of them durable.

It is called again with the same batch after a retriable error.
"""


class Tracing(Protocol):
    """What an app that is traced asks: nothing else in the transport knows of traces."""

    def around(self, group: str, step: Step, /) -> Step:
        """The step of a topic that ``group`` consumes, as it is to be run."""

    def stamped(self, outputs: Sequence[Output], /) -> Sequence[Output]:
        """Outputs with the headers that carry a trace on, as they are about to be sent. They may have them already."""


@dataclass(frozen=True, slots=True)
class _Worked:
    """A batch that is not acknowledged yet; ``rest``: what it still waits for, None where only those before it do."""

    batch: Batch
    messages: list[BatchMessage]
    begun: float
    rest: asyncio.Task[None] | None


class Lane:
    """See the module's docstring."""

    def __init__(
        self, tp: TP, step: Step, *, config: WorkerConfig, meter: Meter, membership: Membership, feed: Feed
    ) -> None:
        self._tp = tp
        self._step = step
        self._config = config
        self._meter = meter
        self._membership = membership
        self._feed = feed
        self._queue: deque[BatchMessage] = deque()
        self.queued_records = 0
        self._queued_bytes = 0
        self.position: int | None = None
        """The offset after the last batch that this process made durable."""
        self.tried_since: float | None = None
        """``monotonic()`` at the beginning of the present try of the batch under way."""
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        """Set while a full batch waits."""
        self._begins_at = 0.0
        """``monotonic()`` at the end of the pause after the last batch."""
        self._closed_for = -1  # the assignment in which a batch was dropped
        self._repair_for: int | None = None  # the assignment that begins with a repair
        self._full = False
        self._worked: deque[_Worked] = deque()
        self._working = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"lane {_name(tp)}")
        self.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._membership.fail(exc, f"lane {_name(self._tp)}")
        elif not self._membership.stopping:
            self._membership.fail(WorkEnded(f"the lane {_name(self._tp)} has ended"))

    @property
    def since(self) -> float | None:
        """``monotonic()`` when the oldest of what is under way was begun, or last tried; None: nothing is."""
        return self._worked[0].begun if self._worked else self.tried_since

    def put(self, message: BatchMessage) -> None:
        if message.assignment == self._closed_for:
            self._feed.forget(message)
            return
        self._queue.append(message)
        self.queued_records += len(message.records)
        self._queued_bytes += message.size_bytes
        self._arrived.set()
        if self.queued_records >= self._config.max_batch_records:
            self._enough.set()
        if not self._full and self._fill() >= 1:
            self._full = True
            self._feed.pause_fetching(self._tp)

    def _fill(self) -> float:
        """What has queued up, in records or in bytes, as a share of what may: 1 is full."""
        config = self._config
        return max(self.queued_records / config.max_queued_records, self._queued_bytes / config.max_queued_bytes)

    def repair(self, assignment: int) -> None:
        """Begin with a batch without records."""
        self._repair_for = assignment
        self._arrived.set()

    def drop_queued(self) -> None:
        for message in self._queue:
            self._feed.forget(message)
        self._queue.clear()
        self.queued_records = self._queued_bytes = 0
        self._enough.clear()
        self._full = False

    def _next(self) -> list[BatchMessage]:
        """What has queued up of one assignment, as many messages as fit into a batch, but at least one."""
        queue, limit = self._queue, self._config.max_batch_records
        messages = [queue.popleft()]
        records = len(messages[0].records)
        while queue and queue[0].assignment == messages[0].assignment:
            if records + len(queue[0].records) > limit:
                break
            messages.append(queue.popleft())
            records += len(messages[-1].records)
        self.queued_records -= records
        self._queued_bytes -= sum(message.size_bytes for message in messages)
        if self.queued_records < limit:
            self._enough.clear()
        if self._full and self._fill() <= _ROOM_AGAIN:
            self._full = False
            self._feed.resume_fetching(self._tp)
        return messages

    async def _run(self) -> None:
        while True:
            if self._repair_for is not None:
                assignment, self._repair_for = self._repair_for, None
                await self._work(Batch(self._tp, assignment, ()), [])
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if not self._enough.is_set() and (pause := self._begins_at - monotonic()) > 0:
                await self._pause(pause)
                continue
            messages = self._next()
            assignment = messages[0].assignment
            if assignment == self._closed_for:
                self._forget(messages)
                continue
            records = messages[0].records if len(messages) == 1 else [r for m in messages for r in m.records]
            await self._work(Batch(self._tp, assignment, records), messages)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._enough.wait()

    async def _work(self, batch: Batch, messages: list[BatchMessage]) -> None:
        self.idle.clear()
        self._working = True
        begun = monotonic()
        try:
            rest = await self._until_durable(batch, self._tried(batch))
        except asyncio.CancelledError:
            self._forget(messages)
            raise
        except Exception as exc:  # noqa: BLE001  (see there)
            self._drop(batch, messages, exc)
        else:
            self._acknowledge_after(_Worked(batch, messages, begun, self._later(batch, rest)))
        finally:
            ended = monotonic()
            self._begins_at = ended + min(ended - begun, _LONGEST_PAUSE_SECONDS)
            self.tried_since = None
            self._working = False
            self._may_be_idle()

    def _tried(self, batch: Batch) -> Callable[[], Awaitable[Rest | None]]:
        def attempt() -> Awaitable[Rest | None]:
            self.tried_since = monotonic()
            return self._step(batch)

        return attempt

    def _later(self, batch: Batch, rest: Rest | None) -> asyncio.Task[None] | None:
        if rest is None:
            return None
        later = asyncio.ensure_future(self._until_durable(batch, rest))
        later.add_done_callback(lambda _: self._acknowledge())
        return later

    def _acknowledge_after(self, worked: _Worked) -> None:
        self._worked.append(worked)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Acknowledge, from the oldest on, what has nothing left to wait for."""
        meter = self._meter
        while self._worked and ((rest := self._worked[0].rest) is None or rest.done()):
            worked = self._worked.popleft()
            if rest is not None and rest.cancelled():
                self._forget(worked.messages)
                continue
            if rest is not None and (exc := rest.exception()) is not None:
                self._drop(worked.batch, worked.messages, exc)
                continue
            for message in worked.messages:
                self._feed.acknowledge(message)
            if worked.messages:
                self.position = worked.messages[-1].offset + 1
                meter.batch_records[self._tp.topic].observe(len(worked.batch.records))
                meter.batch_seconds[self._tp.topic].observe(monotonic() - worked.begun)
        self._may_be_idle()

    def _may_be_idle(self) -> None:
        if not self._working and not self._worked:
            self.idle.set()

    def _drop(self, batch: Batch, messages: list[BatchMessage], exc: BaseException) -> None:
        """Neither acknowledge nor continue; whatever is not simply somebody else's shuts the worker down."""
        self._close(batch.assignment, messages)
        if isinstance(exc, NotOwner):
            clock = isinstance(exc.__cause__, ClockRefused)
            if not clock:  # that is in the log
                logger.warning("batch_put_back", extra=_fields(batch) | {"cause": repr(exc.__cause__ or exc)})
            self._meter.dropped += 1
            self._meter.fenced += isinstance(exc, Fenced) and not clock
            self._membership.rejoin(batch.assignment)
        else:
            self._membership.fail(exc, f"batch {_span(batch)}")

    async def _until_durable(self, batch: Batch, attempt: Callable[[], Awaitable[_Done]]) -> _Done:
        while True:
            try:
                return await attempt()
            except BatchRefused as exc:
                self._meter.repeated += 1
                logger.info("batch_repeated", extra=_fields(batch) | {"cause": str(exc)})
            except ClockRefused:
                self._meter.repeated += 1
                await self._wait_for_the_clock()
            except Fenced as exc:
                if isinstance(exc.__cause__, ClockRefused):
                    await self._wait_for_the_clock()
                raise
            except KafkaError as exc:
                if not (exc.retriable or isinstance(exc, _RETRIABLE_TOO)):
                    raise
                self._meter.repeated += 1
                fields = _fields(batch) | {"cause": repr(exc), "again_in_seconds": _RETRY_SECONDS}
                logger.warning("batch_repeated", extra=fields)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _wait_for_the_clock(self) -> None:
        """Before the next try. A rebalance, which would wait for this batch, ends it."""
        deadline = monotonic() + CLOCK_SECONDS
        while monotonic() < deadline and not (self._membership.rebalancing or self._membership.stopping):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    def _close(self, assignment: int, messages: list[BatchMessage]) -> None:
        self._closed_for = assignment
        self._forget(messages)
        self.drop_queued()
        self.drop_worked()

    def drop_worked(self) -> None:
        """Give up what is not acknowledged yet."""
        worked, self._worked = self._worked, deque()
        for each in worked:
            if each.rest is not None:
                each.rest.cancel()
            self._forget(each.messages)

    def _forget(self, messages: list[BatchMessage]) -> None:
        for message in messages:
            self._feed.forget(message)


class Lanes:
    """The lanes of an app."""

    def __init__(self, config: WorkerConfig, meter: Meter, membership: Membership, feed: Callable[[], Feed]) -> None:
        """``feed`` is asked for at the first message, when Faust has made the consumer."""
        self._config = config
        self._meter = meter
        self._membership = membership
        self._feed = feed
        self._steps: dict[str, Step] = {}
        self._lanes: dict[TP, Lane] = {}

    def add_topic(self, topic: str, step: Step) -> None:
        if topic in self._steps:
            raise ValueError(f"{topic} has a processor already")
        self._steps[topic] = step

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(self._steps)

    def feed(self, message: BatchMessage) -> None:
        """Queue a batch message; one that a past assignment delivered is dropped."""
        membership = self._membership
        if membership.rebalancing or membership.stopping or message.assignment != membership.assignment:
            self._feed().forget(message)
            return
        self._lane(message.tp).put(message)

    def repair(self, tp: TP, assignment: int) -> None:
        self._lane(tp).repair(assignment)

    def _lane(self, tp: TP) -> Lane:
        lane = self._lanes.get(tp)
        if lane is None:
            lane = self._lanes[tp] = Lane(
                tp,
                self._steps[tp.topic],
                config=self._config,
                meter=self._meter,
                membership=self._membership,
                feed=self._feed(),
            )
        return lane

    def drop_queued(self) -> None:
        for lane in self._lanes.values():
            lane.drop_queued()

    @property
    def positions(self) -> dict[TP, int]:
        """The offset after the last durable batch, of partitions that had one since they were assigned to us."""
        return {tp: lane.position for tp, lane in self._lanes.items() if lane.position is not None}

    def keep_positions(self, assigned: Container[TP]) -> None:
        """Forget how far we were in partitions that belong to another worker now."""
        for tp, lane in self._lanes.items():
            if tp not in assigned:
                lane.position = None

    def queued(self) -> dict[str, int]:
        """How many records wait, by topic."""
        found = dict.fromkeys(sorted(self._steps), 0)
        for tp, lane in self._lanes.items():
            found[tp.topic] += lane.queued_records
        return found

    def tried_since(self) -> float | None:
        """``monotonic()`` when the batch that has been tried for longest was last begun; ``None``: all are idle."""
        return min((since for lane in self._lanes.values() if (since := lane.since) is not None), default=None)

    async def idle(self) -> None:
        """Return when no batch is under way."""
        for lane in list(self._lanes.values()):
            await lane.idle.wait()

    async def close(self) -> None:
        """Drop everything, the batches under way too."""
        lanes, self._lanes = list(self._lanes.values()), {}
        for lane in lanes:
            lane.drop_queued()
            lane.drop_worked()
            lane.task.cancel()
        await asyncio.gather(*(lane.task for lane in lanes), return_exceptions=True)


def _name(tp: TP) -> str:
    return f"{tp.topic}-{tp.partition}"


def _span(batch: Batch) -> str:
    if not batch.records:
        return f"{_name(batch.tp)} (repair)"
    return f"{_name(batch.tp)}@{batch.records[0].offset}..{batch.records[-1].offset}"


def _fields(batch: Batch) -> dict[str, Any]:
    """For the log: which batch this is."""
    fields: dict[str, Any] = {"topic": batch.tp.topic, "partition": batch.tp.partition, "records": len(batch.records)}
    return fields | {"offset": batch.records[0].offset} if batch.records else fields
