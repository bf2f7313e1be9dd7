"""The one statistic of all comparisons: given a success, in which arm was it? (after §7)

Without an effect a success lies in arm 1 as often as units do, whatever the rate, its seasons and its delay. So the
successes alone are looked at, and the evidence against "no effect" is their likelihood under a mixture of ratios,
relative to that under the planned share. Such evidence stays valid however often one looks: the chance that it ever
reaches 20 without an effect is at most 1 in 20.

Source: M. Lindon, A. Malek, *Anytime-Valid Inference for Multinomial Count Data*, NeurIPS 2022. The mixture is
log-normal over ratios, on a fixed grid, so that every machine gets the same digits.
"""

from __future__ import annotations

from math import exp, fsum, log
from typing import NamedTuple

EFFECT = 20
"""Evidence at or above which an effect is reported: 1 in 20 is the chance of one where there is none."""

BROKEN = 1_000
"""Evidence on the units themselves at or above which their split is not the planned one."""

_LOG_RATIOS = tuple((j - 60) / 10 for j in range(121))
_RATIOS = tuple(map(exp, _LOG_RATIOS))
SMALLEST_RATIO, LARGEST_RATIO = _RATIOS[0], _RATIOS[-1]
"""Of the grid: an interval that ends there is open."""

_WEIGHTS = tuple(exp(-(each**2) / 2) for each in _LOG_RATIOS)
_LOG_SUM = log(fsum(_WEIGHTS))
_LOG_WEIGHTS = tuple(-(each**2) / 2 - _LOG_SUM for each in _LOG_RATIOS)
_LARGEST_LOG = 700.0
"""Of a value that a float can hold."""


class RatioEvidence(NamedTuple):
    """What ``k1`` successes in arm 1 and ``k0`` in the other say about the ratio of their rates.

    ``log``: the natural logarithm of the evidence against a ratio of 1. ``low``, ``high``: between them are the ratios
    that are possible, at every look. ``ratio``: the likeliest one; None if one arm has no success.
    """

    log: float
    ratio: float | None
    low: float
    high: float

    @property
    def value(self) -> float:
        """As odds to 1; beyond 10^304 it is that."""
        return exp(min(self.log, _LARGEST_LOG))

    def reaches(self, odds: float) -> bool:
        return self.log >= log(odds)


def evidence(k1: int, k0: int, share: float) -> RatioEvidence:
    """Of ``k1 + k0`` successes, where arm 1 has the ``share`` of all units. Raises ValueError if that is not in (0, 1).

    The interval never has the width 0: where the grid has but one ratio that is possible, its neighbours bound it.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share between 0 and 1, not {share}")
    likelihoods = [
        k1 * log_ratio - (k1 + k0) * log(share * ratio + 1 - share)
        for log_ratio, ratio in zip(_LOG_RATIOS, _RATIOS, strict=True)
    ]
    terms = [weight + each for weight, each in zip(_LOG_WEIGHTS, likelihoods, strict=True)]
    most = max(terms)
    mixed = most + log(fsum(exp(term - most) for term in terms))
    possible = [j for j, each in enumerate(likelihoods) if each - mixed > -log(EFFECT)]
    first, last = possible[0], possible[-1]
    if first == last:
        first, last = max(first - 1, 0), min(last + 1, len(_RATIOS) - 1)
    ratio = k1 * (1 - share) / (k0 * share) if k1 and k0 else None
    return RatioEvidence(mixed, ratio, _RATIOS[first], _RATIOS[last])


_Z = 1.959964
"""Of the normal distribution, for 95 %."""


def wilson(count: int, of: int) -> tuple[float, float]:
    """The Wilson interval of a share, 95 %, as of one moment; ``of`` is at least 1.

    Above 1 a share is read as 1: sums that are read while they change may be a record apart.
    """
    share, squared = min(count / of, 1.0), _Z * _Z
    middle = share + squared / (2 * of)
    half = _Z * (share * (1 - share) / of + squared / (4 * of * of)) ** 0.5
    whole = 1 + squared / of
    return max((middle - half) / whole, 0.0), min((middle + half) / whole, 1.0)
