"""Where two policies differ: moment by moment, and in sums that can be added up in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from referral_stream.backtest.fates import OpportunityFate, OpportunityHead
from referral_stream.core.instants import DAY, to_datetime
from referral_stream.core.record import SIGNAL_DAYS
from referral_stream.core.zones import zone

AskChange: TypeAlias = Literal["same", "moved", "gained", "lost", "neither"]
Side: TypeAlias = Literal["a", "b"]
Fated: TypeAlias = Mapping[str, tuple[OpportunityHead, OpportunityFate]]
"""By opportunity id."""
_Key = TypeVar("_Key")
SIDES: Final[tuple[Side, Side]] = ("a", "b")

NOT_OPENED: Final = "not_opened"
"""The outcome where the policy opens nothing."""

EXAMPLES: Final = 2
"""Customers shown for each gate and direction."""

SHARES: Final = 10
"""Into so many parts a window is divided to see how much of it asks waited."""

LISTED: Final = 2_000
"""Changed asks that a report lists, so that it stays under a megabyte; the tables hold all."""


class BacktestCompared(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One moment under both policies; None: the policy opens nothing there."""

    head: OpportunityHead
    a: OpportunityFate | None
    b: OpportunityFate | None

    @property
    def kind(self) -> AskChange:
        """After §9: matched by opportunity; asked is asked or soft."""
        a = self.a if self.a is not None and self.a.is_asked else None
        b = self.b if self.b is not None and self.b.is_asked else None
        if a is None and b is None:
            return "neither"
        if a is None:
            return "gained"
        if b is None:
            return "lost"
        alike = (a.at, a.mode, a.template, a.channel) == (b.at, b.mode, b.template, b.channel)
        return "same" if alike else "moved"

    @property
    def asked_at(self) -> int:
        """Of B's ask, else of A's; of a moment without one, when it opened."""
        for fate in (self.b, self.a):
            if fate is not None and fate.is_asked:
                return fate.at
        return self.head.opens

    @property
    def regrets(self) -> tuple[bool, bool]:
        """Whether trouble followed A's ask, and B's."""
        return (self.a is not None and self.a.regret, self.b is not None and self.b.regret)

    @property
    def order(self) -> tuple[int, int, str, str]:
        """Regrets of B alone first, then A's alone, then by time."""
        a, b = self.regrets
        rank = 0 if b and not a else 1 if a and not b else 2
        return rank, self.asked_at, self.head.customer_id, self.head.opportunity_id


def compare(a: Fated, b: Fated) -> list[BacktestCompared]:
    """All moments of both, by opportunity id."""
    found = []
    for name in sorted(a.keys() | b.keys()):
        of_a, of_b = a.get(name), b.get(name)
        head, _ = a[name] if of_b is None else of_b
        found.append(BacktestCompared(head, None if of_a is None else of_a[1], None if of_b is None else of_b[1]))
    return found


class Totals(msgspec.Struct):
    """Sums over moments. Keys of counters are texts and numbers, so that they can be written and read again."""

    matrix: dict[tuple[str, str], int] = {}
    """Outcome under A, outcome under B → moments."""
    kinds: dict[str, int] = {}
    asked: dict[str, int] = {}
    """Side → asks."""
    regrets: dict[str, int] = {}
    """Side → asks with trouble soon after them; ``b_alone``, ``a_alone``: where the other had none."""
    triggers: dict[tuple[str, str], int] = {}
    modes: dict[tuple[str, str], int] = {}
    channels: dict[tuple[str, str], int] = {}
    weeks: dict[tuple[str, str], int] = {}
    """Side, Monday (UTC) → asks."""
    waited: dict[tuple[str, int], int] = {}
    """Side, tenth of the window → asks."""
    hours: dict[tuple[str, int], int] = {}
    """Side, local hour of the week (0: Monday midnight) → asks."""
    flips: dict[tuple[str, str], int] = {}
    """Gate, ``gained`` or ``lost`` → asks that it made or cost."""
    observed: dict[tuple[str, str], int] = {}
    """Change, what the log says of A's ask: ``asks``, ``sent``, an answer, ``referral``, ``converted``, ``trouble``."""
    unripe: dict[str, int] = {}
    """Side → asks so near the end of the log that trouble after them may not be in it."""
    held: dict[str, int] = {}
    """Gate under A, or outcome where there was none → moments that it held back; several may hold back one."""
    historical: int = 0
    examples: dict[tuple[str, str], list[BacktestCompared]] = {}
    """Gate, ``gained`` or ``lost`` → the earliest of them."""
    listed: list[BacktestCompared] = []
    """The changed asks that come first."""

    def take(self, compared: BacktestCompared, end: int) -> None:
        """``end``: the last instant of the log (epoch ms)."""
        kind = compared.kind
        _add(self.kinds, kind)
        a, b = compared.a, compared.b
        _add(self.matrix, (NOT_OPENED if a is None else a.outcome, NOT_OPENED if b is None else b.outcome))
        for side, fate in zip(SIDES, (a, b), strict=True):
            if fate is not None and fate.is_asked:
                self._asked(side, compared.head, fate, end)
        if a is not None and not a.is_asked:
            for gate in dict.fromkeys(gate for gate, *_ in a.blocking) or (a.outcome,):
                _add(self.held, gate)
        of_a, of_b = compared.regrets
        if of_a and not of_b:
            _add(self.regrets, "a_alone")
        if of_b and not of_a:
            _add(self.regrets, "b_alone")
        if kind in ("gained", "lost"):
            other = a if kind == "gained" else b
            gate = _why(other)
            _add(self.flips, (gate, kind))
            known = self.examples.setdefault((gate, kind), [])
            known.append(compared)
            self.examples[gate, kind] = sorted(known, key=_order)[:EXAMPLES]
        if kind in ("gained", "lost", "moved"):
            self._observed(kind, compared)
            self.listed.append(compared)
            if len(self.listed) >= 2 * LISTED:
                self._cut()

    def _asked(self, side: Side, head: OpportunityHead, fate: OpportunityFate, end: int) -> None:
        _add(self.asked, side)
        if fate.regret:
            _add(self.regrets, side)
        if fate.at + SIGNAL_DAYS * DAY > end:
            _add(self.unripe, side)
        _add(self.triggers, (side, head.trigger))
        _add(self.modes, (side, fate.mode or ""))
        _add(self.channels, (side, fate.channel or ""))
        _add(self.weeks, (side, _monday(fate.at).isoformat()))
        window = max(1, head.deadline - head.opens)
        _add(self.waited, (side, min(SHARES - 1, max(0, (fate.at - head.opens) * SHARES // window))))
        local = to_datetime(fate.at).astimezone(zone(head.zone))
        _add(self.hours, (side, local.weekday() * 24 + local.hour))

    def _observed(self, kind: AskChange, compared: BacktestCompared) -> None:
        _add(self.observed, (kind, "asks"))
        later = None if compared.a is None else compared.a.later
        if later is None or not later.is_known:
            return
        _add(self.observed, (kind, "observed"))
        _add(self.observed, (kind, later.answer or "no answer"))
        for name, true in (("referral", later.referrals), ("converted", later.converted), ("trouble", later.regret)):
            if true:
                _add(self.observed, (kind, name))

    def add(self, other: Totals) -> None:
        """The sums of other moments."""
        for name in _COUNTERS:
            mine = getattr(self, name)
            for key, count in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + count
        self.historical += other.historical
        for key, found in other.examples.items():
            self.examples[key] = sorted([*self.examples.get(key, ()), *found], key=_order)[:EXAMPLES]
        self.listed.extend(other.listed)
        self._cut()

    def _cut(self) -> None:
        self.listed = sorted(self.listed, key=_order)[:LISTED]

    @property
    def moments(self) -> int:
        return sum(self.kinds.values())

    @property
    def changed(self) -> int:
        return sum(self.kinds.get(kind, 0) for kind in ("gained", "lost", "moved"))


_COUNTERS: Final = (
    "matrix", "kinds", "asked", "regrets", "triggers", "modes", "channels", "weeks", "waited", "hours", "flips",
    "observed", "unripe", "held",
)  # fmt: skip


def totals(compared: Iterable[BacktestCompared], end: int) -> Totals:
    """The sums of these moments; see :meth:`Totals.take`."""
    found = Totals()
    for each in compared:
        found.take(each, end)
    found._cut()  # noqa: SLF001 (its own)
    return found


def _why(other: OpportunityFate | None) -> str:
    """What made the difference: the gate that stands in the way of the other policy, else its outcome."""
    if other is None:
        return NOT_OPENED
    return other.gate or other.outcome


def _add(counts: dict[_Key, int], key: _Key) -> None:
    counts[key] = counts.get(key, 0) + 1


def _monday(at: int) -> date:
    day = to_datetime(at).date()
    return day - timedelta(days=day.weekday())


def _order(compared: BacktestCompared) -> tuple[int, int, str, str]:
    return compared.order
