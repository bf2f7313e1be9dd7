"""Counting what became of occasions, by month and trigger: a customer's share of the metrics (after §6)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeAlias

from msgspec.structs import replace

from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer, Month, PastAsks
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.rules.gates import Verdict

Fate: TypeAlias = Literal["opened", "eligible", "asked", "held_out", "shadowed", "missed", "superseded", "cancelled"]

MONTHS = 13
"""The month of the record and the twelve before it."""

FATES: dict[str, Fate] = {
    "asked": "asked", "soft": "asked", "holdout": "held_out", "shadow": "shadowed",
    "superseded": "superseded", "cancelled": "cancelled",
}  # fmt: skip
"""Outcome of the last decision → what became of the occasion; one behind a gate is counted by the gate."""


@lru_cache(maxsize=1_024)
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m")


def month_of(instant: int) -> str:
    """The UTC month of an instant (epoch ms), as ``2026-06``."""
    return _month_of_day(instant // 86_400_000)


def first_month(now: int) -> str:
    """The earliest month that a record written at ``now`` counts."""
    return _first_month_of_day(now // 86_400_000)


@lru_cache(maxsize=1_024)
def _first_month_of_day(day: int) -> str:
    year, month = map(int, _month_of_day(day).split("-"))
    months = year * 12 + month - 1 - (MONTHS - 1)
    return f"{months // 12:04}-{months % 12 + 1:02}"


def count(c: Customer, o: Opportunity, fate: Fate) -> None:
    """One more occasion of that month and trigger that came to this."""
    key = f"{month_of(o.t0)}|{o.trigger}"
    known = c.months.get(key, Month())
    c.months = {**c.months, key: replace(known, **{fate: getattr(known, fate) + 1})}


def count_blocked(c: Customer, o: Opportunity, gate: str) -> None:
    """One more that this gate held back to its end."""
    key = f"{month_of(o.t0)}|{o.trigger}"
    known = c.months.get(key, Month())
    blocked = {**known.blocked, gate: known.blocked.get(gate, 0) + 1}
    c.months = {**c.months, key: replace(known, blocked=blocked)}


def closed(c: Customer, o: Opportunity, outcome: str, blocking: Iterable[Verdict]) -> None:
    """It is over without an ask: by what?"""
    if outcome in FATES:
        count(c, o, FATES[outcome])
        return
    gates = [v.gate for v in blocking]
    if not gates or gates == ["moment"]:
        count(c, o, "missed")
    else:
        count_blocked(c, o, gates[0])


def past(known: PastAsks | None, gone: Iterable[Ask]) -> PastAsks | None:
    """With asks that are not remembered one by one any more, as far as they count as asks."""
    for ask in gone:
        if ask.kind in ("asked", "soft") and ask.counts:
            if known is None:
                known = PastAsks(1, ask.asked_at, ask.asked_at)
            else:
                known = PastAsks(known.times + 1, min(known.first, ask.asked_at), max(known.last, ask.asked_at))
    return known
