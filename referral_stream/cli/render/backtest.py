"""What `backtest` prints: the result in a sentence, its price, which gates make the difference, what is unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from referral_stream.backtest.figures import DifferingSetting, figures
from referral_stream.backtest.run import Backtest
from referral_stream.backtest.search import Front, Search, SearchPoint
from referral_stream.cli.render.terminal import rows
from referral_stream.core.policy import Policy

_SETTINGS: Final = 10
"""Settings that are named."""


def as_lines(found: Backtest, a: Policy, b: Policy) -> Iterator[str]:
    """The result of a backtest."""
    told = figures(found, a, b)
    if not found.log.counts.records:
        yield "warning: there is no record in this log"
    yield told.sentence
    yield told.cost
    yield _settings(told.settings)
    if told.gates:
        gates = [(gate.gate.replace("_", " "), f"{gate.gained:,}", f"{gate.lost:,}") for gate in told.gates]
        yield from rows([("gate", "gained", "lost"), *gates], right=frozenset({1, 2}))
    for line in told.unknown:
        yield f"note: {line}"


def _settings(settings: Sequence[DifferingSetting]) -> str:
    if not settings:
        return "the policies have the same settings"
    listed = "; ".join(f"{each.name} {each.a} → {each.b}" for each in settings[:_SETTINGS])
    more = len(settings) - _SETTINGS
    return f"what differs: {listed}" + (f"; and {more} more" if more > 0 else "")


def front_lines(front: Front, search: Search) -> Iterator[str]:
    """The result of a search."""
    a = f"A, which makes {front.a.asks:,} asks with {front.a.regrets:,} regrets"
    yield f"{len(front.points):,} policies were tried against {a}."
    if front.chosen is front.a:
        yield "None of them has as many asks with as few regrets: keep A."
    else:
        yield f"Most asks with no more regrets than A: {front.chosen.words}."
    yield "The front: none has more asks with as few regrets."
    yield from rows(
        [("", "asks", "regrets", "policy"), *(_row(front, point) for point in front.best)], right=frozenset({1, 2})
    )
    for line in search.left_out:
        yield f"note: left out {line}"


def _row(front: Front, point: SearchPoint) -> tuple[str, ...]:
    mark = "→" if point is front.chosen else "·" if point in front.neighbours else ""
    return mark, f"{point.asks:,}", f"{point.regrets:,}", point.words
