"""The step is a function: same arguments, same result, and the state passed in is not touched."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

import referral_stream.core
from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.core import customer as customer_module
from referral_stream.core import events as ev
from referral_stream.core import opportunity
from referral_stream.core.customer import Customer
from referral_stream.core.events import Event
from referral_stream.core.rules import usage
from referral_stream.core.step import step
from tests.builders import (
    POLICY,
    When,
    a_customer,
    acknowledged,
    answered,
    at,
    command_of,
    compliment,
    consent,
    csat,
    fact,
    first_success,
    granted,
    nps,
    renewed,
    ticket_opened,
    ticket_solved,
)
from tests.rules import rule

LIFE: tuple[tuple[When, tuple[Event | ev.Data, ...]], ...] = (
    ("Mon 09:00", (renewed("Mon 09:00"), first_success("Mon 09:00", historical=True))),
    ("Mon 09:30", (ticket_opened("Mon 09:30"),)),
    ("Mon 10:00", (ticket_solved("Mon 10:00", rating="positive"), fact(ev.UsageRecorded(count=3), "Mon 10:00"))),
    ("Mon 10:20", ()),
    ("Mon 10:20:01", (ev.ReservationDenied(command_id=command_of("positive_feedback", "t1"), gate="account",
                                           until=at("Mon 18:00"), saw="refused"),)),
    ("Tue 08:00", (csat(5, when="Tue 08:00"), nps(8, "Tue 08:00"))),
    ("Thu 12:30", (nps(9),)),
    ("Thu 12:50", (fact(ev.TaskStarted(task_id="t"), "Thu 12:50"),)),
    ("Thu 12:50:01", (granted(),)),
    ("Thu 12:55", (acknowledged("sent", "Thu 12:55", command_of()), consent(True, "Thu 12:55", "phone"))),
    ("Thu 13:30", (answered("maybe", "Thu 13:30", command_of()), compliment("Thu 13:30"))),
    ("Fri 12:00", (fact(ev.ReferralStatusChanged(referral_id="f", status="converted"), "Fri 12:00"),)),
    ("Fri 12:01", (ev.ErasureRequested(),)),
)  # fmt: skip


def steps() -> Iterator[tuple[Customer, list[Event], int]]:
    """The arguments of every step of a life in which much happens."""
    customer = Customer(id="ana")
    history = [((event.time), (event,)) for event in a_customer()]
    for when, inputs in (*history, *LIFE):
        now = at(when)
        events = [each if isinstance(each, Event) else fact(each, now) for each in inputs]
        yield customer, events, now
        customer, *_ = step(POLICY, customer, events, now)


def test_this_life_has_asks_refusals_and_an_end() -> None:
    outcomes = [
        effect.outcome
        for customer, events, now in steps()
        for effect in step(POLICY, customer, events, now).effects
        if hasattr(effect, "outcome")
    ]
    assert {"pending", "deferred", "historical", "asked", "superseded", "suppressed"} <= set(outcomes)


def test_the_state_passed_in_is_not_touched() -> None:
    for customer, events, now in steps():
        before = encode_customer(customer, 0)
        step(POLICY, customer, events, now)
        assert encode_customer(customer, 0) == before, (events, now)


@rule("9.13")
def test_the_same_arguments_give_the_same_result() -> None:
    for customer, events, now in steps():
        assert step(POLICY, customer, events, now) == step(POLICY, customer, events, now)


def test_a_state_that_was_stored_and_read_again_goes_on_as_if_it_had_not_been() -> None:
    for customer, events, now in steps():
        stored = decode_customer(encode_customer(customer, 7)).entity
        assert stored == customer
        assert step(POLICY, stored, events, now) == step(POLICY, customer, events, now)


@pytest.mark.parametrize(
    "struct",
    [
        each
        for module in (customer_module, opportunity, usage)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Struct) and each.__module__ == module.__name__
    ],
)
def test_what_a_state_holds_is_stored_by_position_and_can_not_be_changed(struct: type[Struct]) -> None:
    """By position: a later release reads earlier states. Frozen except for the state itself: a copy is a snapshot."""
    assert struct.__struct_config__.array_like
    assert struct.__struct_config__.frozen is (struct is not Customer)


def test_two_customers_share_nothing() -> None:
    one, other = Customer(id="one"), Customer(id="other")
    advanced, *_ = step(
        POLICY, one, [fact(each.data, each.time, customer="one") for each in a_customer()], at("Mon 12:00")
    )

    assert advanced != one
    assert other == Customer(id="other")


def test_the_empty_table_that_all_customers_share_stays_empty() -> None:
    """Were it changed in place, every customer would have what one has."""
    for customer, events, now in steps():
        step(POLICY, customer, events, now)

    values = [getattr(Customer(id="ben"), field) for field in Customer.__struct_fields__]
    tables = [value for value in values if isinstance(value, dict)]
    assert tables
    assert not any(tables)


def test_a_step_of_nothing_changes_the_clock_and_the_days_judged_alone() -> None:
    customer, effects, wake_at, *_ = step(POLICY, Customer(id="ana"), [], at("Mon 12:00"))
    expected = Customer(id="ana", now=at("Mon 12:00"), judged_day=at("Mon 12:00") // 86_400_000)
    assert (customer, effects, wake_at) == (expected, [], None)


# ---- no clock, no dice, no side door

FORBIDDEN_NAMES = {"now", "utcnow", "today", "uuid1", "uuid4", "random", "getenv", "print", "open_new", "sleep"}
CORE = sorted(Path(referral_stream.core.__file__ or "").parent.glob("*.py"))


@pytest.mark.parametrize("module", CORE, ids=lambda path: path.stem)
def test_no_module_of_the_core_calls_a_clock_or_dice(module: Path) -> None:
    called = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            called.add(function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", ""))
    assert called & FORBIDDEN_NAMES == set()


@pytest.mark.parametrize("module", CORE, ids=lambda path: path.stem)
def test_no_module_of_the_core_keeps_anything_between_two_calls_but_tables(module: Path) -> None:
    """No ``global``, no lists or sets that could grow at module level."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global | ast.Nonlocal)]
    grown = [
        node for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Set | ast.ListComp)
    ]  # fmt: skip
    assert grown == []
