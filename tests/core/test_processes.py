"""The step is a table of processes: what else can be under way for a customer is one more row."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_stream.core import events as ev
from referral_stream.core import step as core_step
from referral_stream.core.asking.process import ASKING
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskRequested, ReservationReleased
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY
from referral_stream.core.step import step
from referral_stream.core.turn import Folded, Process, Turn
from tests.builders import POLICY, Story, a_customer, at, fact, nps, replay

_TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "opportunity_page.py"))


def thanks(calls: list[str]) -> Process:
    """A day after advice was asked for, something is said: here it is a release of a made-up reservation.

    Its life is kept in a field that is there already: a customer who asked for advice has been active.
    """

    def on_record(_: Turn, event: Event, folded: Folded | None) -> bool:
        assert folded is not None
        assert folded.newest
        calls.append(f"record {event.type}")
        return True

    def ends(c: Customer) -> int:
        return (c.last_activity or 0) + DAY

    def on_due(turn: Turn) -> None:
        calls.append("due")
        if turn.now == ends(turn.customer):
            turn.effects.append(turn.builder.release("thanks"))

    def due(turn: Turn) -> Iterator[int]:
        yield ends(turn.customer)

    return Process(
        name="thanks",
        takes=frozenset({ev.AdviceAsked.type}),
        on_record=on_record,
        under_way=lambda turn: turn.customer.last_activity is not None,
        on_deadline=lambda _: calls.append("deadline"),
        on_due=on_due,
        due=due,
        on_erasure=lambda _: calls.append("erasure"),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The table has one more row, and this is what it was asked."""
    calls: list[str] = []
    processes = (ASKING, thanks(calls))
    monkeypatch.setattr(core_step, "PROCESSES", processes)
    monkeypatch.setattr(core_step, "_TAKEN_BY", core_step.takers(processes))
    monkeypatch.setattr(core_step, "_IN_TIME", core_step.in_time(processes))
    return calls


def test_a_row_sees_the_records_it_takes_and_is_woken_when_it_is_due(calls: list[str]) -> None:
    customer, effects, wake_at, *_ = step(
        POLICY, Customer(id="ana"), [fact(ev.AdviceAsked(), "Thu 12:30")], at("Thu 12:30")
    )
    assert calls == ["record advice.asked", "deadline", "due"]
    assert effects == []
    assert wake_at == customer.wake_at == at("Fri 12:30")
    customer, effects, wake_at, *_ = step(POLICY, customer, [], at("Fri 12:30"))
    assert effects == [ReservationReleased(command_id="thanks", customer_id="ana", now=at("Fri 12:30"))]
    assert wake_at is None
    calls.clear()
    step(POLICY, customer, [fact(ev.UsageRecorded(), "Fri 12:30")], at("Fri 12:30"))
    assert calls == ["deadline", "due"]


def test_a_repeat_and_a_wake_up_that_comes_too_early_do_not_reach_it(calls: list[str]) -> None:
    event = fact(ev.AdviceAsked(), "Thu 12:30")
    customer = step(POLICY, Customer(id="ana"), [event], at("Thu 12:30")).customer
    calls.clear()
    again = step(POLICY, customer, [event], at("Thu 13:00"))
    assert (calls, again.effects, again.wake_at) == ([], [], at("Fri 12:30"))
    early = step(POLICY, customer, [fact(ev.WakeupDue(due=at("Thu 14:00")), "Thu 14:00")], at("Thu 14:00"))
    assert (calls, early.effects, early.wake_at) == ([], [], at("Fri 12:30"))


def test_the_next_instant_is_the_earliest_of_all_rows(calls: list[str]) -> None:
    advanced = _after_nps()
    assert calls[-2:] == ["deadline", "due"]
    assert len(advanced.customer.live) == 1
    settled = advanced.customer.live[0].settled
    assert (advanced.wake_at, settled < at("Fri 12:30")) == (settled, True)


def test_erasure_asks_every_row(calls: list[str]) -> None:
    customer = _after_nps().customer
    calls.clear()
    erased = step(POLICY, customer, [fact(ev.ErasureRequested(), "Thu 12:31")], at("Thu 12:31"))
    assert calls == ["erasure"]
    assert erased.customer == Customer(
        id="ana", now=at("Thu 12:31"), erased_at=at("Thu 12:31"), erased_now=at("Thu 12:31")
    )


def test_asking_is_the_same_beside_another_row(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    beside = _story()
    assert "due" in calls
    monkeypatch.undo()
    alone = _story()
    assert alone.asks == beside.asks
    assert alone.decisions() == beside.decisions()
    assert [type(ask) for ask in alone.asks] == [AskRequested]


def test_each_type_is_taken_by_some_process_but_a_wake_up_by_none() -> None:
    """What is due is seen at the end of an instant, and a wake-up only begins one."""
    taken = core_step.takers(core_step.PROCESSES)
    assert set(taken) == set(ev.TYPES)
    assert [type_ for type_, processes in taken.items() if not processes] == [ev.WakeupDue.type]


def test_the_page_about_an_opportunity_draws_the_rows() -> None:
    page = _TOOL["PAGE"].read_text("utf-8")
    assert page.count("<!-- life: ") == 2
    assert _TOOL["filled"](page) == page, "write it again: python tools/opportunity_page.py"


def _story() -> Story:
    return replay(a_customer(), nps(9, "Thu 12:30"))


def _after_nps() -> core_step.Advanced:
    customer = Customer(id="ana")
    for event in a_customer():
        customer = step(POLICY, customer, [event], event.time).customer
    return step(POLICY, customer, [nps(9, "Thu 12:30")], at("Thu 12:30"))
