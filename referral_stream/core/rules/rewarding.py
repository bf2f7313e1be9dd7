"""What a customer may be promised for a referral (after §4)."""

from __future__ import annotations

from referral_stream.core.customer import Customer, word
from referral_stream.core.grants import Grant, Promise
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy

CAP_DAYS = 365
"""In which grants are counted."""


def programme_of(c: Customer, policy: Policy) -> Promise | None:
    """What the programme of the customer's segment gives, None without one."""
    found = policy.rewards.programme_of(word(c.segment))
    if found is None:
        return None
    name, programme = found
    return Promise(name, programme.kind, programme.amount_minor, programme.currency, programme.benefit)


def promised(c: Customer, now: int, policy: Policy) -> Promise | None:
    """What an ask may offer this customer: their programme, unless they have had as much as there is."""
    return None if is_capped(c, now, policy) else programme_of(c, policy)


def is_capped(c: Customer, now: int, policy: Policy) -> bool:
    """Whether the customer's own grants, by the time of their requests, are as many as there may be."""
    return len(_granted_lately(c, now)) >= policy.rewards.per_customer


def _granted_lately(c: Customer, now: int) -> list[Grant]:
    return [
        grant
        for referral in c.referrals.values()
        if (grant := referral.grant) is not None
        and grant.state == "granted"
        and now - CAP_DAYS * DAY < (grant.requested_at or 0) <= now
    ]
