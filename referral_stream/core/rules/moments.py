"""Moments: when each channel may speak (semantics §5).

Local rules are evaluated afresh each time; no offset is ever stored. Everything here is half-open: quiet hours
[20:00, 08:00), the slot [13:00, 16:00).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from referral_stream.core import events as ev
from referral_stream.core import zones
from referral_stream.core.customer import LONGEST_NAME, Customer
from referral_stream.core.events import CHANNELS, Channel, Event
from referral_stream.core.ids import short
from referral_stream.core.instants import SECOND, utc_day
from referral_stream.core.policy import Moments, Policy, minutes_of
from referral_stream.core.zones import Zone

Interval = tuple[int, int]


class Hours(NamedTuple):
    """The local hours ``[opens, closes)``, in minutes since midnight, of these weekdays (1 Monday to 7 Sunday)."""

    weekdays: frozenset[int]
    opens: int
    closes: int


def first_email_instant(start: int, end: int, zone: Zone, rules: Moments) -> int | None:
    """The first instant in ``[start, end)`` at which e-mail may speak by the clock, None if there is none.

    If a part of a slot lies in the interval, the slot is the only time; else the first instant outside quiet hours.
    """
    if start >= end:
        return None
    if rules.slot_weekday is not None:
        slot = _hours((rules.slot_weekday,), rules.slot_from, rules.slot_until)
        found = _first_within(start, end, zone, slot)
        if found is not None:
            return found
    return _first_within(start, end, zone, _open_hours(rules))


def first_open_instant(start: int, end: int, zone: Zone, rules: Moments) -> int | None:
    """The first instant in ``[start, end)`` outside quiet hours, None if there is none."""
    return _first_within(start, end, zone, _open_hours(rules))


def quiet_from(now: int, zone: Zone, rules: Moments) -> int | None:
    """The next start of quiet hours after ``now``, None if ``now`` lies in them."""
    return _end_of(now, zone, _open_hours(rules))


def _end_of(now: int, zone: Zone, hours: Hours) -> int | None:
    """When these hours, in which ``now`` lies, are over; None if it does not lie in them."""
    return next((high for low, high in _around(now, now, zone, hours) if low <= now < high), None)


def is_quiet(now: int, zone: Zone, rules: Moments) -> bool:
    return quiet_from(now, zone, rules) is None


def _open_hours(rules: Moments) -> Hours:
    """When it is not quiet."""
    weekdays = tuple(day for day in range(1, 8) if day not in rules.quiet_weekdays)
    return _hours(weekdays, rules.quiet_until, rules.quiet_from)


@lru_cache(maxsize=64)
def _hours(weekdays: tuple[int, ...], opens: str, closes: str) -> Hours:
    return Hours(frozenset(weekdays), minutes_of(opens), minutes_of(closes))


def _first_within(start: int, end: int, zone: Zone, hours: Hours) -> int | None:
    """The first instant in ``[start, end)`` that lies in these hours."""
    return next((max(low, start) for low, high in _around(start, end, zone, hours) if low < end and start < high), None)


def _around(start: int, end: int, zone: Zone, hours: Hours) -> tuple[Interval, ...]:
    """These hours on the local days around ``[start, end]``; in several possible zones what is common to all.

    A local date is at most a day away from the UTC day, and its hours may reach into the next: whole UTC days with two
    to spare on both sides cover everything relevant, and make the result reusable.
    """
    return _daily(utc_day(start) - 2, utc_day(end) + 3, zone.names, hours)


@lru_cache(maxsize=2_048)
def _daily(first: int, last: int, names: tuple[str, ...], hours: Hours) -> tuple[Interval, ...]:
    """The hours on the local days ``[first, last)``, in order."""
    per_zone = (_in_zone(range(first, last), name, hours) for name in names)
    common: Iterable[Interval] = next(per_zone)
    for other in per_zone:
        common = _intersection(common, other)
    return tuple(common)


def _in_zone(days: range, name: str, hours: Hours) -> Iterator[Interval]:
    for day in days:
        if (day + 3) % 7 + 1 in hours.weekdays:  # 1970-01-01 was a Thursday
            # A wall time that occurs twice: quiet hours end with the second, begin with the first.
            opens = zones.instant_at(day, hours.opens, name, repeated="second")
            closes = zones.instant_at(day, hours.closes, name)
            if opens < closes:
                yield opens, closes


def _intersection(left: Iterable[Interval], right: Iterable[Interval]) -> Iterator[Interval]:
    others = list(right)
    for low, high in left:
        for other_low, other_high in others:
            if low < other_high and other_low < high:
                yield max(low, other_low), min(high, other_high)


# ----------------------------------------------------------------------------------------------------------- channels


def usable_channels(c: Customer, policy: Policy) -> tuple[Channel, ...]:
    """Reachable, consented, neither suppressed nor held, allowed by policy; in the order e-mail, in-app, phone."""
    if c.on_hold or (c.suppressed is not None and c.suppressed.value):
        return ()
    return tuple(
        channel
        for channel in CHANNELS
        if channel in policy.channels_allowed and _reachable(c, channel, policy) and is_consented(c, channel, policy)
    )


def _reachable(c: Customer, channel: Channel, policy: Policy) -> bool:
    known = c.reachable.get(channel)
    return channel in policy.channels_default if known is None else known.value


def is_consented(c: Customer, channel: Channel, policy: Policy) -> bool:
    known = c.consent.get(channel)
    return policy.consent_default == "granted" if known is None else known.value


def in_critical_task(c: Customer, now: int, policy: Policy) -> bool:
    """Whether a task has been started and not ended; one without an end lapses."""
    lapse = policy.moments.critical_task_seconds * SECOND
    return any(task.value and task.at.time <= now < task.at.time + lapse for task in c.tasks.values())


def is_cut_short(c: Customer, call: str | None) -> bool:
    """Whether that call was cut short; once calls have been forgotten, any that is not known may have been."""
    if call is None:
        return False
    return short(call, LONGEST_NAME) in c.calls_cut_short or "calls_cut_short" in c.forgotten


def has_open_concern(c: Customer) -> bool:
    return any(concern.value for concern in c.concerns.values())


def speaks_at(channel: Channel, c: Customer, now: int, zone: Zone, policy: Policy) -> bool:
    """Whether the channel may carry the ask at ``now``, slots aside."""
    match channel:
        case "email":
            return not is_quiet(now, zone, policy.moments)
        case "in_app":
            return not in_critical_task(c, now, policy)
        case "phone":
            return not has_open_concern(c)


OFFICE_HOURS = Hours(frozenset(range(1, 6)), minutes_of("08:00"), minutes_of("20:00"))
"""When nobody minds a call that no moment of theirs has led to."""


def command_channels(
    first: Channel, c: Customer, start: int, end: int, zone: Zone, policy: Policy
) -> tuple[Channel, ...]:
    """The moment's channel, then the others that are usable and may speak throughout ``[start, end)``.

    Nobody knows when in that time a worker falls back to another channel.
    """
    others = (
        channel
        for channel in usable_channels(c, policy)
        if channel != first
        and speaks_at(channel, c, start, zone, policy)
        and _hours_last(channel, start, end, zone, policy)
    )
    return (first, *others)


def _hours_last(channel: Channel, start: int, end: int, zone: Zone, policy: Policy) -> bool:
    """Whether the channel's hours last throughout ``[start, end)``; those of the app always do."""
    if channel == "in_app":
        return True
    over = _end_of(start, zone, OFFICE_HOURS if channel == "phone" else _open_hours(policy.moments))
    return over is not None and end <= over


def moment_channel(e: Event, c: Customer, now: int, zone: Zone, policy: Policy) -> Channel | None:
    """The channel for which this event, arriving at ``now``, is a good moment; None if it is not one.

    The state ``c`` has the event folded in. Only fresh events count: a moment is over after ten minutes, and those in
    a backfill are long over.
    """
    channel = None if e.historical else _moment_of(e, c)
    if (
        channel is None
        or now - e.time > policy.moments.moment_fresh_seconds * SECOND
        or channel not in usable_channels(c, policy)
        or not speaks_at(channel, c, now, zone, policy)
    ):
        return None
    return channel


_MOMENT_TYPES = frozenset(
    data.type
    for data in (
        ev.EmailOpened, ev.EmailClicked, ev.WorkflowCompleted, ev.AchievementUnlocked, ev.DashboardViewed,
        ev.TicketSolved, ev.TicketRated, ev.CallMoment,
    )
)  # fmt: skip


def _moment_of(e: Event, c: Customer) -> Channel | None:
    if e.type not in _MOMENT_TYPES:
        return None
    match e.data:
        case ev.EmailOpened() | ev.EmailClicked():
            return "email"
        case ev.WorkflowCompleted() | ev.AchievementUnlocked():
            return "in_app"
        case ev.DashboardViewed(metrics_positive=True):
            return "in_app"
        case ev.TicketSolved(rating="positive") | ev.TicketRated(rating="positive"):
            return "in_app"
        case ev.CallMoment(call_id=call_id) if not is_cut_short(c, call_id):
            return "phone"
        case _:
            return None
