"""What holds for every link, in whatever order it is taught, left, and told something (identity §4)."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.core import events as ev
from referral_stream.core.events import Event, Link
from referral_stream.core.instants import DAY
from referral_stream.core.links import (
    CLOSING_DAYS,
    MOST_CUSTOMERS,
    MOST_KEPT,
    Brought,
    LinkState,
    step_link,
)
from referral_stream.core.policy import Policy
from tests.builders import POLICY, a_customer, arriving, at, fact, nps, replay
from tests.properties.recording import Recording
from tests.replay.logs import arrivals
from tests.rules import rule

START = at("Mon 12:00")
LINKS = (Link("email", "a" * 64), Link("stripe_charge", "ch_1"))
CUSTOMERS = ("ana", "ben", "eva")
CLOSING = (ev.Suppressed(), ev.ChargeDisputed(charge_id="c"), ev.NpsResponded(response_id="r", score=3))
OTHERS = (ev.NpsResponded(response_id="r", score=9), ev.AdviceAsked(), ev.Unsuppressed())

taught = st.builds(ev.LinkTaught, customer=st.sampled_from(CUSTOMERS), standing=st.sampled_from(("theirs", "former")))
left = st.builds(ev.LinkLeft, customer=st.sampled_from(CUSTOMERS))
said = st.sampled_from((*CLOSING, *OTHERS))
histories = st.lists(st.tuples(st.integers(0, 3 * DAY), st.one_of(taught, taught, left, said)), max_size=40)


class Life:
    """A link led through a history: what came, and to whom it was given."""

    def __init__(self, link: Link, history: list[tuple[int, Any]]) -> None:
        self.given: Counter[tuple[str, str]] = Counter()
        self.said: dict[str, tuple[int, Any]] = {}
        self.named: dict[str, int] = {}
        self.lettered: Counter[str] = Counter()
        self.state, self.now = LinkState(link), START
        for number, (later, data) in enumerate(history):
            self.now += later
            self.step(Brought(self._event(str(number), data), None))

    def _event(self, name: str, data: Any) -> Event:
        if isinstance(data, ev.LinkTaught):
            self.named.setdefault(data.customer, self.now)
        elif not isinstance(data, ev.LinkLeft):
            self.said[name] = self.now, data
        return fact(data, self.now, customer="", id=name, link=self.state.link)

    def step(self, *brought: Brought) -> None:
        self.state, appended, letters = step_link(POLICY, self.state, brought, self.now)
        self.given.update((each.key, each.event.id) for each in appended)
        self.lettered.update(each.undelivered.event.id for each in letters if each.undelivered)


@rule("I4.11")
@given(histories)
@settings(max_examples=200, deadline=None)
def test_whatever_the_order_a_closing_event_reaches_everybody_taught_within_its_days_exactly_once(
    history: list[tuple[int, Any]],
) -> None:
    life = Life(LINKS[0], history)
    for name, (arrived, data) in life.said.items():
        if ev.is_closing(data):
            due = {customer for customer, first in life.named.items() if first < arrived + CLOSING_DAYS * DAY}
            assert {key: life.given[key, name] for key in CUSTOMERS if life.given[key, name]} == dict.fromkeys(due, 1)


@rule("I4.3", "I4.10")
@given(histories, st.sampled_from(LINKS))
@settings(max_examples=200, deadline=None)
def test_what_is_not_closing_reaches_at_most_one_and_nobody_former_and_is_never_lost_in_silence(
    history: list[tuple[int, Any]], link: Link
) -> None:
    life = Life(link, history)
    life.now += 400 * DAY
    life.step()
    for name, (_, data) in life.said.items():
        receivers = [key for key, about in life.given if about == name]
        assert max((life.given[key, name] for key in receivers), default=0) <= 1
        if not ev.is_closing(data):
            assert len(receivers) + life.lettered[name] == 1
        else:
            assert life.lettered[name] == (0 if receivers else 1)


@rule("I4.3")
@given(histories)
@settings(max_examples=200, deadline=None)
def test_a_former_customer_gets_nothing_that_is_not_closing(history: list[tuple[int, Any]]) -> None:
    only_former = [(later, data) for later, data in history if getattr(data, "standing", "former") == "former"]
    life = Life(LINKS[0], only_former)
    assert all(ev.is_closing(life.said[name][1]) for _, name in life.given)


@rule("I4.8", "I4.14")
@given(st.lists(st.sampled_from((*CLOSING, *OTHERS, *map(ev.AskAnswered.model_validate, (
    {"command_id": "c", "answer": "stop"}, {"command_id": "c", "answer": "no"},
)))), min_size=MOST_KEPT, max_size=120))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_the_bounds_hold_and_no_stop_is_lost(data: list[Any]) -> None:
    life = Life(LINKS[0], [(1, each) for each in data])
    assert len(life.state.kept) <= MOST_KEPT
    stops = {each.type for each in data if ev.is_stop(each)}
    assert stops == {each.event.type for each in life.state.kept if ev.is_stop(each.event.data)}
    life = Life(LINKS[0], [(1, ev.LinkTaught(customer=f"c{n}", standing="former")) for n in range(MOST_CUSTOMERS + 5)])
    assert len(life.state.named) == MOST_CUSTOMERS


WORDS = st.lists(
    st.tuples(
        st.sampled_from(("ana", "ben")),
        st.sampled_from((
            *(ev.ProfileChanged(email_hmac=each * 64) for each in "ab"), ev.Suppressed(), ev.Unsuppressed(),
            ev.Linked(kind="stripe_charge", value="ch_1"),
        )),
    ), max_size=6,
)  # fmt: skip


@rule("I4.15")
@given(WORDS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_who_would_be_held_in_order_is_held_in_any_order_of_arrival(
    words: list[tuple[str, ev.Data]], random: Random
) -> None:
    """A stop that comes late, when it has been lifted already, may hold more than in order, and never less."""
    events = [fact(data, START + n, customer=customer, id=str(n)) for n, (customer, data) in enumerate(words)]
    shuffled = list(events)
    random.shuffle(shuffled)
    in_order, in_any = (
        {name for name, each in replay(*arrived).customers.items() if each.on_hold}
        for arrived in (
            [arriving(event, START + 100 + n) for n, event in enumerate(order)] for order in (events, shuffled)
        )
    )
    assert in_order <= in_any


@rule("I7.1", "I7.3")
@pytest.mark.parametrize("policy", [POLICY], ids=["default"])
def test_the_stream_in_small_and_a_fact_replay_hold_the_same(policy: Policy) -> None:
    told = (
        a_customer("ana", email_hmac="a" * 64), a_customer("ben", email_hmac="a" * 64),
        fact(ev.Suppressed(), "Thu 12:40", customer="ben"), nps(9, customer="ana"),
        fact(ev.ChargeDisputed(charge_id="ch_1"), "Tue 10:00", customer="", link=LINKS[1]),
        fact(ev.Linked(kind="stripe_charge", value="ch_1"), "Tue 11:00", customer="ben"),
    )  # fmt: skip
    live = Recording(policy).run(arrivals(*told))
    story = replay(*told, policy=policy)
    assert live.customers == story.customers
    assert [item.effect for item in live.happened if item.effect in story.effects()] == story.effects()
    assert story.customers["ben"].disputes
    assert story.customers["ana"].on_hold
