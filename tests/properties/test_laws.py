"""What is true of every world, whatever happens in it.

The worlds are made as for the comparison with the oracle; here the engine is held against itself, or against the log
read with the naked eye.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from copy import deepcopy
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest

from referral_stream.contracts.codec import encode_effect, event_key
from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskCancelled, AskRequested, Decision, OpportunityOpened, ReasonAsked
from referral_stream.core.events import (
    AskAnswered,
    ChampionChanged,
    ComplimentGiven,
    Data,
    ErasureRequested,
    Event,
    FeedbackShared,
    InteractionRecorded,
    MilestoneReached,
    NpsResponded,
    ProfileChanged,
    SignedUp,
    TestimonialGiven,
    UsageCompared,
)
from referral_stream.core.fold import fold
from referral_stream.core.instants import DAY, SECOND, parse_instant, rfc3339
from referral_stream.core.keys import parse_key
from referral_stream.core.policy import Policy
from referral_stream.core.rules import propensity
from referral_stream.core.stamps import Stamp
from referral_stream.core.step import step
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.virtual_run import Arrival, FactReplay, Happened
from tests.oracle.records import clock_of
from tests.properties.comparing import Record, arrivals, by_engine, differences
from tests.properties.recording import Recording
from tests.replay.logs import recorded_records
from tests.rules import rule
from tests.worlds.days import world
from tests.worlds.policies import POLICIES

SEEDS = range(1_125, 1_150)
"""Not those of the comparison; most of these worlds hold an ask or more."""


def policy_of(seed: int) -> Policy:
    return POLICIES[world(seed).policy][0]


@cache
def arrived(seed: int) -> tuple[Arrival, ...]:
    return tuple(arrivals(world(seed).records))


@cache
def recorded(seed: int) -> Recording:
    return Recording(policy_of(seed)).run(arrived(seed))


def of_customers(recording: Recording) -> list[tuple[int, Event, str]]:
    """The records of customers, each with its customer."""
    keyed = [(now, event, (lies.key if lies else event_key(event)) or b"") for now, event, lies in recording.log]
    return [(now, event, name) for now, event, key in keyed if isinstance(name := parse_key(key), str)]


def instants(records: list[Record]) -> list[int]:
    """When each record of a recorded log counts as read."""
    return [round(now.timestamp() * 1000) for now in clock_of(records)]


def told(happened: list[Happened]) -> list[bytes]:
    """All effects as bytes."""
    return [encode_effect(item.effect, item.now) for item in happened]


@cache
def replayed(seed: int) -> list[Happened]:
    return [item for items in FactReplay(policy_of(seed)).run(arrived(seed)) for item in items]


@rule("1.18")
@pytest.mark.parametrize("seed", SEEDS)
def test_what_arrives_twice_changes_nothing(seed: int) -> None:
    random, made, policy = Random(seed), world(seed).records, policy_of(seed)
    clock = instants(made)
    twice: list[Record] = []
    lately: list[tuple[int, Record]] = []
    told: list[int] = []
    for number, (now, record) in enumerate(zip(clock, made, strict=True)):
        twice.append(record)
        told.append(now)
        value = record["value"]
        known_by_id = "subject" in value and "time" in value and parse_instant(value["time"])[0] <= now
        if known_by_id:  # one from too far ahead is refused at first, and may be taken when it comes again
            lately.append((now, record))
        between = (now + clock[min(number + 1, len(made) - 1)]) // 2
        lately = [(arrival, known) for arrival, known in lately if between < arrival + policy.dedup_days * DAY]
        if lately:
            again = random.choice(lately)[1] | {"timestamp": rfc3339(between)}
            rest = number + 1
            if instants([*twice, again, *made[rest:]]) == [*told, between, *clock[rest:]]:  # it makes nothing a jump
                twice.append(again)
                told.append(between)
    assert len(twice) > len(made)
    assert differences(by_engine(twice, policy), by_engine(made, policy)) == []


@rule("1.17")
@pytest.mark.parametrize("seed", SEEDS)
def test_facts_fold_into_the_same_signals_in_any_order(seed: int) -> None:
    events: dict[str, list[Event]] = defaultdict(list)
    for _, event, _ in arrived(seed):
        if event.subject and not event.type.startswith("ask."):
            events[event.subject].append(event)
    for name, facts in events.items():
        shuffled = list(facts)
        Random(seed).shuffle(shuffled)
        assert signals(name, shuffled) == signals(name, facts)


def signals(name: str, facts: list[Event]) -> dict[str, Any]:
    """The state after these facts."""
    customer = Customer(id=name)
    for event in facts:
        fold(customer, event)
    found = msgspec.structs.asdict(customer)
    found["calls_cut_short"] = set(customer.calls_cut_short)
    # "given" is the time of the first that was applied (after §3), and claims are in the order in which they came.
    found["referrals"] = {
        name: msgspec.structs.replace(referral, given=referral.given and 0, keys=tuple(sorted(referral.keys)))
        for name, referral in customer.referrals.items()
    }
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_an_ask_lies_in_its_window_and_in_no_cool_down_or_after_an_opt_out(seed: int) -> None:
    policy = policy_of(seed)
    windows: dict[str, tuple[int, int]] = {}
    asked: dict[str, list[AskRequested]] = defaultdict(list)
    released = defaultdict(list)
    opted_out: dict[str, int] = {}
    for now, event, _ in arrived(seed):
        match event.data:
            case ErasureRequested() | AskAnswered(answer="stop"):
                opted_out[event.subject] = min(now, opted_out.get(event.subject, now))
            case _ if event.type == "ask.acknowledged" and event.data.status in (
                "failed",
                "dropped_expired",
                "cancelled",
            ):
                released[event.data.command_id].append(now)
    for now, effect in replayed(seed):
        match effect:
            case Decision():
                windows[effect.opportunity_id] = effect.window.opens, effect.window.deadline
                if effect.outcome in ("asked", "soft"):
                    assert [r.gate for r in effect.reasons if r.answer != "pass"] == []
            case AskRequested():
                opens, deadline = windows[effect.opportunity_id]
                assert opens <= effect.not_before == now < effect.expires_at <= deadline
                assert now < opted_out.get(effect.customer_id, now + 1)
                for before in asked[effect.customer_id]:
                    cooled_down = now >= before.not_before + policy.caps.customer_days * DAY
                    assert cooled_down or any(before.not_before < at <= now for at in released[before.command_id])
                asked[effect.customer_id].append(effect)
            case _:
                pass


@rule("9.12")
def test_a_command_is_given_once_and_taken_back_at_most_once() -> None:
    for seed in SEEDS:
        effects = [item.effect for item in replayed(seed)]
        given = Counter(e.command_id for e in effects if isinstance(e, AskRequested))
        taken_back = Counter(e.command_id for e in effects if isinstance(e, AskCancelled))
        assert not [command for command, times in given.items() if times > 1]
        assert not [command for command, times in taken_back.items() if times > 1 or command not in given]
        decisions = Counter(e.decision_id for e in effects if isinstance(e, Decision))
        assert not [decision for decision, times in decisions.items() if times > 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_resuming_from_a_snapshot_at_any_instant_changes_nothing(seed: int) -> None:
    replay, resumed = FactReplay(policy_of(seed)), []
    for items in replay.run(arrived(seed)):
        resumed += items
        for name, customer in replay.customers.items():
            stored = decode_customer(encode_customer(customer, mark=7))
            assert stored.mark == 7
            replay.customers[name] = stored.entity
    assert told(resumed) == told(replayed(seed))


@rule("9.13", "11.15")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_of_what_the_stream_saw_decides_as_the_stream_did(seed: int) -> None:
    recording = recorded(seed)
    exact = ExactReplay(policy_of(seed))
    again = [item for items in exact.run(recorded_records(recording.log)) for item in items]
    assert told(again) == told(recording.happened)
    exact.compare()
    assert exact.customers == recording.customers


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wake_up_that_comes_again_or_too_early_changes_nothing(seed: int) -> None:
    policy = policy_of(seed)
    recording = recorded(seed)
    customers: dict[str, Customer] = {}
    woken = []
    for now, event, key in of_customers(recording):
        known = customers.get(key) or Customer(id=key)
        customer, effects, *_ = step(policy, known, [event], now)
        woken += [Happened(customer.now, effect) for effect in effects]
        if event.type == "wakeup.due":
            customer, nothing, wake_at, *_ = step(policy, customer, [event], now)
            assert nothing == []
            assert wake_at == customer.wake_at
        customers[key] = customer
    assert told(woken) == told(recording.happened)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_leaves_the_state_it_was_given_alone(seed: int) -> None:
    policy, customers = policy_of(seed), dict[str, Customer]()
    for now, event, key in of_customers(recorded(seed)):
        known = customers.get(key) or Customer(id=key)
        before = deepcopy(known)
        customer, *_ = step(policy, known, [event], now)
        assert known == before
        customers[key] = customer


def test_worlds_hold_what_these_laws_are_about() -> None:
    outcomes: Counter[str] = Counter()
    for seed in SEEDS:
        for _, effect in replayed(seed):
            outcomes[effect.outcome if isinstance(effect, Decision) else type(effect).__name__] += 1
    rare = {"asked", "soft", "holdout", "superseded", "cancelled", "duplicate", "expired", "historical"}
    assert rare - outcomes.keys() == set()
    assert outcomes[OpportunityOpened.__name__] == 0  # the replay keeps what is the ledger's to itself


def test_after_the_question_for_the_reason_nothing_is_pending_behind_what_never_opens() -> None:
    questions = 0
    for seed in range(120):
        policy = POLICIES[world(seed).policy][0].model_copy(update={"ask_reason_first": True})
        replayed = [item.effect for items in FactReplay(policy).run(arrived(seed)) for item in items]
        asked = {effect.opportunity_id for effect in replayed if isinstance(effect, ReasonAsked)}
        questions += len(asked)
        for d in replayed:
            if isinstance(d, Decision) and d.outcome == "pending":
                blocking = {r.gate: (r.answer, r.until) for r in d.reasons if r.answer != "pass"}
                assert all(answer != "never" for answer, _ in blocking.values()), (seed, d)
    assert questions > 10


GOOD: tuple[Data, ...] = (
    NpsResponded(response_id="good", score=10),
    TestimonialGiven(),
    ComplimentGiven(),
    FeedbackShared(positive=True),
    MilestoneReached(milestone="good", first_success=True),
    UsageCompared(above_average=True),
    InteractionRecorded(kind="call"),
    ChampionChanged(champion=True),
    ProfileChanged(champion=True),
    SignedUp(),
)


@pytest.mark.parametrize("data", GOOD, ids=[f"{data.type}-{n}" for n, data in enumerate(GOOD)])
def test_good_news_never_lowers_the_score(data: Data) -> None:
    raised = 0
    for seed in SEEDS:
        recording = recorded(seed)
        for customer in recording.customers.values():
            if customer.erased_at is not None:
                continue
            now = max(customer.now, *(stamp.time for stamp in stamps(customer))) + SECOND
            before = propensity.score(customer, now, policy_of(seed))
            better = customer.copy()
            fold(better, Event(id="good", source="test", type=data.type, subject=customer.id, time=now, data=data))
            after = propensity.score(better, now, policy_of(seed))
            assert after.raw >= before.raw
            assert after.value >= before.value
            raised += after.raw > before.raw
    assert raised or isinstance(data, SignedUp)


def stamps(customer: Customer) -> list[Stamp]:
    """When each contradictable signal of the score was last written."""
    signals = (customer.above_average, customer.champion, *customer.responses.values())
    return [Stamp(0, False, "", ""), *(signal.at for signal in signals if signal is not None)]
