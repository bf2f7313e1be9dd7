"""Instants: whole milliseconds, read and written without loss."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from referral_stream.core.instants import (
    DAY,
    EARLIEST,
    LATEST,
    Instant,
    from_datetime,
    parse_instant,
    rfc3339,
    to_datetime,
    utc_day,
)
from tests.rules import rule

ONE_SECOND_IN = 1_000


class Letter(BaseModel):
    written: Instant


@pytest.mark.parametrize(
    ("text", "instant", "naive"),
    [
        ("1970-01-01T00:00:00Z", 0, False),
        ("1970-01-01T00:00:01.000Z", ONE_SECOND_IN, False),
        ("1970-01-01t00:00:01z", ONE_SECOND_IN, False),
        ("1970-01-01 00:00:01+00:00", ONE_SECOND_IN, False),
        ("1970-01-01T02:00:01+02:00", ONE_SECOND_IN, False),
        ("1969-12-31T19:00:01-05:00", ONE_SECOND_IN, False),
        ("1970-01-01T00:00:01", ONE_SECOND_IN, True),
        ("1970-01-01T00:00:01.0009999Z", ONE_SECOND_IN, False),
        ("1970-01-01T00:00:00.9999Z", ONE_SECOND_IN - 1, False),
        ("9999-12-31T23:59:59.999Z", LATEST, False),
    ],
)
def test_text_is_read_to_the_millisecond_and_what_is_finer_is_cut_off(text: str, instant: int, naive: bool) -> None:
    assert parse_instant(text) == (instant, naive)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-06-16", "20260616", "12:30:00Z", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
     "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59-00:01"],
)  # fmt: skip
def test_what_is_no_date_and_time_between_1970_and_9999_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)


@given(st.integers(EARLIEST, LATEST))
def test_an_instant_survives_every_form_it_takes(instant: int) -> None:
    assert parse_instant(rfc3339(instant)) == (instant, False)
    assert from_datetime(to_datetime(instant)) == instant


def test_a_moment_has_milliseconds_and_nothing_finer() -> None:
    assert to_datetime(999) == datetime(1970, 1, 1, 0, 0, 0, 999_000, UTC)


@rule("10.95")
def test_an_instant_is_written_in_utc_with_milliseconds_and_a_z() -> None:
    moment = datetime(2026, 6, 16, 8, 0, 0, 7_999, UTC)
    assert rfc3339(from_datetime(moment)) == "2026-06-16T08:00:00.007Z"


@pytest.mark.parametrize(("instant", "day"), [(0, 0), (DAY - 1, 0), (DAY, 1), (DAY + 1, 1)])
def test_a_utc_day_begins_at_midnight(instant: int, day: int) -> None:
    assert utc_day(instant) == day


@pytest.mark.parametrize("given_", ["1970-01-01T00:00:01Z", ONE_SECOND_IN])
def test_a_message_may_give_text_or_milliseconds_and_always_shows_text(given_: object) -> None:
    letter = Letter.model_validate({"written": given_})

    assert letter.written == ONE_SECOND_IN
    assert letter.model_dump_json() == '{"written":"1970-01-01T00:00:01.000Z"}'


@pytest.mark.parametrize("given_", [True, 1.5, None, "yesterday", EARLIEST - 1, LATEST + 1])
def test_a_message_with_anything_else_for_an_instant_is_refused(given_: object) -> None:
    with pytest.raises(ValidationError):
        Letter.model_validate({"written": given_})


@pytest.mark.parametrize("instant", [EARLIEST, LATEST])
def test_a_message_may_give_the_first_and_the_last_millisecond(instant: int) -> None:
    assert Letter(written=instant).written == instant
