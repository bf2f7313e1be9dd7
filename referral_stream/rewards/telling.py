"""From the backlog to the payer: the attempts, what becomes of each, and the numbers about them.

An order is told when the payer answered 2xx, or refused it for good and ``responses`` has that. Only then its offset
may be committed: so it is told at least once, always under the same key.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, cast

from referral_stream.core.ids import hash64
from referral_stream.core.instants import SECOND
from referral_stream.rewards.answers import Backoff, PayerAnswer, TellingOutcome, TroubleKind, outcome_of, trouble_of
from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.orders import TOLD, OrderKind, PaymentOrder
from referral_stream.rewards.settlements import NotSettled
from referral_stream.rewards.signing import Signer
from referral_stream.runtime.log_throttle import LogThrottle

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60.0


class PayerClient(Protocol):
    """The payer: ``payer.Payer``, or a test's."""

    async def tell(self, body: bytes, headers: dict[str, str]) -> PayerAnswer: ...


class Settling(Protocol):
    """Where a final refusal is written: ``settlements.Settlements``, or a test's. Raises NotSettled."""

    async def write(self, order: PaymentOrder, reference: str | None) -> None: ...


class PayerGone(Exception):
    """The payer answered 410: there is none at this address any more."""


class Telling:
    """Tries what is due, at most ``most`` at a time. ``now`` is epoch ms."""

    def __init__(
        self,
        backlog: RewardsBacklog,
        payer: PayerClient,
        settlements: Settling,
        signer: Signer,
        backoff: Backoff,
        *,
        most: int,
        now: Callable[[], int],
    ) -> None:
        self._backlog, self._payer, self._settlements = backlog, payer, settlements
        self._signer, self._backoff, self._most, self._now = signer, backoff, most, now
        self._tasks: dict[asyncio.Task[None], PaymentOrder] = {}
        self._wake = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended.add_done_callback(asyncio.Future.exception)  # seen, also where nobody runs this any longer
        self._held_back = 0
        self._refusals: dict[str, PayerAnswer] = {}  # by the order's key: what the payer is not asked again
        self._throttles = {kind: LogThrottle(logger) for kind in ("unreachable", "failing", "refusing", "settling")}
        # From zero: an alert notices the first one only as an increase.
        self.told: Counter[tuple[OrderKind, TellingOutcome]] = Counter(
            {(kind, how): 0 for kind in TOLD.values() for how in (TellingOutcome.DONE, TellingOutcome.REFUSED)}
        )
        self.attempts = Counter(dict.fromkeys(("none", "200", "401", "403", "404", "410", "422", "429", "500"), 0))
        self.trouble: TroubleKind | None = None
        self.on_told: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Until it is cancelled. Raises PayerGone, and whatever is wrong with our own code."""
        while True:
            for order in self._startable():
                task = asyncio.create_task(self._attempt(order))
                self._tasks[task] = order
                task.add_done_callback(self._done)
            await self._until_there_is_something()

    def wake(self) -> None:
        """There may be something to do: records were read."""
        self._wake.set()

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Begin nothing new meanwhile."""
        self._held_back += 1
        try:
            yield
        finally:
            self._held_back -= 1
            self._wake.set()

    async def finish(self, seconds: float, partitions: Collection[int] | None = None) -> None:
        """Begin nothing new; let what is in flight end, as long as that; break off the rest. Then go on as before.

        ``partitions``: those whose attempts are meant; None: all.
        """
        with self.held_back():
            mine = [task for task, order in self._tasks.items() if partitions is None or order.partition in partitions]
            if mine:
                _, late = await asyncio.wait(mine, timeout=seconds)
                for task in late:
                    task.cancel()
                await asyncio.gather(*mine, return_exceptions=True)

    def _startable(self) -> list[PaymentOrder]:
        if self._held_back:
            return []
        room = self._most - len(self._tasks)
        found: list[PaymentOrder] = []
        due = self._backlog.due(self._now())
        while len(found) < room and (order := next(due, None)) is not None:
            found.append(order)
        return found

    async def _until_there_is_something(self) -> None:
        has_room = len(self._tasks) < self._most and not self._held_back
        due = self._backlog.next_due() if has_room else None
        seconds = IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.0, (due - self._now()) / SECOND))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            wanted: set[asyncio.Future[Any]] = {woken, self._ended}
            await asyncio.wait(wanted, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        self._wake.clear()
        if self._ended.done():
            self._ended.result()

    def _done(self, task: asyncio.Task[None]) -> None:
        order = self._tasks.pop(task)
        self._wake.set()
        if task.cancelled():
            self._backlog.put_off(order, self._now())
        elif (error := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def _attempt(self, order: PaymentOrder) -> None:
        answer = self._refusals.get(order.key) or await self._ask(order)
        outcome = outcome_of(answer)
        match outcome:
            case TellingOutcome.DONE:
                self._end(order, outcome)
            case TellingOutcome.REFUSED:
                if await self._refused(order, answer):
                    self._end(order, outcome)
            case TellingOutcome.GONE:
                raise PayerGone
            case TellingOutcome.LATER:
                self._later(order, answer)

    async def _ask(self, order: PaymentOrder) -> PayerAnswer:
        headers = {"Idempotency-Key": order.key, **self._signer.headers(order.key, order.body, self._now())}
        answer = await self._payer.tell(order.body, headers)
        self.attempts[str(answer.status or "none")] += 1
        if answer.status is not None:
            self._throttles["unreachable"].settled()
        return answer

    def _end(self, order: PaymentOrder, outcome: TellingOutcome) -> None:
        self.trouble = None
        self.told[order.kind, outcome] += 1
        self._backlog.told(order, self._now())
        logger.info("told", extra={"outcome": outcome.value, **_about(order)})
        self.on_told()

    async def _refused(self, order: PaymentOrder, answer: PayerAnswer) -> bool:
        """A refused grant is settled as failed. Of a refused reversal that would be untrue: a person has to know.

        False: it could not be written, and is tried again later, while others are told.
        """
        if order.kind == "reversed":
            logger.error("reversal_refused", extra=_about(order))
            return True
        throttle = self._throttles["settling"]
        if order.key not in self._refusals:
            logger.warning("reward_refused", extra=_about(order))
            self._refusals[order.key] = answer
        try:
            await self._settlements.write(order, answer.reference)
        except NotSettled as reason:
            throttle.warn("settlement_not_written", str(reason), **_about(order))
            attempts = self._backlog.attempts(order)
            self._backlog.put_off(order, self._now() + round(self._backoff.seconds(attempts) * SECOND))
            return False
        throttle.settled()
        del self._refusals[order.key]
        return True

    def _later(self, order: PaymentOrder, answer: PayerAnswer) -> None:
        attempts, now = self._backlog.attempts(order), self._now()
        seconds = self._backoff.wait(answer, attempts, now)
        self._backlog.put_off(order, now + round(seconds * SECOND))
        self.trouble = trouble_of(answer)
        cause = answer.cause or f"status {answer.status}"
        fields = {**_about(order), "attempts": attempts, "again_seconds": round(seconds, 1)}
        match self.trouble:
            case "unreachable":
                self._throttles["unreachable"].warn("payer_unreachable", cause, **fields)
            case "failing":
                self._throttles["failing"].warn("payer_failing", cause, **fields)
            case "refusing":
                self._throttles["refusing"].warn("payer_refusing", cause, **fields)


def _about(order: PaymentOrder) -> dict[str, object]:
    """What a log may say of an order: its customer by hash alone."""
    whose = f"{hash64(order.customer):016x}"
    place = {"partition": order.partition, "offset": order.offset}
    return cast("dict[str, object]", {"grant": order.grant_id, "kind": order.kind, "customer_hash": whose, **place})
