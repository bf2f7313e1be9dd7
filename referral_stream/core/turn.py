"""One customer's instant in the making, and the type of a row in the step's table of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from referral_stream.core.asks import Ask
from referral_stream.core.composing import EffectBuilder
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Append, Effect, Letter, Score
from referral_stream.core.events import Event
from referral_stream.core.followups import FollowUp
from referral_stream.core.forgetting import forget
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.referrals import Referral
from referral_stream.core.rules import propensity, usage, windows
from referral_stream.core.rules.assessment import Board
from referral_stream.core.zones import Zone

_NOT_YET: Any = None
"""What only ``__post_init__`` can know."""


class Turn(msgspec.Struct, gc=False):
    """One customer's instant in the making. Works on its own copy of the state; ``effects`` grow in order.

    ``appended``: what goes back to ``customer-events``, for other entities. ``letters``: dead letters of the record.

    ``learned``: a record was new at this instant; ``repeated``: one was not. ``asks_before``,
    ``account_before``, ``email_before``, ``followups_before``, ``referrals_before``: as they were before the last
    record. ``recorded``: whether the customer's record is written where it has changed. ``regrets_by``: whose gate 5
    says which asks are regrettable, where that is not ``policy``'s: the sides of a backtest share one. ``start``: the
    state before the instant; ``before``: before the last record, where an ask is out that it may speak against.
    ``traceparent``: of the record at hand.
    """

    policy: Policy
    customer: Customer
    now: int
    recorded: bool = True
    regrets_by: Policy | None = None
    start: Customer = _NOT_YET
    effects: list[Effect] = []
    appended: list[Append] = []
    letters: list[Letter] = []
    board: Board = msgspec.field(default_factory=Board)
    before: Customer | None = None
    traceparent: str | None = None
    asks_before: tuple[Ask, ...] = ()
    followups_before: tuple[FollowUp, ...] = ()
    referrals_before: dict[str, Referral] = {}
    account_before: str | None = None
    email_before: str | None = None
    learned: bool = False
    repeated: bool = False
    _zone: Zone | None = None

    def __post_init__(self) -> None:
        self.start = self.customer
        c = self.customer = self.start.copy()
        self.now = c.now = now = max(c.now, self.now)
        if c.judged_day < (day := (now - 1) // DAY):
            usage.judge(c, day, self.policy)
            forget(c, now, self.policy)

    @property
    def zone(self) -> Zone:
        """The customer's zone, as known so far. Most customers have nothing under way and need none."""
        if self._zone is None:
            self._zone = windows.zone_of(self.customer, self.policy)
        return self._zone

    def forget_zone(self) -> None:
        """To be called when a record may have changed the zone."""
        self._zone = None

    @property
    def builder(self) -> EffectBuilder:
        """Builds effects from the state as it is now."""
        return EffectBuilder(self.policy, self.customer, self.zone, self.now)

    def score(self) -> Score:
        """The propensity, from the state as it is now."""
        return propensity.score(self.customer, self.now, self.policy)


@dataclass(frozen=True, slots=True)
class Folded:
    """What the fold of a fact did; ``newest`` is False if a newer event of the same object had come before it.

    ``unknown``: it may have, for all that is still known of objects. What it is an occasion for is then used up.
    """

    newest: bool
    unknown: bool = False


NEWEST, LATE, UNKNOWN = Folded(newest=True), Folded(newest=False), Folded(newest=False, unknown=True)


def never(_: Turn) -> bool:
    """Of a process for which nothing is ever under way: it acts on records alone."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Something that can be under way for a customer, one row each; the step knows nothing else about it."""

    name: str
    takes: frozenset[str]
    """Types of records that it looks at, after the fold."""
    on_record: Callable[[Turn, Event, Folded | None], bool]
    """Act on one record (without ``Folded``: one that is not a fact about the customer).

    Returns whether it was new to this process; a fact always is.
    """
    under_way: Callable[[Turn], bool]
    """Whether anything is under way, mostly False: then the end of this instant and time alone change nothing."""
    on_deadline: Callable[[Turn], None]
    """The end of the instant, first half: close what is over. Every deadline comes before anything speaks."""
    on_due: Callable[[Turn], None]
    """Second half: let speak what may."""
    due: Callable[[Turn], Iterable[int]]
    """The instants at which something changes without a record; past ones are ignored."""
    on_erasure: Callable[[Turn], None]
    """Close and withdraw everything: only a stub of the customer remains."""
