"""Local time in many zones, at both edges of daylight saving; the instants were worked out by hand in UTC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.core import zones
from referral_stream.core.instants import DAY, MINUTE, to_datetime
from referral_stream.core.rules.gates import ALWAYS_ANOTHER_DATE
from tests.builders import utc
from tests.rules import rule

NAMES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kolkata", "Africa/Cairo",
         "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns")  # fmt: skip


def day(text: str) -> int:
    """``"2026-06-16"`` → days since 1970-01-01."""
    return utc(f"{text} 00:00") // DAY


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "UTC", "Asia/Calcutta", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]
)
def test_names_of_the_database_are_zones(name: str) -> None:
    assert zones.is_zone(name)
    assert zones.zone(name).key == name


@pytest.mark.parametrize(
    "name", ["", "europe/berlin", "Europe/Atlantis", "CET+1", "../../etc/passwd", "+02:00", "Europe"]
)
def test_anything_else_is_no_zone(name: str) -> None:
    assert not zones.is_zone(name)
    with pytest.raises(KeyError):
        zones.zone(name)


@pytest.mark.parametrize(
    ("instant", "name", "local"),
    [
        ("2026-06-15 21:59:59.999", "Europe/Berlin", "2026-06-15"),
        ("2026-06-15 22:00", "Europe/Berlin", "2026-06-16"),
        ("2026-01-15 22:59:59.999", "Europe/Berlin", "2026-01-15"),
        ("2026-01-15 23:00", "Europe/Berlin", "2026-01-16"),
        ("2026-06-15 18:29:59.999", "Asia/Kolkata", "2026-06-15"),
        ("2026-06-15 18:30", "Asia/Kolkata", "2026-06-16"),
        ("2026-06-16 03:59:59.999", "America/New_York", "2026-06-15"),
        ("2026-06-16 04:00", "America/New_York", "2026-06-16"),
    ],
)
def test_the_local_date_changes_at_local_midnight(instant: str, name: str, local: str) -> None:
    assert zones.local_date(utc(instant), name) == day(local)


@rule("5.14")
@pytest.mark.parametrize(
    ("date", "clock", "name", "first", "second"),
    [
        # ordinary
        ("2026-06-19", "13:00", "Europe/Berlin", "2026-06-19 11:00", "2026-06-19 11:00"),
        ("2026-06-19", "13:00", "Asia/Kolkata", "2026-06-19 07:30", "2026-06-19 07:30"),
        # nonexistent: the first instant after the gap
        ("2026-03-29", "01:59", "Europe/Berlin", "2026-03-29 00:59", "2026-03-29 00:59"),
        ("2026-03-29", "02:00", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00"),
        ("2026-03-29", "02:30", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00"),
        ("2026-03-29", "03:00", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:00"),
        ("2026-03-29", "03:01", "Europe/Berlin", "2026-03-29 01:01", "2026-03-29 01:01"),
        ("2026-03-08", "02:30", "America/New_York", "2026-03-08 07:00", "2026-03-08 07:00"),
        ("2026-09-27", "02:30", "Pacific/Auckland", "2026-09-26 14:00", "2026-09-26 14:00"),
        ("2026-10-04", "02:10", "Australia/Lord_Howe", "2026-10-03 15:30", "2026-10-03 15:30"),
        ("2026-04-24", "00:00", "Africa/Cairo", "2026-04-23 22:00", "2026-04-23 22:00"),
        ("2018-11-04", "00:00", "America/Sao_Paulo", "2018-11-04 03:00", "2018-11-04 03:00"),
        ("2011-12-30", "12:00", "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00"),
        # repeated: the first or the second
        ("2026-10-25", "01:59", "Europe/Berlin", "2026-10-24 23:59", "2026-10-24 23:59"),
        ("2026-10-25", "02:00", "Europe/Berlin", "2026-10-25 00:00", "2026-10-25 01:00"),
        ("2026-10-25", "02:59", "Europe/Berlin", "2026-10-25 00:59", "2026-10-25 01:59"),
        ("2026-10-25", "03:00", "Europe/Berlin", "2026-10-25 02:00", "2026-10-25 02:00"),
        ("2026-11-01", "01:30", "America/New_York", "2026-11-01 05:30", "2026-11-01 06:30"),
        ("2026-04-05", "02:30", "Pacific/Auckland", "2026-04-04 13:30", "2026-04-04 14:30"),
        ("2026-04-05", "01:45", "Australia/Lord_Howe", "2026-04-04 14:45", "2026-04-04 15:15"),
    ],
)
def test_a_wall_time_is_an_instant_also_where_clocks_change(
    date: str, clock: str, name: str, first: str, second: str
) -> None:
    hours, minutes = map(int, clock.split(":"))
    minute = 60 * hours + minutes

    assert zones.instant_at(day(date), minute, name) == utc(first)
    assert zones.instant_at(day(date), minute, name, repeated="second") == utc(second)


def test_minutes_beyond_a_day_are_those_of_the_next() -> None:
    assert zones.instant_at(day("2026-06-19"), 24 * 60 + 30, "UTC") == utc("2026-06-20 00:30")


@rule("10.102")
@pytest.mark.parametrize(
    ("instant", "name", "midnight"),
    [
        ("2026-06-18 21:59:59.999", "Europe/Berlin", "2026-06-18 22:00"),
        ("2026-06-18 22:00", "Europe/Berlin", "2026-06-19 22:00"),  # strictly after
        ("2026-03-28 23:00", "Europe/Berlin", "2026-03-29 22:00"),  # a day of 23 hours
        ("2026-10-24 22:00", "Europe/Berlin", "2026-10-25 23:00"),  # a day of 25 hours
        ("2026-03-08 05:00", "America/New_York", "2026-03-09 04:00"),
        ("2026-11-01 04:00", "America/New_York", "2026-11-02 05:00"),
        ("2026-09-26 12:00", "Pacific/Auckland", "2026-09-27 11:00"),
        ("2026-04-04 11:00", "Pacific/Auckland", "2026-04-05 12:00"),
        ("2026-10-03 13:30", "Australia/Lord_Howe", "2026-10-04 13:00"),  # half an hour less
        ("2026-06-15 12:00", "Asia/Kolkata", "2026-06-15 18:30"),
        ("2026-04-23 20:00", "Africa/Cairo", "2026-04-23 22:00"),  # midnight does not exist: the day starts at 01:00
        ("2026-10-29 20:59:59.999", "Africa/Cairo", "2026-10-29 22:00"),  # 23:00-24:00 comes twice
        ("2010-11-07 02:29:59.999", "America/St_Johns", "2010-11-07 02:30"),  # a minute later it is 23:01 again
        ("2010-11-07 02:45", "America/St_Johns", "2010-11-07 03:30"),
        ("2011-12-30 09:00", "Pacific/Apia", "2011-12-30 10:00"),  # a whole day that never was
    ],
)
def test_the_next_midnight_is_the_first_start_of_a_local_day_strictly_after(
    instant: str, name: str, midnight: str
) -> None:
    assert zones.next_midnight(utc(instant), name) == utc(midnight)


@rule("10.101")
@pytest.mark.parametrize(
    ("instant", "days", "name", "later"),
    [
        ("2026-06-16 08:00:00.001", 7, "Europe/Berlin", "2026-06-23 08:00:00.001"),
        ("2026-03-24 08:00", 7, "Europe/Berlin", "2026-03-31 07:00"),  # an hour less
        ("2026-10-20 08:00", 7, "Europe/Berlin", "2026-10-27 09:00"),  # an hour more
        ("2026-03-22 01:30", 7, "Europe/Berlin", "2026-03-29 01:00"),  # 02:30 does not exist: 03:00, not 03:30
        ("2026-03-22 01:30:00.500", 7, "Europe/Berlin", "2026-03-29 01:00"),
        ("2026-10-18 00:30", 7, "Europe/Berlin", "2026-10-25 00:30"),  # 02:30 comes twice: the first
        ("2026-10-25 01:30", 7, "Europe/Berlin", "2026-11-01 01:30"),  # from the second 02:30 on
        ("2026-10-25 01:30", 0, "Europe/Berlin", "2026-10-25 00:30"),
        ("2026-10-25 05:30", 7, "America/New_York", "2026-11-01 05:30"),  # 01:30 comes twice
        ("2026-10-25 06:00", 7, "America/New_York", "2026-11-01 07:00"),
        ("2026-09-19 14:15", 7, "Pacific/Auckland", "2026-09-26 14:00"),
        ("2026-09-26 15:45", 7, "Australia/Lord_Howe", "2026-10-03 15:30"),
        ("2026-06-16 08:00", 7, "Asia/Kolkata", "2026-06-23 08:00"),
    ],
)
def test_calendar_days_later_clocks_show_the_same_time_or_the_first_after_a_gap(
    instant: str, days: int, name: str, later: str
) -> None:
    assert zones.same_wall_time(utc(instant), days, name) == utc(later)


@given(st.sampled_from(NAMES), st.integers(0, utc("2037-01-01 00:00")))
def test_after_three_days_it_is_another_date_everywhere(name: str, instant: int) -> None:
    """So gate 4 need not look at the calendar for most customers."""
    assert zones.local_date(instant + ALWAYS_ANOTHER_DATE, name) > zones.local_date(instant, name)


@given(st.sampled_from(NAMES), st.integers(utc("2000-01-01 00:00"), utc("2037-01-01 00:00")))
def test_between_an_instant_and_its_next_midnight_the_local_date_stays(name: str, instant: int) -> None:
    midnight = zones.next_midnight(instant, name)
    today = zones.local_date(instant, name)

    assert instant < midnight <= instant + 26 * 60 * MINUTE
    assert zones.local_date(midnight - 1, name) == today
    assert zones.local_date(midnight, name) > today or to_datetime(midnight).astimezone(zones.zone(name)).fold == 1


@given(st.sampled_from(NAMES), st.integers(10_957, 24_472), st.integers(0, 1_439))
def test_the_second_of_two_equal_wall_times_is_never_before_the_first(name: str, date: int, minute: int) -> None:
    first = zones.instant_at(date, minute, name)
    second = zones.instant_at(date, minute, name, repeated="second")

    assert first <= second <= first + 60 * MINUTE
