"""Bounds: what a state keeps at most, what goes first, and who is overfull."""

from __future__ import annotations

import typing
from collections.abc import Callable
from random import Random
from typing import get_args, get_origin

import pytest
from pydantic import ValidationError

from referral_stream.contracts.state import encode_customer, encode_state
from referral_stream.core import bounds, merging, uniting
from referral_stream.core import events as ev
from referral_stream.core.bounds import BOUNDS, KINDS, MOST_KEYS, MOST_OPEN, TOUCHES
from referral_stream.core.customer import LONGEST_NAME, Customer
from referral_stream.core.effects import RecordPosition
from referral_stream.core.events import Event, Link
from referral_stream.core.fold import hold
from referral_stream.core.ids import short
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.links import MOST_CUSTOMERS, MOST_KEPT, KeptEvent, LinkState, NamedCustomer
from referral_stream.core.stamps import Stamp
from referral_stream.core.step import step
from referral_stream.core.uniting import unite
from referral_stream.words.phrases import phrases
from tests.builders import POLICY, a_customer, at, fact, nps, replay, shown
from tests.core.fullest import LONGEST_CUSTOMER, fullest, text
from tests.core.views import answer
from tests.night import by_night
from tests.properties.crowds import SAID
from tests.rules import rule

T = at("Mon 12:00")

RECORD = 900_000
"""Bytes of a changelog record, by default."""
FOR_THE_MARK = 1_000


def after(*events: Event, customer: Customer | None = None) -> Customer:
    """Each event at its own time."""
    state = customer or Customer(id="ana")
    for event in events:
        state = step(POLICY, state, [event], event.time).customer
    return state


# ------------------------------------------------------------------------------------------------------------ the table


@rule("I6.1")
def test_every_container_of_a_state_has_a_bound() -> None:
    """Whoever adds a table says what goes first, or one customer can fill it for ever."""
    hints = typing.get_type_hints(Customer)
    containers = {name for name in Customer.__struct_fields__ if get_origin(hints[name]) in (dict, tuple, list, set)}
    assert containers == set(BOUNDS)
    assert {BOUNDS[name].by_rule for name in set(BOUNDS) - set(TOUCHES.values())}.isdisjoint({""})


def test_the_bounds_that_other_modules_see_to_are_theirs() -> None:
    assert BOUNDS["merging"].most == merging.MOST_AWAITED
    assert (BOUNDS["absorbed"].most, BOUNDS["ids"].most) == (uniting.MOST_ABSORBED, uniting.MOST_IDS)
    assert set(KINDS) == set(get_args(ev.Kind))
    assert BOUNDS["overfull"].most == len(KINDS)


@rule("I6.1", "I6.5")
def test_the_largest_state_fits_its_record() -> None:
    """Every table at its bound, every name as long as can be, and nothing in it that a compression makes smaller."""
    key = LONGEST_CUSTOMER + 1
    assert len(encode_customer(fullest(), 2**60)) + key + FOR_THE_MARK < RECORD


@rule("I6.1")
@pytest.mark.parametrize("events", [700, by_night(20_000)])
@pytest.mark.parametrize("kind", [*sorted(SAID), "all of them"])
def test_no_number_of_events_makes_a_table_larger_than_its_bound(kind: str, events: int) -> None:
    random, kinds = Random(f"many {kind}"), sorted(SAID) if kind == "all of them" else [kind]
    customer = Customer(id="ana")
    policy = POLICY.model_copy(update={"dedup_days": 0})
    long = "x" * 200
    for n in range(events):
        data = SAID[random.choice(kinds)](random, f"{long}{random.randrange(events)}")
        time = T - random.randrange(400 * DAY) if n % 2 else T
        event = Event(id=f"{n}{long}", source=long, type=data.type, subject="ana", time=time, data=data)
        customer = step(policy, customer, [event], T).customer
    for name, row in BOUNDS.items():
        assert len(getattr(customer, name)) <= row.most, name
    assert len(encode_customer(customer, 0)) < RECORD


def test_a_long_name_is_cut_and_told_apart_by_its_hash() -> None:
    names = ["é" * 100, "é" * 101, "t" * 64, "t" * 65]
    cut = [short(name, LONGEST_NAME) for name in names]
    assert len(set(cut)) == 4
    assert all(len(name.encode()) <= LONGEST_NAME for name in cut)
    assert (cut[2], cut[3][:47]) == (names[2], "t" * 47)
    assert [short(name, LONGEST_NAME) for name in cut] == cut, "cut once, it stays"


@rule("I6.2")
def test_an_explanation_names_a_ticket_by_the_beginning_of_its_name() -> None:
    customer = after(fact(ev.TicketOpened(ticket_id="https://support.example/" + "4711/" * 30), T))
    ((name, _),) = customer.tickets.items()
    assert name.startswith("https://support.example/4711/")


# ------------------------------------------------------------------------------------------------------------- overfull

OPENING: dict[str, Callable[[str], ev.Data]] = {
    "tickets": lambda x: ev.TicketOpened(ticket_id=x),
    "invoices": lambda x: ev.InvoicePaymentFailed(invoice_id=x),
    "disputes": lambda x: ev.ChargeDisputed(charge_id=x),
    "cancellations": lambda x: ev.CancellationScheduled(subscription_id=x),
    "subscriptions": lambda x: ev.TrialStarted(subscription_id=x),
    "tasks": lambda x: ev.TaskStarted(task_id=x),
    "concerns": lambda x: ev.CallConcernRaised(call_id=x),
}
ENDING: dict[str, Callable[[str], ev.Data]] = {
    "tickets": lambda x: ev.TicketSolved(ticket_id=x),
    "invoices": lambda x: ev.InvoicePaid(invoice_id=x),
    "disputes": lambda x: ev.DisputeClosed(charge_id=x, won=True),
    "cancellations": lambda x: ev.CancellationReverted(subscription_id=x),
    "subscriptions": lambda x: ev.TrialEnded(subscription_id=x, converted=True),
    "tasks": lambda x: ev.TaskEnded(task_id=x),
    "concerns": lambda x: ev.CallConcernAddressed(call_id=x),
}


def many(kind: str, number: int, since: int = T) -> list[Event]:
    return [fact(OPENING[kind](f"x{n}"), since + n) for n in range(number)]


def cleared(kind: ev.Kind, time: int) -> Event:
    return fact(ev.OverfullCleared(kind=kind, by="ops"), time)


@rule("I6.2")
@pytest.mark.parametrize("kind", OPENING)
def test_beyond_two_hundred_open_ones_of_a_kind_a_customer_is_overfull(kind: ev.Kind) -> None:
    full = after(*many(kind, MOST_OPEN))
    over = after(fact(OPENING[kind]("one more"), T + HOUR), customer=full)
    again = after(fact(OPENING[kind]("another"), T + HOUR + 1), customer=over)

    assert full.overfull == {}
    assert (over.overfull[kind].count, over.overfull[kind].at) == (1, T + HOUR)
    assert again.overfull[kind].count == 2
    assert getattr(again, kind) == getattr(full, kind), "what is beyond is only counted"
    assert answer("trouble", customer=over, now=T + HOUR) == "until customer.overfull_cleared"


@rule("I6.2")
@pytest.mark.parametrize("kind", OPENING)
def test_the_end_of_all_that_is_kept_does_not_clear_it(kind: ev.Kind) -> None:
    over = after(*many(kind, MOST_OPEN + 1))
    ended = after(*(fact(ENDING[kind](f"x{n}"), T + HOUR + n) for n in range(MOST_OPEN + 1)), customer=over)
    assert answer("trouble", customer=ended, now=T + 60 * DAY) == "until customer.overfull_cleared"


@rule("I6.2")
@pytest.mark.parametrize("kind", OPENING)
def test_an_operator_clears_it_and_closes_all_that_is_open(kind: ev.Kind) -> None:
    over = after(*many(kind, MOST_OPEN + 1))
    well = after(cleared(kind, T + HOUR), customer=over)

    assert well.overfull == {}
    row = BOUNDS[kind]
    assert row.is_open is None or not any(
        row.is_open(entry, T + HOUR, POLICY) for entry in getattr(well, kind).values()
    )
    wait = {
        "tickets": f"until {shown(T + HOUR + 3 * DAY)}",
        "invoices": f"until {shown(T + HOUR + 3 * DAY)}",
        "disputes": f"until {shown(T + MOST_OPEN - 1 + 90 * DAY)}",
        "cancellations": f"until {shown(T + HOUR + 30 * DAY)}",
        "subscriptions": "until subscription.started",
    }
    assert answer("trouble", customer=well, now=T + HOUR) == wait.get(kind, "pass")


@rule("I6.2")
def test_a_clearing_of_something_else_or_from_before_clears_nothing() -> None:
    over = after(*many("tickets", MOST_OPEN + 1))
    last = T + MOST_OPEN
    for clearing in (cleared("invoices", T + HOUR), cleared("tickets", last - 1), cleared("tickets", last)):
        assert after(clearing, customer=over).overfull.keys() == {"tickets"}
    assert after(cleared("tickets", last + 1), customer=over).overfull == {}


@rule("I6.2")
def test_without_room_for_business_keys_there_is_no_further_occasion() -> None:
    customer = after(*a_customer())
    customer.keys = tuple(range(MOST_KEYS - 1))
    last = after(nps(9, T + 1, "r1"), customer=customer)
    over = after(nps(9, T + 2, "r2"), customer=last)
    assert (len(last.keys), len(over.keys), list(over.overfull)) == (MOST_KEYS, MOST_KEYS, ["keys"])
    assert [o.subject for o in over.live] == ["r1"]
    assert answer("trouble", customer=over, now=T + 3) == "until customer.overfull_cleared"

    well = after(cleared("keys", T + 3), customer=over)
    assert (well.overfull, len(well.keys)) == ({}, MOST_KEYS // 2)


@rule("I6.2")
def test_an_overfull_customer_is_not_asked_until_an_operator_has_looked() -> None:
    opened = many("tasks", MOST_OPEN + 1, at("Thu 12:00"))
    held = replay(a_customer(), opened, nps(9, "Thu 12:30"))
    free = replay(a_customer(), opened, nps(9, "Thu 12:30"), cleared("tasks", at("Thu 12:40")))
    assert (len(held.asks), len(free.asks)) == (0, 1)


@rule("I6.2")
def test_it_is_said_in_words() -> None:
    words = phrases()
    assert words.cause("overfull: tickets") == "overfull: there are more tickets than are kept"
    assert words.word("awaited", "customer.overfull_cleared") == "until an operator clears that"


@rule("I6.2", "I5.3")
def test_an_ask_that_is_out_is_taken_back_when_its_customer_becomes_overfull() -> None:
    story = replay(a_customer(), nps(9, "Thu 12:30"), many("tasks", MOST_OPEN + 1, at("Thu 13:10")), until="Thu 14:00")
    assert len(story.asks) == len(story.cancelled) == 1


# ------------------------------------------------------------------------------------ late, about what is forgotten


def forgetful(*events: Event) -> Customer:
    """After these events, and so many solved tickets that those of before are forgotten."""
    most = BOUNDS["tickets"].most
    others = [fact(ev.TicketSolved(ticket_id=f"other {n}"), T + n) for n in range(most + 1)]
    customer = after(*events, *others)
    assert "old" not in customer.tickets
    return customer


@rule("I6.1")
def test_a_late_word_about_a_forgotten_ticket_never_lifts_anything() -> None:
    long_ago = T - 300 * DAY
    told = [fact(ev.TicketOpened(ticket_id="old", priority="urgent"), long_ago),
            fact(ev.TicketSolved(ticket_id="old", rating="negative"), long_ago + DAY)]  # fmt: skip
    customer = forgetful(*told)
    now = T + DAY

    def then(data: ev.Data, time: int) -> str:
        event = fact(data, time, id="late")
        return answer("trouble", customer=step(POLICY, customer, [event], now).customer, now=now)

    assert then(ev.TicketOpened(ticket_id="old"), long_ago) == "until ticket.solved", "it may be a new one"
    assert then(ev.TicketReopened(ticket_id="old"), now) == "until ticket.solved"
    assert then(ev.TicketSolved(ticket_id="old"), now) == f"until {shown(now + 14 * DAY)}", "it may have been urgent"
    assert then(ev.TicketRated(ticket_id="old", rating="negative"), now) == f"until {shown(now + 30 * DAY)}"
    praised = step(POLICY, customer, [fact(ev.TicketRated(ticket_id="old", rating="positive"), now)], now)
    assert praised.customer.live == (), "it may have been rated badly before"


@rule("I6.1")
def test_what_is_still_waited_for_holds_when_its_ticket_goes() -> None:
    bad = fact(ev.TicketRated(ticket_id="old", rating="negative"), T - DAY)
    assert answer("trouble", customer=forgetful(bad), now=T + 20 * DAY) == f"until {shown(T - DAY + 30 * DAY)}"


@rule("I6.1")
def test_the_newest_answer_and_a_detractor_stay() -> None:
    answers = [nps(8, T - n * HOUR, f"r{n}") for n in range(2, 300)]
    customer = after(nps(3, T - 400 * HOUR, "bad"), *reversed(answers), nps(7, T, "newest"))
    assert "newest" in customer.responses
    assert "bad" not in customer.responses
    assert answer("trouble", customer=customer, now=T) == f"until {shown(T - 400 * HOUR + 90 * DAY)}"


@rule("I6.1")
def test_the_newest_end_stays_while_no_subscription_is_active() -> None:
    customer = after(fact(ev.SubscriptionEnded(subscription_id="s"), T))
    for n in range(400):
        late = fact(ev.SubscriptionRenewed(subscription_id=f"s{n}"), T - 2 - n)
        over = fact(ev.SubscriptionEnded(subscription_id=f"s{n}"), T - 1)
        customer = step(POLICY, customer, [late, over], T).customer
    assert answer("trouble", customer=customer, now=T + DAY) == "until subscription.started"
    assert customer.subscriptions[-1].at.time == T


@rule("I6.1")
def test_who_is_held_by_too_many_is_held_by_the_rest_of_them_too() -> None:
    customer = Customer(id="ana")
    for n in range(60):
        hold(customer, f"c{n}", Stamp(n, True, "s", "e"))
    assert len(customer.held) == BOUNDS["held"].most
    assert max(at.time for at in customer.held.values()) == 59
    assert customer.held[""].time == 9


# --------------------------------------------------------------------------------------------------------- two states


@rule("I6.1", "I6.2", "I3.8")
def test_two_states_of_one_person_fit_together() -> None:
    mine, other = after(*many("tickets", 150)), after(*(fact(e.data, e.time + 500) for e in many("tickets", 150)))
    other.tickets = {f"their {name}": ticket for name, ticket in other.tickets.items()}
    mine.keys, other.keys = tuple(range(6_000)), tuple(range(5_000, 12_000))
    other.id, other.holds = "eva", tuple(f"h{n}" for n in range(60))
    both = unite(mine, other, POLICY)
    assert {kind: each.count for kind, each in both.overfull.items()} == {"tickets": 100, "keys": 2_000, "holds": 10}
    for name, row in bounds.BOUNDS.items():
        assert len(getattr(both, name)) <= row.most, name


@rule("I6.1", "I6.5")
def test_the_largest_state_of_a_link_fits_its_record() -> None:
    """As many customers as it names, and as many events as it keeps, each as large as ingest lets one be."""
    name, longer = text(LONGEST_CUSTOMER), "\U0001f600" * 512
    stamp = Stamp.of(Event(id=longer, source=longer, type="x", subject="", time=T, data=ev.Suppressed()))
    named = {text(LONGEST_CUSTOMER): NamedCustomer(stamp, T, theirs=True) for _ in range(MOST_CUSTOMERS)}
    data = ev.SavingMeasured(kind="money", amount=1.0, unit=text(512))
    kept = tuple(
        KeptEvent(
            Event(id=f"{n}{longer}"[:512], source=text(512), type=data.type, subject=name, time=T, data=data,
                  account=name, timezone="America/Argentina/ComodRivadavia", traceparent=text(55), via=(name,) * 4),
            T, RecordPosition("customer-events", 0, 2**60, T), sender=name,
        )
        for n in range(MOST_KEPT)
    )  # fmt: skip
    assert len(encode_state(LinkState(Link("x" * 32, name), T, named, kept), 2**60)) < RECORD


@rule("I6.5")
@pytest.mark.parametrize("body", [{"feature": "x" * 513}, {"feature": "x" * 100_000}])
def test_a_word_of_a_producer_is_never_long(body: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ev.UsageRecorded(**body)  # type: ignore[arg-type]  # no ids, no counts
