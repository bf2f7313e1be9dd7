"""When each channel may speak: the Friday slot, quiet hours, and events that are good moments."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.events import CHANNELS, Channel, Data, Event
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND
from referral_stream.core.policy import Moments
from referral_stream.core.rules import moments
from referral_stream.core.zones import Zone
from tests.builders import (
    AROUND,
    POLICY,
    ByHand,
    a_customer,
    a_policy,
    arriving,
    at,
    blocking,
    compliment,
    consent,
    fact,
    first_success,
    granted,
    nps,
    renewed,
    replay,
    shown,
    state,
    ticket_opened,
    ticket_solved,
    utc,
)
from tests.rules import rule
from tests.worlds.customers import BERLIN

RULES = Moments()


def here(*names: str) -> Zone:
    return Zone(names[0], "profile", names)


def first(start: str, end: str, zone: str = BERLIN, rules: Moments = RULES) -> str | None:
    found = moments.first_email_instant(at(start, zone), at(end, zone), here(zone), rules)
    return None if found is None else shown(found, zone)


# ---- the clock of e-mail


@rule("3.23", "4.33", "5.1", "5.2", "10.8", "10.16")
@pytest.mark.parametrize(
    ("start", "end", "instant"),
    [
        # outside quiet hours, no slot in reach: at once
        ("Thu 08:00", "Thu 12:00", "Thu 08:00"),
        ("Thu 19:59:59.999", "Thu 21:00", "Thu 19:59:59.999"),
        # quiet: when it ends
        ("Thu 07:59:59.999", "Thu 12:00", "Thu 08:00"),
        ("Wed 20:00", "Thu 12:00", "Thu 08:00"),
        ("Thu 00:00", "Thu 12:00", "Thu 08:00"),
        ("Sat 09:00", "next Mon 09:00", "next Mon 08:00"),
        ("Sun 23:59", "next Mon 09:00", "next Mon 08:00"),
        ("Fri 20:00", "next Mon 09:00", "next Mon 08:00"),
        # nothing is left: half-open at both ends
        ("Wed 20:00", "Thu 08:00", None),
        ("Wed 20:00", "Thu 08:00:00.001", "Thu 08:00"),
        ("Sat 00:00", "next Mon 08:00", None),
        ("Thu 12:00", "Thu 12:00", None),
        ("Thu 12:00", "Thu 11:00", None),
        # the slot, if any part of it lies in the window, and nothing else
        ("Thu 13:00", "Fri 13:00", "Thu 13:00"),
        ("Thu 13:00", "Fri 13:00:00.001", "Fri 13:00"),
        ("Mon 09:00", "next Mon 09:00", "Fri 13:00"),
        ("Fri 12:59:59.999", "Fri 19:00", "Fri 13:00"),
        ("Fri 13:00", "Fri 19:00", "Fri 13:00"),
        ("Fri 15:59:59.999", "Fri 19:00", "Fri 15:59:59.999"),
        ("Fri 16:00", "Fri 19:00", "Fri 16:00"),
        ("Fri 16:00", "next Fri 13:00", "Fri 16:00"),
        ("Fri 16:00", "next Fri 13:00:00.001", "next Fri 13:00"),
        ("Fri 21:00", "Fri 23:00", None),
    ],
)
def test_email_speaks_in_the_slot_if_the_window_has_one_else_outside_quiet_hours(
    start: str, end: str, instant: str | None
) -> None:
    assert first(start, end) == instant


@rule("5.2", "5.16")
@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_weekday_and_hours_are_those_of_the_customers_own_clock(zone: str) -> None:
    assert first("Mon 09:00", "next Mon 09:00", zone) == "Fri 13:00"
    assert first("Thu 20:00", "Fri 12:00", zone) == "Fri 08:00"
    assert first("Sat 00:00", "next Mon 09:00", zone) == "next Mon 08:00"


@rule("5.2", "5.3", "10.8")
@pytest.mark.parametrize(
    ("when", "until"),
    [
        ("Thu 07:59:59.999", None),
        ("Thu 08:00", "Thu 20:00"),
        ("Thu 19:59:59.999", "Thu 20:00"),
        ("Thu 20:00", None),
        ("Fri 23:59:59.999", None),
        ("Sat 12:00", None),
        ("Sun 12:00", None),
        ("next Mon 08:00", "next Mon 20:00"),
    ],
)
def test_quiet_hours_are_the_night_and_the_weekend(when: str, until: str | None) -> None:
    starts = moments.quiet_from(at(when), here(BERLIN), RULES)

    assert (None if starts is None else shown(starts)) == until
    assert moments.is_quiet(at(when), here(BERLIN), RULES) is (until is None)


@rule("5.14", "5.15")
@pytest.mark.parametrize(
    ("name", "start", "instant"),
    [
        # Quiet until 02:30, which comes twice: it ends with the second.
        (BERLIN, "2026-10-24 23:00", "2026-10-25 01:30"),
        ("America/New_York", "2026-11-01 04:00", "2026-11-01 07:30"),  # 02:30 EST, once
        ("Pacific/Auckland", "2026-04-04 11:00", "2026-04-04 14:30"),
        # Quiet until 02:30, which never comes: it ends with the gap.
        (BERLIN, "2026-03-28 23:00", "2026-03-29 01:00"),
        ("America/New_York", "2026-03-08 05:00", "2026-03-08 07:00"),
        ("Pacific/Auckland", "2026-09-26 12:00", "2026-09-26 14:00"),
    ],
)
def test_a_quiet_end_that_comes_twice_is_the_second_and_one_that_never_comes_is_the_end_of_the_gap(
    name: str, start: str, instant: str
) -> None:
    rules = Moments(slot_weekday=None, quiet_weekdays=(), quiet_until="02:30")
    found = moments.first_email_instant(utc(start), utc(start) + DAY, here(name), rules)
    assert found == utc(instant)


@rule("5.15")
def test_a_quiet_start_that_comes_twice_is_the_first() -> None:
    rules = Moments(slot_weekday=None, quiet_weekdays=(), quiet_from="02:30", quiet_until="01:00")

    assert moments.quiet_from(utc("2026-10-24 23:00"), here(BERLIN), rules) == utc("2026-10-25 00:30")
    assert moments.is_quiet(utc("2026-10-25 00:30"), here(BERLIN), rules)
    assert moments.is_quiet(utc("2026-10-25 01:15"), here(BERLIN), rules)  # 02:15 for the second time


@rule("5.15")
def test_a_day_whose_quiet_hours_begin_before_they_end_has_no_time_for_mail() -> None:
    """Quiet until 02:10 for the second time (01:10Z), and again from 02:50 for the first time (00:50Z)."""
    rules = Moments(slot_weekday=None, quiet_weekdays=(), quiet_from="02:50", quiet_until="02:10")
    night = utc("2026-10-24 23:00")
    assert moments.first_email_instant(night, utc("2026-10-25 23:00"), here(BERLIN), rules) is None
    assert moments.first_email_instant(night, night + 2 * DAY, here(BERLIN), rules) == utc("2026-10-26 01:10")


@rule("5.17")
@pytest.mark.parametrize(
    ("start", "instant"),
    [("2026-03-23 09:00", "2026-03-27 12:00"), ("2026-03-30 09:00", "2026-04-03 11:00")],
    ids=["before the change", "after it"],
)
def test_the_slot_is_at_the_same_wall_time_before_and_after_the_clocks_change(start: str, instant: str) -> None:
    found = moments.first_email_instant(utc(start), utc(start) + 6 * DAY, here(BERLIN), RULES)
    assert found == utc(instant)


@rule("3.21")
def test_in_several_possible_zones_only_hours_that_suit_all_of_them_are_used() -> None:
    zone = here(BERLIN, "America/New_York")  # 08:00 in New York is 14:00 in Berlin
    rules = Moments(slot_weekday=None)

    assert moments.first_email_instant(at("Thu 09:00"), at("Thu 20:00"), zone, rules) == at("Thu 14:00")
    assert moments.quiet_from(at("Thu 14:00"), zone, rules) == at("Thu 20:00")
    assert moments.is_quiet(at("Thu 13:59"), zone, rules)
    assert moments.is_quiet(at("Thu 20:00"), zone, rules)
    # The slots 13:00-16:00 have no common part: none is left, and quiet hours alone decide.
    assert moments.first_email_instant(at("Thu 09:00"), at("Sat 00:00"), zone, RULES) == at("Thu 14:00")


def test_the_slot_and_the_quiet_hours_are_those_of_the_policy() -> None:
    rules = Moments(
        slot_weekday=2,
        slot_from="10:15",
        slot_until="10:30",
        quiet_from="18:00",
        quiet_until="09:30",
        quiet_weekdays=(3,),
    )
    assert first("Mon 09:00", "Thu 09:00", rules=rules) == "Tue 10:15"
    assert first("Tue 10:30", "Thu 12:00", rules=rules) == "Tue 10:30"
    assert first("Tue 18:00", "Thu 12:00", rules=rules) == "Thu 09:30"
    assert first("Sat 09:00", "Sat 12:00", rules=rules) == "Sat 09:30"


# ---- channels


def reachable(**channels: bool) -> Event:
    return fact(ev.ProfileChanged(channels=ev.ReachableChannels(**channels)), "Mon 10:00")


ALL_REACHABLE = reachable(email=True, in_app=True, phone=True)


@rule("10.22")
@pytest.mark.parametrize(
    ("events", "policy", "usable"),
    [
        ([ALL_REACHABLE, consent(True, "Mon 11:00")], {}, CHANNELS),
        ([consent(True, "Mon 11:00")], {}, ("email",)),
        ([consent(True, "Mon 11:00")], {"channels_default": ["in_app", "phone"]}, ("in_app", "phone")),
        ([reachable(in_app=True), consent(True, "Mon 11:00")], {}, ("email", "in_app")),
        ([reachable(email=False), consent(True, "Mon 11:00")], {}, ()),
        ([ALL_REACHABLE], {}, ()),
        ([ALL_REACHABLE], {"consent_default": "granted"}, CHANNELS),
        ([ALL_REACHABLE, consent(False, "Mon 11:00", "phone")], {"consent_default": "granted"}, ("email", "in_app")),
        ([ALL_REACHABLE, consent(True, "Mon 11:00", "phone")], {}, ("phone",)),
        ([ALL_REACHABLE, consent(True, "Mon 11:00"), consent(False, "Mon 12:00", "email")], {}, ("in_app", "phone")),
        ([ALL_REACHABLE, consent(False, "Mon 12:00", "email"), consent(True, "Mon 11:00")], {}, ("in_app", "phone")),
        ([ALL_REACHABLE, consent(True, "Mon 11:00")], {"channels_allowed": ["phone"]}, ("phone",)),
        ([ALL_REACHABLE, consent(True, "Mon 11:00"), fact(ev.Suppressed(), "Mon 12:00")], {}, ()),
        (
            [ALL_REACHABLE, consent(True, "Mon 11:00"), fact(ev.Suppressed(), "Mon 12:00"),
             fact(ev.Unsuppressed(), "Mon 13:00")],
            {}, CHANNELS,
        ),
    ],
)  # fmt: skip
def test_a_channel_is_usable_if_reachable_consented_not_suppressed_and_allowed(
    events: list[Event], policy: dict[str, object], usable: tuple[str, ...]
) -> None:
    assert moments.usable_channels(state(*events), a_policy(**policy)) == usable


@rule("5.13", "10.27", "11.17")
@pytest.mark.parametrize(
    ("first_", "when", "end", "events", "channels"),
    [
        ("email", "Thu 12:00", "Thu 20:00", [], ("email", "in_app", "phone")),
        ("in_app", "Thu 12:00", "Thu 13:00", [], ("in_app", "email", "phone")),
        ("phone", "Thu 12:00", "Thu 13:00", [], ("phone", "email", "in_app")),
        ("phone", "Thu 20:00", "Thu 21:00", [], ("phone", "in_app")),
        ("phone", "Thu 12:00", "Thu 13:00", [ev.TaskStarted(task_id="t")], ("phone", "email")),
        ("in_app", "Thu 12:00", "Thu 13:00", [ev.CallConcernRaised(call_id="c")], ("in_app", "email")),
        ("in_app", "Thu 19:00", "Thu 20:00", [], ("in_app", "email", "phone")),
        ("in_app", "Thu 19:00", "Thu 20:00:00.001", [], ("in_app",)),
        ("in_app", "Thu 07:59:59.999", "Thu 08:59:59.999", [], ("in_app",)),
        ("in_app", "Thu 08:00", "Thu 09:00", [], ("in_app", "email", "phone")),
        ("in_app", "Sat 12:00", "Sat 13:00", [], ("in_app",)),
        ("email", "Thu 12:00", "Fri 12:00", [], ("email", "in_app")),
    ],
)
def test_a_command_lists_the_moments_channel_and_then_those_that_may_speak_to_its_end(
    first_: Channel, when: str, end: str, events: list[Data], channels: tuple[str, ...]
) -> None:
    customer = state(ALL_REACHABLE, consent(True, "Mon 11:00"), [fact(each, "Thu 11:00") for each in events])
    assert moments.command_channels(first_, customer, at(when), at(end), here(BERLIN), POLICY) == channels


@rule("11.17")
@pytest.mark.parametrize(
    ("when", "channels"), [("Thu 15:00", ("in_app", "email", "phone")), ("Thu 19:30", ("in_app",))]
)
def test_in_strict_zones_the_other_channels_speak_where_every_zone_lets_them(
    when: str, channels: tuple[str, ...]
) -> None:
    """19:30 in Berlin is 20:30 in Helsinki."""
    customer = state(ALL_REACHABLE, consent(True, "Mon 11:00"))
    both = Zone(BERLIN, "default", (BERLIN, "Europe/Helsinki"))
    assert moments.command_channels("in_app", customer, at(when), at(when) + HOUR, both, POLICY) == channels


@rule("11.17")
def test_a_phone_keeps_office_hours_whatever_the_quiet_hours_of_e_mail_are() -> None:
    early = a_policy(moments={"quiet_from": "23:00", "quiet_until": "06:00", "quiet_weekdays": []})
    customer = state(ALL_REACHABLE, consent(True, "Mon 11:00"))
    for when, channels in (("Thu 21:00", ("in_app", "email")), ("Sun 12:00", ("in_app", "email"))):
        found = moments.command_channels("in_app", customer, at(when), at(when) + HOUR, here(BERLIN), early)
        assert found == channels


@rule("10.30")
@pytest.mark.parametrize("after", AROUND)
def test_a_critical_task_without_an_end_lapses_after_two_hours(after: int) -> None:
    customer = state(fact(ev.TaskStarted(task_id="t"), "Thu 10:00"))
    assert moments.in_critical_task(customer, at("Thu 12:00") + after, POLICY) is (after < 0)


@rule("5.8")
def test_a_critical_task_lasts_from_its_start_to_its_end() -> None:
    started, ended = fact(ev.TaskStarted(task_id="t"), "Thu 10:00"), fact(ev.TaskEnded(task_id="t"), "Thu 10:30")
    another = fact(ev.TaskStarted(task_id="u"), "Thu 10:10")

    assert moments.in_critical_task(state(started), at("Thu 10:00"), POLICY)
    assert not moments.in_critical_task(state(started), at("Thu 10:00") - 1, POLICY)
    assert not moments.in_critical_task(state(started, ended), at("Thu 10:30"), POLICY)
    assert not moments.in_critical_task(state(ended, started), at("Thu 10:40"), POLICY)
    assert moments.in_critical_task(state(started, another, ended), at("Thu 10:40"), POLICY)


# ---- events that are moments


MOMENTS: dict[str, tuple[Data, Channel | None]] = {
    "a mail opened": (ev.EmailOpened(), "email"),
    "a mail clicked": (ev.EmailClicked(), "email"),
    "a workflow completed": (ev.WorkflowCompleted(), "in_app"),
    "an achievement": (ev.AchievementUnlocked(), "in_app"),
    "good numbers on a dashboard": (ev.DashboardViewed(metrics_positive=True), "in_app"),
    "poor numbers on a dashboard": (ev.DashboardViewed(metrics_positive=False), None),
    "a ticket solved well": (ev.TicketSolved(ticket_id="t", rating="positive"), "in_app"),
    "a ticket solved": (ev.TicketSolved(ticket_id="t"), None),
    "a ticket solved badly": (ev.TicketSolved(ticket_id="t", rating="negative"), None),
    "a ticket rated well": (ev.TicketRated(ticket_id="t", rating="positive"), "in_app"),
    "a ticket rated badly": (ev.TicketRated(ticket_id="t", rating="negative"), None),
    "a good call": (ev.CallMoment(kind="qbr_ended_well", call_id="c"), "phone"),
    "a good call without an id": (ev.CallMoment(kind="check_in"), "phone"),
    "a call cut short": (ev.CallMoment(kind="check_in", call_id="cut"), None),
    "a log-in": (ev.UsageRecorded(), None),
    "a goal": (ev.GoalAchieved(goal="g"), None),
}


def channel_of(data: Data, *, when: int, arrives: int | None = None, events: tuple[Data, ...] = ()) -> Channel | None:
    event = fact(data, when)
    past = [fact(each, when - MINUTE) for each in (ev.CallCutShort(call_id="cut"), *events)]
    customer = state(ALL_REACHABLE, consent(True, "Mon 11:00"), past, event)
    return moments.moment_channel(event, customer, arrives or when, here(BERLIN), POLICY)


@rule("5.5", "5.6", "5.10", "5.11", "10.28", "10.29", "10.31")
@pytest.mark.parametrize("what", MOMENTS)
def test_these_events_are_good_moments_on_their_channel(what: str) -> None:
    data, channel = MOMENTS[what]
    assert channel_of(data, when=at("Thu 12:00")) == channel


@rule("5.5", "5.7", "10.28")
@pytest.mark.parametrize(
    ("data", "channel"),
    [(ev.EmailOpened(), None), (ev.WorkflowCompleted(), "in_app"), (ev.CallMoment(kind="check_in"), "phone")],
)
def test_quiet_hours_bind_email_only(data: Data, channel: Channel | None) -> None:
    assert channel_of(data, when=at("Sat 22:00")) == channel


@rule("10.19")
@pytest.mark.parametrize("after", AROUND)
def test_a_moment_is_over_ten_minutes_after_its_event(after: int) -> None:
    arrives = at("Thu 12:00") + 600 * SECOND + after
    channel = channel_of(ev.WorkflowCompleted(), when=at("Thu 12:00"), arrives=arrives)
    assert channel == (None if after > 0 else "in_app")


@rule("5.8", "5.11")
def test_nobody_is_addressed_within_a_critical_task_or_with_a_concern_open() -> None:
    when = at("Thu 12:00")
    raised = ev.CallConcernRaised(call_id="another")

    assert channel_of(ev.WorkflowCompleted(), when=when, events=(ev.TaskStarted(task_id="t"),)) is None
    assert channel_of(ev.CallMoment(kind="check_in"), when=when, events=(raised,)) is None
    assert channel_of(ev.CallMoment(kind="check_in"), when=when, events=(ev.TaskStarted(task_id="t"),)) == "phone"
    assert channel_of(ev.WorkflowCompleted(), when=when, events=(raised,)) == "in_app"


@rule("10.29")
def test_a_concern_is_over_when_it_is_addressed_in_whatever_order_we_hear_of_it() -> None:
    raised, addressed = (
        fact(ev.CallConcernRaised(call_id="c"), "Thu 10:00"),
        fact(ev.CallConcernAddressed(call_id="c"), "Thu 10:05"),
    )
    assert moments.has_open_concern(state(raised))
    assert not moments.has_open_concern(state(raised, addressed))
    assert not moments.has_open_concern(state(addressed, raised))


def test_a_moment_on_a_channel_that_cannot_be_used_is_none() -> None:
    event = fact(ev.WorkflowCompleted(), "Thu 12:00")
    customer = state(consent(True, "Mon 11:00"), event)
    assert moments.moment_channel(event, customer, event.time, here(BERLIN), POLICY) is None


# ---- from the opening to the ask


@rule("3.23", "4.33", "10.16", "10.17", "10.121")
@pytest.mark.parametrize(
    ("event", "asked"),
    [
        (nps(9, "Thu 14:00"), "Fri 13:00"),
        (nps(9, "Thu 12:30"), "Thu 12:50"),
        (nps(9, "Fri 15:50"), "Fri 16:10"),
        (nps(9, "Fri 15:39:59"), "Fri 15:59:59"),
        (nps(9, "Sat 10:00"), None),
        (nps(9, "Sun 09:00"), "next Mon 08:00"),
        (first_success("Thu 21:00"), None),
        (first_success("Thu 23:58"), None),
        (first_success("Fri 10:00"), "Fri 13:00"),
        (first_success("Thu 14:02"), "Thu 14:09"),
        (renewed("Tue 10:00"), "Fri 13:00"),
        (renewed("Fri 12:00"), "next Mon 08:00"),
        (renewed("Fri 14:00"), "next Fri 13:00"),
    ],
    ids=lambda value: f"{value.type} {shown(value.time)}" if isinstance(value, Event) else "",
)
def test_the_golden_instants(event: Event, asked: str | None) -> None:
    story = replay(a_customer(), event)

    assert [when for _, when in story.asked] == ([asked] if asked else [])
    if asked is None:
        (decision,) = story.decisions()
        assert (decision.outcome, shown(decision.decided_at)) == ("suppressed", shown(event.time))


WORK = ev.WorkflowCompleted()
TWO_CHANNELS: tuple[Channel, ...] = ("email", "in_app")


@rule("5.12")
def test_a_good_moment_before_the_planned_slot_wins_on_its_own_channel() -> None:
    story = replay(a_customer(channels=TWO_CHANNELS), nps(9, "Thu 14:00"), fact(WORK, "Thu 21:30"))

    assert story.asked == [("nps_promoter", "Thu 21:30")]
    assert blocking(story.decisions()[-1]) == {}
    assert (story.ask.channels, story.ask.expires_at) == (("in_app",), at("Thu 22:30"))


@rule("5.5")
def test_a_mail_opened_outside_quiet_hours_is_a_moment_at_once() -> None:
    story = replay(a_customer(), nps(9, "Thu 14:00"), fact(ev.EmailOpened(), "Thu 17:00"))
    assert story.asked == [("nps_promoter", "Thu 17:00")]


@rule("5.12", "10.13", "10.20")
@pytest.mark.parametrize("after", AROUND)
def test_a_moment_counts_from_the_instant_at_which_the_opportunity_has_settled(after: int) -> None:
    story = replay(a_customer(channels=("in_app",)), nps(9, "Thu 21:00"), fact(WORK, at("Thu 21:20") + after))
    assert story.asked == ([("nps_promoter", shown(at("Thu 21:20") + after))] if after >= 0 else [])


@rule("3.12", "10.19", "10.20")
def test_a_moment_counts_when_it_arrives_not_when_it_happened() -> None:
    before_ready = arriving(fact(WORK, "Thu 21:15"), "Thu 21:24")
    story = replay(a_customer(channels=("in_app",)), nps(9, "Thu 21:00"), before_ready)
    assert story.asked == [("nps_promoter", "Thu 21:24")]


@rule("10.13")
def test_a_late_event_is_ready_when_it_arrives() -> None:
    assert replay(a_customer(), arriving(nps(9, "Thu 12:30"), "Thu 15:00")).asked == [("nps_promoter", "Thu 15:00")]


@rule("10.21")
def test_a_moment_met_by_a_closed_gate_is_lost() -> None:
    story = replay(
        a_customer(channels=("in_app",)),
        nps(9, "Thu 10:00"),
        ticket_opened("Thu 11:00"),
        fact(WORK, "Thu 12:00"),
        ticket_solved("Thu 13:00", rating="positive"),
        fact(ev.AchievementUnlocked(), "Thu 14:00"),
        fact(WORK, "Thu 15:00"),
    )
    # Solved well is itself a moment: the event that lifts the last block counts.
    assert story.asked == [("nps_promoter", "Thu 13:00")]


@rule("5.6", "10.18", "10.115")
def test_without_email_it_waits_for_a_moment_to_the_end_of_its_window_and_expires() -> None:
    story = replay(a_customer(channels=("in_app", "phone")), nps(9, "Thu 12:30"))

    assert story.outcomes() == [("pending", "Thu 12:30"), ("expired", "Fri 12:30")]
    assert [reason.until for d in story.decisions() for reason in d.reasons if reason.gate == "moment"] == [
        "moment"
    ] * 2


@rule("5.9", "10.18")
def test_with_another_channel_a_window_that_is_all_quiet_waits_for_a_moment() -> None:
    waits = replay(a_customer(channels=TWO_CHANNELS), nps(9, "Sat 10:00"))
    met = replay(a_customer(channels=TWO_CHANNELS), nps(9, "Sat 10:00"), fact(WORK, "Sat 20:00"))

    assert waits.outcomes() == [("pending", "Sat 10:00"), ("expired", "Sun 10:00")]
    assert met.asked == [("nps_promoter", "Sat 20:00")]


@rule("3.25", "10.13", "10.14")
def test_when_a_gate_opens_the_moment_is_the_first_instant_allowed_from_then_on() -> None:
    opened, solved = ticket_opened("Thu 15:00"), ticket_solved("Thu 15:30", rating="positive")
    story = replay(a_customer(), compliment("Thu 14:45"), opened, solved)
    assert story.asked == [("positive_feedback", "Fri 13:00")]

    late = replay(
        a_customer(), compliment("Thu 17:00"), ticket_opened("Fri 12:00"), ticket_solved("Fri 17:00", rating="positive")
    )
    assert late.asked == [("positive_feedback", "Fri 17:00")]  # the slot is gone


@rule("3.25")
def test_while_gates_wait_the_moment_is_planned_from_when_the_last_of_them_opens() -> None:
    contract = fact(ev.ContractSigned(contract_id="k", initial=True), at("Tue 09:00") - 30 * DAY)
    failed = fact(ev.InvoicePaymentFailed(invoice_id="i"), at("Tue 15:00") - 4 * DAY)
    paid = fact(ev.InvoicePaid(invoice_id="i"), at("Tue 15:00") - 3 * DAY)

    story = replay(a_customer(), contract, failed, paid, compliment("Mon 12:00"))

    assert blocking(story.decisions()[0]) == {"too_early": "Tue 09:00", "trouble": "Tue 15:00", "moment": "Tue 15:00"}
    assert story.asked == [("positive_feedback", "Tue 15:00")]


@rule("10.15")
def test_a_wake_up_that_comes_after_the_slot_asks_at_once_if_it_may() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))

    for_ledger = by_hand.requested("Fri 13:59")
    assert for_ledger.due == at("Fri 13:59")

    late = ByHand()
    late.at("Tue 10:00", renewed("Tue 10:00"))
    assert late.requested("Fri 16:30").due == at("Fri 16:30")


@rule("10.92")
@pytest.mark.parametrize(
    ("event", "moment", "expires"),
    [
        (nps(9, "Thu 12:30"), "Thu 12:50", "Thu 20:00"),  # the next start of quiet hours
        (nps(9, "Thu 14:00"), "Fri 13:00", "Fri 14:00"),  # the deadline
    ],
)
def test_an_email_expires_with_its_window_or_when_quiet_hours_begin(event: Event, moment: str, expires: str) -> None:
    ask = replay(a_customer(), event).ask
    assert (shown(ask.not_before), shown(ask.expires_at)) == (moment, expires)


@rule("10.93")
@pytest.mark.parametrize(("channel", "data"), [("in_app", WORK), ("phone", ev.CallMoment(kind="check_in"))])
@pytest.mark.parametrize(
    ("moment", "expires"), [("Thu 13:00", "Thu 14:00"), ("Fri 11:29", "Fri 12:29"), ("Fri 12:00", "Fri 12:30")]
)
def test_in_app_and_phone_expire_after_an_hour_or_with_the_window(
    moment: str, expires: str, channel: Channel, data: Data
) -> None:
    story = replay(a_customer(channels=(channel,)), nps(9, "Thu 12:30"), fact(data, moment))
    assert shown(story.ask.expires_at) == expires


@rule("3.27", "10.34")
def test_a_moment_counts_for_all_that_have_settled_and_the_best_of_them_speaks() -> None:
    story = replay(
        a_customer(channels=TWO_CHANNELS),
        renewed("Mon 10:00"),
        compliment("Wed 21:00"),
        nps(9, "Wed 21:50"),  # has not settled
        fact(WORK, "Wed 22:00"),
    )

    assert story.asked == [("positive_feedback", "Wed 22:00")]
    superseded = {d.trigger: blocking(d) for d in story.decisions() if d.outcome == "superseded"}
    assert superseded == {"renewal": {}, "nps_promoter": {"moment": "Thu 08:00"}}


@rule("10.21", "11.14")
@pytest.mark.parametrize(
    "also",
    [
        consent(False, "Thu 21:30", "in_app"),
        fact(ev.ProfileChanged(channels=ev.ReachableChannels(in_app=False)), "Thu 21:30"),
        fact(ev.TaskStarted(task_id="t"), "Thu 21:30"),
        ticket_opened("Thu 21:30"),
    ],
    ids=lambda event: event.type,
)
@pytest.mark.parametrize("first", [True, False])
def test_a_moment_is_lost_to_what_forbids_it_at_the_same_instant(also: Event, first: bool) -> None:
    by_hand = ByHand(a_customer(channels=TWO_CHANNELS))
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))
    inputs = (also, WORK) if first else (WORK, also)

    by_hand.at("Thu 21:30", *inputs)

    assert by_hand.customer.awaiting is None


@rule("11.15")
def test_a_moment_is_lost_if_a_gate_closes_and_opens_at_its_instant() -> None:
    by_hand = ByHand(a_customer(channels=TWO_CHANNELS))
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))
    needed, not_needed = (
        fact(ev.ProfileChanged(requires_approval=needs), "Thu 21:30", id=id_)
        for needs, id_ in ((True, "a"), (False, "b"))
    )

    by_hand.at("Thu 21:30", WORK, needed, not_needed)

    assert by_hand.customer.awaiting is None


def test_a_moment_that_comes_before_the_last_gate_opens_at_its_instant_is_lost() -> None:
    by_hand = ByHand(a_customer(channels=TWO_CHANNELS, requires_approval=True))
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))

    by_hand.at("Thu 21:30", WORK, fact(ev.ProfileChanged(requires_approval=False), "Thu 21:30"))

    assert by_hand.customer.awaiting is None


@rule("11.14")
def test_a_moment_outlasts_what_forbids_nothing_at_the_same_instant() -> None:
    by_hand = ByHand(a_customer(channels=TWO_CHANNELS))
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))
    assert by_hand.requested("Thu 21:30", WORK, ev.AdviceAsked()).due == at("Thu 21:30")


@rule("10.91")
def test_a_longer_wait_of_the_ledger_does_not_move_the_moment() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested("Thu 12:50")

    decision, ask = by_hand.at(at("Thu 12:50") + 29 * SECOND, granted())

    assert (decision.decided_at, ask.not_before) == (at("Thu 12:50") + 29 * SECOND, at("Thu 12:50"))  # type: ignore[union-attr]


@rule("10.115")
def test_the_planned_slot_is_shown_while_it_settles_and_after() -> None:
    (settling, asked) = replay(a_customer(), nps(9, "Thu 14:00")).decisions()
    moment = next(reason for reason in settling.reasons if reason.gate == "moment")

    assert (moment.answer, moment.until) == ("until", "2026-06-19T11:00:00.000Z")
    assert [reason.answer for reason in asked.reasons] == ["pass"] * 14


def test_it_is_told_whether_it_settles_or_waits_for_its_slot() -> None:
    held, free = ticket_opened("Thu 14:05"), ticket_solved("Thu 14:10", rating="positive")
    again, freed = ticket_opened("Fri 09:00", "t2"), ticket_solved("Fri 09:30", "t2", "positive")

    story = replay(a_customer(), nps(9, "Thu 14:00"), held, free, again, freed)

    told = [
        (shown(d.decided_at), r.saw) for d in story.decisions("nps_promoter") for r in d.reasons if r.gate == "moment"
    ]
    assert told == [
        ("Thu 14:00", "settling"),
        ("Thu 14:05", "settling"),
        ("Thu 14:10", "settling"),
        ("Fri 09:00", "waits for its slot"),
        ("Fri 09:30", "waits for its slot"),
        ("Fri 13:00", "clear"),
    ]


def test_the_wait_for_a_moment_is_measured_in_hours_not_in_days() -> None:
    """A window of 24 h has one night: from settling to the deadline."""
    story = replay(a_customer(), nps(9, at("Wed 19:45")))
    assert story.asked == [("nps_promoter", "Thu 08:00")]
    assert story.ask.expires_at == at("Wed 19:45") + 24 * HOUR
