"""The step: the one function that live stream, replay, tests and benchmarks call.

``step(policy, customer, inputs, now)`` folds the records of one instant into a customer's state and says what follows.
It is pure: same arguments, same result; the state passed in is not touched. Within an instant the order is that of
semantics §10: the records in their order (after each, every live opportunity is judged again), then deadlines, then the
dispatch; of several changes of a decision at one instant only the last is written.

Everything that can be under way for a customer is a row in ``PROCESSES``; the rest of the step is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from referral_stream.core import bounds, merging, record
from referral_stream.core import events as ev
from referral_stream.core.after.process import AFTER, told_again
from referral_stream.core.asking.process import ASKING
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import Append, Effect, Letter
from referral_stream.core.events import Event
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.instants import DAY
from referral_stream.core.linking import LINKING
from referral_stream.core.policy import Policy
from referral_stream.core.record import RECORD
from referral_stream.core.rules import usage
from referral_stream.core.stamps import Stamp
from referral_stream.core.turn import LATE, NEWEST, UNKNOWN, Folded, Process, Turn, never

PROCESSES: tuple[Process, ...] = (merging.MERGING, LINKING, AFTER, ASKING, RECORD)
"""In the order in which they act within an instant."""

_NO_FACTS = frozenset({*(data.type for data in ev.INTERNAL), *ev.WITHOUT_SUBJECT} - {ev.Held.type})
"""Records that are not facts about the customer: from the timer, the ledger or an operator."""

_PROFILE_CHANGED = ev.ProfileChanged.type
_OVERFULL_CLEARED = ev.OverfullCleared.type


def takers(processes: tuple[Process, ...]) -> dict[str, tuple[Process, ...]]:
    """For each type of record the processes that take it; none takes ``wakeup.due``, which only begins an instant."""
    return {type_: tuple(process for process in processes if type_ in process.takes) for type_ in ev.TYPES}


_TAKEN_BY = takers(PROCESSES)


def in_time(processes: tuple[Process, ...]) -> tuple[Process, ...]:
    """Those that time alone may concern."""
    return tuple(process for process in processes if process.under_way is not never)


_IN_TIME = in_time(PROCESSES)


class Advanced(NamedTuple):
    """What a step returns: the new state, the effects in order, and when to be woken (None: never).

    ``appended``: what goes back to ``customer-events``, for other entities, in order. ``letters``: dead letters of the
    last record.
    """

    customer: Customer
    effects: list[Effect]
    wake_at: int | None
    appended: list[Append]
    letters: list[Letter]


def step(policy: Policy, customer: Customer, inputs: Iterable[Event], now: int) -> Advanced:
    """Fold the records of one customer that arrived at the instant ``now`` (epoch ms), and decide.

    ``now`` never goes back for a customer: an earlier one counts as the customer's last. No inputs: a wake-up.
    """
    turn = Turn(policy, customer, now)
    for event in inputs:
        take(turn, event)
    return finish(turn)


def take(turn: Turn, event: Event) -> None:
    """Apply one record: fold a fact into the state, then let each process that takes its type act on it."""
    c, type_ = turn.customer, event.type
    if (event.via or c.merged_into is not None or c.erased_at is not None) and merging.done_elsewhere(turn, event):
        return
    turn.board.current = False
    folded, news = None, False
    if type_ not in _NO_FACTS:
        if seen_before(c, event, turn.now, turn.policy):
            turn.repeated = True
            told_again(turn, event)
            return
        news = True
        turn.traceparent = event.traceparent
        turn.followups_before, turn.referrals_before = c.followups, c.referrals
        if c.asks or c.awaiting is not None:
            turn.asks_before, turn.account_before, turn.email_before = c.asks, c.account_id, word(c.email_hmac)
        turn.before = c.copy() if c.asks and record.may_be_signalled(c, event, turn.now) else None
        folded = _fold(turn, event)
        if event.timezone is not None or type_ == _PROFILE_CHANGED:
            turn.forget_zone()
    elif type_ == ev.DeadletterReplayed.type:
        if event.subject == c.id:
            c.quarantined = False
        else:  # it was an event of another id of the customer
            c.holds = tuple(id_ for id_ in c.holds if id_ != event.subject)
    for process in _TAKEN_BY[type_]:
        news = process.on_record(turn, event, folded) or news
    if news:
        turn.learned = True
    else:
        turn.repeated = True


def _fold(turn: Turn, event: Event) -> Folded:
    """Fold a fact into the state, which never grows beyond its bounds."""
    c = turn.customer
    field = bounds.TOUCHES.get(event.type)
    if field is None:
        newest = fold(c, event)
        if event.type == _OVERFULL_CLEARED:
            bounds.clear(c, event.data.kind, Stamp.of(event), turn.policy)
    else:
        before = getattr(c, field)
        newest = fold(c, event)
        if bounds.needs_room(field, getattr(c, field)):
            newest = bounds.fit(c, field, before, event, turn.policy) and newest
    if newest:
        return NEWEST
    return UNKNOWN if c.forgotten and event.time <= c.forgotten.get(field or "", -1) else LATE


def finish(turn: Turn) -> Advanced:
    """Deadlines, dispatch, the decisions that changed, and the next instant at which something is due.

    Repeated records and early wake-ups change nothing.
    """
    c = turn.customer
    turn.traceparent = None
    if c.merged_into is not None and c.erased_at is None:
        return Advanced(c, turn.effects, None, turn.appended, turn.letters)
    if turn.repeated and not turn.learned and (c.wake_at is None or turn.now < c.wake_at):
        return Advanced(c, turn.effects, c.wake_at, turn.appended, turn.letters)
    if c.judged_day < (day := turn.now // DAY):
        usage.judge(c, day, turn.policy)
        turn.board.current = False
    if c.erased_at is not None:
        return _erased(turn)
    for process in _IN_TIME:
        if process.under_way(turn):
            return _end_of_instant(turn)
    c.wake_at = None  # nothing is under way: most customers, nearly always
    record.write(turn)
    return Advanced(c, turn.effects, None, turn.appended, turn.letters)


def _end_of_instant(turn: Turn) -> Advanced:
    c = turn.customer
    active = [process for process in _IN_TIME if process.under_way(turn)]
    for process in active:
        process.on_deadline(turn)
    for process in active:
        process.on_due(turn)
    c.wake_at = min((at for process in active for at in process.due(turn) if at > turn.now), default=None)
    record.write(turn)
    return Advanced(c, turn.effects, c.wake_at, turn.appended, turn.letters)


def _erased(turn: Turn) -> Advanced:
    """Every process closes what is under way; only a stub is kept, permanently."""
    for process in PROCESSES:
        process.on_erasure(turn)
    c = turn.customer
    stub = Customer(
        id=c.id,
        now=c.now,
        erased_at=c.erased_at,
        erased_now=c.erased_now,
        email_hmac=c.email_hmac,
        emails=c.emails,
        merged_into=c.merged_into,
    )
    return Advanced(stub, turn.effects, None, turn.appended, turn.letters)
