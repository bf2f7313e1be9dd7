"""From the event that opens an opportunity to its deadline, and the instant at which it has settled."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import Decision
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND
from referral_stream.core.policy import Policy, TimeZones, Trigger
from referral_stream.core.rules import windows
from referral_stream.core.zones import Zone
from tests.builders import (
    AROUND,
    ByHand,
    a_customer,
    a_policy,
    arriving,
    at,
    csat,
    fact,
    first_success,
    nps,
    replay,
    state,
    utc,
)
from tests.rules import rule
from tests.worlds.customers import BERLIN

TRIGGERS = Policy().triggers
T0 = at("Thu 12:30")


def in_zones(*names: str) -> Zone:
    return Zone(names[0], "profile", names)


@rule("3.1")
@pytest.mark.parametrize(
    ("trigger", "hours"),
    [("nps_promoter", 24), ("positive_feedback", 48), ("peer_mentioned", 48), ("referral_converted", 7 * 24)],
)
def test_a_window_of_hours_has_that_many_also_where_clocks_change(trigger: str, hours: int) -> None:
    for t0 in (T0, utc("2026-03-28 20:00"), utc("2026-10-24 20:00")):
        assert windows.deadline(TRIGGERS[trigger], t0, in_zones(BERLIN)) == t0 + hours * HOUR


@rule("3.5")
@pytest.mark.parametrize(
    ("t0", "zone", "deadline"),
    [
        (at("Thu 00:00"), BERLIN, at("Fri 00:00")),
        (at("Thu 23:59:59.999"), BERLIN, at("Fri 00:00")),
        (at("Fri 00:00"), BERLIN, at("Sat 00:00")),
        (utc("2026-03-28 23:00"), BERLIN, utc("2026-03-29 22:00")),
        (utc("2026-10-24 22:00"), BERLIN, utc("2026-10-25 23:00")),
        (at("Thu 12:30"), "Pacific/Auckland", utc("2026-06-18 12:00")),
        (at("Thu 12:30"), "America/New_York", utc("2026-06-19 04:00")),
        (utc("2026-04-23 20:00"), "Africa/Cairo", utc("2026-04-23 22:00")),
    ],
)
def test_a_milestones_window_ends_at_the_customers_next_midnight(t0: int, zone: str, deadline: int) -> None:
    assert windows.deadline(TRIGGERS["milestone"], t0, in_zones(zone)) == deadline


@rule("3.7", "10.101")
@pytest.mark.parametrize("trigger", ["renewal", "expansion"])
@pytest.mark.parametrize(
    ("t0", "zone", "deadline"),
    [
        (at("Tue 10:00"), BERLIN, at("next Tue 10:00")),
        (utc("2026-03-24 09:00"), BERLIN, utc("2026-03-31 08:00")),  # 7 × 24 h less one
        (utc("2026-10-20 08:00"), BERLIN, utc("2026-10-27 09:00")),  # 7 × 24 h and one
        (utc("2026-03-22 01:30"), BERLIN, utc("2026-03-29 01:00")),  # 02:30 does not exist
        (utc("2026-10-18 00:30"), BERLIN, utc("2026-10-25 00:30")),  # 02:30 comes twice
        (utc("2026-10-27 01:00"), "America/New_York", utc("2026-11-03 02:00")),
    ],
)
def test_a_window_of_local_days_ends_at_the_same_wall_time(trigger: str, t0: int, zone: str, deadline: int) -> None:
    assert windows.deadline(TRIGGERS[trigger], t0, in_zones(zone)) == deadline


@rule("10.100")
@pytest.mark.parametrize(
    ("trigger", "t0", "deadline"),
    [
        ("milestone", T0, utc("2026-06-18 12:00")),
        ("renewal", T0, T0 + 7 * DAY),
        ("renewal", utc("2026-03-24 09:00"), utc("2026-03-31 08:00")),  # clocks change in Berlin only
        ("renewal", utc("2026-10-20 09:00"), utc("2026-10-27 09:00")),
        ("nps_promoter", T0, T0 + DAY),
    ],
)
def test_of_several_possible_zones_the_earliest_end_counts(trigger: str, t0: int, deadline: int) -> None:
    zone = in_zones("America/New_York", "Pacific/Auckland", BERLIN)
    assert windows.deadline(TRIGGERS[trigger], t0, zone) == deadline


@rule("3.22")
@pytest.mark.parametrize(
    ("trigger", "after"),
    [
        ("nps_promoter", 20 * MINUTE),
        ("positive_feedback", 20 * MINUTE),
        ("peer_mentioned", 20 * MINUTE),
        ("milestone", 7 * MINUTE),
        ("renewal", DAY + 5 * MINUTE),
        ("expansion", DAY + 5 * MINUTE),
        ("referral_converted", 5 * MINUTE),
    ],
)
def test_it_has_settled_after_its_own_wait_and_five_minutes_for_rivals(trigger: str, after: int) -> None:
    rule = TRIGGERS[trigger]
    deadline = windows.deadline(rule, T0, in_zones(BERLIN))

    assert windows.settled(rule, T0, deadline, Policy()) == T0 + after


@rule("3.22")
@pytest.mark.parametrize(
    ("left", "settles_after"),
    [
        (8 * MINUTE + 1, 7 * MINUTE),
        (8 * MINUTE, 7 * MINUTE),
        (8 * MINUTE - 1, 7 * MINUTE - 1),
        (MINUTE + 1, 1),
        (MINUTE, 0),
        (MINUTE - 1, 0),
        (1, 0),
    ],
)
def test_a_short_window_settles_a_minute_before_its_end_but_never_before_it_opens(
    left: int, settles_after: int
) -> None:
    deadline = at("Fri 00:00")
    t0 = deadline - left

    assert windows.settled(TRIGGERS["milestone"], t0, deadline, Policy()) == t0 + settles_after


def test_the_waits_are_those_of_the_policy() -> None:
    policy = a_policy(moments={"rival_wait_seconds": 7, "last_call_seconds": 20})
    rule = Trigger(window_hours=1, settle_seconds=11)

    assert windows.settled(rule, T0, T0 + HOUR, policy) == T0 + 18 * SECOND
    assert windows.settled(rule, T0, T0 + 30 * SECOND, policy) == T0 + 10 * SECOND


# ---- whose zone


def told_zone(name: str | None, when: int) -> ev.Event:
    return fact(ev.ProfileChanged(time_zone=name), when)


@rule("3.20")
def test_the_profiles_zone_comes_before_an_events_and_that_before_the_deployments() -> None:
    policy = a_policy(time_zone={"default": "Asia/Kolkata"})
    heard = nps(9, T0, timezone="America/New_York")

    assert windows.zone_of(state(), policy) == Zone("Asia/Kolkata", "default", ("Asia/Kolkata",))
    assert windows.zone_of(state(heard), policy) == Zone("America/New_York", "event", ("America/New_York",))
    assert windows.zone_of(state(told_zone(BERLIN, T0 - 1), heard), policy) == Zone(BERLIN, "profile", (BERLIN,))


@rule("10.99")
def test_the_deployments_zone_is_utc_unless_the_policy_says_so() -> None:
    assert windows.zone_of(state(), Policy()) == Zone("UTC", "default", ("UTC",))


@rule("3.21", "10.100")
def test_under_strict_an_unknown_zone_is_all_zones_of_the_list_and_a_known_one_is_itself() -> None:
    strict = Policy(time_zone=TimeZones(strict=True, zones=("America/New_York", BERLIN)))
    alone = Policy(time_zone=TimeZones(strict=True, default="Asia/Kolkata"))

    assert windows.zone_of(state(), strict) == Zone("UTC", "default", ("America/New_York", BERLIN))
    assert windows.zone_of(state(), alone) == Zone("Asia/Kolkata", "default", ("Asia/Kolkata",))
    assert windows.zone_of(state(told_zone("UTC", T0)), strict) == Zone("UTC", "profile", ("UTC",))


@rule("10.98")
def test_a_profile_with_an_invalid_zone_leaves_the_one_that_was_known() -> None:
    known = state(told_zone(BERLIN, T0), told_zone("Mars/Olympus", T0 + 1))
    assert windows.zone_of(known, Policy()).name == BERLIN


@rule("5.17", "10.97")
def test_the_deadline_is_frozen_at_opening_and_quiet_hours_follow_the_new_zone() -> None:
    moved = told_zone("America/New_York", at("Fri 16:05"))
    story = replay(a_customer(), csat(5, when="Fri 16:00"), moved)

    (ask,) = story.asks
    assert {decision.window.deadline for decision in story.decisions()} == {at("Sun 16:00")}
    assert ask.not_before == utc("2026-06-19 17:00")  # Friday 13:00 in New York


def test_a_zone_told_at_the_same_instant_is_the_one_that_counts() -> None:
    """New York is a profile's word a record earlier: the milestone's day ends with the day there."""
    by_hand = ByHand(a_customer(zone="UTC"))
    effects = by_hand.at("Thu 12:30", told_zone("America/New_York", T0), first_success("Thu 12:30"))
    (deadline,) = {effect.window.deadline for effect in effects if isinstance(effect, Decision)}
    assert deadline == utc("2026-06-19 04:00")


def test_a_new_zone_counts_from_its_own_record_on() -> None:
    """Friday 13:00 in New York is behind the deadline, and there it is nine in the morning: at once."""
    moved = told_zone("America/New_York", at("Thu 15:00"))
    assert replay(a_customer(), nps(9, "Thu 14:00"), moved).asked == [("nps_promoter", "Thu 15:00")]


@rule("3.19")
def test_an_event_from_the_future_closes_nobodys_window() -> None:
    """There is no stream-wide watermark: a producer with a fast clock is a matter of its own events."""
    ahead = [
        arriving(fact(ev.AdviceAsked(), at("Thu 12:40") + 23 * HOUR, customer=who), "Thu 12:40") for who in ("ana", "b")
    ]
    assert replay(a_customer(), nps(9, "Thu 12:30"), ahead).outcomes() == replay(a_customer(), nps(9)).outcomes()


@rule("10.19")
@pytest.mark.parametrize("after", AROUND)
def test_a_window_is_open_until_just_before_its_deadline(after: int) -> None:
    told = a_customer(channels=("in_app",))
    seen = fact(ev.WorkflowCompleted(), at("Fri 12:30") + after)

    story = replay(told, nps(9, "Thu 12:30"), seen)

    assert bool(story.asks) is (after < 0)
