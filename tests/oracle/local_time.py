"""Local calendars: deadlines, quiet hours, the weekly slot. The pinned tzdata package is the only source of zones."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from tests.oracle.policy import Policy

Span = tuple[datetime, datetime]
DAY = timedelta(days=1)


@cache
def zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that name. Raises `KeyError` where there is none."""
    if name not in zone_names():
        raise KeyError(name)
    with resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@lru_cache(maxsize=100_000)
def instant_of(local: datetime, name: str, fold: int = 0) -> datetime:
    """A wall time as an instant: after a gap if it does not exist, the `fold`-th (0, 1) if it is repeated."""
    first, second = (local.replace(tzinfo=zone(name), fold=f).astimezone(UTC) for f in (0, 1))
    if first <= second:
        return second if fold else first
    # The wall time falls into a gap. Read with the offset before it, it is after the jump; with the one after, before.
    before, after = second, first
    jumped = after.astimezone(zone(name)).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        middle = middle if middle > before else before + timedelta(seconds=1)
        if middle.astimezone(zone(name)).utcoffset() == jumped:
            after = middle
        else:
            before = middle
    return after


def local_date(moment: datetime, name: str) -> date:
    return moment.astimezone(zone(name)).date()


def next_midnight(moment: datetime, names: Iterable[str]) -> datetime:
    """The first start of a local day strictly after `moment`, in whichever of the zones it comes first."""
    return min(
        found
        for name in names
        for ahead in (0, 1, 2)
        for fold in (0, 1)
        if (found := instant_of(datetime.combine(local_date(moment, name) + ahead * DAY, time()), name, fold)) > moment
    )


def days_later(moment: datetime, days: int, names: Iterable[str]) -> datetime:
    """The same wall time `days` local dates later, in whichever of the zones it comes first."""
    return min(
        instant_of(moment.astimezone(zone(name)).replace(tzinfo=None, fold=0) + days * DAY, name) for name in names
    )


def clock(text: str) -> time:
    return time.fromisoformat(text)


def dates_around(start: datetime, end: datetime, name: str) -> list[date]:
    first, last = local_date(start, name) - 2 * DAY, local_date(end, name) + 2 * DAY
    return [first + n * DAY for n in range((last - first).days + 1)]


def quiet_spans(start: datetime, end: datetime, names: Iterable[str], policy: Policy) -> list[Span]:
    """All quiet times that touch [start, end), joined where they overlap. Quiet in one zone is quiet."""
    begins, ends = clock(policy["quiet_start"]), clock(policy["quiet_end"])
    found = []
    for name in names:
        for day in dates_around(start, end, name):
            if begins != ends:
                until = day if begins < ends else day + DAY
                night = datetime.combine(day, begins), datetime.combine(until, ends)
                found.append((instant_of(night[0], name), instant_of(night[1], name, 1)))
            if day.weekday() in policy["quiet_weekdays"]:
                midnights = datetime.combine(day, time()), datetime.combine(day + DAY, time())
                found.append((instant_of(midnights[0], name), instant_of(midnights[1], name, 1)))
    joined: list[Span] = []
    for opens, closes in sorted(found):
        if joined and opens <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], closes)
        else:
            joined.append((opens, closes))
    return joined


def slot_spans(start: datetime, end: datetime, names: list[str], policy: Policy) -> list[Span]:
    """The weekly slots around [start, end): only what lies in the slot of every zone."""
    if policy["slot_weekday"] is None:
        return []
    spans = [(start, end)]
    for name in names:
        here = [
            (
                instant_of(datetime.combine(day, clock(policy["slot_start"])), name),
                instant_of(datetime.combine(day, clock(policy["slot_end"])), name),
            )
            for day in dates_around(start, end, name)
            if day.weekday() == policy["slot_weekday"]
        ]
        spans = [(max(a, c), min(b, d)) for a, b in spans for c, d in here if max(a, c) < min(b, d)]
    return spans


def is_quiet(moment: datetime, names: list[str], policy: Policy) -> bool:
    return any(opens <= moment < closes for opens, closes in quiet_spans(moment, moment, names, policy))


def in_office_hours(start: datetime, end: datetime, name: str) -> bool:
    """Whether all of [start, end) lies within 08:00-20:00 of one local weekday."""
    day = local_date(start, name)
    opens, closes = (instant_of(datetime.combine(day, time(hour)), name) for hour in (8, 20))
    return day.weekday() < 5 and opens <= start and end <= closes


def next_quiet_start(moment: datetime, names: list[str], policy: Policy) -> datetime | None:
    """When it is next quiet after `moment`, which is not; None where it is never quiet within two weeks."""
    spans = quiet_spans(moment, moment + 14 * DAY, names, policy)
    return next((opens for opens, _ in spans if opens > moment), None)


def first_loud(span: Span, names: list[str], policy: Policy) -> datetime | None:
    """The first instant of [start, end) that is not quiet."""
    moment, end = span
    for opens, closes in quiet_spans(*span, names, policy):
        if opens <= moment < closes:
            moment = closes
    return moment if moment < end else None


def email_instant(start: datetime, deadline: datetime, names: list[str], policy: Policy) -> datetime | None:
    """The instant the clock picks for an e-mail in [start, deadline): in the slot if any is left, else not quiet."""
    if start >= deadline:
        return None
    slots = [first_loud(span, names, policy) for span in sorted(slot_spans(start, deadline, names, policy))]
    in_slot = [moment for moment in slots if moment is not None]
    return in_slot[0] if in_slot else first_loud((start, deadline), names, policy)
