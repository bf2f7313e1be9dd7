"""Usage against the customer's own baseline, day by day, and days of use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer, Drop, UsageDay
from referral_stream.core.events import Event
from referral_stream.core.fold import fold
from referral_stream.core.instants import DAY, HOUR, utc_day
from referral_stream.core.policy import Policy
from referral_stream.core.rules import usage
from tests.builders import POLICY, ByHand, a_customer, blocking, fact, nps, replay, state, utc
from tests.rules import rule

START = utc("2026-04-01 00:00")
FIRST = utc_day(START)


def used(day: int, count: int = 1, *, hour: int = 12, n: int = 0) -> Event:
    """Usage on the given day after START."""
    when = START + day * DAY + hour * HOUR
    return fact(ev.UsageRecorded(count=count), when, id=f"use {day} {hour} {count} {n}")


def seen(customer: Customer) -> Drop | None:
    """The drop, whenever it was seen."""
    return customer.drop and replace(customer.drop, since_day=None)


def lived(daily: list[int], *, judged_to: int | None = None) -> Customer:
    """A customer with that usage on the days from START on, judged at every 00:00Z, as if something lived."""
    customer = Customer(id="ana")
    usage.judge(customer, FIRST, POLICY)
    for day, count in enumerate(daily):
        if count:
            fold(customer, used(day, count))
        usage.judge(customer, FIRST + day + 1, POLICY)
    if judged_to is not None:
        usage.judge(customer, FIRST + judged_to, POLICY)
    return customer


@rule("4.22")
@pytest.mark.parametrize(
    ("recent", "drop"),
    [(6, Drop(base_sum=28 * 10, base_days=28, ended_day=None)), (7, None)],
    ids=["down by 40 %", "down by 30 %"],
)
def test_a_drop_is_forty_percent_below_the_mean_of_the_four_weeks_before_the_last(
    recent: int, drop: Drop | None
) -> None:
    assert seen(lived([10] * 28 + [recent] * 7)) == drop


@pytest.mark.parametrize(("last", "fell"), [(4 + 2, True), (4 + 3, False)])
def test_one_use_decides_whether_it_is_exactly_forty_percent(last: int, fell: bool) -> None:
    assert (lived([10] * 28 + [6, 6, 6, 6, 6, 6, last]).drop is not None) is fell


@rule("10.78")
@pytest.mark.parametrize(("more", "fell"), [(0, True), (1, False)])
def test_one_use_in_many_decides_as_well(more: int, fell: bool) -> None:
    assert (lived([10_000] * 28 + [6_000] * 6 + [6_000 + more]).drop is not None) is fell


@rule("10.80")
@pytest.mark.parametrize(("fewer", "ended"), [(1, None), (0, FIRST + 42)])
def test_one_use_in_many_decides_whether_it_is_over(fewer: int, ended: int | None) -> None:
    drop = lived([10_000] * 28 + [0] * 7 + [8_000] * 6 + [8_000 - fewer]).drop
    assert drop is not None
    assert drop.ended_day == ended


@rule("10.76")
@pytest.mark.parametrize(("day", "base"), [(0, 28 * 10), (1, 28 * 10 + 100), (28, 28 * 10 + 100), (29, None)])
def test_the_baseline_is_that_of_the_35th_to_the_8th_day_before(day: int, base: int | None) -> None:
    """Day 36 is judged, on days 1 to 28; day 0 is too old for the baseline, day 29 belongs to the last week."""
    customer = Customer(id="ana")
    usage.judge(customer, FIRST + 35, POLICY)
    for each in range(36):
        fold(customer, used(each, 10 if each < 29 else 6))
    fold(customer, used(day, 100, n=1))

    usage.judge(customer, FIRST + 36, POLICY)

    assert seen(customer) == (None if base is None else Drop(base_sum=base, base_days=28))


def test_what_happened_before_anything_was_heard_of_a_customer_is_not_judged() -> None:
    customer = state(*(used(day, 10 if day < 28 else 1) for day in range(35)))
    usage.judge(customer, FIRST + 35, POLICY)
    assert (customer.judged_day, customer.drop) == (FIRST + 35, None)


@rule("10.77")
@pytest.mark.parametrize(("history", "drop"), [(13, None), (14, Drop(base_sum=70, base_days=7))])
def test_there_is_no_baseline_before_the_fourteenth_day(history: int, drop: Drop | None) -> None:
    customer = Customer(id="ana")
    usage.judge(customer, FIRST, POLICY)
    for day in range(7):
        fold(customer, used(day, 10))

    usage.judge(customer, FIRST + history, POLICY)

    assert seen(customer) == drop


@rule("10.76")
def test_the_baseline_begins_with_the_first_day_of_use_and_counts_idle_days() -> None:
    daily = [0] * 3 + [30, 0, 0, 30, 0, 0, 30] + [1] * 7  # the first use on day 3: 7 days with a sum of 90
    assert seen(lived(daily)) == Drop(base_sum=90, base_days=7)


@rule("10.77")
def test_a_baseline_of_nothing_is_none() -> None:
    """Long silence is no drop: there is nothing to fall below."""
    assert seen(lived([1] + [0] * 40)) == Drop(base_sum=1, base_days=7)
    assert lived([0] * 40).drop is None

    idle_for_long = Customer(id="ana")
    usage.judge(idle_for_long, FIRST + 60, POLICY)
    fold(idle_for_long, used(0, 5))
    usage.judge(idle_for_long, FIRST + 61, POLICY)
    assert idle_for_long.drop is None

    used_once = Customer(id="ana")
    usage.judge(used_once, FIRST + 35, POLICY)
    fold(used_once, used(0, 5))  # on the 36th day before: four weeks and a week of nothing follow
    usage.judge(used_once, FIRST + 36, POLICY)
    assert used_once.drop is None


@rule("10.78")
@pytest.mark.parametrize("silent_days", [3, 4, 30])
def test_the_base_is_frozen_when_the_drop_is_set(silent_days: int) -> None:
    """After three silent days the week holds 40 of 70: a drop, against the 24 days before it."""
    assert seen(lived([10] * 28 + [0] * silent_days)) == Drop(base_sum=240, base_days=24)


@rule("4.22", "10.80")
@pytest.mark.parametrize(
    ("then", "ended"),
    [([8] * 6, None), ([8] * 7, 42), ([7] * 7, None), ([8, 8, 8, 8, 8, 8, 7, 9], 43), ([56], 36)],
)
def test_it_is_over_on_the_first_day_whose_week_is_back_at_eighty_percent(then: list[int], ended: int | None) -> None:
    drop = lived([10] * 28 + [0] * 7 + then).drop

    assert drop is not None
    assert drop.ended_day == (None if ended is None else FIRST + ended)


def test_a_new_drop_may_follow_a_recovery() -> None:
    drop = lived([10] * 28 + [0] * 7 + [10] * 28 + [0] * 7).drop

    assert drop is not None
    assert drop.ended_day is None


@rule("10.75")
def test_missed_days_are_judged_in_order_as_if_they_had_not_been_missed() -> None:
    daily = [10] * 28 + [0] * 7 + [9] * 7
    stepwise = lived(daily)

    at_once = Customer(id="ana")
    usage.judge(at_once, FIRST, POLICY)
    for day, count in enumerate(daily):
        if count:
            fold(at_once, used(day, count))
    usage.judge(at_once, FIRST + len(daily), POLICY)

    assert (at_once.drop, at_once.judged_day) == (stepwise.drop, stepwise.judged_day)


@rule("10.79")
def test_a_day_is_judged_once_on_what_was_known_then() -> None:
    customer = lived([10] * 28 + [6] * 7)
    known = customer.drop

    fold(customer, used(30, 100, n=1))  # arrives too late
    usage.judge(customer, FIRST + 35, POLICY)

    assert customer.drop == known
    assert seen(customer) == Drop(base_sum=280, base_days=28)


@rule("10.79")
def test_a_day_that_was_judged_is_not_judged_again_with_the_next() -> None:
    customer = lived([10] * 28 + [6] * 6 + [7])
    assert customer.drop is None

    fold(customer, used(10, 100, n=1))  # too late: with it, the week before day 35 would have been a drop
    fold(customer, used(35, 100))
    usage.judge(customer, FIRST + 36, POLICY)

    assert customer.drop is None


def test_what_was_judged_stays_judged_when_an_earlier_day_is_asked_for() -> None:
    customer = lived([10] * 28)
    usage.judge(customer, FIRST + 27, POLICY)
    assert customer.judged_day == FIRST + 28


def test_a_long_absence_is_judged_only_as_long_as_something_can_change() -> None:
    customer = lived([10] * 28)
    usage.judge(customer, FIRST + 20_000, POLICY)

    assert customer.judged_day == FIRST + 20_000
    assert customer.drop is not None
    assert customer.drop.ended_day is None


@rule("10.75")
def test_the_step_judges_at_midnight_in_utc_with_what_arrives_at_that_instant() -> None:
    """Up to and including 00:00Z of day D, usage of the days before D counts for the judgement of D."""
    weeks = [used(day, 10 if day < 28 else 6) for day in range(34)]
    midnight = START + 35 * DAY

    def drop_after(late: Event, arrives: int) -> Drop | None:
        by_hand = ByHand(history=weeks)
        by_hand.at(arrives, late)
        by_hand.at(midnight + 1)
        return by_hand.customer.drop

    late = used(34, 7)  # 43 in seven days; 42 would be a drop
    assert drop_after(late, midnight) is None
    assert drop_after(late, midnight + 1) is not None


@pytest.mark.parametrize(("recent", "fell"), [(50, True), (51, False)])
def test_what_counts_as_a_drop_and_as_recovered_is_the_policys(recent: int, fell: bool) -> None:
    policy = Policy.model_validate({"trouble": {"usage_drop_percent": 50, "usage_recovered_percent": 60}})
    customer = Customer(id="ana")
    usage.judge(customer, FIRST, policy)
    for day in range(14):
        fold(customer, used(day, 100 if day < 7 else recent))
    usage.judge(customer, FIRST + 14, policy)
    assert (customer.drop is not None) is fell

    for day in range(14, 21):
        fold(customer, used(day, 60))
    usage.judge(customer, FIRST + 21, policy)
    assert seen(customer) == (Drop(base_sum=700, base_days=7, ended_day=FIRST + 21) if fell else None)


@rule("10.11", "10.79")
def test_a_live_opportunity_is_held_back_from_the_midnight_that_judges_a_drop() -> None:
    """00:00Z is a timer while something lives: no event is needed for the veto to begin."""
    monday = utc("2026-06-15 00:00")
    history = [
        fact(ev.UsageRecorded(count=10), monday + (day - 30) * DAY + HOUR) for day in range(26)
    ]  # stops on Wednesday of the week before
    week = [fact(ev.UsageRecorded(count=7), monday + day * DAY + HOUR) for day in (-4, -3, -2, -1)]
    # By Wednesday 00:00Z the last seven days hold 28 uses, the four weeks before them 10 a day.
    renewal = fact(ev.SubscriptionRenewed(subscription_id="s", invoice_id="i"), "Mon 10:00")

    story = replay(a_customer(), history, week, renewal, until="Fri 23:00")

    held = [d for d in story.decisions("renewal") if "trouble" in blocking(d)]
    assert held
    assert held[0].decided_at % DAY == 0
    assert blocking(held[0])["trouble"] == "usage.recorded"
    assert story.asked == []


# ---- days of use


def test_days_of_use_are_distinct_local_dates() -> None:
    customer = state(used(0, hour=12), used(0, hour=13), used(0, hour=23), used(2, hour=12))

    assert usage.days_of_use(customer, "UTC") == 2
    assert usage.days_of_use(customer, "Europe/Berlin") == 3  # 23:00Z is the next day there
    assert usage.days_of_use(customer, "America/New_York") == 2


@rule("1.2")
@pytest.mark.parametrize(("days", "long"), [(29, False), (30, True), (31, True)])
def test_thirty_days_of_use_are_value_also_with_gaps_between_them(days: int, long: bool) -> None:
    customer = state(*(used(3 * n) for n in range(days)))
    assert (usage.days_of_use(customer, "Europe/Berlin") >= POLICY.too_early.days_of_use) is long


@given(
    st.dictionaries(st.integers(20_000, 20_030), st.tuples(st.integers(0, 1439), st.integers(0, 1439)), max_size=20),
    st.integers(1, 40),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"]),
)
def test_whether_the_days_are_enough_is_known_as_the_calendar_knows_it(
    minutes: dict[int, tuple[int, int]], days: int, zone: str
) -> None:
    used = {day: UsageDay(1, min(two), max(two)) for day, two in minutes.items()}
    customer = Customer(id="ana", usage=used)

    assert usage.is_used_on(customer, days, zone) is (usage.days_of_use(customer, zone) >= days)


def test_days_are_forgotten_only_when_the_use_has_been_long_enough_for_every_zone() -> None:
    sparse = lived([1] + [0] * 99)
    steady = lived([1] * 100)

    assert sorted(sparse.usage) == [FIRST]
    assert not sparse.used_for_long
    assert steady.used_for_long
    assert min(steady.usage) == FIRST + 100 - usage.HISTORY_DAYS


@rule("1.2")
@pytest.mark.parametrize(("days", "long"), [(59, False), (60, True)])
def test_twice_as_many_days_in_utc_are_long_enough_for_every_zone(days: int, long: bool) -> None:
    customer = lived([1] * days)
    assert customer.used_for_long is long
    assert len(customer.usage) == (usage.HISTORY_DAYS if long else days)


@rule("1.2")
def test_after_a_long_absence_no_day_is_left() -> None:
    customer = lived([1] * 60)
    usage.judge(customer, FIRST + 59 + usage.HISTORY_DAYS, POLICY)
    assert list(customer.usage) == [FIRST + 59]
    usage.judge(customer, FIRST + 60 + usage.HISTORY_DAYS, POLICY)
    assert customer.usage == {}


@pytest.mark.parametrize(("now", "midnight"), [(START - 1, START), (START, START + DAY), (START + 1, START + DAY)])
def test_the_next_judgement_is_strictly_later(now: int, midnight: int) -> None:
    assert usage.midnight_after(now) == midnight


def test_usage_of_one_day_adds_up_whatever_the_order() -> None:
    early, late = used(0, 3, hour=1), used(0, 4, hour=20)
    assert state(early, late).usage == state(late, early).usage == {FIRST: UsageDay(7, 60, 20 * 60)}


def test_first_use_is_the_earliest_day_even_if_heard_of_late() -> None:
    assert state(used(5), used(2)).first_use_day == FIRST + 2


def test_nps_needs_no_usage_at_all() -> None:
    """Nobody who sends no usage is kept waiting by the baseline."""
    assert replay(a_customer(), nps(9)).asked == [("nps_promoter", "Thu 12:50")]
