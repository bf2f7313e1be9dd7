"""The row ``asking`` of the step's table: the order within the process, and when it has to be woken."""

from __future__ import annotations

from typing import TypeAlias

from referral_stream.core import events as ev
from referral_stream.core.asking import judging, opening, recording, reservation, withdrawal
from referral_stream.core.effects import Outcome
from referral_stream.core.events import Event
from referral_stream.core.rules import gates, moments, triggers, usage
from referral_stream.core.rules.triggers import Occasion
from referral_stream.core.turn import Folded, Process, Turn

InternalNotice: TypeAlias = (
    ev.ReservationGranted
    | ev.ReservationDenied
    | ev.ReservationUnavailable
    | ev.DeadletterReplayed
    | ev.ControlPaused
    | ev.ControlResumed
    | ev.MergeRequested
    | ev.MergeDelivered
)
"""Records from the ledger, an operator or another id, which are not facts about the customer."""

_ADVOCACY = ev.AdvocacyAsked.type

_CONSEQUENTIAL = frozenset(
    data.type
    for data in (
        ev.NpsResponded,
        ev.CsatResponded,
        ev.AskAcknowledged,
        ev.AskAnswered,
        ev.ReferralGiven,
        ev.ReferralStatusChanged,
    )
)
"""Facts that may change more than the state and what is live."""


def _on_record(turn: Turn, event: Event, folded: Folded | None) -> bool:
    """Judges the live opportunities again after every record with something new."""
    if folded is None:
        return _notice(turn, event.data, event.time)
    c = turn.customer
    if c.asks or c.awaiting is not None:
        reservation.amend(turn)
    if event.type == _ADVOCACY and event.data.kind == "referral":
        reservation.asked_elsewhere(turn, event.time)
    occasions: tuple[Occasion, ...] = ()
    if folded.newest:
        occasions = triggers.occasions_in(event, c, turn.now, turn.policy)
    elif folded.unknown:
        found = triggers.occasions_in(event, c, turn.now, turn.policy)
        occasions = tuple(occasion._replace(spent=True) for occasion in found)
    if event.type in _CONSEQUENTIAL:
        _follow(turn, event, folded, {occasion.trigger for occasion in occasions})
    for occasion in occasions:
        opening.open_first(turn, occasion, event)
    if c.live:
        judging.judge_live(turn)
        judging.meet_moment(turn, event)
    if c.asks:
        withdrawal.withdraw(turn)
    return True


def _notice(turn: Turn, data: InternalNotice, time: int) -> bool:
    """Whether there is anything new in it."""
    match data:
        case ev.ReservationGranted():
            reservation.granted(turn, data)
        case ev.ReservationDenied():
            reservation.denied(turn, data)
        case ev.ReservationUnavailable():
            reservation.silent(turn, data.command_id)
        case ev.DeadletterReplayed():
            judging.judge_live(turn)
        case ev.MergeRequested() | ev.MergeDelivered():
            judging.judge_live(turn)
            withdrawal.withdraw(turn)
        case ev.ControlPaused():
            if not reservation.paused(turn, data, time):
                return False
            judging.judge_live(turn)
            withdrawal.withdraw(turn)
        case ev.ControlResumed():
            return reservation.resumed(turn)
    return True


def _follow(turn: Turn, event: Event, folded: Folded, still: set[str]) -> None:
    """What else follows from a fact; ``still``: the triggers for which it is still a reason."""
    match event.data:
        case ev.NpsResponded() | ev.CsatResponded() if folded.newest:
            withdrawal.corrected(turn, event.data, still)
        case ev.AskAcknowledged() | ev.AskAnswered() | ev.ReferralGiven():
            reservation.report(turn)
        case ev.ReferralStatusChanged(status="converted") if folded.newest or folded.unknown:
            opening.converted(turn, event, spent=folded.unknown)
        case _:
            pass


def _under_way(turn: Turn) -> bool:
    c = turn.customer
    if c.live or c.awaiting is not None:
        return True
    if c.asks and any(ask.may_be_cancelled(turn.now) for ask in c.asks):
        return True
    if len(c.asks) > 1 and any(at > turn.now for at in gates.silences(c, turn.policy)):
        return True
    return bool(c.referrals) and any(referral.conversion is not None for referral in c.referrals.values())


def _on_deadline(turn: Turn) -> None:
    c = turn.customer
    if c.awaiting is not None:
        reservation.give_up(turn, c.awaiting)
    if c.referrals:
        opening.open_converted(turn)
    judging.close_over(turn)


def _on_due(turn: Turn) -> None:
    """Request what may speak; unless an answer is awaited, write what changed."""
    c = turn.customer
    if not turn.board.current:
        judging.judge_live(turn)
    if c.asks:
        withdrawal.withdraw(turn)
    judging.settle_moments(turn)
    if c.awaiting is None:
        reservation.dispatch(turn)
    if c.awaiting is None:
        for judged in list(turn.board.judged.values()):
            outcome: Outcome = "deferred" if judged.blocked else "pending"
            judging.keep(turn, recording.write(turn, judged.opportunity, outcome, judged.verdicts))


def _due(turn: Turn) -> list[int]:
    c, due = turn.customer, []
    for judged in turn.board.judged.values():
        o = judged.opportunity
        due += [o.settled, o.deadline, usage.midnight_after(turn.now)]
        due += [v.until for v in judged.verdicts if v.until is not None]
        if o.awaits_reason:  # gate moment names the answer; without one the ask has an instant of its own
            unasked = moments.first_email_instant(max(o.ready, turn.now), o.deadline, turn.zone, turn.policy.moments)
            due += [] if unasked is None else [unasked]
        if o.denial is not None and o.denial.until is not None:
            due.append(o.denial.until)
    if c.awaiting is not None:
        due.append(c.awaiting.give_up)
    may_be_cancelled = bool(c.asks) and any(ask.may_be_cancelled(turn.now) for ask in c.asks)
    if may_be_cancelled or len(c.asks) > 1:  # a second silence also changes what the record says
        due += gates.silences(c, turn.policy)
    if may_be_cancelled and c.usage:
        due.append(usage.midnight_after(turn.now))  # a drop in usage is seen at midnight, by no event
    due += [referral.conversion.opens_at for referral in c.referrals.values() if referral.conversion is not None]
    return due


def _on_erasure(turn: Turn) -> None:
    c = turn.customer
    if c.awaiting is not None:
        recording.release(turn, c.awaiting.command_id)
    for opportunity in c.live:
        judging.close(turn, opportunity, "suppressed", judging.verdicts(turn, opportunity))
    withdrawal.withdraw(turn)


ASKING = Process(
    name="asking",
    takes=frozenset(ev.TYPES) - {ev.WakeupDue.type},  # what is due is found at the end of the instant, without a record
    on_record=_on_record,
    under_way=_under_way,
    on_deadline=_on_deadline,
    on_due=_on_due,
    due=_due,
    on_erasure=_on_erasure,
)
