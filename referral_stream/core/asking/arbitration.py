"""Who speaks first of those that may speak at the same instant."""

from __future__ import annotations

from referral_stream.core.opportunity import Opportunity
from referral_stream.core.policy import Policy


def rank(policy: Policy, opportunity: Opportunity) -> tuple[int, int, int, str]:
    """To sort by, the best first: by priority, then the earliest deadline, then t0, then id."""
    return (-priority(policy, opportunity), opportunity.deadline, opportunity.t0, opportunity.id)


def priority(policy: Policy, opportunity: Opportunity) -> int:
    """That of its trigger; 0 if an earlier policy had the trigger and this one does not."""
    rule = policy.triggers.get(opportunity.trigger)
    return 0 if rule is None else rule.priority
