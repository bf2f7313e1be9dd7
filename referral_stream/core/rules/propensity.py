"""Propensity: how ready a customer is to be asked, from exact weights (semantics §2)."""

from __future__ import annotations

from functools import lru_cache

from referral_stream.core.customer import Customer, Survey
from referral_stream.core.effects import Score
from referral_stream.core.events import PASSIVE, PROMOTER
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy

FULL = 100


def newest_response(c: Customer) -> Survey | None:
    """The newest NPS revision over all responses."""
    return max(c.responses.values(), key=lambda survey: survey.at, default=None)


def newest_nps(c: Customer) -> float | None:
    """Its score."""
    newest = newest_response(c)
    return None if newest is None else newest.score


@lru_cache(maxsize=4_096)
def faded(weight: int, half_life_days: int, days: int) -> int:
    """The points left of ``weight`` × ½^(days ÷ half-life), to the nearest, a half up.

    Exact, so that every machine gives the same: ``n`` points are not too many if 2n − 1 ≤ 2 × weight × ½^(days ÷
    half-life), which whole numbers decide when both sides are raised to the half-life.
    """
    if days >= half_life_days * (2 * weight).bit_length():
        return 0  # less than half a point, without raising anything
    doubled = (2 * weight) ** half_life_days
    return next(n for n in range(weight, -1, -1) if n == 0 or (2 * n - 1) ** half_life_days << days <= doubled)


def _fading(weight: int, half_life_days: int | None, since: int | None, now: int) -> int:
    """How much a signal of that instant still counts. It fades by whole days; one without an instant does not fade."""
    if half_life_days is None or since is None:
        return weight
    return faded(weight, half_life_days, max(0, now - since) // DAY)


def score(c: Customer, now: int, policy: Policy) -> Score:
    """The nine contributions, their sum, and the sum capped at 100."""
    w = policy.score
    fade, nps = w.half_life_days, newest_response(c)
    by_nps = 0
    if nps is not None and nps.score >= PASSIVE:
        by_nps = w.nps_promoter if nps.score >= PROMOTER else w.nps_passive
    parts = {
        "tenure": w.tenure if c.signed_up is not None and now >= c.signed_up + w.tenure_days * DAY else 0,
        "first_success": w.first_success if c.first_success else 0,
        "usage_above_average": w.usage_above_average if c.above_average and c.above_average.value else 0,
        "nps": _fading(by_nps, fade.nps, nps.at.time, now) if nps else 0,
        "testimonial": _fading(w.testimonial, fade.testimonial, c.testimonial_at, now) if c.testimonial else 0,
        "interactions": w.interactions if c.interactions >= w.interactions_needed else 0,
        "positive_feedback": _fading(w.positive_feedback, fade.positive_feedback, c.positive_feedback_at, now)
        if c.positive_feedback
        else 0,
        "champion": w.champion if c.champion and c.champion.value else 0,
        "engaged": w.engaged if c.last_activity is not None and c.last_activity >= now - w.engaged_days * DAY else 0,
    }
    raw = sum(parts.values())
    return Score(value=min(FULL, raw), raw=raw, parts=parts)


def tenure_alone_suffices_at(c: Customer, current: Score, policy: Policy) -> int | None:
    """The instant at which tenure lifts the score over the threshold, if nothing else is missing."""
    w = policy.score
    if c.signed_up is None or current.parts["tenure"] or current.value + w.tenure < w.soft_at:
        return None
    return c.signed_up + w.tenure_days * DAY
