"""Occasions to ask with all gates' answers: a matrix of gates and occasions.

Of what is open the gates answer as of now, by the core's own functions on the state, and the ledger as if it were asked
now. Of what is over, the last decision says what they answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from referral_stream.core.asking.judging import verdicts
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import Decision, GateAnswer, Outcome, Reason, ReservationRequested, Score
from referral_stream.core.events import ReservationDenied
from referral_stream.core.ids import command_id
from referral_stream.core.instants import rfc3339
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.policy import Policy
from referral_stream.core.rules import gates
from referral_stream.core.turn import Turn
from referral_stream.core.zones import zone
from referral_stream.words.decisions import (
    clock_words,
    day_and_time,
    happening,
    instant_in,
    outcome_words,
    plain,
    saw_words,
    why,
)
from referral_stream.words.phrases import phrases


@dataclass(frozen=True)
class GateCell:
    """What one gate answers about one occasion: a cell of the matrix.

    ``until`` is an instant (RFC 3339) or an event's type, as in a decision; ``saw``, ``limit`` and ``text`` are in
    plain words, ``text`` all in one, ``short`` in a few words.
    """

    gate: str
    title: str
    answer: GateAnswer
    until: str | None
    saw: str
    limit: str
    text: str
    short: str

    @property
    def blocks(self) -> bool:
        return self.answer != "pass"


@dataclass(frozen=True)
class OpportunityStory:
    """One occasion to ask, with all gates' answers: as of now while it is open (``live``), else as it was decided last.

    ``outcome`` is the last decision's, None where none is at hand. ``settled``: when it has waited long enough for
    corrections and rivals. Instants are epoch ms.
    """

    opportunity_id: str
    trigger: str
    title: str
    subject: str
    opens: int
    deadline: int
    settled: int | None
    live: bool
    outcome: Outcome | None
    decided_at: int | None
    text: str
    score: Score
    gates: tuple[GateCell, ...]


def opportunities_of(
    customer: Customer, decisions: Iterable[Decision], ledger: MemoryLedger, policy: Policy, now: int
) -> tuple[OpportunityStory, ...]:
    """What is open, in the order of its opening, then what the other ``decisions`` are about, the newest first.

    ``decisions``: of each occasion the last one. ``ledger`` is left as it is.
    """
    turn = Turn(policy, customer, now)
    last = {decision.opportunity_id: decision for decision in decisions}
    live = [_live(turn, opportunity, ledger, last.pop(opportunity.id, None)) for opportunity in customer.live]
    over = sorted(last.values(), key=lambda each: (each.decided_at, each.opportunity_id), reverse=True)
    return (*live, *(_over(each, now) for each in over))


def as_message(decision: Decision) -> dict[str, Any]:
    """The ``data`` of its message, which the words are made of."""
    return decision.model_dump(mode="json", exclude_none=True)


def _live(turn: Turn, opportunity: Opportunity, ledger: MemoryLedger, last: Decision | None) -> OpportunityStory:
    local = zone(turn.zone.name)
    reasons = [verdict.reason() for verdict in verdicts(turn, opportunity)]
    if gates.is_held_out(turn.customer, turn.policy):  # drawn at the moment, and known before
        reasons = [gates.HELD_OUT.reason() if each.gate == "holdout" else each for each in reasons]
    denied = _denied(turn, opportunity, ledger)
    if denied is not None:
        reasons = [denied(each) for each in reasons]
    about, settled = happening(opportunity.trigger), rfc3339(opportunity.settled)
    return OpportunityStory(
        opportunity_id=opportunity.id,
        trigger=opportunity.trigger,
        title=about,
        subject=opportunity.subject,
        opens=opportunity.t0,
        deadline=opportunity.deadline,
        settled=opportunity.settled,
        live=True,
        outcome=None if last is None else last.outcome,
        decided_at=None if last is None else last.decided_at,
        text=phrases().say("story", "opened", trigger=about, instant=clock_words(opportunity.deadline, local)),
        score=turn.score(),
        gates=tuple(_cell(reason, local, settled) for reason in reasons),
    )


def _denied(turn: Turn, opportunity: Opportunity, ledger: MemoryLedger) -> Callable[[Reason], Reason] | None:
    """What the ledger would answer if it were asked now: its gates pass until then. None where it would grant."""
    c, now = turn.customer, turn.now
    request = ReservationRequested(
        command_id=command_id(opportunity.owner or c.id, opportunity.trigger, opportunity.subject),
        opportunity_id=opportunity.id,
        customer_id=c.id,
        account_id=c.account_id,
        email_hmac=word(c.email_hmac),
        segment=word(c.segment),
        trigger=opportunity.trigger,
        priority=0,
        raw_score=0,
        due=now,
        valid_until=now,
        now=now,
        shadow=turn.policy.shadow,
    )
    answer = deepcopy(ledger).request(request)
    if not isinstance(answer, ReservationDenied):
        return None
    until = rfc3339(answer.until) if answer.until is not None else answer.until_event
    says: GateAnswer = "until" if answer.until is not None else "until_event"

    def told(reason: Reason) -> Reason:
        if reason.gate != answer.gate or reason.answer != "pass":
            return reason
        return Reason(gate=reason.gate, answer=says, until=until, saw=answer.saw, limit=reason.limit)

    return told


def _over(decision: Decision, now: int) -> OpportunityStory:
    about, local = happening(decision.trigger), zone(decision.time_zone.name)
    settled = None if decision.settled is None else rfc3339(decision.settled)
    outcome, reasons = outcome_words(decision.outcome), why(as_message(decision), now)
    return OpportunityStory(
        opportunity_id=decision.opportunity_id,
        trigger=decision.trigger,
        title=about,
        subject=decision.subject,
        opens=decision.window.opens,
        deadline=decision.window.deadline,
        settled=decision.settled,
        live=False,
        outcome=decision.outcome,
        decided_at=decision.decided_at,
        text=phrases().say("story", "decided", trigger=about, outcome=outcome, why=reasons),
        score=decision.score,
        gates=tuple(_cell(reason, local, settled) for reason in decision.reasons),
    )


def _cell(reason: Reason, local: tzinfo, settled: str | None) -> GateCell:
    words = phrases()
    text = plain(reason.model_dump(), local, settled)
    match reason:
        case Reason(answer="pass"):
            text = short = words.say("cells", "pass")
        case Reason(answer="never"):
            short = words.say("cells", "never")
        case Reason(answer="until", until=str(instant)):
            short = words.say("cells", "until", instant=day_and_time(instant_in(instant, local)))
        case Reason(until="moment"):
            short = words.say("answers", "moment")
        case _:
            short = words.word("awaited", str(reason.until))
    return GateCell(
        gate=reason.gate,
        title=words.word("gate_names", reason.gate),
        answer=reason.answer,
        until=reason.until,
        saw=saw_words(reason.saw, local),
        limit=words.limit(reason.limit),
        text=text,
        short=short,
    )
