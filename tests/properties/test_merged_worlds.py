"""One person's facts under several ids, told in any order and at any pace, leave what they leave under one id.

The facts are those of the random worlds; the ids and the pace are drawn. More worlds: ``TESTS_WORLDS=5000``.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from referral_stream.contracts.codec import encode_effect
from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.events import Event
from referral_stream.core.forgetting import forget
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.rules import usage
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.virtual_run import Arrival, FactReplay
from tests.core.entities import Entities
from tests.properties.comparing import arrivals
from tests.properties.merged import alias, merged
from tests.properties.recording import Recording
from tests.replay.logs import recorded_records
from tests.rules import rule
from tests.worlds.days import World, world, worlds
from tests.worlds.policies import POLICIES

WORLDS = int(os.environ.get("TESTS_WORLDS", "100"))
AT_ONCE = 25

OPPORTUNITIES = {"live", "awaiting", "asks", "keys", "wake_at", "drop", "months", "past_asks", "tallies", "followups"}
"""What the property leaves out: opportunities with what they leave behind, and drops of usage."""
OWN = {
    "seen", "now", "id", "ids", "absorbed", "merging", "merged_into", "erased_at", "erased_now",
    "recorded", "eligible_told", "record_owed",
}  # fmt: skip
UNION = set(Customer.__struct_fields__) - OPPORTUNITIES - OWN
IDS = ("ana", "bea", "cem", "dan")


@cache
def facts_of_one(seed: int) -> tuple[Policy, tuple[Arrival, ...]]:
    return _facts(world(seed))


def _facts(made: World) -> tuple[Policy, tuple[Arrival, ...]]:
    """All facts of a world as if they were about one person, each once; nobody is erased and no switch is thrown."""
    policy, known = POLICIES[made.policy][0], set()
    told = []
    for arrival in arrivals(made.records):
        event = arrival.event
        if event.type in {*ev.WITHOUT_SUBJECT, "customer.erasure_requested", "customer.aliased"}:
            continue
        if (event.source, event.id) not in known:
            known.add((event.source, event.id))
            told.append(arrival)
    return policy, tuple(told)


def under(id_: str, event: Event) -> Event:
    return replace(event, subject=id_)


def scattered(policy: Policy, told: tuple[Arrival, ...], random: Random, ids: tuple[str, ...]) -> Entities:
    """Each fact under one of the ids; that they are one is told at some time; everybody reads at their own pace."""
    entities = Entities(policy)
    lines: list[tuple[int, Event]] = [(now, under(random.choice(ids), event)) for now, event, _ in told]
    known = [ids[0]]
    for id_ in ids[1:]:  # a tree: no circle is said, although two may be said to be each other
        into, other = random.choice(known), id_
        for pair in ((into, other), (other, into))[: 1 + (random.random() < 0.3)]:
            place = random.randrange(len(lines) + 1)
            now = lines[place][0] if place < len(lines) else told[-1].now
            lines.insert(place, (now, alias(*random.choice((pair, pair[::-1])), now)))
        known.append(id_)
    read_at_once = random.random() < 0.3
    for now, event in lines:
        entities.tell(event, now=now)
        if read_at_once:
            entities.settle(choose=random.choice)
    return entities.settle(choose=random.choice)


def comparable(customer: Customer, day: int, policy: Policy) -> dict[str, Any]:
    """What a state says, as of the same day, without the order in which it was heard, and what may be forgotten."""
    c = customer.copy()
    usage.judge(c, day, policy)
    forget(c, day * DAY, policy)
    found = {name: getattr(c, name) for name in UNION}
    newest = max((flag.at.time for flag in c.tasks.values()), default=0)
    found["tasks"] = {name: flag for name, flag in c.tasks.items() if flag.at.time > newest - DAY}
    last = max((at for at, _ in c.advocacy), default=0)
    found["advocacy"] = [each for each in c.advocacy if each[0] >= last - 60 * DAY]
    lately = max((life.at.time for life in c.subscriptions), default=0) - 400 * DAY
    found["subscriptions"] = [life for life in c.subscriptions if life.kind != "renewed" or life.at.time >= lately]
    found["referrals"] = {name: (referral.at, referral.status) for name, referral in c.referrals.items()}
    found["calls_cut_short"] = set(c.calls_cut_short)
    return found


def check(policy: Policy, told: tuple[Arrival, ...], random: Random, ids: tuple[str, ...]) -> None:
    together = Entities(policy)
    for now, event, _ in told:
        together.tell(under("ana", event), now=now)
    together.settle()
    apart = scattered(policy, told, random, ids)
    ends = [state for state in apart.states.values() if state.merged_into is None]
    assert len(ends) == 1, {name: state.merged_into for name, state in apart.states.items()}
    assert ends[0].merging == {}
    one = together.states["ana"]
    day = max(one.now, ends[0].now) // DAY + 1
    expected, found = comparable(one, day, policy), comparable(ends[0], day, policy)
    if apart.letters:  # the ids were merged in a circle
        assert {letter.cause for _, letter in apart.letters} == {"merge_cycle"}
        assert found.pop("quarantined")
        expected.pop("quarantined")
    assert found == expected
    assert one.seen.keys() <= ends[0].seen.keys(), "what comes again counts once, whichever id it came under"


@rule("I3.27")
@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_two_halves_are_the_whole(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE, WORLDS)):
        policy, told = facts_of_one(seed)
        if told:
            check(policy, told, Random(seed), IDS[:2])


@rule("I3.27")
@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_so_are_four_quarters(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE, WORLDS)):
        policy, told = facts_of_one(seed)
        if told:
            check(policy, told, Random(seed), IDS)


@settings(max_examples=25, deadline=None)
@given(worlds(), st.randoms(use_true_random=False), st.integers(2, 4))
def test_whatever_is_drawn_it_is_the_same(made: World, random: Random, number: int) -> None:
    policy, told = _facts(made)
    if told:
        check(policy, told, random, IDS[:number])


@rule("I3.21")
@pytest.mark.parametrize("seed", range(60))
def test_an_erasure_after_the_merge_reaches_everybody(seed: int) -> None:
    """Whichever id it is said under, and also while the merge is on its way."""
    random = Random(seed)
    policy, told = facts_of_one(seed)
    entities = scattered(policy, told, random, IDS)
    now = max(state.now for state in entities.states.values())
    data = ev.ErasureRequested()
    event = Event(id="erase", source="t", type=data.type, subject=random.choice(IDS), time=now, data=data)
    entities.settle(event, choose=random.choice)
    (customer,) = (state for state in entities.states.values() if state.merged_into is None)
    assert customer == Customer(
        id=customer.id, now=now, erased_at=now, erased_now=now, email_hmac=customer.email_hmac, emails=customer.emails
    )
    for name, state in entities.states.items():
        pointing = Customer(id=name, now=state.now, judged_day=state.judged_day, merged_into=state.merged_into)
        assert name == customer.id or state == pointing


@rule("I7.3")
@pytest.mark.parametrize("seed", range(40))
def test_a_merge_replays_as_it_was_recorded(seed: int) -> None:
    policy, told = merged(seed)
    recording = Recording(policy).run(told)
    exact = ExactReplay(policy)
    again = [item for items in exact.run(recorded_records(recording.log)) for item in items]
    assert [encode_effect(*item[::-1]) for item in again] == [encode_effect(*item[::-1]) for item in recording.happened]
    assert exact.customers == recording.customers
    exact.compare()


@pytest.mark.parametrize("seed", range(40))
def test_nobody_is_asked_under_an_id_that_was_merged_away(seed: int) -> None:
    """In a replay of the facts, in which the ledger answers at once; and what was not sent is taken back."""
    policy, told = merged(seed)
    replay, gone, open_ = FactReplay(policy), dict[str, int](), dict[str, str]()
    for items in replay.run(told):
        for now, effect in items:
            if isinstance(effect, AskRequested):
                assert gone.get(effect.customer_id, now) == now
                open_[effect.command_id] = effect.customer_id
            elif isinstance(effect, AskCancelled):
                del open_[effect.command_id]
        gone |= {name: replay.now for name, state in replay.customers.items() if state.merged_into and name not in gone}
    for name in gone:
        state = replay.customers[name]
        assert (state.live, state.asks, state.awaiting, state.wake_at) == ((), (), None, None)


def test_these_worlds_hold_merges_of_people_who_were_asked() -> None:
    asked = closed = 0
    for seed in range(40):
        policy, told = merged(seed)
        replay = FactReplay(policy)
        effects = [item.effect for items in replay.run(told) for item in items]
        gone = {name for name, state in replay.customers.items() if state.merged_into}
        asked += sum(isinstance(effect, AskRequested) and effect.customer_id in gone for effect in effects)
        closed += sum("merged_into" in effect.reasons[0].saw for effect in effects if isinstance(effect, Decision))
    assert asked
    assert closed
