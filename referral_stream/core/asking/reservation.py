"""The ledger's part: a reservation is requested for the best candidate, then granted, denied, or met with silence."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asking.arbitration import rank
from referral_stream.core.asking.emission import emit
from referral_stream.core.asking.judging import judge_live, keep
from referral_stream.core.asking.recording import release
from referral_stream.core.events import Channel
from referral_stream.core.ids import command_id
from referral_stream.core.instants import SECOND
from referral_stream.core.opportunity import Awaiting, Denial
from referral_stream.core.rules.assessment import Assessment
from referral_stream.core.turn import Turn


def dispatch(turn: Turn) -> None:
    """Choose among what may speak now, and request the ask; in shadow it is only noted."""
    channels, policy = turn.board.moment_channels, turn.policy
    candidates = [
        (judged, channels.get(id_, "email"))
        for id_, judged in turn.board.judged.items()
        if not judged.blocked
        and judged.opportunity.ready <= turn.now
        and (judged.clock_allows or id_ in channels)
    ]  # fmt: skip
    candidates.sort(key=lambda candidate: rank(policy, candidate[0].opportunity))
    if not candidates:
        return
    if policy.shadow:
        judged, channel = candidates[0]
        o = judged.opportunity
        command = command_id(turn.customer.id, o.trigger, o.subject)
        emit(turn, judged, Awaiting(o.id, command, turn.now, channel, turn.now))
    else:
        _request(turn, candidates, turn.now)


def _request(turn: Turn, candidates: list[tuple[Assessment, Channel]], moment: int) -> None:
    """Request the first candidate from the ledger; until it answers, nothing is written about any of them."""
    (judged, channel), *rest = candidates
    c, o = turn.customer, judged.opportunity
    c.awaiting = Awaiting(
        opportunity_id=o.id,
        command_id=command_id(c.id, o.trigger, o.subject),
        moment=moment,
        channel=channel,
        give_up=turn.now + turn.policy.ledger.answer_seconds * SECOND,
        rest=tuple((other.opportunity.id, ch) for other, ch in rest),
    )
    turn.effects.append(turn.builder.request(o, moment))


def granted(turn: Turn, data: ev.ReservationGranted) -> None:
    c = turn.customer
    awaiting = c.awaiting
    if awaiting is None or awaiting.command_id != data.command_id:
        if all(ask.command_id != data.command_id for ask in c.asks):
            release(turn, data.command_id)  # it is no longer awaited
        return
    c.awaiting = None
    opportunity = next((o for o in c.live if o.id == awaiting.opportunity_id), None)
    if opportunity is None:
        release(turn, data.command_id)
        return
    judge_live(turn)
    judged = turn.board.judged.get(opportunity.id)
    if judged is None or judged.blocked:
        release(turn, data.command_id)
        return
    emit(turn, judged, awaiting)


def denied(turn: Turn, data: ev.ReservationDenied) -> None:
    """A reservation was refused: that is the gate's answer; the next candidate of the same instant is tried."""
    c = turn.customer
    awaiting = c.awaiting
    if awaiting is None or awaiting.command_id != data.command_id:
        return
    denial = Denial(gate=data.gate, saw=data.saw, until=data.until, until_event=data.until_event)
    c.awaiting = None
    opportunity = next((o for o in c.live if o.id == awaiting.opportunity_id), None)
    if opportunity is not None:
        keep(turn, replace(opportunity, denial=denial))
    judge_live(turn)
    judged = turn.board.judged
    candidates = [(judged[id_], channel) for id_, channel in awaiting.rest if id_ in judged and not judged[id_].blocked]
    if candidates:
        _request(turn, candidates, awaiting.moment)


def silent(turn: Turn, command: str) -> None:
    """The ledger cannot answer: fail closed and retry, each time after a longer wait."""
    c, rules = turn.customer, turn.policy.ledger
    awaiting = c.awaiting
    if awaiting is None or awaiting.command_id != command:
        return
    c.awaiting = None
    candidates = {awaiting.opportunity_id, *(id_ for id_, _ in awaiting.rest)}  # the others would meet the same silence
    for o in c.live:
        if o.id in candidates:
            wait = min(rules.retry_seconds * 2**o.tries, rules.retry_limit_seconds)
            again = turn.now + wait * SECOND
            denial = Denial("overasking", "ledger_unavailable", until=again, until_event="ledger.answered")
            keep(turn, replace(o, tries=o.tries + 1, denial=denial))
    judge_live(turn)


def give_up(turn: Turn, awaiting: Awaiting) -> None:
    """An answer that has not come in time counts as silence; at once if the opportunity is closed."""
    deadline = next((o.deadline for o in turn.customer.live if o.id == awaiting.opportunity_id), turn.now)
    if turn.now >= min(awaiting.give_up, deadline):
        silent(turn, awaiting.command_id)


def resumed(turn: Turn) -> bool:
    """What a pause had refused may ask again; returns whether there was anything."""
    refused = [o for o in turn.customer.live if o.denial and o.denial.until_event == ev.ControlResumed.type]
    for opportunity in refused:
        keep(turn, replace(opportunity, denial=None))
    if refused:
        judge_live(turn)
    return bool(refused)


def report(turn: Turn) -> None:
    """Notify the ledger when a worker's report turns a reservation into an ask, or releases it."""
    c = turn.customer
    for before, after in zip(turn.asks_before, c.asks, strict=True):
        if before is after:
            continue
        o = after.opportunity  # the reservation is the opportunity's: a question for the reason has no separate one
        if after.reached and not before.reached:
            turn.effects.append(turn.builder.confirmation(o))
        elif before.counts and not after.counts:
            turn.effects.append(turn.builder.reversal(o))
