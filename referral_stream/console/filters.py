"""Filters of a list, from an address: what cannot be read is said, and left out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Final, get_args

from referral_stream.core.effects import GateName, Outcome
from referral_stream.core.instants import DAY, HOUR, parse_instant
from referral_stream.core.suggestions import did_you_mean
from referral_stream.read_models import DecisionFilter

OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
GATES: Final[tuple[str, ...]] = get_args(GateName)
FILTERS: Final = ("outcome", "trigger", "gate", "account", "customer", "range", "since", "until")
"""The names of filters in an address."""
RANGES: Final = {"": "any time", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days"}
_LENGTHS: Final = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY}
_MOST: Final = 512


def decision_filter(given: Mapping[str, str], now: int) -> tuple[DecisionFilter, list[str]]:
    """Which decisions an address asks for, and what in it is no filter. ``now`` in epoch ms.

    ``since`` and ``until`` are instants or dates in UTC; ``range`` counts back from now.
    """
    problems: list[str] = []

    def known(name: str, values: tuple[str, ...]) -> str | None:
        value = given.get(name) or None
        if value is not None and value not in values:
            problems.append(f"{name}: {did_you_mean(value, values)}")
            return None
        return value

    def text(name: str) -> str | None:
        return (given.get(name) or "").strip()[:_MOST] or None

    since = _instant(given.get("since"), "since", problems)
    until = _instant(given.get("until"), "until", problems, end_of_day=True)
    if (length := _LENGTHS.get(given.get("range", ""))) is not None and since is None:
        since = now - length
    wanted = DecisionFilter(
        outcome=known("outcome", OUTCOMES), trigger=text("trigger"), gate=known("gate", GATES), account=text("account"),
        customer=text("customer"), since=since, until=until,
    )  # fmt: skip
    return wanted, problems


def _instant(value: str | None, name: str, problems: list[str], *, end_of_day: bool = False) -> int | None:
    text = (value or "").strip()
    if not text:
        return None
    with suppress(ValueError, OverflowError):
        if len(text) == len("2026-06-30"):
            start, _ = parse_instant(f"{date.fromisoformat(text)}T00:00:00Z")
            return start + DAY if end_of_day else start
        return parse_instant(text)[0]
    problems.append(f"{name}: write 2026-06-30 (in UTC) or 2026-06-30T18:00:00+02:00")
    return None
