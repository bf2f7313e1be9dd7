"""What an answer means, and when it is tried again."""

from __future__ import annotations

import pytest

from referral_stream.core.instants import parse_instant
from referral_stream.rewards.answers import (
    LONGEST_RETRY_AFTER_SECONDS,
    Backoff,
    PayerAnswer,
    TellingOutcome,
    outcome_of,
    retry_after_seconds,
    trouble_of,
)
from tests.rules import rule

NOW = parse_instant("2026-06-19T10:00:00Z")[0]
FULL = Backoff(lambda: 0.0)
HALF = Backoff(lambda: 1.0)


@rule("A4.20")
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (199, TellingOutcome.LATER),
        (200, TellingOutcome.DONE),
        (202, TellingOutcome.DONE),
        (299, TellingOutcome.DONE),
        (300, TellingOutcome.LATER),
        (302, TellingOutcome.LATER),
        (400, TellingOutcome.LATER),
        (401, TellingOutcome.LATER),
        (404, TellingOutcome.LATER),
        (409, TellingOutcome.LATER),
        (410, TellingOutcome.GONE),
        (422, TellingOutcome.REFUSED),
        (429, TellingOutcome.LATER),
        (500, TellingOutcome.LATER),
        (599, TellingOutcome.LATER),
        (None, TellingOutcome.LATER),
    ],
)
def test_only_422_is_final_and_only_2xx_is_done(status: int | None, outcome: TellingOutcome) -> None:
    assert outcome_of(PayerAnswer(status)) is outcome


@pytest.mark.parametrize(
    ("status", "trouble"),
    [(None, "unreachable"), (307, "refusing"), (400, "refusing"), (401, "refusing"), (404, "refusing"),
     (408, "failing"), (409, "failing"), (423, "failing"), (425, "failing"), (429, "failing"), (503, "failing")],
)  # fmt: skip
def test_the_log_says_whose_fault_it_is(status: int | None, trouble: str) -> None:
    assert trouble_of(PayerAnswer(status)) == trouble


@rule("A4.19")
def test_the_wait_doubles_up_to_five_minutes_and_never_ends() -> None:
    assert [FULL.seconds(n) for n in (1, 2, 3, 8, 9, 10, 1_000_000)] == [1, 2, 4, 128, 256, 300, 300]
    assert [HALF.seconds(n) for n in (1, 2, 10)] == [0.5, 1, 150]


@rule("A4.19")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("0", 0),
        (" 120 ", 120),
        ("86400", 86_400),
        ("9" * 30, LONGEST_RETRY_AFTER_SECONDS),
        ("Fri, 19 Jun 2026 10:05:00 GMT", 300),
        ("Fri, 19 Jun 2026 09:00:00 GMT", 0),
        ("Friday, 19-Jun-26 10:00:30 GMT", 30),
        ("Fri, 19 Jun 2026 10:00:30 -0000", 30),
        ("Fri, 99 Jun 2026 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(text, NOW) == seconds


@rule("A4.19")
def test_what_the_payer_asks_for_counts_and_is_bounded() -> None:
    def waits(text: str, backoff: Backoff = FULL) -> float:
        return backoff.wait(PayerAnswer(429, retry_after=text), 7, NOW)

    assert waits("120") == 120
    assert 120 <= waits("120", HALF) <= 121, "never earlier than asked for"
    assert waits("0") == 1, "at once, again and again, would be a tight loop"
    assert waits("999999999") == LONGEST_RETRY_AFTER_SECONDS
    assert waits("whenever") == FULL.seconds(7)
