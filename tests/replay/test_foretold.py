"""What an explanation foretells comes true: each counterfactual is replayed from the beginning of the log.

``TESTS_FORETOLD_WORLDS`` says of how many random worlds, instead of two dozen; many take ``--timeout 0``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from random import Random
from typing import NamedTuple

from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.core import events as ev
from referral_stream.core.effects import AskCancelled, Decision
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import Policy
from referral_stream.explain.background import Background
from referral_stream.explain.changes import SOURCE, Change, every
from referral_stream.explain.explaining import Explanation, Gist, explain
from referral_stream.explain.prospects import Prospect
from referral_stream.replay.recording_ledger import RecordingLedger
from referral_stream.replay.virtual_run import Arrival, FactReplay
from tests.builders import POLICY, a_customer, at, fact, nps, ticket_opened
from tests.properties.comparing import arrivals
from tests.rules import rule
from tests.worlds.days import world
from tests.worlds.policies import POLICIES

SEEDS = range(2_000, 2_000 + int(os.environ.get("TESTS_FORETOLD_WORLDS", "24")))
CUTS = 4
"""How many instants of each world are explained."""


class World(NamedTuple):
    policy: Policy
    log: tuple[Arrival, ...]


class Told(NamedTuple):
    """A prospect, with where it was told; ``gist`` is the sentence on top."""

    world: World
    now: int
    customer: str
    prospect: Prospect
    gist: Gist

    def __repr__(self) -> str:
        return f"{self.customer} at {self.now}: {self.prospect}"


def known_at(world: World, now: int) -> tuple[FactReplay, RecordingLedger, dict[str, Decision]]:
    """The states, the ledger, and what was decided last about each opportunity."""
    caps = RecordingLedger(world.policy)
    facts = FactReplay(world.policy, caps=caps)
    decided = {
        item.effect.opportunity_id: item.effect
        for items in chain(facts.read(world.log, now), facts.wait(now))
        for item in items
        if isinstance(item.effect, Decision) and item.effect.outcome != "duplicate"
    }
    return facts, caps, decided


def told(world: World, now: int) -> list[Told]:
    """The prospects of some for whom something is open: as a replay knows them, and as a state by itself tells."""
    facts, caps, decided = known_at(world, now)
    found = []
    for name in [name for name, customer in facts.customers.items() if customer.live][:3]:
        by_log = explain(Background(name, facts.customers, ledger=caps), world.policy, now)
        stored = {each.id: decode_customer(encode_customer(each, 0)).entity for each in facts.customers.values()}
        switches = [each.event for each in world.log if each.now <= now and each.event.type.startswith("control.")]
        by_state = explain(Background(name, stored, switches=switches), world.policy, now)
        if not facts.pauses:  # those of the burst breaker are in no state
            assert by_state.outlook == by_log.outlook, (world, name, now)
            assert by_state.opportunities == by_log.opportunities, (world, name, now)
            assert by_state.gist == by_log.gist
        assert_gates_as_decided(by_log, decided, now)
        found += [Told(world, now, name, prospect, by_log.gist) for prospect in by_log.outlook]
    return found


def assert_gates_as_decided(explanation: Explanation, decided: dict[str, Decision], now: int) -> None:
    """Gates answer as a decision of the same instant does, those of the ledger and the draw apart."""
    for opportunity in explanation.opportunities:
        decision = decided.get(opportunity.opportunity_id)
        if opportunity.live and decision is not None and decision.decided_at == now:
            COMPARED.append(opportunity.opportunity_id)
            told = {cell.gate: (cell.answer, cell.until) for cell in opportunity.gates}
            said = {reason.gate: (reason.answer, reason.until) for reason in decision.reasons}
            apart = {"paused", "overasking", "account", "holdout"}
            assert {gate: told[gate] for gate in told if gate not in apart} == {
                gate: said[gate] for gate in said if gate not in apart
            }


COMPARED: list[str] = []
"""Opportunities whose gates have been compared."""


def of_seed(seed: int) -> Iterator[Told]:
    """At some instants at which something happens, or a little later."""
    made, random = world(seed), Random(seed)
    log = tuple(arrivals(made.records))
    told_at = [each for each in log if each.event.type in OPENING]
    for arrival in random.sample(told_at, min(CUTS, len(told_at))):
        yield from told(World(POLICIES[made.policy][0], log), arrival.now + random.choice((0, 1, 2 * HOUR, 13 * HOUR)))


OPENING = {"nps.responded", "csat.responded", "compliment.given", "subscription.renewed", "milestone.reached"}
SUBSCRIPTION = "sub-1"
STUCK: list[list[Event]] = [
    [fact(ev.CancellationScheduled(), "Wed 10:00")],
    [fact(ev.SubscriptionEnded(subscription_id=SUBSCRIPTION), "Wed 10:00")],
    [fact(ev.CancellationScheduled(), "Wed 10:00"), ticket_opened("Wed 11:00")],
]


def stuck() -> Iterator[Told]:
    """A top score behind what no single event ends in time."""
    for trouble in STUCK:
        log = sorted([*a_customer(), *trouble, nps(9, "Thu 12:30")], key=lambda event: event.time)
        yield from told(World(POLICY, tuple(Arrival(event.time, event) for event in log)), at("Thu 13:00"))


def asks_if(case: Told, when: int, changes: Iterable[Change], until: int) -> list[int]:
    """When the customer would be asked, and not taken back, if these happened and nothing else came."""
    policy = case.world.policy
    log = [arrival for arrival in case.world.log if arrival.now <= case.now]
    for n, (subject, data) in enumerate(changes):
        time = when - 2 * policy.too_early.tenure_days * DAY if isinstance(data, ev.SignedUp) else when
        event = Event(id=f"{n}|{when}", source=SOURCE, type=data.type, subject=subject, time=max(time, 0), data=data)
        log.append(Arrival(when, event))
    asks: dict[str | None, int] = {}
    for items in FactReplay(policy).run(log, until):
        for now, effect in items:
            if effect.customer_id != case.customer or now < case.now:
                continue
            if isinstance(effect, Decision) and effect.outcome in ("asked", "soft"):
                asks[effect.command_id] = effect.decided_at
            elif isinstance(effect, AskCancelled):
                asks.pop(effect.command_id, None)
    return list(asks.values())


@cache
def cases() -> tuple[Told, ...]:
    return (*(case for seed in SEEDS for case in of_seed(seed)), *stuck())


@rule("11.26")
def test_the_ask_is_made_at_the_instant_that_is_named() -> None:
    kinds: Counter[str] = Counter()
    for case in cases():
        prospect = case.prospect
        if prospect.asked_at is None:
            continue
        when = prospect.at or case.now
        kinds["changed" if prospect.events else "planned"] += 1
        assert prospect.asked_at in asks_if(case, when, prospect.events, prospect.asked_at), case
        if prospect.by is not None and prospect.before is not None and prospect.at is not None:
            assert prospect.asked_at in asks_if(case, prospect.by - 1, prospect.events, prospect.asked_at), case
            late = prospect.before - 1
            assert asks_if(case, late, prospect.events, late + 60 * DAY), case
            between = (prospect.at + prospect.by - 1) // 2
            assert prospect.asked_at in asks_if(case, between, prospect.events, prospect.asked_at), case
    assert min(kinds["changed"], kinds["planned"]) > 5, kinds
    assert len(COMPARED) > 5


@rule("11.26")
def test_where_nothing_helps_no_single_event_leads_to_an_ask_in_the_window() -> None:
    tried = 0
    for case in cases():
        if not case.prospect.text.startswith("can no longer lead to an ask"):
            continue
        facts, *_ = known_at(case.world, case.now)
        opportunity = next(o for o in facts.customers[case.customer].live if o.id == case.prospect.opportunity_id)
        random = Random(case.now)
        kin = {case.customer: facts.customers[case.customer]}
        for change in every(kin, case.customer, opportunity):
            when = random.randrange(case.now, opportunity.deadline)
            assert asks_if(case, when, [change], opportunity.deadline - 1) == [], (case, change)
            tried += 1
    assert tried


@rule("11.26")
def test_the_sentence_on_top_says_no_more_than_the_prospects() -> None:
    """It names the ask of one of them, and where it says that there is none, none of them has one."""
    by_place: dict[tuple[str, int, int], list[Told]] = {}
    for case in cases():
        by_place.setdefault((case.customer, case.now, id(case.world.log)), []).append(case)
    kinds: Counter[str] = Counter()
    for told_there in by_place.values():
        gist = told_there[0].gist
        kinds[gist.kind] += 1
        asks = [each.prospect.asked_at for each in told_there if each.prospect.opportunity_id is not None]
        if gist.asked_at is not None:
            assert gist.asked_at in asks
        if gist.kind == "no_more":
            assert not any(asks)
    assert kinds["would"] > 0
    assert kinds["planned"] > 0


@rule("11.26")
def test_where_an_ask_is_told_there_is_one_that_is_sent() -> None:
    """Neither one withheld from the holdout group nor one of shadow mode."""
    for case in cases():
        if case.world.policy.shadow:
            assert case.prospect.asked_at is None
