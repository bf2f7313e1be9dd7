"""The ledger agent: requests in, one atomic script in Redis, answers appended to ``customer-events``.

What the ledger grants is written to ``ledger-requests`` first, and told to the customer when the agent reads it there:
so the log decides whether it still holds, whoever thinks to be the ledger (:mod:`~referral_stream.stream.generations`).

At least once: a batch that is repeated after a crash gets the same answers (the ledger is idempotent by command or
grant id) under the same event ids. While Redis is away every request is answered ``unavailable``, and what must not be
lost (confirmations, releases, claims, switches) is tried again before anything else. A ledger that lost its data
answers nothing until it has been rebuilt from ``ledger-requests``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Final, Protocol, TypeAlias

from aiokafka.errors import KafkaError
from faust_batches import BatchResult, Histogram, NotOwner, Output, Read, Record, TransportError

from referral_stream.contracts.applying import FAULT
from referral_stream.contracts.codec import (
    decode_request,
    effect_key,
    encode_effect,
    encode_event,
    event_headers,
    event_key,
)
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import NOW_HEADER, RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import LedgerRenewed, ReservationRequested
from referral_stream.core.events import Event, ReservationDenied
from referral_stream.core.ledger.caps import LedgerOperation, Thrown
from referral_stream.core.ledger.switches import Page
from referral_stream.ledger.client import (
    LedgerError,
    LedgerEvicting,
    LedgerLogCut,
    LedgerNotReady,
    LedgerOutdated,
    LedgerUnavailable,
    Results,
)
from referral_stream.ledger.redis_answers import LoginWatch
from referral_stream.ledger.rounds import (
    Answered,
    Holding,
    LedgerBatch,
    Rounds,
    answered,
    batches,
    holds,
    passed_on,
    resumption,
    unanswered,
)
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.stream.generations import Begun, NewerGeneration, is_believable, kept_switches
from referral_stream.stream.ingest import dead_letter_output
from referral_stream.stream.ledger_clock import LedgerClock

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
ELSEWHERE_SECONDS = 10.0
"""How long, at first, to look for the server with the newest ledger, before building one where we are."""
PATIENCE_KEPT_SECONDS = 3_600.0
"""A loss that is so long ago was another failover."""
OTHERS_BUILD_SECONDS = 20.0
"""How long requests wait while another worker builds the ledger: they are good for 30 s."""
_LOOK_AGAIN_SECONDS: Final = 0.2

_NOT_OUR_FAULT = (LedgerError, TransportError, KafkaError, OSError, MemoryError)
"""What retries, or stops the worker: it says nothing about a record."""

_Asked: TypeAlias = tuple[LedgerOperation, RawRecord]
"""A request, and the record that it is read from."""


class Ledger(Protocol):
    """What the agent needs of a ledger: see :class:`referral_stream.ledger.client.RedisLedger`."""

    least: int
    cluster: str

    async def apply(self, operations: Sequence[LedgerOperation]) -> Results: ...

    async def stopped(self, requests: Sequence[ReservationRequested]) -> list[bool]: ...

    async def page(self, thrown: Thrown, now: int, after: str = "") -> Page: ...

    async def check(self) -> None: ...

    async def claim(self) -> bool: ...

    async def abandon(self) -> None: ...

    async def rebuild(self, records: AsyncIterator[LedgerOperation], number: int) -> bool: ...


class Log(Protocol):
    """What the agent needs of the log: see :class:`referral_stream.stream.generations.Generations`."""

    async def cluster(self) -> str: ...

    async def newest(self) -> int: ...

    async def begin(self, least: int) -> Begun: ...

    def history(self, begun: Begun) -> AsyncIterator[LedgerOperation]: ...


@dataclass(slots=True)
class _Desk:
    """One partition's requests that wait for their rivals; ``turn``: its records are applied one after the other."""

    partition: int
    rounds: Rounds
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked: dict[int, _Asked] = field(default_factory=dict)
    """By identity of the operation, until it is answered."""

    def keep_waiting(self) -> None:
        """Forget all but the requests that wait for their rivals."""
        requests = (each for each, _ in self.asked.values() if isinstance(each, ReservationRequested))
        self.asked = {id(each): self.asked[id(each)] for each in self.rounds.waiting(requests)}


class LedgerAgent:
    """The processor of the ledger agent.

    ``send`` appends records and returns when they are acknowledged: what one batch says must be durable before the next
    is applied, or a crash between a resumption and a pause would leave customers waiting forever. ``leaving`` says
    that the partitions have to be given back: then nothing waits for Redis or for rivals any more. ``assignment``
    numbers the assignments: after each, what the former owners have read of newer ledgers has to be found out.
    ``watch`` hears of late requests.

    Rivals for one account and instant wait for each other while the lane goes on (``BatchResult.rest``).

    ``available`` says whether the ledger could be used when last tried; None: not tried yet. ``lacks`` says what kept
    it from being used when that failed last, ``login`` for how long Redis has refused our login. ``answers`` grows by
    the types of what is told to customers, ``denied`` by the gates of the denials, ``paused`` by the triggers that the
    burst breaker paused, ``counts`` by ``refused_<cause>`` of dead letters.
    """

    def __init__(
        self,
        topics: Topics,
        ledger: Ledger,
        clock: Clock,
        *,
        send: Callable[[Sequence[Output]], Awaitable[None]],
        log: Log,
        leaving: Callable[[], bool] = lambda: False,
        assignment: Callable[[], int] = lambda: 0,
        watch: LedgerClock | None = None,
    ) -> None:
        self.topics, self.ledger, self.clock = topics, ledger, clock
        self.send, self.log, self.leaving, self.assignment = send, log, leaving, assignment
        self.watch = watch
        self.available: bool | None = None
        self.lacks = ""
        self.login = LoginWatch()
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        self.paused: Counter[str] = Counter()
        self.call_seconds = Histogram()
        self.failures = self.rebuilds = 0
        self._complaints = LogThrottle(logger)
        self._rebuilding = asyncio.Lock()
        self._asking_the_log = asyncio.Lock()
        self._known_for: int | None = None
        self._desks: dict[int, _Desk] = {}
        self._patience = _Patience()

    async def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (AsyncProcessor)
        await self._learn_newest()
        letters: list[Output] = []
        asked = await self._decode(records, letters)
        operations = [operation for operation, _ in asked]
        desk = self._desks.setdefault(partition, _Desk(partition, Rounds(self.clock.speed)))
        async with desk.turn:
            desk.asked |= {id(operation): (operation, raw) for operation, raw in asked}
            try:
                await self._take_all(desk, operations, letters)
            finally:
                desk.keep_waiting()
            waiting = desk.rounds.waiting(each for each in operations if isinstance(each, ReservationRequested))
        return BatchResult(letters, rest=partial(self._close_rounds, desk, waiting) if waiting else None)

    async def _learn_newest(self) -> None:
        """Find out after every assignment which is the newest ledger: its mark may stand in front of where we begin.

        Raises KafkaError.
        """
        async with self._asking_the_log:
            if (assignment := self.assignment()) != self._known_for:
                self.ledger.cluster = self.ledger.cluster or await self.log.cluster()
                self._require(await self.log.newest())
                self._known_for = assignment

    def _require(self, generation: int) -> None:
        """From now on no older ledger answers. It may be known too early, which only holds back."""
        self.ledger.least = max(self.ledger.least, generation)

    async def _believe(self, generation: int, asked: list[int]) -> None:
        """Heed the mark of a generation; the log is asked once for a batch about one that is far off.

        Raises Undecodable for one that no rebuild can have written, and KafkaError.
        """
        if not is_believable(generation, self.ledger.least):
            if not asked:
                asked.append(await self.log.newest())
            if not is_believable(generation, asked[0]):
                raise Undecodable("invalid", f"generation: far above {asked[0]}, the newest that is known")
        self._require(generation)

    async def _close_rounds(self, desk: _Desk, waiting: Sequence[ReservationRequested]) -> None:
        """Answer what waits for its rivals, once it has waited for them long enough."""
        while (closes_at := desk.rounds.closes_at(waiting)) is not None:
            left = self.clock.seconds_until(closes_at)
            if left > 0 and not self.leaving():
                await asyncio.sleep(min(left, _LOOK_AGAIN_SECONDS))
                continue
            letters: list[Output] = []
            async with desk.turn:
                try:
                    await self._take_all(desk, (), letters, everything=self.leaving())
                finally:
                    desk.keep_waiting()
            if letters:
                await self.send(letters)

    async def _take_all(
        self, desk: _Desk, operations: Sequence[LedgerOperation], letters: list[Output], *, everything: bool = False
    ) -> None:
        """Apply what may be applied now, or everything, in its order; what fails goes on waiting."""
        now = self.clock.now()
        found = batches(operations, desk.rounds, now, self.ledger.least, everything=everything)
        while found:
            with _waiting_again(desk.rounds, found, now):
                await self._take_or_refuse(desk, found[0], letters)
            found = found[1:]

    async def _take_or_refuse(self, desk: _Desk, batch: LedgerBatch, letters: list[Output]) -> None:
        """Take a batch; what our own code fails on is a letter, and is not answered: nobody is asked for it.

        What was applied before such an operation is applied again, which the ledger knows by its ids.
        """
        try:
            await self._take(desk, batch)
        except _NOT_OUR_FAULT:
            raise
        except Exception as fault:  # noqa: BLE001 (our own: its letter says so, all others go on)
            alone = [
                *(LedgerBatch((each,)) for each in batch.operations),
                *(LedgerBatch((), (each,)) for each in batch.expired),
            ]
            if len(alone) > 1:
                for each in alone:
                    await self._take_or_refuse(desk, each, letters)
                return
            for operation in (*batch.operations, *batch.expired):
                self._failed(desk.asked[id(operation)][1], fault, letters)

    async def _decode(self, records: Iterable[Record], letters: list[Output]) -> list[_Asked]:
        requests, newest = list[_Asked](), list[int]()
        for record in records:
            raw = RawRecord.of(record)
            try:
                operation = decode_request(raw.value or b"")
                if isinstance(operation, LedgerRenewed):
                    await self._believe(operation.generation, newest)
                requests.append((operation, raw))
            except Undecodable as error:
                self._refuse(raw, error.cause, error.detail, letters)
            except _NOT_OUR_FAULT:
                raise
            except Exception as fault:  # noqa: BLE001 (our own: its letter says so, all others go on)
                self._failed(raw, fault, letters)
        return requests

    def _failed(self, raw: RawRecord, fault: Exception, letters: list[Output]) -> None:
        logger.error("request_failed", exc_info=fault, extra={"partition": raw.partition, "offset": raw.offset})
        self._refuse(raw, FAULT, type(fault).__name__, letters)

    def _refuse(self, raw: RawRecord, cause: str, detail: str, letters: list[Output]) -> None:
        self.counts[f"refused_{cause}"] += 1
        letters.append(dead_letter_output(self.topics, raw, f"{cause}: {detail}", "ledger", self.clock.now()))

    async def _take(self, desk: _Desk, batch: LedgerBatch) -> None:
        """Apply one batch and append what follows, before anything else is applied."""
        if self.watch is not None:
            late = [each for each in batch.expired if isinstance(each, ReservationRequested)]
            self.watch.too_late(late, self.clock.now())
        try:
            results = await self._applied(batch.operations)
        except LedgerUnavailable as cause:
            outcome = unanswered(batch, self.clock.now())
            self._complaints.warn("ledger_unavailable", str(cause), requests=len(outcome.events))
            await self._append(outcome.events)
            if outcome.unapplied:
                await self._take_at_last(desk, LedgerBatch(outcome.unapplied))
            return
        await self._tell(desk, answered(batch, results, self.clock.now()), results.generation)

    async def _applied(self, operations: Sequence[LedgerOperation]) -> Results:
        """The ledger's results. One that is new, or lost its data, is rebuilt while its requests wait.

        The log that it is rebuilt from holds these operations too; none is counted twice. Raises LedgerUnavailable.
        """
        try:
            return await self._apply(operations)
        except (LedgerNotReady, LedgerOutdated):
            await self.rebuild()
            return await self._apply(operations)

    async def _apply(self, operations: Sequence[LedgerOperation]) -> Results:
        """One call of the ledger, measured. Raises LedgerUnavailable."""
        begun = monotonic()
        try:
            results = await self.ledger.apply(operations)
        except LedgerUnavailable as cause:
            self._fails(cause)
            self.failures += 1
            raise
        finally:
            self.call_seconds.observe(monotonic() - begun)
        self._at_hand()
        return results

    def _fails(self, cause: LedgerUnavailable) -> None:
        self.available = False
        self.login.note(cause.__cause__)
        self.lacks = "Redis does not answer"
        if isinstance(cause, LedgerEvicting | LedgerLogCut):
            self.lacks = str(cause)
        elif self.login.refused:
            self.lacks = "Redis refuses our login"

    def _at_hand(self) -> None:
        self.available = True
        self.login.note(None)
        self._complaints.settled()

    async def _take_at_last(self, desk: _Desk, batch: LedgerBatch) -> None:
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
                await self._tell(desk, answered(batch, results, self.clock.now()), results.generation)
                return

    async def _may_wait(self) -> None:
        """Before another try of what must not be lost. Raises NotOwner once we are leaving."""
        if self.leaving():
            raise NotOwner("the ledger did not answer until the partition had to be given back")
        await self.rebuild()

    async def _tell(self, desk: _Desk, outcome: Answered, generation: int) -> None:
        for pause in outcome.pauses:
            self.paused[pause.name or ""] += 1
            logger.error("burst_breaker_paused", extra={"trigger": pause.name, "why": pause.why})
        await self._log_grants(desk, holds(outcome.grants, generation, self.clock.now()))
        await self._append(outcome.events)
        if outcome.thrown:
            await self.send(kept_switches(self.topics, outcome.thrown, self.clock.now()))
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
                self._fails(cause)
                self._complaints.warn("ledger_unavailable", str(cause), requests=0)
                await asyncio.sleep(RETRY_SECONDS)
                await self._may_wait()
            else:
                await self._append(passed_on(switch, page.customers, self.clock.now()))

    async def _log_grants(self, desk: _Desk, grants: Sequence[Holding]) -> None:
        """Into the partition that they were requested in: its order decides about them."""
        topic, partition = self.topics.ledger_requests, desk.partition
        if grants:
            await self.send(
                [
                    Output(topic, encode_effect(e, e.now), effect_key(e), ((NOW_HEADER, b"%d" % e.now),), partition)
                    for e in grants
                ]
            )

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
                await self._learn_newest()
                while await self._must_be_built():
                    await self._build()
            except LedgerEvicting as cause:
                self._fails(cause)
                self._complaints.warn("ledger_may_be_evicted", str(cause))
            except LedgerLogCut as cause:
                self._fails(cause)
                self._complaints.warn("ledger_log_cut", str(cause))
            except LedgerUnavailable as cause:
                self._fails(cause)
                self._complaints.warn("ledger_rebuild_failed", str(cause))
            else:
                self._patience.heed()
                self._at_hand()

    async def _must_be_built(self) -> bool:
        """Whether it is for us to build the ledger, on the server that we reach; waits for others who may do so.

        Raises LedgerUnavailable.
        """
        begun = monotonic()
        while True:
            try:
                await self.ledger.check()
            except LedgerOutdated as cause:
                self._complaints.warn("ledger_outdated", str(cause))
                self._patience.lose()
            except LedgerNotReady:
                pass
            else:
                return False
            if self.leaving() or monotonic() - begun >= OTHERS_BUILD_SECONDS:
                raise LedgerUnavailable("another worker builds the ledger")
            if self._patience.is_over() and await self.ledger.claim():
                return True
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _build(self) -> None:
        """Raises LedgerUnavailable and KafkaError."""
        try:
            begun = await self.log.begin(self.ledger.least)
            self._require(begun.number)
            self.rebuilds += await self.ledger.rebuild(self.log.history(begun), begun.number)
        except NewerGeneration as newer:
            self._require(newer.number)
            self._patience.lose()
            await self.ledger.abandon()
        except BaseException:
            await self.ledger.abandon()
            raise


class _Patience:
    """How long to look for the server with the newest ledger before building one on the server that we reach.

    Twice as long every time, or two workers that reach two servers would for ever overtake each other.
    """

    def __init__(self) -> None:
        self._seconds = ELSEWHERE_SECONDS
        self._until: float | None = None
        self._lost_at = monotonic()

    def lose(self) -> None:
        """A newer ledger than what our server holds is known."""
        now, lost_at = monotonic(), self._lost_at
        self._lost_at = now
        if self._until is None:
            if now - lost_at > PATIENCE_KEPT_SECONDS:  # another failover, and not the same two workers again
                self._seconds = ELSEWHERE_SECONDS
            self._until = now + self._seconds
            self._seconds = min(2 * self._seconds, 32 * ELSEWHERE_SECONDS)

    def is_over(self) -> bool:
        if self._until is not None and monotonic() < self._until:
            return False
        self._until = None
        return True

    def heed(self) -> None:
        """The newest ledger was found."""
        self._until = None


@contextmanager
def _waiting_again(rounds: Rounds, found: Sequence[LedgerBatch], now: int) -> Iterator[None]:
    """What has come out of the rounds and was not answered after all waits again: its own batch is over already."""
    try:
        yield
    except BaseException:
        for batch in found:
            for operation in batch.operations:
                if isinstance(operation, ReservationRequested):
                    rounds.add(operation, now)
        raise
