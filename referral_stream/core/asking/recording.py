"""Writing decisions: only when they differ from the last one written; and giving back what the ledger holds."""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from referral_stream.core.asks import Ask
from referral_stream.core.composing import Emission
from referral_stream.core.effects import GateName, Outcome, Score
from referral_stream.core.ids import hash64
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.rules import gates
from referral_stream.core.rules.gates import Verdict
from referral_stream.core.turn import Turn


def write(turn: Turn, o: Opportunity, outcome: Outcome, verdicts: tuple[Verdict, ...]) -> Opportunity:
    """Write a decision if (outcome, blocking gates with their answers) differ from the last one's."""
    if _fingerprint(outcome, verdicts) == o.last:
        return o
    return decide(turn, o, outcome, verdicts, turn.score())


def decide(
    turn: Turn,
    o: Opportunity,
    outcome: Outcome,
    verdicts: tuple[Verdict, ...],
    score: Score,
    emission: Emission | None = None,
) -> Opportunity:
    """Write the opportunity's next decision, and return the opportunity updated with it."""
    turn.effects.append(turn.builder.decision(o, outcome, verdicts, score, emission))
    return replace(o, written=o.written + 1, last=_fingerprint(outcome, verdicts))


def release(turn: Turn, command: str) -> None:
    """Give a reservation back to the ledger, if there is one."""
    turn.effects.append(turn.builder.release(command))


def take_back(turn: Turn, ask: Ask, written: Opportunity, gate: GateName, why: str) -> None:
    """Withdraw a command that a worker may still send; ``written``: its opportunity with the decision that says so."""
    c = turn.customer
    cancelled = replace(ask, cancelled=True, opportunity=written)
    c.asks = tuple(cancelled if each.command_id == ask.command_id else each for each in c.asks)
    turn.effects.append(turn.builder.cancellation(ask, written, gate, why))


def _fingerprint(outcome: Outcome, verdicts: tuple[Verdict, ...]) -> int:
    return _of_blocking(outcome, gates.blocking(verdicts))


@lru_cache(maxsize=4_096)
def _of_blocking(outcome: Outcome, blocking: tuple[Verdict, ...]) -> int:
    answers = (f"{v.gate}:{v.answer}:{v.until}:{v.until_event}" for v in blocking)
    return hash64(outcome, *answers)
