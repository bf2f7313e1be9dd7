"""Usage against a customer's own baseline, and days of use (semantics §10, Trouble and Activity)."""

from __future__ import annotations

import msgspec

from referral_stream.core import zones
from referral_stream.core.customer import Customer, Drop, UsageDay
from referral_stream.core.instants import DAY, MINUTE, utc_day
from referral_stream.core.policy import Policy

RECENT_DAYS = 7
HISTORY_DAYS = 35


def used(known: UsageDay | None, count: int, time: int) -> UsageDay:
    """That day with one more use of it at the instant ``time``."""
    minute = time % DAY // MINUTE
    if known is None:
        return UsageDay(count, minute, minute)
    return UsageDay(known.count + count, min(known.first, minute), max(known.last, minute))


def judge(c: Customer, through: int, policy: Policy) -> None:
    """Judge every UTC day not judged yet up to and including day ``through``, in order, on what is known now.

    Day D compares the daily mean of D−7…D−1 with that of D−35…D−8 (from the first day of use on). Afterwards, days that
    can no longer be looked at are forgotten.
    """
    if through <= c.judged_day:
        return
    if c.judged_day and c.usage:
        last_that_matters = max(c.usage) + HISTORY_DAYS + 1  # after it both means are zero and nothing changes
        for day in range(c.judged_day + 1, min(through, last_that_matters) + 1):
            _judge_day(c, day, policy)
    c.judged_day = through
    forget(c, through, policy)


def _judge_day(c: Customer, day: int, policy: Policy) -> None:
    drop, first, since = c.drop, c.first_use_day, day - RECENT_DAYS
    goes_on = drop is not None and drop.ended_day is None
    if not goes_on and (first is None or first > since - RECENT_DAYS):
        return  # too young to have a baseline
    start, recent, before = day - HISTORY_DAYS, 0, 0
    if first is not None and first > start:
        start = first
    for d, use in c.usage.items():  # one look at every day: a replay spends a good part of its time here
        if d >= since:
            if d < day:
                recent += use.count
        elif d >= start:
            before += use.count
    if drop is not None and goes_on:
        if 100 * recent * drop.base_days >= policy.trouble.usage_recovered_percent * RECENT_DAYS * drop.base_sum:
            c.drop = msgspec.structs.replace(drop, ended_day=day)
        return
    lost = policy.trouble.usage_drop_percent
    if before > 0 and 100 * recent * (since - start) <= (100 - lost) * RECENT_DAYS * before:
        c.drop = Drop(before, since - start, since_day=day)


def forget(c: Customer, today: int, policy: Policy) -> None:
    """Drop days that no baseline looks at, once it is certain that the product was used for long enough."""
    if not c.used_for_long:
        # A local date touches at most two UTC days: twice as many UTC days are enough in every zone.
        if len(c.usage) < 2 * policy.too_early.days_of_use:
            return
        c.used_for_long = True
    oldest = today - HISTORY_DAYS
    if c.usage and min(c.usage) < oldest:
        c.usage = {day: UsageDay(u.count, 0, 0) for day, u in c.usage.items() if day >= oldest}


def is_used_on(c: Customer, days: int, zone: str) -> bool:
    """Whether the usage that is still known lies on so many distinct local dates of that zone."""
    if 2 * len(c.usage) < days:
        return False  # a UTC day touches at most two local dates: the calendar is not needed
    return days_of_use(c, zone) >= days


def days_of_use(c: Customer, zone: str) -> int:
    """Distinct local dates with usage, in the zone given; at least that many if days have been forgotten."""
    dates = set()
    for day, use in c.usage.items():
        dates.add(zones.local_date(day * DAY + use.first * MINUTE, zone))
        dates.add(zones.local_date(day * DAY + use.last * MINUTE, zone))
    return len(dates)


def midnight_after(now: int) -> int:
    """The next 00:00Z strictly after ``now``: when the next day is judged."""
    return (utc_day(now) + 1) * DAY
