"""Which wording of an experiment a customer gets (after §8)."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import NamedTuple

from referral_stream.core.customer import Customer
from referral_stream.core.policy import Policy


class Arm(NamedTuple):
    """One wording of an experiment."""

    experiment: str
    template: str

    @property
    def name(self) -> str:
        """As decisions, commands and records have it."""
        return f"{self.experiment}/{self.template}"


def drawn_arm(c: Customer, trigger: str, asked_at: int, policy: Policy) -> Arm | None:
    """The arm of an ask of that trigger at ``asked_at``: the same one for all contacts of an account.

    None if nothing is tried out then. Weights are taken exactly, so that no machine draws another arm.
    """
    found = next(((name, each) for name, each in policy.experiments.items() if each.trigger == trigger), None)
    if found is None or asked_at < (found[1].active_since or asked_at):
        return None
    name, weights = found[0], sorted(found[1].templates.items())
    digest = hashlib.sha256(f"experiment|{name}|{c.account_id or c.id}".encode()).digest()
    least = Fraction(int.from_bytes(digest[:8], "big"), 2**64) * sum(Fraction(weight) for _, weight in weights)
    total = Fraction(0)
    for template, weight in weights:
        total += Fraction(weight)
        if least < total:
            return Arm(name, template)
    raise AssertionError("the weights are not 0 together: the policy says so")
