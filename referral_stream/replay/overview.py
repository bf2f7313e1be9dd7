"""What a growth lead wants from a replay: who is asked, when, about what; and which gates hold the others back."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, NamedTuple

from referral_stream.core.effects import Decision, Outcome
from referral_stream.core.events import ControlPaused
from referral_stream.core.instants import to_datetime

ASKED: Final = frozenset({"asked", "soft"})
LISTED: Final = 20
"""Asks that are kept one by one, the earliest."""

_NO_NEWS: Final = frozenset({"historical", "duplicate"})
_HELD_BACK: Final = frozenset({"deferred", "suppressed"})
_PAUSED: Final = re.compile(r"^paused: ")


class ListedAsk(NamedTuple):
    """One ask. ``zone`` is the customer's."""

    at: int
    customer_id: str
    account_id: str
    trigger: str
    mode: str
    channel: str
    score: int
    zone: str


class BreakerPause(NamedTuple):
    """The burst breaker paused a trigger at ``at`` (epoch ms)."""

    at: int
    pause: ControlPaused


class _LastDecision(NamedTuple):
    """What an opportunity's latest decision says: the outcome, and the gates that block."""

    trigger: str
    outcome: Outcome
    gates: tuple[str, ...]
    pause: str


@dataclass(slots=True)
class TriggerCounts:
    """Opportunities of one trigger: how many, how many were asked about, and what kept the others back."""

    opportunities: int = 0
    asked: int = 0
    against: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Overview:
    """Grows with the decisions of a replay, in any order of customers."""

    asks_by_week: Counter[date] = field(default_factory=Counter)
    """By the Monday of the customer's week, in UTC."""
    pauses: list[BreakerPause] = field(default_factory=list)
    _asks: list[ListedAsk] = field(default_factory=list)
    _last: dict[str, _LastDecision] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)
    _paused: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, decision: Decision) -> None:
        if decision.outcome in _NO_NEWS or (decision.outcome == "cancelled" and decision.command_id is not None):
            return  # an ask that is taken back stays counted as one
        if decision.outcome not in ASKED:
            last = self._last[decision.opportunity_id] = _last(decision)
            if last.pause:
                self._paused[last.pause].add(decision.opportunity_id)
            return
        self._last.pop(decision.opportunity_id, None)
        self._asked[decision.trigger] += 1
        day = to_datetime(decision.decided_at).date()
        self.asks_by_week[day - timedelta(days=day.weekday())] += 1
        self._asks.append(_ask(decision))
        if len(self._asks) >= 10 * LISTED:
            self._asks = self.first_asks()

    def first_asks(self) -> list[ListedAsk]:
        """The earliest asks, ``LISTED`` of them at most."""
        return sorted(self._asks)[:LISTED]

    def by_trigger(self) -> dict[str, TriggerCounts]:
        """Triggers by their number of opportunities. An opportunity that several gates block counts for each."""
        found: defaultdict[str, TriggerCounts] = defaultdict(TriggerCounts)
        for trigger, asked in self._asked.items():
            found[trigger].asked = found[trigger].opportunities = asked
        for last in self._last.values():
            counts = found[last.trigger]
            counts.opportunities += 1
            counts.against.update(last.gates or (last.outcome,))
        return dict(sorted(found.items(), key=lambda item: (-item[1].opportunities, item[0])))

    def against(self) -> Counter[str]:
        """What kept opportunities back: gates, and outcomes that no gate made; over all triggers."""
        return _sum(counts.against for counts in self.by_trigger().values())

    @property
    def not_asked(self) -> int:
        """Opportunities without an ask."""
        return len(self._last)

    def held_back(self, switch: str) -> int:
        """Opportunities that a switch, as in ``trigger nps_promoter``, held back, also for a while only."""
        return len(self._paused.get(switch, ()))

    @property
    def stopped_by_switches(self) -> Mapping[str, int]:
        """Switches that are off, as in ``trigger nps_promoter`` → opportunities they stopped."""
        return Counter(last.pause for last in self._last.values() if last.pause)


def _last(decision: Decision) -> _LastDecision:
    blocking = [reason for reason in decision.reasons if reason.answer != "pass"]
    gates: list[str] = []
    if decision.outcome in _HELD_BACK:  # the moment is planned, and blocks only if nothing else does
        gates = [reason.gate for reason in blocking if reason.gate != "moment"] or [each.gate for each in blocking]
    paused = next((reason.saw for reason in blocking if _PAUSED.match(reason.saw)), "")
    return _LastDecision(decision.trigger, decision.outcome, tuple(gates), _PAUSED.sub("", paused))


def _ask(decision: Decision) -> ListedAsk:
    return ListedAsk(
        at=decision.decided_at,
        customer_id=decision.customer_id,
        account_id=decision.account_id or "",
        trigger=decision.trigger,
        mode=decision.mode or "",
        channel=decision.channel or "",
        score=decision.score.value,
        zone=decision.time_zone.name,
    )


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counters:
        total.update(each)
    return total
