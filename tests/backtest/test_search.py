"""Numbers to try, and which of the policies that they make are the best."""

from __future__ import annotations

from pathlib import Path

import pytest

from referral_stream.backtest.run import TOGETHER, backtest, search
from referral_stream.backtest.search import MOST_POINTS, SearchPoint, SearchProblem, front, parse_search
from tests.backtest.naive import written
from tests.backtest.test_run import A, lived
from tests.replay.logs import BOUNDARY


def tried(text: str) -> list[tuple[tuple[str, int | float], ...]]:
    return [each.numbers for each in parse_search(text.encode(), A).tried]


def test_a_grid_is_every_combination() -> None:
    found = parse_search(
        b'[numbers]\n"caps.customer_days" = [90, 60]\n"score.soft_at" = { from = 40, to = 50, step = 10 }', A
    )
    assert [each.policy.caps.customer_days for each in found.tried] == [60, 60, 90, 90]
    assert [each.policy.score.soft_at for each in found.tried] == [40, 50, 40, 50]


def test_a_random_search_draws_each_once_and_the_same_for_the_same_seed() -> None:
    axes = '"caps.customer_days" = { from = 1, to = 400, step = 1 }\n"score.soft_at" = { from = 0, to = 70, step = 1 }'
    grid = f"[numbers]\n{axes}\n"
    drawn = tried(grid + "[search]\ndraws = 30\nseed = 4")
    assert len(set(drawn)) == 30
    assert drawn == tried(grid + "[search]\ndraws = 30\nseed = 4") != tried(grid + "[search]\ndraws = 30\nseed = 5")


def test_what_contradicts_itself_is_left_out_and_named() -> None:
    found = parse_search(b'[numbers]\n"score.soft_at" = [50, 90]', A)
    assert [each.numbers for each in found.tried] == [(("score.soft_at", 50),)]
    assert found.left_out == ["score.soft_at 90: soft_at (90) must not exceed direct_at (70)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a search has a table [numbers]"),
        ('[numbers]\n"caps.custmer_days" = [1]', "caps.custmer_days: no number of the policy; did you mean"),
        ('[numbers]\n"caps.customer_days" = 60', "must be a list of numbers, or { from, to, step }"),
        ('[numbers]\n"caps.customer_days" = { from = 5, to = 1, step = 1 }', "must be a list of numbers"),
        ('[numbers]\n"moments.slot_from" = [1]', "no number of the policy"),
        ('[numbers]\n"caps.customer_days" = [1]\n[search]\ndraw = 3', "search.draw: unknown key"),
        ('[numbers]\n"caps.customer_days" = [1]\n[search]\ndraws = 0', "draws must be a whole number from 1"),
        ('[numbers]\n"caps.customer_days" = { from = 1, to = 3000, step = 1 }', f"more than {MOST_POINTS:,}"),
        ('[numbers]\n"caps.customer_days" = { from = 1, to = 3000000000, step = 1 }', "more than 1,000,000 numbers"),
        (
            '[numbers]\n"caps.customer_days" = { from = 1, to = 1' + "0" * 40 + ", step = 1 }\n[search]\ndraws = 2",
            "more than 1,000,000 numbers",
        ),
        (
            "[numbers]\n"
            + "".join(
                f'"{name}" = {{ from = 1, to = 1000000, step = 1 }}\n'
                for name in ("caps.customer_days", "caps.advocacy_days", "score.soft_at", "score.direct_at")
            )
            + "[search]\ndraws = 2",
            "more policies than can be counted",
        ),
        ("[numbers", "TOML"),
    ],
)
def test_a_search_that_cannot_be_made_says_why(text: str, said: str) -> None:
    with pytest.raises(SearchProblem) as problem:
        parse_search(text.encode(), A)
    assert said in str(problem.value)


def point(asks: int, regrets: int) -> SearchPoint:
    return SearchPoint((("n", 10 * asks + regrets),), asks, regrets)


@pytest.mark.parametrize(
    ("of_a", "points", "best", "chosen"),
    [
        ((5, 5), [(6, 4), (7, 5), (8, 9), (6, 6)], [(6, 4), (7, 5), (8, 9)], (7, 5)),
        ((5, 1), [(6, 4), (7, 5)], [(5, 1), (6, 4), (7, 5)], (5, 1)),
        ((9, 9), [(9, 9), (3, 9)], [(9, 9)], (9, 9)),
        ((2, 0), [], [(2, 0)], (2, 0)),
    ],
)
def test_chosen_is_the_most_asks_with_no_more_regrets_than_a(
    of_a: tuple[int, int], points: list[tuple[int, int]], best: list[tuple[int, int]], chosen: tuple[int, int]
) -> None:
    found = front(SearchPoint((), *of_a), [point(*each) for each in points])
    assert [(each.asks, each.regrets) for each in found.best] == best
    assert (found.chosen.asks, found.chosen.regrets) == chosen
    assert found.chosen not in found.neighbours


def test_each_point_is_what_a_backtest_of_its_policy_finds(tmp_path: Path) -> None:
    log = written(tmp_path / "log", lived(customers=8, days=120))
    days = [20, *range(30, 30 + TOGETHER), 90]  # more than are replayed in one go
    wanted = parse_search(f'[numbers]\n"caps.customer_days" = {days}'.encode(), A)
    _, found = search(log, A, wanted.tried, BOUNDARY)
    assert len(found.points) == len(days)
    for place in (0, TOGETHER - 1, TOGETHER, -1):
        point, sums = found.points[place], backtest(log, A, wanted.tried[place].policy, BOUNDARY).totals
        assert (point.asks, point.regrets) == (sums.asked["b"], sums.regrets.get("b", 0))
        assert [point.gained, point.lost, point.moved] == [sums.kinds.get(k, 0) for k in ("gained", "lost", "moved")]
    assert found.points[-1].asks == found.a.asks
