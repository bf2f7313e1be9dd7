"""The pure part of the ledger agent: what to ask the ledger, in which order, and what to append for its results.

The agent takes the records of one partition of ``ledger-requests``, at ``now``, like this::

    for batch in batches(records, rounds, now):
        try:
            outcome = answered(batch, await ledger.apply(batch.operations), now)
        except LedgerUnavailable:
            outcome = unanswered(batch, now)                # and outcome.unapplied must be applied before anything else
        append outcome.events to customer-events, and wait for it
        for each of outcome.switches, page by page:         # see RedisLedger.page
            append passed_on(switch, page.customers, now)
        stopped = await ledger.stopped(outcome.refused)     # a switch thrown back in between: see Answered.refused

A batch's events are appended before the next batch is applied. Requests may stay in ``rounds`` for their rivals: they
come out of a later call, without records if there are none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from referral_stream.core.effects import (
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import (
    ControlPaused,
    ControlResumed,
    Event,
    ReservationDenied,
    ReservationGranted,
    ReservationUnavailable,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.ledger.breaker import LEDGER, breakers_pause
from referral_stream.core.ledger.caps import LedgerAnswer, LedgerOperation, Result, arbitrated

ROUND_MILLISECONDS = 100
"""How long a request waits for its rivals. Wake-ups of one instant reach the ledger within some 10 ms of each other."""


@dataclass(slots=True)
class _Round:
    closes_at: int
    requests: list[ReservationRequested]


class Rounds:
    """Requests that wait for rivals of the same account and the same ``due``, so that the best contact wins.

    A request without an account has no rival here and does not wait. Rounds close in the order in which they began, and
    checking what may close costs nothing, even with thousands waiting at the start of a slot.

    ``wait``: how long a round lasts (ms); 0 where the rivals are in one batch anyway.
    """

    def __init__(self, wait: int = ROUND_MILLISECONDS) -> None:
        self._wait = wait
        self._open: dict[tuple[str, int], _Round] = {}
        self._dues: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, request: ReservationRequested, now: int) -> list[ReservationRequested]:
        """Let a request wait; returns what may be answered at once."""
        if not request.account_id:
            return [request]
        key = (request.account_id, request.due)
        if key not in self._open:
            self._open[key] = _Round(now + self._wait, [])
            self._dues[request.account_id].append(request.due)
        self._open[key].requests.append(request)
        return []

    def closed(self, now: int) -> list[ReservationRequested]:
        """Take the requests of the rounds that are over at ``now``, in the order in which to answer them."""
        over = takewhile(lambda item: item[1].closes_at <= now, self._open.items())
        return self._take([key for key, _ in over])

    def close(self, account_id: str | None) -> list[ReservationRequested]:
        """Take the requests of one account: a later record concerns it."""
        return self._take([(account_id, due) for due in self._dues.get(account_id, ())]) if account_id else []

    def close_all(self) -> list[ReservationRequested]:
        """Take everything: the log ends, or the partition is lost."""
        return self._take(list(self._open))

    def _take(self, keys: Iterable[tuple[str, int]]) -> list[ReservationRequested]:
        taken: list[ReservationRequested] = []
        for account_id, due in keys:
            taken += arbitrated(self._open.pop((account_id, due)).requests)
            self._dues[account_id].remove(due)
            if not self._dues[account_id]:
                del self._dues[account_id]
        return taken


@dataclass(frozen=True, slots=True)
class LedgerBatch:
    """What the ledger must apply together, and the requests that came too late to be put to it."""

    operations: tuple[LedgerOperation, ...]
    expired: tuple[ReservationRequested, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of a batch.

    ``events`` go to ``customer-events``, each keyed by its subject. ``pauses`` are the breaker's: alert. ``switches``
    were thrown, by persons or the breaker, and are to be passed on: see :func:`passed_on`. ``refused`` were denied for
    a switch: once their denials are appended, ask ``RedisLedger.stopped`` again and append :func:`resumption` for those
    that nothing stops any more. A resumption that ran before the denials were appended notified these customers too
    early, and nothing would notify them again. ``unapplied`` must reach the ledger before anything else does.
    """

    events: tuple[Event, ...]
    pauses: tuple[ControlPaused, ...] = ()
    switches: tuple[Event, ...] = ()
    refused: tuple[ReservationRequested, ...] = ()
    unapplied: tuple[LedgerOperation, ...] = ()


def batches(records: Iterable[LedgerOperation], rounds: Rounds, now: int) -> list[LedgerBatch]:
    """Put the records of one partition into the order of application.

    Requests wait in ``rounds``. What is told of an account's reservation first closes what waits for that account;
    openings and switches overtake what waits. A switch has its own batch: those it concerns are told before a later
    record is applied.
    """
    found: list[LedgerBatch] = []
    pending: list[LedgerOperation] = []
    for operation in _ordered(records, rounds, now):
        if isinstance(operation, Event):
            found.extend((_batch(pending, now), LedgerBatch((operation,))))
            pending = []
        else:
            pending.append(operation)
    found.append(_batch(pending, now))
    return [each for each in found if each.operations or each.expired]


async def in_rounds(records: AsyncIterable[LedgerOperation]) -> AsyncIterator[LedgerOperation]:
    """The records in the order in which the agent had them applied, with their own instants as the clock.

    They include requests that had expired by then: only the agent's clock knew that, and while the decide agent's
    release undoes a reservation too many, one too few would be an ask too many.
    """
    rounds, clock = Rounds(), 0
    async for record in records:
        clock = max(clock, record.time if isinstance(record, Event) else record.now)
        for operation in _ordered((record,), rounds, clock):
            yield operation
    for request in rounds.close_all():
        yield request


def answered(batch: LedgerBatch, results: Sequence[Result], now: int) -> Answered:
    """What to append for the ledger's results, one for each operation of the batch."""
    events = [_unavailable(each, now) for each in batch.expired]
    pauses, switches, refused = list[ControlPaused](), list[Event](), list[ReservationRequested]()
    for operation, result in zip(batch.operations, results, strict=True):
        match operation, result:
            case ReservationRequested(), ReservationGranted() | ReservationDenied() | ReservationUnavailable():
                events.append(_answer(operation, result, now))
                if isinstance(result, ReservationDenied) and result.gate == "paused":
                    refused.append(operation)
            case Event(), True:
                switches.append(operation)
            case OpportunityOpened(), ControlPaused():
                pauses.append(result)
                switches.append(breakers_pause(operation, result))
            case _:
                pass  # nobody to notify
    return Answered(tuple(events), tuple(pauses), tuple(switches), tuple(refused))


def passed_on(switch: Event, customers: Iterable[str], now: int) -> list[Event]:
    """What these customers are told of a switch. Of a breaker's pause the time says when it ends."""
    time = switch.time if isinstance(switch.data, ControlPaused) else now
    word = "paused" if isinstance(switch.data, ControlPaused) else "resumed"
    return [_event(word, (switch.source, switch.id, each), each, None, switch.data, time) for each in customers]


def unanswered(batch: LedgerBatch, now: int) -> Answered:
    """What to append when the ledger failed: it fails closed."""
    requests = [each for each in batch.operations if isinstance(each, ReservationRequested)]
    return Answered(
        events=tuple(_unavailable(each, now) for each in (*batch.expired, *requests)),
        unapplied=tuple(each for each in batch.operations if not isinstance(each, ReservationRequested)),
    )


def resumption(request: ReservationRequested, now: int) -> Event:
    """Notifies one customer that what stopped the request is over; see :class:`Answered`."""
    data = ControlResumed(scope="trigger", name=request.trigger, by=LEDGER, why="resumed while it was being denied")
    return _event("resumed", (request.command_id, request.now), request.customer_id, request.account_id, data, now)


def _ordered(records: Iterable[LedgerOperation], rounds: Rounds, now: int) -> Iterator[LedgerOperation]:
    yield from rounds.closed(now)
    for record in records:
        match record:
            case ReservationRequested():
                yield from rounds.add(record, now)
            case ReservationConfirmed() | ReservationReleased() | ReservationAmended():
                yield from rounds.close(record.account_id)
                yield record
            case _:
                yield record


def _batch(operations: Iterable[LedgerOperation], now: int) -> LedgerBatch:
    def late(operation: LedgerOperation) -> bool:
        return isinstance(operation, ReservationRequested) and now > operation.valid_until

    operations = tuple(operations)
    expired = tuple(each for each in operations if isinstance(each, ReservationRequested) and late(each))
    return LedgerBatch(tuple(each for each in operations if not late(each)), expired)


def _unavailable(request: ReservationRequested, now: int) -> Event:
    return _answer(request, ReservationUnavailable(command_id=request.command_id), now)


def _answer(request: ReservationRequested, answer: LedgerAnswer, now: int) -> Event:
    # One id per request: if a crash makes the ledger answer it twice, the first answer stands.
    return _event("answer", (request.command_id, request.now), request.customer_id, request.account_id, answer, now)


def _event(
    kind: str,
    identity: tuple[object, ...],
    customer: str,
    account: str | None,
    data: LedgerAnswer | ControlPaused | ControlResumed,
    now: int,
) -> Event:
    return Event(
        id=derived_id(kind, *identity),
        source=LEDGER,
        type=data.type,
        subject=customer,
        account=account,
        time=now,
        data=data,
    )
