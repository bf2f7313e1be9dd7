"""Random worlds under all policies: whatever befalls customers, what the product writes of it breaks nothing."""

from __future__ import annotations

from functools import cache

import pytest

from referral_stream.audit.findings import AuditReport
from referral_stream.core.events import ChargeDisputed, ComplimentGiven, Data, Event, Link, Linked
from tests.audit.topics import NAMES, PARTITIONS, Deployment
from tests.builders import a_customer, fact, nps
from tests.properties.comparing import arrivals
from tests.properties.merged import merged
from tests.rules import rule
from tests.worlds.days import world
from tests.worlds.policies import POLICIES

SEEDS = range(2_000, 2_040)
LONG_AFTER = 253_402_300_799_999


@cache
def audited(seed: int) -> tuple[AuditReport, AuditReport]:
    """A look in the middle, when much is pending, and one at the end."""
    this = world(seed)
    told = list(arrivals(this.records))
    deployment = Deployment(POLICIES[this.policy][0])
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
def test_what_the_product_writes_breaks_nothing(seed: int) -> None:
    for report in audited(seed):
        assert (report.findings, report.unchecked) == ((), ())


def test_in_these_worlds_customers_are_asked_and_wait() -> None:
    """Otherwise the test above would say little."""
    assert sum(audited(seed)[1].counts["asks"] for seed in SEEDS) > len(SEEDS) // 2
    assert sum(audited(seed)[0].counts["wake-ups"] for seed in SEEDS) > len(SEEDS) // 2


@pytest.mark.parametrize("seed", range(24))
def test_nor_does_what_it_writes_of_people_who_turn_out_to_be_one(seed: int) -> None:
    policy, told = merged(seed)
    deployment = Deployment(policy)
    for now, event, _ in told:
        deployment.wake(now)
        deployment.take(event, now)
    deployment.wake(LONG_AFTER)
    report = deployment.audit(uncommitted=True)
    assert (report.findings, report.unchecked) == ((), ())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_policy_that_changes_midway_breaks_nothing(seed: int) -> None:
    """Both are given. Cool-downs aside: the ledger in memory begins anew with the policy."""
    this = world(seed)
    told = list(arrivals(this.records))
    names = sorted(POLICIES)
    earlier, later = POLICIES[this.policy][0], POLICIES[names[seed % len(names)]][0]
    deployment = Deployment(earlier)
    for place, (now, event, _) in enumerate(told):
        if place == len(told) // 2:
            deployment.switch(later)
        deployment.wake(now)
        deployment.take(event, now)
    deployment.wake(LONG_AFTER)
    report = deployment.audit(earlier)
    assert {finding.invariant for finding in report.findings} <= {"no_ask_in_cool_down"}
    assert report.unchecked == ()


@rule("I4.3")
@pytest.mark.parametrize("number", range(8))
def test_the_decisions_of_an_id_that_begins_with_a_tilde_are_found_where_they_are(number: int) -> None:
    """Their key is another one than in customer-events, so they may lie on another partition."""
    who = f"~{number}"
    deployment = Deployment()
    deployment.tell(a_customer(who), nps(9, "Thu 12:30", customer=who), until="Fri 18:00")
    logs = deployment.logs
    decisions = [each for partition in range(PARTITIONS) for each in logs.read(NAMES.decisions, partition, 0)]
    report = deployment.audit(uncommitted=True)
    assert (report.findings, report.unchecked) == ((), ())
    assert report.counts["decisions"] == len(decisions) > 1
    logs.remove(decisions[-1])
    assert "decisions_follow" in {finding.invariant for finding in deployment.audit().findings}


CHARGE = Link("stripe_charge", "ch_1")


def by_charge(data: Data, when: str) -> Event:
    return fact(data, when, customer="", link=CHARGE)


@rule("I4.9")
def test_nor_does_what_comes_by_links_and_a_letter_that_is_missing_is_noticed() -> None:
    deployment = Deployment()
    deployment.tell(
        by_charge(ComplimentGiven(), "Mon 10:00"),
        by_charge(ChargeDisputed(charge_id="ch_1"), "Mon 11:00"),
        fact(Linked(kind=CHARGE.kind, value=CHARGE.value), "next Tue 10:00"),
        until="next Tue 11:00",
    )
    assert deployment.stored("ana").entity.disputes
    assert deployment.audit(uncommitted=True).findings == ()
    for records in deployment.logs.logs.values():
        records[:] = [record for record in records if record.topic != NAMES.letters]
    (finding,) = deployment.audit(uncommitted=True).findings
    assert (finding.invariant, "unknown_customer" in finding.what) == ("letters_complete", True)
