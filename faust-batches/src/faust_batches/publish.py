"""Publishing many records at once: one produce batch per target partition instead of a future per record."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.types import TP

from faust_batches.batch import Headers, Output, Refusal, record_bytes
from faust_batches.clock_watch import ClockWatch
from faust_batches.errors import BatchRefused, ClockRefused, NotAllowed, RecordTooLarge, TopicsMismatch
from faust_batches.partitioner import partition_of
from faust_batches.topics import other_count

logger = logging.getLogger(__name__)

_CONTRADICTIONS: Final = 3
_ENTRY_OVERHEAD: Final = record_bytes(None, None) + 100
"""What an entry's record needs beside key and value: the last one of a batch has a header with its source position."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A produce batch on its way. ``future`` gives aiokafka's RecordMetadata with the offset of the first record."""

    tp: TP
    records: int
    size_bytes: int
    future: asyncio.Future[Any]


class Publisher:
    """Sends records through any producer, and knows which records the topics take.

    Limits start at ``max_record_bytes``; when a broker refuses less, the topic's limit is learnt and the batch has to
    be made again without the record (``admit``), through a new producer: a refused batch breaks the old one's sequence.
    ``published`` grows by the records that were handed to a producer, by topic. ``fixed`` are topics whose number of
    partitions must not change.
    """

    def __init__(
        self,
        max_record_bytes: int,
        on_refused: Refusal | None = None,
        published: Counter[str] | None = None,
        clock: ClockWatch | None = None,
        fixed: Mapping[str, int] | None = None,
        stamped: Callable[[Sequence[Output]], Sequence[Output]] | None = None,
    ) -> None:
        self._stamped = stamped
        self._fixed: Mapping[str, int] = {} if fixed is None else fixed
        self._max_record_bytes = max_record_bytes
        self._on_refused = on_refused
        self._clock = clock or ClockWatch()
        self._limits: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._refused: set[str] = set()
        """Topics that refused a record by itself since their settings were read."""
        self._contradicted: Counter[str] = Counter()
        self.lowered: set[str] = set()
        """Topics that took larger records before, while we were running: they may do so again."""
        self._alone: set[str] = set()
        self._round_robin = count()
        self._turns: WeakKeyDictionary[AIOKafkaProducer, defaultdict[TP, asyncio.Lock]] = WeakKeyDictionary()
        self.refused = 0
        self._published: Counter[str] = Counter() if published is None else published

    def limit(self, topic: str) -> int:
        """The size in bytes of the largest record for ``topic``, as ``record_bytes`` counts."""
        return self._limits.get(topic, self._max_record_bytes)

    def entry_limit(self, changelog: str) -> int:
        """Likewise, of an entry: how many bytes its key and value may have together."""
        return self.limit(changelog) - _ENTRY_OVERHEAD

    def told(self, topic: str, limit: int) -> None:
        """Adopt what the topic takes, as its settings say now: what a refusal taught may be over.

        Settings that refusals contradict again and again (a proxy may have a limit of its own) count no more until they
        change.
        """
        is_first = topic not in self._told
        if self._told.get(topic) != limit:
            self._told[topic], self._contradicted[topic] = limit, 0
        elif topic in self._refused:
            self._contradicted[topic] += 1
        self._refused.discard(topic)
        if self._contradicted[topic] > _CONTRADICTIONS:
            self.lowered.discard(topic)
            return
        before, now = self.limit(topic), min(limit, self._max_record_bytes)
        self._limits[topic] = now
        if now < before:
            if not is_first:
                self.lowered.add(topic)
            logger.warning("record_limit_lowered", extra={"topic": topic, "limit": now})
        elif now > before:
            self.lowered.discard(topic)
            logger.info("record_limit_raised", extra={"topic": topic, "limit": now})

    def admit(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """``outputs`` with those that are too large replaced by what ``on_refused`` makes of them, or left out.

        So a single record can never stop the worker. Leaving out is an error in the log. Where the app is traced, they
        get their headers here.
        """
        if self._stamped is not None:
            outputs = self._stamped(outputs)
        if self._all_fit(outputs):
            return outputs
        admitted: list[Output] = []
        for output in outputs:
            if self._fits(output):
                admitted.append(output)
                continue
            reason = RecordTooLarge(
                output.topic, record_bytes(output.key, output.value, output.headers), self.limit(output.topic)
            )
            self.refused += 1
            substitutes = list(self._on_refused(output, reason)) if self._on_refused is not None else []
            fitting = [substitute for substitute in substitutes if self._fits(substitute)]
            fields = {"topic": output.topic, "bytes": reason.size_bytes, "limit": reason.limit_bytes}
            if fitting:
                logger.warning("output_replaced", extra=fields)
            else:
                logger.error("output_lost", extra=fields)
            admitted += fitting
        return admitted

    def _all_fit(self, outputs: Sequence[Output]) -> bool:
        """Whether all of them would fit into the topic with the lowest limit."""
        limit = min(self._limits.values(), default=self._max_record_bytes)
        headers: Headers = ()
        room = limit - record_bytes(None, None)
        for output in outputs:
            if output.headers is not headers:  # those of one batch are mostly one and the same
                headers = output.headers
                room = limit - record_bytes(None, None, headers)
            if len(output.value or b"") + len(output.key or b"") > room:
                return False
        return True

    def _fits(self, output: Output) -> bool:
        return record_bytes(output.key, output.value, output.headers) <= self.limit(output.topic)

    async def send(self, producer: AIOKafkaProducer, outputs: Sequence[Output]) -> list[Sent]:
        """Hand ``outputs`` to ``producer``, in their order per partition; returns before they are acknowledged.

        Raises:
            TopicsMismatch: a fixed topic has another number of partitions. Nothing is sent.
        """
        partitions: dict[str, int] = {}
        groups: dict[tuple[str, int], _Filling] = {}
        for output in outputs:
            topic, key, partition = output.topic, output.key, output.partition
            if partition is None:
                among = partitions.get(topic)
                if among is None:
                    with _named(topic):
                        found = await producer.partitions_for(topic)
                    among = partitions[topic] = self._among(topic, len(found))
                partition = next(self._round_robin) % among if key is None else partition_of(key, among)
            filling = groups.get((topic, partition))
            if filling is None:
                filling = groups[topic, partition] = _Filling(producer, alone=topic in self._alone)
            filling.append(key, output.value, output.headers)
        sent: list[Sent] = []
        for (topic, partition), filling in groups.items():
            sent += await self._enqueue(producer, TP(topic, partition), filling)
        return sent

    def _among(self, topic: str, found: int) -> int:
        fixed = self._fixed.get(topic, found)
        if found != fixed:
            raise TopicsMismatch(other_count(topic, found, fixed))
        return found

    async def send_changes(
        self, producer: AIOKafkaProducer, tp: TP, changes: Mapping[bytes, bytes | None], headers: Headers = ()
    ) -> list[Sent]:
        """Hand the changelog records of ``changes`` to ``producer``, the last one with these ``headers``.

        Raises:
            RecordTooLarge: an entry exceeds ``entry_limit``. State cannot be left out: the processor has to bound it.
        """
        if not changes:
            return []
        filling = _Filling(producer, alone=tp.topic in self._alone)
        limit, last = self.entry_limit(tp.topic), len(changes)
        for number, (key, value) in enumerate(changes.items(), 1):
            if value is not None and len(value) + len(key) > limit:
                raise RecordTooLarge(tp.topic, record_bytes(key, value), self.limit(tp.topic))
            filling.append(key, value, headers if number == last else ())
        return await self._enqueue(producer, tp, filling)

    async def _enqueue(self, producer: AIOKafkaProducer, tp: TP, filling: _Filling) -> list[Sent]:
        sent: list[Sent] = []
        # One at a time: aiokafka wakes all who wait for room in a partition, and counts each one's waiting from its
        # start again at every turn, so that many lanes that feed one partition would soon time out.
        turns = self._turns.setdefault(producer, defaultdict(asyncio.Lock))
        async with turns[tp]:
            for builder in filling.full():
                records, size = builder.record_count(), builder.size()
                with _named(tp.topic):
                    future = await producer.send_batch(builder, tp.topic, partition=tp.partition)
                future.add_done_callback(_mark_retrieved)
                sent.append(Sent(tp, records, size, future))
                self._published[tp.topic] += records
        return sent

    async def acknowledged(self, sent: Sequence[Sent]) -> None:
        """Wait until the broker has answered for everything in ``sent``.

        Raises:
            BatchRefused: a limit was learnt. NotAllowed: the broker denies us a right. ClockRefused.
            KafkaError: the first failure, one that cannot be retried before one that can.
        """
        failures: list[BaseException] = []
        results = await asyncio.gather(*(batch.future for batch in sent), return_exceptions=True)
        for batch, result in zip(sent, results, strict=True):
            if isinstance(result, MessageSizeTooLargeError):
                self._learn(batch)
                failures.insert(0, BatchRefused(f"{batch.tp.topic} refused {batch.size_bytes} bytes"))
            elif isinstance(result, InvalidTimestampError):
                self._clock.refuse(batch.tp.topic)
                failures.insert(0, ClockRefused(f"{batch.tp.topic} does not take records with this clock's time"))
            elif isinstance(result, TopicAuthorizationFailedError):
                failures.insert(0, NotAllowed(f"{batch.tp.topic} may not be written by us: grant the right to write"))
            elif isinstance(result, BaseException):
                fields = {"topic": batch.tp.topic, "partition": batch.tp.partition, "cause": repr(result)}
                logger.warning("not_published", extra=fields)
                failures.append(result)
        if failures:
            failures.sort(key=_is_retriable)
            raise failures[0]
        if sent:
            self._clock.accept()

    def _learn(self, refused: Sent) -> None:
        topic = refused.tp.topic
        if refused.records > 1 and topic not in self._alone:
            self._alone.add(topic)
            logger.warning("one_record_per_batch", extra={"topic": topic, "refused_bytes": refused.size_bytes})
        elif refused.records == 1:
            self._limits[topic] = min(self.limit(topic), refused.size_bytes - 1)
            self.lowered.add(topic)
            self._refused.add(topic)
            logger.warning("record_limit_lowered", extra={"topic": topic, "limit": self._limits[topic]})


class _Filling:
    """Produce batches of one partition; records go into the last one, and into a new one when that is full.

    The wrapper that aiokafka has around its record builder costs as much per record as the builder itself: records go
    straight to that one, and the wrapper learns of their number at the end of a batch.
    """

    __slots__ = ("_alone", "_append", "_builders", "_headers", "_listed", "_producer", "_records")

    def __init__(self, producer: AIOKafkaProducer, *, alone: bool) -> None:
        """``alone``: one record per batch."""
        self._producer = producer
        self._alone = alone
        self._builders: list[BatchBuilder] = []
        self._headers: Headers = ()
        self._listed: list[tuple[str, bytes | None]] = []
        self._begin()

    def _begin(self) -> None:
        self._builders.append(self._producer.create_batch())
        self._append = self._builders[-1]._builder.append
        self._records = 0

    def _end(self) -> None:
        builder = self._builders[-1]
        builder._relative_offset = self._records
        builder.close()

    def append(self, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        if headers is not self._headers:
            self._headers, self._listed = headers, list(headers)  # aiokafka takes nothing else
        full = self._alone and self._records
        if full or self._append(self._records, None, key, value, self._listed) is None:
            self._end()
            self._begin()
            self._append(0, None, key, value, self._listed)  # the first record of a batch is always taken
        self._records += 1

    def full(self) -> Sequence[BatchBuilder]:
        """The batches, closed, the last one too."""
        self._end()
        return self._builders


@contextmanager
def _named(topic: str) -> Iterator[None]:
    """Has the error of a topic that is gone say which one it is."""
    try:
        yield
    except UnknownTopicOrPartitionError as exc:
        raise UnknownTopicOrPartitionError(f"{topic} is not there") from exc


def _mark_retrieved(future: asyncio.Future[Any]) -> None:
    """Mark the exception as retrieved: an earlier failure has already been raised."""
    if not future.cancelled():
        future.exception()


def _is_retriable(failure: BaseException) -> bool:
    return isinstance(failure, KafkaError) and bool(failure.retriable)
