"""Random worlds of what follows an ask: whatever is answered, referred, granted and taken back breaks nothing."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from referral_stream.audit.findings import AuditReport
from tests.audit.topics import Deployment
from tests.properties.comparing import arrivals
from tests.properties.test_afterwards import policy_of
from tests.worlds.afterwards import world

SEEDS = range(40)
LONG_AFTER = 253_402_300_799_999


@cache
def audited(seed: int) -> tuple[AuditReport, AuditReport]:
    """A look in the middle, when much is open, and one at the end."""
    this = world(seed)
    told = list(arrivals(this.records))
    deployment = Deployment(policy_of(this.policy))
    for now, event, _ in told[: len(told) // 2]:
        deployment.wake(now)
        deployment.take(event, now)
    middle = deployment.audit()
    for now, event, _ in told[len(told) // 2 :]:
        deployment.wake(now)
        deployment.take(event, now)
    deployment.wake(LONG_AFTER)
    return middle, deployment.audit(uncommitted=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_follows_an_ask_breaks_nothing(seed: int) -> None:
    for report in audited(seed):
        assert (report.findings, report.unchecked) == ((), ())


def test_in_these_worlds_there_is_something_to_judge() -> None:
    counts: Counter[str] = sum((audited(seed)[1].counts for seed in SEEDS), Counter())
    assert min(counts[f"rewards {word}"] for word in ("held", "granted", "denied", "reversed")) > 3
    assert counts["follow-ups"] > len(SEEDS)
    assert counts["follow-ups cancelled"] > len(SEEDS)


@pytest.mark.parametrize("seed", range(16))
def test_nor_does_a_policy_that_changes_midway(seed: int) -> None:
    """Both are given. The ledger in memory begins anew with the policy, so caps and claims are left out."""
    this = world(seed)
    told = list(arrivals(this.records))
    earlier, later = policy_of(this.policy), policy_of(world(seed + 100).policy)
    deployment = Deployment(earlier)
    for place, (now, event, _) in enumerate(told):
        if place == len(told) // 2:
            deployment.switch(later)
        deployment.wake(now)
        deployment.take(event, now)
    deployment.wake(LONG_AFTER)
    report = deployment.audit(earlier)
    assert {finding.invariant for finding in report.findings} <= {"no_ask_in_cool_down", "grant_caps"}
