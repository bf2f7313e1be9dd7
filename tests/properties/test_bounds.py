"""With tiny bounds, nobody is asked because something was dropped, and the oracle knows when a customer is overfull."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest

from referral_stream.core import bounds
from referral_stream.core.customer import Customer
from referral_stream.core.events import Kind
from referral_stream.core.ids import hash64
from referral_stream.core.instants import DAY, parse_instant, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.core.rules import gates, moments
from referral_stream.core.step import step
from referral_stream.replay.virtual_run import Arrival
from tests.core.views import verdict
from tests.night import by_night
from tests.properties.comparing import Account, Record, by_engine, by_oracle, differences
from tests.properties.crowds import crowd
from tests.rules import rule
from tests.worlds import days, rulings
from tests.worlds.days import World
from tests.worlds.policies import POLICIES, RULINGS
from tests.worlds.records import recorded

AT_ONCE = 10
END = parse_instant("2026-06-18T12:00:00Z")[0]
POLICIES_OF_CROWDS = (
    Policy(),
    Policy.model_validate({"trouble": {"ticket_solved_days": 60, "detractor_days": 1, "refund_days": 200}}),
    Policy.model_validate({"triggers": {"nps_promoter": {"window_hours": 60 * 24}}}),
    Policy(dedup_days=0, milestones=("x1", "x2")),
)
KINDS: tuple[Kind, ...] = (
    "tickets",
    "invoices",
    "disputes",
    "cancellations",
    "subscriptions",
    "tasks",
    "concerns",
    "keys",
)


def tiny(monkeypatch: pytest.MonkeyPatch, most: int, most_open: int, most_keys: int) -> None:
    """No more than that many entries in any table, open objects of a kind, and business keys."""
    rows = {name: row._replace(most=most if name in bounds.TOUCHES.values() else row.most)
            for name, row in bounds.BOUNDS.items()}  # fmt: skip
    for name in ("asks", "advocacy"):
        rows[name] = rows[name]._replace(most=max(2, most))
    monkeypatch.setattr(gates, "MOST_ASKS", max(2, most))
    monkeypatch.setattr(bounds, "BOUNDS", rows)
    monkeypatch.setattr(bounds, "MOST_OPEN", most_open)
    monkeypatch.setattr(bounds, "MOST_KEYS", most_keys)


def a_world(seed: int) -> World:
    return days.world(seed) if seed % 2 else rulings.world(seed)


def instants(account: Account) -> set[tuple[str, str]]:
    """When somebody was asked about something."""
    return {(ask[6], ask[3]) for ask in account.asks}


@rule("I6.1", "I6.2")
@pytest.mark.parametrize(("first", "most"), [(0, 1), *(by_night(first, most) for first in (10, 20) for most in (1, 2))])
def test_nobody_is_asked_whom_a_state_without_bounds_would_not_ask(
    first: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the first ask that is missing: whoever was not asked then may be asked later, and others in their place."""
    missing = 0
    for seed in range(first, first + AT_ONCE):
        made = a_world(seed)
        policy = (POLICIES | RULINGS)[made.policy][0]
        unbounded = instants(by_engine(made.records, policy))
        with monkeypatch.context() as patched:
            tiny(patched, most, most, 1_000)
            bounded = instants(by_engine(made.records, policy))
        if bounded != unbounded:
            since = min(at for at, _ in bounded ^ unbounded)
            assert not {ask for ask in bounded - unbounded if ask[0] == since}, (seed, made.policy, since)
            missing += 1
    assert missing or first or most > 1, "no bound ever mattered"


@rule("I6.2")
@pytest.mark.parametrize("first", [0, 10, *(by_night(first) for first in range(20, 100, AT_ONCE))])
def test_engine_and_oracle_agree_on_who_is_overfull(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch, 1_000, 1, 2)
    overfull = 0
    for seed in range(first, first + AT_ONCE):
        made = a_world(seed)
        policy, overrides = (POLICIES | RULINGS)[made.policy]
        records = [record for record in made.records if record["value"].get("type") != "customer.aliased"]
        records = cleared_now_and_then(records, Random(f"cleared {seed}"))
        engine = by_engine(records, policy)
        assert not differences(engine, by_oracle(records, overrides | {"most_open": 1, "most_keys": 2})), seed
        overfull += sum(
            (gate, until) == ("trouble", "customer.overfull_cleared")
            for history in engine.histories.values()
            for decision in history
            for gate, _, until in decision[4]
        )
    assert overfull


def cleared_now_and_then(records: list[Record], random: Random) -> list[Record]:
    """With an operator's clearings among the records, each a little after one of a customer's."""
    made = list(records)
    for record in records:
        customer = record["value"].get("subject")
        if customer is not None and random.random() < 0.3:
            at = parse_instant(record["timestamp"])[0] + random.choice((0, 1, 60_000, 3_600_000))
            kind = random.choice(KINDS)
            made.append(recorded("customer.overfull_cleared", customer, at, {"kind": kind}))
    return sorted(made, key=lambda record: rfc3339(parse_instant(record["timestamp"])[0]))


ENDLESS = 1 << 60


def held_until(gate: str, customer: Customer, now: int, policy: Policy) -> int:
    """Until when a gate stays closed, as an instant: for ever if no instant opens it."""
    found = verdict(gate, now=now, customer=customer, policy=policy)
    if found.answer == "pass":
        return 0
    return ENDLESS if found.until is None else found.until


class Told(NamedTuple):
    """What became of a crowd: business keys used by each event, opportunities it opened, and how long gates hold."""

    used: list[set[int]]
    opened: list[set[int]]
    held: list[list[int]]


def told(policy: Policy, arrivals: list[Arrival]) -> Told:
    customer, found = Customer(id="ana"), Told([], [], [])
    for number, arrival in enumerate(arrivals):
        before = customer
        customer = step(policy, customer, [arrival.event], arrival.now).customer
        live = {o.id for o in before.live}
        found.used.append({*customer.keys} - {*before.keys})
        new = {hash64(o.trigger, o.subject) for o in customer.live
               if o.id not in live and o.trigger != "referral_converted"}  # fmt: skip
        found.opened.append(set() if customer.overfull else new)  # what was counted only was not kept
        if number % 5 == 0:
            found.held.append(how_long(customer, arrival.now, policy))
    found.held.extend(how_long(customer, END + days * DAY, policy) for days in (0, 1, 2, 5, 20, 60))
    return found


def how_long(customer: Customer, now: int, policy: Policy) -> list[int]:
    held = [held_until(gate, customer, now, policy) for gate in ("trouble", "answers", "advocacy", "approval")]
    trial = ENDLESS if gates.on_trial(customer) or customer.overfull else 0
    calls = [moments.is_cut_short(customer, f"x{n}") for n in range(6)]
    busy = moments.in_critical_task(customer, now, policy) or moments.has_open_concern(customer)
    return [*held, trial, *map(int, calls), int(busy or bool(customer.overfull))]


@rule("I6.1", "I6.2")
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("first", [0, *(by_night(first) for first in range(60, 1_200, 60))])
def test_whatever_is_said_about_a_customer_a_bound_opens_no_gate_and_no_opportunity(
    first: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mattered = 0
    for seed in range(first, first + 60):
        random = Random(f"crowd {seed}")
        arrivals = crowd(random, END)
        policy = random.choice(POLICIES_OF_CROWDS)
        unbounded = told(policy, arrivals)
        with monkeypatch.context() as patched:
            tiny(patched, most, random.choice((most, 1_000)), 1_000)
            bounded = told(policy, arrivals)
        for number, (opened, used) in enumerate(zip(bounded.opened, unbounded.used, strict=True)):
            assert opened <= used, (seed, arrivals[number])
        for instant, (free, held) in enumerate(zip(unbounded.held, bounded.held, strict=True)):
            assert all(a <= b for a, b in zip(free, held, strict=True)), (seed, instant, free, held)
        mattered += bounded.held != unbounded.held
    assert mattered
