"""The gates' verdicts on everything live: what closes for good, which good moment was met and which was lost."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import counting
from referral_stream.core.asking.recording import release, take_back, write
from referral_stream.core.asks import Ask
from referral_stream.core.effects import GateName, Outcome
from referral_stream.core.events import Event
from referral_stream.core.ids import command_id
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.rules import gates, moments, propensity
from referral_stream.core.rules.assessment import Assessment, Met
from referral_stream.core.rules.gates import Verdict, View
from referral_stream.core.turn import Turn


def view(turn: Turn, opportunity: Opportunity) -> View:
    """The instant the gates look at: this one; for an opportunity whose window is over, its deadline."""
    c, policy = turn.customer, turn.policy
    now = min(turn.now, max(opportunity.deadline, opportunity.opened_at))
    return View(
        policy=policy,
        customer=c,
        now=now,
        zone=turn.zone,
        score=propensity.score(c, now, policy),
        usable=moments.usable_channels(c, policy),
        opportunity=opportunity,
    )


def verdicts(turn: Turn, opportunity: Opportunity) -> tuple[Verdict, ...]:
    """All gates at this instant; for an opportunity whose window is over, as they stood at its deadline."""
    return gates.verdicts(view(turn, opportunity))


def judge(turn: Turn, opportunity: Opportunity) -> Assessment:
    found = verdicts(turn, opportunity)
    return Assessment(opportunity, found, gates.blocking(found))


def judge_live(turn: Turn) -> None:
    """Judge every live opportunity; close at once, for good, what can no longer open within its window."""
    board = turn.board
    board.judged = {}
    for known in turn.customer.live:
        if turn.now >= known.deadline:
            continue  # deadlines come after the records of their instant
        opportunity = known
        if known.denial is not None and not known.denial.stands(turn.now):
            opportunity = replace(known, denial=None)
        judged = judge(turn, opportunity)
        if not opportunity.eligible and _is_eligible(turn, judged):
            opportunity = replace(opportunity, eligible=True)
            judged = judged._replace(opportunity=opportunity)
            counting.count(turn.customer, opportunity, "eligible")
        if judged.blocked:
            board.met.pop(known.id, None)
        if judged.closed_by_gate:
            close(turn, opportunity, "suppressed", judged.verdicts)
        else:
            if opportunity is not known:
                keep(turn, opportunity)
            board.judged[known.id] = judged
    board.current = True


def _is_eligible(turn: Turn, judged: Assessment) -> bool:
    """Whether the customer could be asked about it now, the moment and other customers apart."""
    blocking = judged.blocking
    if any(v.gate in gates.OF_THE_CUSTOMER for v in blocking):
        return False
    return all(v.gate != "overasking" for v in blocking) or not gates.own_asks(view(turn, judged.opportunity))


def close_over(turn: Turn) -> None:
    """Close what has reached its deadline."""
    for opportunity in turn.customer.live:
        if turn.now >= opportunity.deadline:
            judged = judge(turn, opportunity)
            close(turn, opportunity, "suppressed" if judged.blocked else "expired", judged.verdicts)


def meet_moment(turn: Turn, event: Event) -> None:
    """An event that is a good moment lets everything speak that is ready and unblocked at its arrival."""
    channel = moments.moment_channel(event, turn.customer, turn.now, turn.zone, turn.policy)
    if channel is None:
        return
    met = Met(channel, event.data.call_id if channel == "phone" else None)
    for judged in turn.board.judged.values():
        if not judged.blocked and judged.opportunity.ready <= turn.now:
            turn.board.met.setdefault(judged.opportunity.id, []).append(met)


def settle_moments(turn: Turn) -> None:
    """At the end of the instant: a good moment counts if its channel may still speak."""
    board = turn.board
    for id_, met in board.met.items():
        judged = board.judged.get(id_)
        if judged is not None:
            still = next((each.channel for each in met if _still_speaks(turn, each)), None)
            if still is not None:
                board.moment_channels[id_] = still


def _still_speaks(turn: Turn, met: Met) -> bool:
    c, channel = turn.customer, met.channel
    return (
        not moments.is_cut_short(c, met.call_id)
        and channel in moments.usable_channels(c, turn.policy)
        and moments.speaks_at(channel, c, turn.now, turn.zone, turn.policy)
    )


def keep(turn: Turn, opportunity: Opportunity) -> None:
    """Replace the state's version of a live opportunity with this one."""
    c = turn.customer
    c.live = tuple(opportunity if o.id == opportunity.id else o for o in c.live)


def drop(turn: Turn, opportunity: Opportunity) -> None:
    """It is no longer live."""
    c = turn.customer
    c.live = tuple(o for o in c.live if o.id != opportunity.id)
    turn.board.judged.pop(opportunity.id, None)


def close(turn: Turn, opportunity: Opportunity, outcome: Outcome, verdicts: tuple[Verdict, ...]) -> None:
    """Its life ends without an ask; the last decision says why."""
    drop(turn, opportunity)
    counting.closed(turn.customer, opportunity, outcome, gates.blocking(verdicts))
    if opportunity.tries:  # the ledger's silence may hide a reservation that nobody will use
        release(turn, command_id(turn.customer.id, opportunity.trigger, opportunity.subject))
    written = write(turn, opportunity, outcome, verdicts)
    if opportunity.reason_asked_at is not None and outcome != "cancelled":  # a correction takes all back
        closing = next((v for v in verdicts if outcome == "suppressed" and v.closes(opportunity.deadline)), None)
        gate: GateName
        gate, why = ("overasking", "the ask will not follow") if closing is None else (closing.gate, closing.saw)
        withdraw_question(turn, written, gate, why)


def withdraw_question(turn: Turn, written: Opportunity, gate: GateName, why: str) -> None:
    """A question for the reason that is not sent makes no sense without the ask, nor beside it."""
    for ask in turn.customer.asks:
        is_its = ask.kind == "reason" and ask.opportunity.id == written.id
        if is_its and ask.may_be_cancelled(turn.now) and not said_to_question(turn, ask, gate):
            take_back(turn, ask, written, gate, why)


def said_to_question(turn: Turn, ask: Ask, gate: GateName) -> bool:
    """Whether what closed gate 7 was perhaps said to this question for the reason: only a stop recalls it then."""
    if ask.kind != "reason" or not ask.answered or gate != "answers":
        return False
    said = turn.customer.answers
    return "stop" not in said and all(time >= ask.asked_at for time in said.values())
