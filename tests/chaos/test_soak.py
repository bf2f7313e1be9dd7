"""A short soak in every test run; and each comparison of a soak is shown to fail where there is something to find."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.core.effects import AskRequested
from tests.chaos import table
from tests.chaos.excuses import is_fact, lives
from tests.chaos.faults import Chaos, Inflicted, Worker, flip_bytes
from tests.chaos.identities import must_not_be_asked
from tests.chaos.plan import LIGHT, NAMED, PER_TWENTY_MINUTES, Fault, Planned, plan
from tests.chaos.soak import Soaked, run, unnamed
from tests.chaos.verdict import SoakRecords
from tests.integration.live import Said
from tests.night import seed
from tests.services.process import ServerProcess, wait_until

SEED = seed("TESTS_SOAK_SEED", by_day=743_596)
SECONDS = 30.0
TIMEOUT = SECONDS + 1_800
"""Start, rest and judgement take so long on a machine that is several times as slow; nothing is measured by it."""


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


def test_every_fault_that_must_be_named_has_a_line_that_names_it() -> None:
    root = Path(__file__).parents[2]
    code = "".join(
        file.read_text() for folder in ("referral_stream", "faust-batches") for file in (root / folder).rglob("*.py")
    )
    assert [fault for fault, named in NAMED.items() if not any(f'"{event}"' in code for event in named.events)] == []
    assert Fault.__members__.keys() - {fault.name for fault in NAMED} == {"POISON", "NULL_HEADERS", "GROWTH"}


@pytest.mark.parametrize(
    ("lasted", "after", "event", "is_named"),
    [
        (5.0, 2.0, "ledger_unavailable", True),
        (5.0, 2.0, "ledger_swept", False),
        (5.0, -30.0, "ledger_unavailable", False),
        (5.0, 300.0, "ledger_unavailable", False),
        (1.0, 2.0, "ledger_swept", True),  # so short that nobody need have noticed
    ],
)
def test_a_fault_that_no_line_names_is_a_problem(lasted: float, after: float, event: str, *, is_named: bool) -> None:
    began = time.monotonic() - 600
    fault = Inflicted(Fault.REDIS, "Redis", began, began + lasted)
    at = (
        datetime.fromtimestamp(time.time() - 600 + after, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    log = f"Traceback\n{at} WARNING referral_stream.stream.ledger_agent {event} cause=Redis failed: ConnectionError\n"
    assert (list(unnamed([fault], log)) == []) is is_named


def test_connections_that_are_reset_may_be_named_by_the_library_alone() -> None:
    began = time.monotonic() - 600
    fault = Inflicted(Fault.RESETS, "472 connections", began, began + 18)
    at = datetime.fromtimestamp(time.time() - 595, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert list(unnamed([fault], f"{at} ERROR aiokafka.consumer.fetcher Failed fetch messages from 1: closed\n")) == []
    assert list(unnamed([fault], f"{at} INFO referral_stream.stream.apps partitions_ready partitions=4\n")) != []


def test_bytes_of_a_table_are_flipped_where_there_is_one(tmp_path: Path) -> None:
    rng = random.Random(1)
    assert not flip_bytes(tmp_path, rng)
    customers, wakeups = (tmp_path / "decide" / name / "0" / "000012.sst" for name in ("customers", "wakeups"))
    customers.parent.mkdir(parents=True)
    customers.write_bytes(bytes(1_000))
    assert not flip_bytes(tmp_path, rng), "a customer whom nobody reads: nothing need be said of it"
    assert customers.read_bytes().count(0xFF) == 16
    wakeups.parent.mkdir(parents=True)
    wakeups.write_bytes(bytes(1_000))
    assert flip_bytes(tmp_path, rng)
    assert wakeups.stat().st_size == 1_000
    assert wakeups.read_bytes().count(0xFF) in {16, 32}


def test_who_joins_has_said_so_before_it_may_leave(tmp_path: Path) -> None:
    """Told to leave a tenth of a second after it was started, it went without a word (seed 879717)."""

    class Pipeline:
        def start(self, _role: str, **_settings: str) -> ServerProcess:
            said = "sleep 0.3; echo 2026-01-01T00:00:00.000Z INFO run starting role=all; sleep 60"
            return ServerProcess("guest", ["/bin/sh", "-c", said], tmp_path / "guest.log")

    pipeline: Any = Pipeline()
    guest = Worker("guest", pipeline, {})
    nowhere: Any = None
    close_together = [Planned(0.0, Fault.JOIN), Planned(0.0, Fault.LEAVE)]
    with Chaos(close_together, [Worker("worker-1", pipeline, {})], guest, nowhere, nowhere, seed=1) as chaos:
        wait_until(lambda: chaos.is_over, "both have happened")
    assert " starting " in (tmp_path / "guest.log").read_text()


@pytest.fixture(scope="module")
def soaked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    """On services of its own: it kills them. What it leaves behind is in its folder, beside the workers' logs."""
    for service in ("kafka", "redis_server"):
        request.getfixturevalue(service)  # skips where there is none
    home = tmp_path_factory.mktemp("soak")
    soaked = run(home, SEED, SECONDS)
    table.write(soaked, home)
    table.write_records(soaked, home)
    return soaked


@pytest.mark.timeout(TIMEOUT)
def test_nothing_is_lost_repeated_or_changed_whatever_fails(soaked: Soaked) -> None:
    assert {fault.fault for fault in soaked.inflicted} == LIGHT.keys()
    found = {name: offenders for name, offenders in soaked.problems.items() if offenders}
    assert found == {}, f"seed {soaked.seed}"
    counts = soaked.verdict.counts
    assert counts["asks"] > 100
    assert min(counts["follow-ups"], counts["grants"], counts["records"]) > 5
    assert counts["customers who must not be asked"] > 10


@pytest.mark.timeout(TIMEOUT)
def test_each_single_ask_of_the_soak_is_missed_if_it_is_removed(soaked: Soaked) -> None:
    asked = [each for each in soaked.records.asks if isinstance(each.effect, AskRequested)]
    for number, live in enumerate(lives(soaked.records.groups, asked, soaked.records.decisions)):
        for gone in live.commands.asks:
            left = {ask: now for ask, now in live.commands.asks.items() if ask != gone}
            tampered = dataclasses.replace(live, commands=dataclasses.replace(live.commands, asks=left))
            assert gone.customer in {ask.customer for ask in soaked.judge.oracle.compare(number, tampered).lost}


def first_ask(records: SoakRecords) -> Said:
    return next(each for each in records.asks if isinstance(each.effect, AskRequested))


def an_event_disappears(records: SoakRecords) -> SoakRecords:
    return replace(records, acknowledged=records.acknowledged | {"never-arrived"})


def an_ask_disappears(records: SoakRecords) -> SoakRecords:
    gone = first_ask(records)
    return replace(records, asks=[each for each in records.asks if each is not gone])


def an_ask_disappears_before_later_facts(records: SoakRecords) -> SoakRecords:
    """What the customer does afterwards excuses nothing."""
    latest = {(each.key or b"").decode(): int(each.header("now") or 0) for each in records.events if is_fact(each)}
    later = (each for each in records.asks if each.now < latest[each.effect.customer_id])
    gone = next(each for each in later if isinstance(each.effect, AskRequested))
    return replace(records, asks=[each for each in records.asks if each is not gone])


def an_ask_comes_twice(records: SoakRecords) -> SoakRecords:
    return replace(records, asks=[*records.asks, first_ask(records)])


def an_ask_is_written_anew(records: SoakRecords) -> SoakRecords:
    record = first_ask(records).record
    other = msgspec.structs.replace(
        record, value=(record.value or b"").replace(b'"channels":["', b'"channels":["phone","')
    )
    return replace(records, uncommitted=[*records.uncommitted, other])


def an_ask_goes_to_somebody_who_said_no(records: SoakRecords) -> SoakRecords:
    first = first_ask(records)
    whom = next(name for group in records.groups for name in group if must_not_be_asked(name))
    other = replace(first, effect=first.effect.model_copy(update={"customer_id": whom, "command_id": "another"}))
    return replace(records, asks=[*records.asks, other])


def an_ask_comes_too_early(records: SoakRecords) -> SoakRecords:
    early = first_ask(records)
    moved = replace(early, now=early.now - 60_000)
    return replace(records, asks=[moved if each is early else each for each in records.asks])


def a_decision_disappears(records: SoakRecords) -> SoakRecords:
    return replace(records, decisions=records.decisions[1:])


def a_followup_disappears(records: SoakRecords) -> SoakRecords:
    return replace(records, followups=records.followups[1:])


def a_grant_disappears(records: SoakRecords) -> SoakRecords:
    gone = next(each for each in records.rewards if b"reward.granted" in (each.value or b""))
    return replace(records, rewards=[each for each in records.rewards if each is not gone])


def a_grant_comes_twice(records: SoakRecords) -> SoakRecords:
    twice = next(each for each in records.rewards if b"reward.granted" in (each.value or b""))
    return replace(records, rewards=[*records.rewards, twice])


def a_record_is_older(records: SoakRecords) -> SoakRecords:
    newest = {each.key: each for each in records.kept}
    old = next(each for each in records.kept if newest[each.key] is not each)
    return replace(records, kept=[*records.kept, old])


def a_state_is_stale(records: SoakRecords) -> SoakRecords:
    key, value = next(item for item in records.customers.items() if not item[0].startswith(b"~"))
    stored = decode_customer(value)
    stale = encode_customer(stored.entity, stored.mark - 1)
    return replace(records, customers={**records.customers, key: stale})


def a_wakeup_is_forgotten(records: SoakRecords) -> SoakRecords:
    return replace(records, wakeups=dict(list(records.wakeups.items())[1:]))


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (an_event_disappears, "events lost"),
        (an_ask_disappears, "asks lost"),
        (an_ask_disappears_before_later_facts, "asks lost"),
        (an_ask_comes_twice, "commands twice for read_committed"),
        (an_ask_is_written_anew, "commands with two bodies"),
        (an_ask_goes_to_somebody_who_said_no, "asked against their word"),
        (an_ask_comes_too_early, "asks before they were due"),
        (a_decision_disappears, "outputs that a replay does not make"),
        (a_followup_disappears, "follow-ups lost or made up"),
        (a_grant_disappears, "grants lost"),
        (a_grant_comes_twice, "grants twice"),
        (a_record_is_older, "records that differ"),
        (a_state_is_stale, "states that a fold does not give"),
        (a_wakeup_is_forgotten, "wake-ups that do not fit the state"),
    ],
)
def test_a_soak_would_have_shown(soaked: Soaked, tamper: Callable[[SoakRecords], SoakRecords], problem: str) -> None:
    assert soaked.judge.verdict(tamper(soaked.records)).problems[problem] != []
