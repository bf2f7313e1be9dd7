"""Propensity: how ready a customer is to be asked, from exact weights (semantics §2)."""

from __future__ import annotations

from referral_stream.core.asks import Score
from referral_stream.core.customer import Customer
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy

FULL = 100


def newest_nps(c: Customer) -> float | None:
    """The score of the newest revision over all responses."""
    if not c.responses:
        return None
    return max(c.responses.values(), key=lambda survey: survey.at).score


def score(c: Customer, now: int, policy: Policy) -> Score:
    """The nine contributions, their sum, and the sum capped at 100."""
    w = policy.score
    nps = newest_nps(c)
    parts = {
        "tenure": w.tenure if c.signed_up is not None and now >= c.signed_up + w.tenure_days * DAY else 0,
        "first_success": w.first_success if c.first_success else 0,
        "usage_above_average": w.usage_above_average if c.above_average and c.above_average.value else 0,
        "nps": 0 if nps is None else w.nps_promoter if nps >= 9 else w.nps_passive if nps >= 7 else 0,
        "testimonial": w.testimonial if c.testimonial else 0,
        "interactions": w.interactions if c.interactions >= w.interactions_needed else 0,
        "positive_feedback": w.positive_feedback if c.positive_feedback else 0,
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
