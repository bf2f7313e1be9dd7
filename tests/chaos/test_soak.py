"""A short soak in every test run; and each comparison of a soak is shown to fail where there is something to find."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.core.effects import AskRequested
from referral_stream.policy_file.reading import read_policy
from tests.chaos import table
from tests.chaos.faults import PER_TWENTY_MINUTES, Fault, plan
from tests.chaos.soak import SOAK_POLICY, Soaked, run
from tests.chaos.tally import Evidence, judge
from tests.integration.live import Said

SEED = int(os.environ.get("TESTS_SOAK_SEED", "0")) or random.SystemRandom().randrange(1 << 20)
SECONDS = 30.0
_OTHER_REASON = "customers asked for their other reason while the ledger was away"


def test_a_plan_has_its_share_of_every_fault_and_comes_again_with_its_seed() -> None:
    planned = plan(random.Random(1), 1_200)
    assert [each.at for each in planned] == sorted(each.at for each in planned)
    assert 0 <= planned[0].at <= planned[-1].at < 1_200
    faults = [each.fault for each in planned]
    assert {fault: faults.count(fault) for fault in Fault} == PER_TWENTY_MINUTES
    assert planned == plan(random.Random(1), 1_200) != plan(random.Random(2), 1_200)


def test_in_the_shortest_plan_every_fault_occurs_and_who_leaves_has_joined() -> None:
    faults = [each.fault for each in plan(random.Random(1), 10)]
    assert set(faults) == set(Fault)
    assert faults.index(Fault.JOIN) < faults.index(Fault.LEAVE)


@pytest.fixture(scope="module")
def soaked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    """On services of its own: it kills them. What it leaves behind is in its folder, beside the workers' logs."""
    for service in ("kafka", "redis_server"):
        request.getfixturevalue(service)  # skips where there is none
    home = tmp_path_factory.mktemp("soak")
    soaked = run(home, SEED, SECONDS)
    table.write(soaked, home)
    table.write_evidence(soaked, home)
    return soaked


@pytest.mark.timeout(SECONDS + 400)
def test_nothing_is_lost_repeated_or_changed_whatever_fails(soaked: Soaked) -> None:
    assert {fault.fault for fault in soaked.inflicted} == set(Fault)
    found = {name: offenders for name, offenders in soaked.problems.items() if offenders}
    assert found == {}, f"seed {soaked.seed}"
    counts = soaked.verdict.counts
    assert counts["asks"] > 100
    excused = ("of them with another result than the oracle's", _OTHER_REASON)
    assert sum(counts[name] for name in excused) <= counts["customers"] // 50


def first_ask(evidence: Evidence) -> Said:
    return next(each for each in evidence.asks if isinstance(each.effect, AskRequested))


def an_event_disappears(evidence: Evidence) -> Evidence:
    return replace(evidence, acknowledged=evidence.acknowledged | {"never-arrived"})


def an_ask_disappears(evidence: Evidence) -> Evidence:
    gone = first_ask(evidence)
    return replace(evidence, asks=[each for each in evidence.asks if each is not gone])


def an_ask_comes_twice(evidence: Evidence) -> Evidence:
    return replace(evidence, asks=[*evidence.asks, first_ask(evidence)])


def an_ask_is_written_anew(evidence: Evidence) -> Evidence:
    record = first_ask(evidence).record
    other = msgspec.structs.replace(
        record, value=(record.value or b"").replace(b'"channels":["', b'"channels":["phone","')
    )
    return replace(evidence, uncommitted=[*evidence.uncommitted, other])


def an_ask_comes_too_early(evidence: Evidence) -> Evidence:
    early = first_ask(evidence)
    moved = replace(early, now=early.now - 60_000)
    return replace(evidence, asks=[moved if each is early else each for each in evidence.asks])


def a_decision_disappears(evidence: Evidence) -> Evidence:
    return replace(evidence, decisions=evidence.decisions[1:])


def a_state_is_stale(evidence: Evidence) -> Evidence:
    key, value = next(iter(evidence.customers.items()))
    stored = decode_customer(value)
    stale = encode_customer(stored.customer, stored.mark - 1)
    return replace(evidence, customers={**evidence.customers, key: stale})


def a_wakeup_is_forgotten(evidence: Evidence) -> Evidence:
    return replace(evidence, wakeups=dict(list(evidence.wakeups.items())[1:]))


@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (an_event_disappears, "events lost"),
        (an_ask_disappears, "asks lost"),
        (an_ask_comes_twice, "commands twice for read_committed"),
        (an_ask_is_written_anew, "commands with two bodies"),
        (an_ask_comes_too_early, "asks before they were due"),
        (a_decision_disappears, "outputs that a replay does not make"),
        (a_state_is_stale, "states that a fold does not give"),
        (a_wakeup_is_forgotten, "wake-ups that do not fit the state"),
    ],
)
def test_a_soak_would_have_shown(
    soaked: Soaked, tamper: Callable[[Evidence], Evidence], problem: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SOAK_POLICY)
    assert judge(tamper(soaked.evidence), read_policy(policy)).problems[problem] != []
