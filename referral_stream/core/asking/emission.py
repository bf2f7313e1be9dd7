"""What goes out when a moment is here: the ask, the question before it, holdout or shadow; and who is superseded."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import bounds, counting
from referral_stream.core.asking.arbitration import priority, rank
from referral_stream.core.asking.judging import close, drop, judge, keep, verdicts, withdraw_question
from referral_stream.core.asking.recording import decide
from referral_stream.core.asks import Ask
from referral_stream.core.composing import Emission
from referral_stream.core.effects import Outcome, Rival
from referral_stream.core.events import Channel
from referral_stream.core.ids import reason_command_id
from referral_stream.core.instants import HOUR, SECOND
from referral_stream.core.opportunity import Awaiting, Opportunity
from referral_stream.core.rules import gates, moments
from referral_stream.core.rules.assessment import Assessment, at_their_moment
from referral_stream.core.rules.experiments import drawn_arm
from referral_stream.core.rules.rewarding import promised
from referral_stream.core.sections import Mode
from referral_stream.core.turn import Turn


def emit(turn: Turn, judged: Assessment, awaiting: Awaiting) -> None:
    """The ask goes out (or is withheld by holdout or shadow, and still counts); rivals are superseded."""
    c, policy, o = turn.customer, turn.policy, judged.opportunity
    score = turn.score()
    found = at_their_moment(judged.verdicts)
    moment, first = awaiting.moment, awaiting.channel
    soft = score.value < policy.score.direct_at
    rule = policy.triggers[o.trigger]
    offer = promised(c, turn.now, policy) if rule.mode == "mutual_benefit" and not soft else None
    mode: Mode = "soft" if soft else rule.mode or "direct"
    if mode == "mutual_benefit" and offer is None:  # there is no programme to offer
        mode = "direct"
    outcome: Outcome = "soft" if soft else "asked"
    if gates.is_held_out(c, policy):
        outcome = "holdout"
        found = tuple(gates.HELD_OUT if v.gate == "holdout" else v for v in found)
    elif policy.shadow:
        outcome = "shadow"
    elif _asks_reason_first(turn, o, moment):
        _ask_reason(turn, o, moment, first)
        _supersede(turn, awaiting)
        return
    rivals = tuple(
        Rival(
            trigger=other.opportunity.trigger,
            opportunity_id=other.opportunity.id,
            priority=priority(policy, other.opportunity),
        )
        for other in sorted(turn.board.judged.values(), key=lambda other: rank(policy, other.opportunity))
        if other.opportunity.id != o.id
    )
    expires = _expires(turn, o, moment, first)
    arm = None if outcome == "holdout" else drawn_arm(c, o.trigger, moment, policy)
    ask = Ask(
        opportunity=o,
        command_id=awaiting.command_id,
        asked_at=moment,
        expires_at=expires,
        kind=outcome,  # type: ignore[arg-type]  # one of the four by construction
        channel=first,
        channels=moments.command_channels(first, c, moment, expires, turn.zone, policy),
        mode=mode,
        template=rule.template if arm is None else arm.template,
        decided_at=turn.now,
        offer=offer,
        arm=None if arm is None else arm.name,
    )
    counting.count(c, o, counting.FATES[outcome])
    drop(turn, o)
    turn.board.current = False
    c.asks = (*bounds.room_for_asks(c, c.asks, more=1), ask)  # the decision's next_eligible_at includes this ask
    written = decide(turn, o, outcome, found, score, Emission(mode, first, rivals, awaiting.command_id, ask.arm))
    c.asks = (*c.asks[:-1], replace(ask, opportunity=written))
    withdraw_question(turn, written, "overasking", "the ask itself goes out")
    if outcome in ("asked", "soft"):
        turn.effects.append(turn.builder.ask(c.asks[-1], mode, score))
    _supersede(turn, awaiting)


def _supersede(turn: Turn, awaiting: Awaiting) -> None:
    """One person is asked once: close everything else live; the rivals of this instant become superseded."""
    might_speak = {id_ for id_, _ in awaiting.rest}
    for rival in turn.customer.live:
        if rival.id == awaiting.opportunity_id:
            continue
        known = turn.board.judged.get(rival.id)
        found = known.verdicts if known else verdicts(turn, rival)
        if rival.id in might_speak:
            found = at_their_moment(found)
        close(turn, rival, "superseded", found)


def _asks_reason_first(turn: Turn, o: Opportunity, moment: int) -> bool:
    """Whether to ask what the customer likes most before the ask itself: there must be time for an answer."""
    return (
        turn.policy.ask_reason_first
        and o.trigger == "nps_promoter"
        and o.theme is None
        and o.reason_asked_at is None
        and moment < _without_reason_at(o)
    )


def _without_reason_at(o: Opportunity) -> int:
    """When the ask goes out without the requested reason: an hour before the deadline."""
    return o.deadline - HOUR


def _ask_reason(turn: Turn, o: Opportunity, moment: int, first: Channel) -> None:
    """The question goes out under the reservation of the ask, which follows: both count as one ask."""
    c, board = turn.customer, turn.board
    expires = min(_expires(turn, o, moment, first), _without_reason_at(o))
    asked = replace(o, reason_asked_at=moment, ready=_without_reason_at(o))
    judged = judge(turn, asked)
    score = turn.score()
    question = Ask(
        opportunity=asked,
        command_id=reason_command_id(c.id, o.trigger, o.subject),
        asked_at=moment,
        expires_at=expires,
        kind="reason",
        channel=first,
        channels=moments.command_channels(first, c, moment, expires, turn.zone, turn.policy),
    )
    c.asks = (*bounds.room_for_asks(c, c.asks, more=1), question)  # the decision's next_eligible_at includes it
    written = decide(turn, asked, "pending", judged.verdicts, score)
    question = replace(question, opportunity=written)
    c.asks = (*c.asks[:-1], question)
    keep(turn, written)
    board.judged[o.id] = judged._replace(opportunity=written)
    board.moment_channels.pop(o.id, None)
    turn.effects.append(turn.builder.question(question))


def _expires(turn: Turn, o: Opportunity, moment: int, channel: Channel) -> int:
    rules = turn.policy.moments
    if channel != "email":
        return min(o.deadline, moment + rules.present_expires_seconds * SECOND)
    quiet = moments.quiet_from(moment, turn.zone, rules)
    return o.deadline if quiet is None else min(o.deadline, quiet)
