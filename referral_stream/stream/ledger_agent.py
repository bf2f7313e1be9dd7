"""The ledger agent: requests in, one atomic script in Redis, answers appended to ``customer-events``.

At least once: a batch that is repeated after a crash gets the same answers (the ledger is idempotent by command id)
under the same event ids. While Redis is away every request is answered ``unavailable``, and what must not be lost
(confirmations, releases, switches) is tried again before anything else. A ledger that lost its data answers nothing
until it has been rebuilt from ``ledger-requests``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Protocol, TypeAlias

from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust_batches import BatchResult, Histogram, NotOwner, Output, Read, Record, TransportError

from referral_stream.contracts.applying import FAULT
from referral_stream.contracts.codec import decode_request, encode_event, event_headers, event_key
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import ReservationRequested
from referral_stream.core.events import Event, ReservationDenied
from referral_stream.core.ledger.caps import LedgerOperation, Result, Thrown
from referral_stream.core.ledger.switches import Page
from referral_stream.ledger.client import LedgerError, LedgerNotReady, LedgerUnavailable
from referral_stream.ledger.rounds import (
    Answered,
    LedgerBatch,
    Rounds,
    answered,
    batches,
    passed_on,
    resumption,
    unanswered,
)
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.runtime.topic_log import TopicReader, UnreadableTopic
from referral_stream.stream.ingest import dead_letter_output
from referral_stream.stream.ledger_clock import LedgerClock

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

_NOT_OUR_FAULT = (LedgerError, TransportError, KafkaError, OSError, MemoryError)
"""What retries, or stops the worker: it says nothing about a record."""

_Request: TypeAlias = tuple[LedgerOperation, RawRecord]
"""A request, and the record that it is read from."""


class Ledger(Protocol):
    """What the agent needs of a ledger: see :class:`referral_stream.ledger.client.RedisLedger`."""

    async def apply(self, operations: Sequence[LedgerOperation]) -> list[Result]: ...

    async def stopped(self, requests: Sequence[ReservationRequested]) -> list[bool]: ...

    async def page(self, thrown: Thrown, now: int, after: str = "") -> Page: ...

    async def ready(self) -> bool: ...

    async def rebuild(self, records: AsyncIterator[LedgerOperation]) -> bool: ...


class LedgerAgent:
    """The processor of the ledger agent.

    ``send`` appends records and returns when they are acknowledged: what one batch says must be durable before the next
    is applied, or a crash between a resumption and a pause would leave customers waiting forever. ``history`` reads
    ``ledger-requests`` from its start to its present end, merged by instant. Rivals for one account and instant meet
    because the lane waits for more records before it begins a batch, so a batch leaves nobody waiting. ``leaving`` says
    that the partitions have to be given back: then nothing waits for Redis any more. ``watch`` hears of late requests.

    ``available`` says whether the ledger could be used when last tried; None: not tried yet. ``answers`` grows by the
    types of what is told to customers, ``denied`` by the gates of the denials, ``paused`` by the triggers that the
    burst breaker paused, ``counts`` by ``refused_<cause>`` of dead letters.
    """

    def __init__(
        self,
        topics: Topics,
        ledger: Ledger,
        clock: Clock,
        *,
        send: Callable[[Sequence[Output]], Awaitable[None]],
        history: Callable[[], AsyncIterator[LedgerOperation]],
        leaving: Callable[[], bool] = lambda: False,
        watch: LedgerClock | None = None,
    ) -> None:
        self.topics, self.ledger, self.clock = topics, ledger, clock
        self.send, self.history, self.leaving = send, history, leaving
        self.watch = watch
        self.available: bool | None = None
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        self.paused: Counter[str] = Counter()
        self.call_seconds = Histogram()
        self.failures = self.rebuilds = 0
        self._complaints = LogThrottle(logger)
        self._rebuilding = asyncio.Lock()

    async def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (AsyncProcessor)
        letters: list[Output] = []
        await self._take_all(self._decode(records, letters), letters)
        return BatchResult(letters)

    async def _take_all(self, requests: Sequence[_Request], letters: list[Output]) -> None:
        """All batches of these requests; one on which our own code fails is a letter, and nobody is answered.

        What was applied before such a request is applied again, which the ledger knows by the command ids.
        """
        try:
            rounds, now = Rounds(wait=0), self.clock.now()
            operations = [operation for operation, _ in requests]
            for batch in (*batches(operations, rounds, now), *batches((), rounds, now)):
                await self._take(batch)
        except _NOT_OUR_FAULT:
            raise
        except Exception as fault:
            if len(requests) > 1:
                for each in requests:
                    await self._take_all([each], letters)
                return
            for _, raw in requests:
                self._failed(raw, fault, letters)
            if not requests:
                raise

    def _decode(self, records: Iterable[Record], letters: list[Output]) -> list[_Request]:
        requests: list[_Request] = []
        for record in records:
            raw = RawRecord.of(record)
            try:
                requests.append((decode_request(raw.value or b""), raw))
            except Undecodable as error:
                self._refuse(raw, error.cause, error.detail, letters)
            except Exception as fault:  # noqa: BLE001 (our own: its letter says so, all others go on)
                self._failed(raw, fault, letters)
        return requests

    def _failed(self, raw: RawRecord, fault: Exception, letters: list[Output]) -> None:
        logger.error("request_failed", exc_info=fault, extra={"partition": raw.partition, "offset": raw.offset})
        self._refuse(raw, FAULT, type(fault).__name__, letters)

    def _refuse(self, raw: RawRecord, cause: str, detail: str, letters: list[Output]) -> None:
        self.counts[f"refused_{cause}"] += 1
        letters.append(dead_letter_output(self.topics, raw, f"{cause}: {detail}", "ledger", self.clock.now()))

    async def _take(self, batch: LedgerBatch) -> None:
        """Apply one batch and append what follows, before anything else is applied."""
        if self.watch is not None:
            self.watch.too_late(batch.expired, self.clock.now())
        try:
            results = await self._applied(batch.operations)
        except LedgerUnavailable as cause:
            outcome = unanswered(batch, self.clock.now())
            self._complaints.warn("ledger_unavailable", str(cause), requests=len(outcome.events))
            await self._append(outcome.events)
            if outcome.unapplied:
                await self._take_at_last(LedgerBatch(outcome.unapplied))
            return
        await self._tell(answered(batch, results, self.clock.now()))

    async def _applied(self, operations: Sequence[LedgerOperation]) -> list[Result]:
        """The ledger's results. One that is new, or lost its data, is rebuilt while its requests wait.

        The log that it is rebuilt from holds these operations too; none is counted twice. Raises LedgerUnavailable.
        """
        try:
            return await self._apply(operations)
        except LedgerNotReady:
            await self.rebuild()
            return await self._apply(operations)

    async def _apply(self, operations: Sequence[LedgerOperation]) -> list[Result]:
        """One call of the ledger, measured. Raises LedgerUnavailable."""
        begun = monotonic()
        try:
            results = await self.ledger.apply(operations)
        except LedgerUnavailable:
            self.available = False
            self.failures += 1
            raise
        finally:
            self.call_seconds.observe(monotonic() - begun)
        self._at_hand()
        return results

    def _at_hand(self) -> None:
        self.available = True
        self._complaints.settled()

    async def _take_at_last(self, batch: LedgerBatch) -> None:
        """Facts rather than requests: the ledger must learn them before it judges anything else.

        Raises NotOwner once we are leaving: whoever owns the partition next gets the whole batch again.
        """
        while True:
            await self._may_wait()
            try:
                results = await self._apply(batch.operations)
            except LedgerUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._tell(answered(batch, results, self.clock.now()))
                return

    async def _may_wait(self) -> None:
        """Before another try of what must not be lost. Raises NotOwner once we are leaving."""
        if self.leaving():
            raise NotOwner("the ledger did not answer until the partition had to be given back")
        await self.rebuild()

    async def _tell(self, outcome: Answered) -> None:
        for pause in outcome.pauses:
            self.paused[pause.name or ""] += 1
            logger.error("burst_breaker_paused", extra={"trigger": pause.name, "why": pause.why})
        await self._append(outcome.events)
        for switch in outcome.switches:
            await self._pass_on(switch)
        if outcome.refused:
            # Resumed while it was being denied: only now, with the denial appended, can the customer be notified.
            try:
                stopped = await self.ledger.stopped(outcome.refused)
            except LedgerUnavailable:
                return  # a later resumption notifies the customer
            pairs = zip(outcome.refused, stopped, strict=True)
            await self._append([resumption(request, self.clock.now()) for request, still in pairs if not still])

    async def _pass_on(self, switch: Event) -> None:
        """Tell of a switch, in pages: each is durable before the next, which forgets whom it told of a resumption.

        Raises NotOwner once we are leaving.
        """
        page = Page((), "")
        while page.after is not None:
            try:
                page = await self.ledger.page(switch.data, self.clock.now(), page.after)
            except LedgerUnavailable as cause:
                self.available = False
                self._complaints.warn("ledger_unavailable", str(cause), requests=0)
                await asyncio.sleep(RETRY_SECONDS)
                await self._may_wait()
            else:
                await self._append(passed_on(switch, page.customers, self.clock.now()))

    async def _append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self.answers.update(event.type for event in events)
        self.denied.update(event.data.gate for event in events if isinstance(event.data, ReservationDenied))
        now = self.clock.now()
        topic = self.topics.customer_events
        await self.send([Output(topic, encode_event(e), event_key(e), event_headers(e, now)) for e in events])

    async def rebuild(self) -> None:
        """Rebuild the ledger from its log if it is not ready; callers in the meantime wait for this attempt."""
        somebody_does = self._rebuilding.locked()
        async with self._rebuilding:
            if somebody_does:
                return
            try:
                if not await self.ledger.ready():
                    self.rebuilds += await self.ledger.rebuild(self.history())
            except LedgerUnavailable as cause:
                self.available = False
                self._complaints.warn("ledger_rebuild_failed", str(cause))
            else:
                self._at_hand()


async def ledger_history(client: dict[str, Any], topic: str) -> AsyncIterator[LedgerOperation]:
    """All records on ``ledger-requests`` now, merged over the partitions by their instant.

    ``client`` are aiokafka's connection settings. Raises KafkaError, by which the lane knows whether to try again, and
    UnreadableTopic for a topic that does not exist.
    """
    try:
        async with TopicReader(client, topic) as reader:
            async for operation in reader.present_by_instant(_operation):
                yield operation
    except UnreadableTopic as error:
        match error.__cause__:
            case KafkaError() as cause:
                raise cause from None
            case TimeoutError():
                raise KafkaTimeoutError(str(error)) from None
            case _:
                raise


def _operation(record: RawRecord) -> tuple[int, LedgerOperation] | None:
    try:
        operation = decode_request(record.value or b"")
    except Exception:  # noqa: BLE001 (as in the agent: none of it was applied then, either)
        logger.warning("unreadable_request", extra={"partition": record.partition, "offset": record.offset})
        return None
    return operation.time if isinstance(operation, Event) else operation.now, operation
