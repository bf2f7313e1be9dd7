"""The statistic of all comparisons: against other people's code, and in simulated years."""

from __future__ import annotations

from math import exp, isfinite, log, pi, sin, sqrt
from random import Random

import pytest

from referral_stream.metrics.statistic import BROKEN, EFFECT, evidence, wilson
from tests.rules import rule

COUNTS = [(0, 0), (1, 0), (0, 7), (5, 5), (12, 3), (40, 22), (150, 190), (900, 850)]
SHARES = [0.5, 0.2, 0.95]
LOOKS, SEEDS = 52, 200


@rule("A7.6")
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("k1", "k0"), COUNTS[:-1])
def test_the_grid_is_as_good_as_the_integral(k1: int, k0: int, share: float) -> None:
    """The mixture over all ratios, by adaptive quadrature; while the likelihood is wider than a step of the grid."""
    integrate = pytest.importorskip("scipy.integrate", reason="scipy (the extra `statistics`) checks the statistic")

    def integrand(x: float) -> float:
        likelihood = k1 * x - (k1 + k0) * log(share * exp(x) + 1 - share)
        return exp(likelihood - x * x / 2) / sqrt(2 * pi)

    whole, _ = integrate.quad(integrand, -8, 8, points=[0], limit=500, epsabs=0)
    assert evidence(k1, k0, share).log == pytest.approx(log(whole), abs=2e-3)


@rule("A7.6", "A7.7")
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("k1", "k0"), COUNTS[1:])
def test_another_packages_sequential_test_comes_to_the_same(k1: int, k0: int, share: float) -> None:
    """It mixes by a beta distribution, here one whose log odds have the mean and the width of ours.

    At 95 % the two have other tails.
    """
    ville = pytest.importorskip("ville", reason="ville (the extra `statistics`) checks the statistic")
    optimize, special = pytest.importorskip("scipy.optimize"), pytest.importorskip("scipy.special")

    def moments(prior: tuple[float, float]) -> tuple[float, float]:
        mean = special.digamma(prior[0]) - special.digamma(prior[1])
        return mean - log(share / (1 - share)), special.polygamma(1, prior[0]) + special.polygamma(1, prior[1]) - 1

    prior = optimize.fsolve(moments, (4 * share, 4 * (1 - share)))
    test = ville.BernoulliTest(share, prior=tuple(prior)).update([1.0] * k1 + [0.0] * k0)
    apart = 0.4 if share > 0.9 else 0.05
    assert evidence(k1, k0, share).log == pytest.approx(float(test.log_e_values_[-1]), rel=apart, abs=log(3))


@rule("A7.4")
@pytest.mark.parametrize(("count", "of"), [(0, 30), (1, 30), (30, 30), (12, 345), (5_000, 10_000)])
def test_the_interval_of_a_share_is_wilsons(count: int, of: int) -> None:
    proportion = pytest.importorskip(
        "statsmodels.stats.proportion", reason="statsmodels (the extra `statistics`) checks the interval"
    )
    assert wilson(count, of) == pytest.approx(proportion.proportion_confint(count, of, method="wilson"), abs=1e-6)


@rule("A7.4")
def test_wilson_by_hand() -> None:
    assert wilson(10, 40) == pytest.approx((0.141871, 0.401940), abs=1e-6)


def test_two_of_three_in_the_holdout_are_no_accident() -> None:
    """github.com/PostHog/posthog#84351: 2,035 of 6,108 where 20 % should be, and the experiment ran on."""
    found = evidence(6_108 - 2_035, 2_035, 0.8)
    assert found.log / log(10) == pytest.approx(127.4, abs=0.1)
    assert found.reaches(BROKEN)


def test_no_counts_raise_and_no_interval_has_the_width_0() -> None:
    """growthbook#6250, #4364: intervals that collapse, divisions by zero."""
    for share in (0.001, 0.05, 0.5, 0.999):
        for k1 in (0, 1, 30, 100_000):
            for k0 in (0, 1, 30, 100_000):
                found = evidence(k1, k0, share)
                assert isfinite(found.log)
                assert isfinite(found.value)
                assert 0 < found.low < found.high
    assert wilson(0, 1)[0] == 0
    assert 0 < wilson(30, 30)[0] < wilson(30, 30)[1] == pytest.approx(1)


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1])
def test_a_share_of_nothing_or_all_has_nothing_to_compare_with(share: float) -> None:
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        evidence(1, 1, share)


@rule("A7.6")
def test_both_arms_are_treated_alike() -> None:
    one, other = evidence(30, 12, 0.5), evidence(12, 30, 0.5)
    assert one.log == pytest.approx(other.log)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low))
    assert one.ratio == pytest.approx(2.5)


@rule("A7.7")
def test_an_effect_is_what_the_interval_excludes() -> None:
    for k1 in range(80):
        found = evidence(k1, 20, 0.5)
        assert found.reaches(EFFECT) == (not found.low <= 1 <= found.high)


def a_year(seed: int, units: int, share: float, rates: tuple[float, float]) -> float:
    """The largest evidence of 52 weekly looks (its logarithm); the rates go up and down with the season."""
    random = Random(seed)
    k, most = [0, 0], 0.0
    for week in range(LOOKS):
        season = 1 + 0.6 * sin(2 * pi * week / LOOKS)
        for _ in range(units // LOOKS):
            arm = random.random() < share
            k[arm] += random.random() < rates[arm] * season
        most = max(most, evidence(k[1], k[0], share).log)
    return most


@rule("A7.6", "A7.7")
@pytest.mark.parametrize(("units", "share", "rate"), [(4_000, 0.5, 0.03), (4_000, 0.95, 0.02)])
def test_without_an_effect_hardly_a_year_of_weekly_looks_reports_one(units: int, share: float, rate: float) -> None:
    """freeCodeCamp#51290, mozilla/experimenter#16011: winners among equals, alarms where 95:5 was planned."""
    told = sum(a_year(seed, units, share, (rate, rate)) >= log(EFFECT) for seed in range(SEEDS))
    assert told <= SEEDS * 0.05


def test_a_split_as_planned_is_never_called_broken() -> None:
    for seed in range(SEEDS):
        random, k = Random(seed), [0, 0]
        for _ in range(LOOKS):
            for _ in range(40):
                k[random.random() < 0.95] += 1
            assert not evidence(k[1], k[0], 0.95).reaches(BROKEN)


@rule("A7.7")
@pytest.mark.parametrize(
    ("units", "share", "rates", "found"),
    [(4_000, 0.5, (0.03, 0.06), 0.8), (20_000, 0.95, (0.01, 0.03), 0.8), (4_000, 0.8, (0.06, 0.02), 0.8)],
)
def test_an_effect_is_found(units: int, share: float, rates: tuple[float, float], found: float) -> None:
    seeds = 30
    assert sum(a_year(seed, units, share, rates) >= log(EFFECT) for seed in range(seeds)) >= found * seeds
