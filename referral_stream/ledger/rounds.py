"""The pure part of the ledger agent: what to ask the ledger, in which order, and what to append for its results.

The agent takes the records of one partition of ``ledger-requests``, at ``now``, like this::

    for batch in batches(records, rounds, now, ledger.least):
        try:
            outcome = answered(batch, await ledger.apply(batch.operations), now)
        except LedgerUnavailable:
            outcome = unanswered(batch, now)                # and outcome.unapplied must be applied before anything else
        append holds(outcome.grants) to the same partition of ledger-requests, and wait for it
        append outcome.events to customer-events, and wait for it
        for each of outcome.switches, page by page:         # see RedisLedger.page
            append passed_on(switch, page.customers, now)
        stopped = await ledger.stopped(outcome.refused)     # a switch thrown back in between: see Answered.refused

A grant, of an ask or of a reward, is not told to the customer yet: it is written to the log, and told when the log is
read that far. Only the log can say whether it still holds there: behind a newer generation of the ledger it does not,
and is ``unavailable`` (decision 21).

A batch's events are appended before the next batch is applied. Requests may stay in ``rounds`` for their rivals: they
come out of a later call, without records if there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, TypeAlias

from referral_stream.core.effects import (
    GrantHeld,
    GrantRequested,
    LedgerRenewed,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationHeld,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import (
    ControlPaused,
    ControlResumed,
    Event,
    GrantGiven,
    GrantRefused,
    GrantUnavailable,
    ReservationDenied,
    ReservationGranted,
    ReservationUnavailable,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.ledger.breaker import LEDGER, breakers_pause
from referral_stream.core.ledger.caps import LedgerAnswer, LedgerOperation, Result, arbitrated
from referral_stream.core.ledger.grants import GrantAnswer, granting_order, held_for

ROUND_MILLISECONDS: Final = 100
"""How long a request waits for its rivals, from the last one of the same planned instant; under load twice as long as
requests take to come, from the stamp of what led to them."""
LONGEST_ROUND_MILLISECONDS: Final = 5_000
"""When thousands are due at one instant they come for long, but nobody waits for more than this, nor for more than half
of the time that the answer has (30 s)."""

Asking: TypeAlias = ReservationRequested | ReservationHeld | GrantRequested | GrantHeld
"""What is answered: a request, or its grant as the log has it."""
Grantable: TypeAlias = ReservationRequested | GrantRequested
Holding: TypeAlias = ReservationHeld | GrantHeld
"""What the log has of something granted."""


@dataclass(slots=True)
class _Round:
    """All that is planned for one instant; by account, in the order in which the first of each came."""

    latest: int
    last: int
    wait: int
    by_account: dict[str, list[ReservationRequested]] = field(default_factory=dict)

    @property
    def closes_at(self) -> int:
        return min(self.last + self.wait, self.latest)


class Rounds:
    """Requests that wait for rivals: of the same account, and planned for the same instant. The best contact wins.

    At the start of a slot all contacts of an account become due at once, on partitions of their own. Their wake-ups
    come one after the other, and whoever comes first must not win for that. A request at an event's moment has no
    planned instant, and one without an account no rival here: they do not wait, and nothing waits for them.
    """

    def __init__(self, pace: float = 1.0) -> None:
        """``pace``: how many times as fast as real time the clock runs by which it is told the time.

        Rivals come in real time, however fast a test lets its clock run. How long an answer is good for does not change
        with it: nobody waits for more than half of that.
        """
        self._round, self._longest = round(ROUND_MILLISECONDS * pace), round(LONGEST_ROUND_MILLISECONDS * pace)
        self._open: dict[int, _Round] = {}

    def add(self, request: ReservationRequested, now: int) -> list[ReservationRequested]:
        """Let a request wait; returns what may be answered at once. One that waits already goes on waiting."""
        if request.planned is None or not request.account_id:
            return [request]
        round_ = self._open.setdefault(request.planned, _Round(now + self._longest, now, self._round))
        round_.latest = min(round_.latest, now + max(0, request.valid_until - now) // 2)
        round_.last = max(round_.last, now)
        round_.wait = max(round_.wait, 2 * (now - request.now))
        waiting = round_.by_account.setdefault(request.account_id, [])
        if request not in waiting:
            waiting.append(request)
        return []

    def closed(self, now: int) -> list[ReservationRequested]:
        """Take the requests of the rounds that are over at ``now``, in the order in which to answer them."""
        over = sorted(planned for planned, round_ in self._open.items() if round_.closes_at <= now)
        return [request for planned in over for request in self._take(planned)]

    def close(self, account_id: str | None) -> list[ReservationRequested]:
        """Take the requests of one account: a later record concerns it."""
        return self._take_account(account_id or "", self._open)

    def close_all(self) -> list[ReservationRequested]:
        """Take everything: the partition has to be given back."""
        return [request for planned in sorted(self._open) for request in self._take(planned)]

    def closes_at(self, requests: Iterable[ReservationRequested]) -> int | None:
        """When the first of these that still wait may be answered; None: none of them waits."""
        return min((self._open[each.planned].closes_at for each in requests if self._waits(each)), default=None)  # type: ignore[index]

    def waiting(self, requests: Iterable[ReservationRequested]) -> list[ReservationRequested]:
        """Those of them that wait."""
        return [each for each in requests if self._waits(each)]

    def _waits(self, request: ReservationRequested) -> bool:
        round_ = None if request.planned is None else self._open.get(request.planned)
        return round_ is not None and request in round_.by_account.get(request.account_id or "", ())

    def _take(self, planned: int) -> Iterator[ReservationRequested]:
        """Each account's requests, and first those that still wait in its earlier rounds: they were due before."""
        earlier = [each for each in self._open if each < planned]
        for account_id, requests in self._open.pop(planned).by_account.items() if planned in self._open else ():
            yield from self._take_account(account_id, earlier)
            yield from arbitrated(requests)

    def _take_account(self, account_id: str, among: Iterable[int]) -> list[ReservationRequested]:
        taken: list[ReservationRequested] = []
        for planned in sorted(each for each in among if each in self._open):
            taken += arbitrated(self._open[planned].by_account.pop(account_id, ()))
            if not self._open[planned].by_account:
                del self._open[planned]
        return taken


@dataclass(frozen=True, slots=True)
class LedgerBatch:
    """What the ledger must apply together, and what came too late to be put to it, or is void."""

    operations: tuple[LedgerOperation, ...]
    expired: tuple[Asking, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of a batch.

    ``grants`` go to ``ledger-requests``, see :func:`holds`. ``events`` go to ``customer-events``, each keyed by its
    subject. ``pauses`` are the breaker's: alert. ``switches`` were thrown, by persons or the breaker, and are to be
    passed on: see :func:`passed_on`. ``refused`` were denied for a switch: once their denials are appended, ask
    ``RedisLedger.stopped`` again and append :func:`resumption` for those that nothing stops any more. A resumption that
    ran before the denials were appended notified these customers too early, and nothing would notify them again.
    ``unapplied`` must reach the ledger before anything else does. ``thrown`` are those of the ``switches`` that persons
    threw: a log that lapses must not be all that has them.
    """

    events: tuple[Event, ...]
    grants: tuple[Grantable, ...] = ()
    pauses: tuple[ControlPaused, ...] = ()
    switches: tuple[Event, ...] = ()
    refused: tuple[ReservationRequested, ...] = ()
    unapplied: tuple[LedgerOperation, ...] = ()
    thrown: tuple[Event, ...] = ()


def batches(
    records: Iterable[LedgerOperation], rounds: Rounds, now: int, least: int = 0, *, everything: bool = False
) -> list[LedgerBatch]:
    """Put the records of one partition into the order of application.

    Requests wait in ``rounds``. What is told of an account's reservation first closes what waits for that account;
    openings, switches and what concerns rewards overtake what waits. A switch has its own batch: those it concerns are
    told before a later record is applied. A grant of a generation below ``least`` is void. ``everything``: nothing goes
    on waiting.
    """
    found: list[LedgerBatch] = []
    pending: list[LedgerOperation] = []
    for operation in _ordered(records, rounds, now, everything=everything):
        if isinstance(operation, Event):
            found.extend((_batch(pending, now, least), LedgerBatch((operation,))))
            pending = []
        else:
            pending.append(operation)
    found.append(_batch(pending, now, least))
    return [each for each in found if each.operations or each.expired]


def holds(grants: Iterable[Grantable], generation: int, now: int) -> list[Holding]:
    """What to append to the log for grants of the ledger of this generation."""
    return [_held(each, generation, now) for each in grants]


def _held(granted: Grantable, generation: int, now: int) -> Holding:
    if isinstance(granted, GrantRequested):
        return held_for(granted, generation, now)
    return ReservationHeld(
        command_id=granted.command_id,
        customer_id=granted.customer_id,
        account_id=granted.account_id,
        email_hmac=granted.email_hmac,
        segment=granted.segment,
        trigger=granted.trigger,
        due=granted.due,
        requested_at=granted.now,
        shadow=granted.shadow,
        generation=generation,
        now=now,
    )


def answered(batch: LedgerBatch, results: Sequence[Result], now: int) -> Answered:
    """What to append for the ledger's results, one for each operation of the batch."""
    events = [_unavailable(each, now) for each in batch.expired]
    grants = list[Grantable]()
    pauses, switches, refused = list[ControlPaused](), list[Event](), list[ReservationRequested]()
    thrown = list[Event]()
    for operation, result in zip(batch.operations, results, strict=True):
        match operation, result:
            case ReservationRequested(), ReservationGranted():
                grants.append(operation)
            case GrantRequested(), GrantGiven():
                grants.append(operation)
            case ReservationRequested(), ReservationDenied() | ReservationUnavailable():
                events.append(_answer(operation, result, now))
                if isinstance(result, ReservationDenied) and result.gate == "paused":
                    refused.append(operation)
            case ReservationHeld(), ReservationGranted() | ReservationUnavailable():
                events.append(_answer(operation, result, now))
            case GrantRequested() | GrantHeld(), GrantGiven() | GrantRefused() | GrantUnavailable():
                events.append(_answer(operation, result, now))
            case Event(), True:
                thrown.append(operation)
                switches.append(operation)
            case OpportunityOpened(), ControlPaused():
                pauses.append(result)
                switches.append(breakers_pause(operation, result))
            case _:
                pass  # nobody to notify
    return Answered(tuple(events), tuple(grants), tuple(pauses), tuple(switches), tuple(refused), thrown=tuple(thrown))


def passed_on(switch: Event, customers: Iterable[str], now: int) -> list[Event]:
    """What these customers are told of a switch. Of a breaker's pause the time says when it ends."""
    time = switch.time if isinstance(switch.data, ControlPaused) else now
    word = "paused" if isinstance(switch.data, ControlPaused) else "resumed"
    return [_event(word, (switch.source, switch.id, each), each, None, switch.data, time) for each in customers]


def unanswered(batch: LedgerBatch, now: int) -> Answered:
    """What to append when the ledger failed: it fails closed."""
    asking = [each for each in batch.operations if isinstance(each, Asking)]
    return Answered(
        events=tuple(_unavailable(each, now) for each in (*batch.expired, *asking)),
        unapplied=tuple(each for each in batch.operations if not isinstance(each, Asking)),
    )


def resumption(request: ReservationRequested, now: int) -> Event:
    """Notifies one customer that what stopped the request is over; see :class:`Answered`."""
    data = ControlResumed(scope="trigger", name=request.trigger, by=LEDGER, why="resumed while it was being denied")
    return _event("resumed", (request.command_id, request.now), request.customer_id, request.account_id, data, now)


def _ordered(
    records: Iterable[LedgerOperation], rounds: Rounds, now: int, *, everything: bool
) -> Iterator[LedgerOperation]:
    yield from rounds.closed(now)
    for record in _claims_first(records):
        match record:
            case ReservationRequested():
                yield from rounds.add(record, now)
            case ReservationConfirmed() | ReservationReleased() | ReservationAmended():
                yield from rounds.close(record.account_id)
                yield record
            case LedgerRenewed():
                pass  # what it says is known from ``least``
            case _:
                yield record
    if everything:
        yield from rounds.close_all()


def _claims_first(records: Iterable[LedgerOperation]) -> Iterator[LedgerOperation]:
    """As they came; of those of one instant the requests for grants last, in the order of a fact replay."""
    for _, some in groupby(records, lambda each: each.time if isinstance(each, Event) else each.now):
        of_one_instant = list(some)
        yield from (each for each in of_one_instant if not isinstance(each, GrantRequested))
        yield from granting_order(each for each in of_one_instant if isinstance(each, GrantRequested))


def _batch(operations: Iterable[LedgerOperation], now: int, least: int) -> LedgerBatch:
    def late(operation: LedgerOperation) -> bool:
        match operation:
            case ReservationRequested(valid_until=until):
                return now > until
            case ReservationHeld(generation=generation) | GrantHeld(generation=generation):
                return generation < least
            case _:
                return False

    operations = tuple(operations)
    expired = tuple(each for each in operations if isinstance(each, Asking) and late(each))
    return LedgerBatch(tuple(each for each in operations if not late(each)), expired)


def _unavailable(asking: Asking, now: int) -> Event:
    match asking:
        case GrantRequested(grant_id=grant) | GrantHeld(grant_id=grant):
            return _answer(asking, GrantUnavailable(grant_id=grant), now)
        case ReservationRequested(command_id=command) | ReservationHeld(command_id=command):
            return _answer(asking, ReservationUnavailable(command_id=command), now)


def _answer(asking: Asking, answer: LedgerAnswer | GrantAnswer, now: int) -> Event:
    # One id per request: if a crash makes the ledger answer it twice, the first answer stands.
    about = asking.grant_id if isinstance(asking, GrantRequested | GrantHeld) else asking.command_id
    requested_at = asking.requested_at if isinstance(asking, ReservationHeld | GrantHeld) else asking.now
    identity = (about, requested_at)
    return _event("answer", identity, asking.customer_id, asking.account_id, answer, now)


def _event(
    kind: str,
    identity: tuple[object, ...],
    customer: str,
    account: str | None,
    data: LedgerAnswer | GrantAnswer | ControlPaused | ControlResumed,
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
