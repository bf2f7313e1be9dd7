"""The life of an opportunity, as rows.

They drive nothing, but must be true: a property over random worlds checks that every transition
taken is a row, and that every row is taken. ``docs/opportunity.md`` draws its diagram from them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Place: TypeAlias = Literal["new", "live", "refused", "awaiting", "emitted", "closed"]
"""``new``: only its event is there. ``live``: open. ``refused``: open, behind the ledger's refusal. ``awaiting``: open,
until the ledger answers. ``emitted``: asked, or withheld by holdout or shadow. ``closed``: over without an ask."""


class Transition(NamedTuple):
    """One transition from place to place, in the module of :mod:`~referral_stream.core.asking` that decides it.

    ``outcome`` is that of the decision written on the way; None where none needs to be written.
    """

    source: Place
    what: str
    target: Place
    decided_in: str
    outcome: str | None = None


_CORRECTED = "the survey answer was corrected"
_NEVER = "a gate stays closed until the deadline"
_OVER = "the deadline, behind no gate"
_RIVAL = "another one was emitted"
_REPEAT = "another reason of the same trigger"

LIFE: tuple[Transition, ...] = (
    Transition("new", "the first reason of its business key", "live", "opening"),
    Transition("new", "the reason is historical", "closed", "opening", "historical"),
    Transition("new", "the reason arrives after its window", "closed", "opening", "expired_on_arrival"),
    Transition("live", _REPEAT, "live", "opening", "duplicate"),
    Transition("live", _NEVER, "closed", "judging", "suppressed"),
    Transition("live", _OVER, "closed", "judging", "expired"),
    Transition("live", _RIVAL, "closed", "emission", "superseded"),
    Transition("live", _CORRECTED, "closed", "withdrawal", "cancelled"),
    Transition("live", "its moment is here", "awaiting", "reservation"),
    Transition("live", "no answer about a better candidate", "refused", "reservation"),
    Transition("awaiting", "granted", "emitted", "emission", "asked"),
    Transition("awaiting", "granted, at a score for a soft mention", "emitted", "emission", "soft"),
    Transition("awaiting", "granted, in the holdout group", "emitted", "emission", "holdout"),
    Transition("awaiting", "granted, in shadow mode", "emitted", "emission", "shadow"),
    Transition("awaiting", "granted, and the reason is asked first", "live", "emission", "pending"),
    Transition("awaiting", "granted, but a gate closed meanwhile", "live", "reservation"),
    Transition("awaiting", "denied, or no answer", "refused", "reservation"),
    Transition("awaiting", _REPEAT, "awaiting", "opening", "duplicate"),
    Transition("awaiting", _NEVER, "closed", "judging", "suppressed"),
    Transition("awaiting", _CORRECTED, "closed", "withdrawal", "cancelled"),
    Transition("refused", "the refusal is over", "live", "judging"),
    Transition("refused", _REPEAT, "refused", "opening", "duplicate"),
    Transition("refused", _NEVER, "closed", "judging", "suppressed"),
    Transition("refused", _OVER, "closed", "judging", "expired"),
    Transition("refused", _RIVAL, "closed", "emission", "superseded"),
    Transition("refused", _CORRECTED, "closed", "withdrawal", "cancelled"),
    Transition("emitted", "a veto or a correction, while unsent", "closed", "withdrawal", "cancelled"),
)
