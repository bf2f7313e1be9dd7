"""Decisions in plain words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from referral_stream.core.instants import parse_instant
from referral_stream.core.zones import zone
from referral_stream.words.decisions import day_and_time, happening, plain, why

BERLIN = zone("Europe/Berlin")
OPEN_TICKET = ("trouble", "ticket 4711 is open", "until_event", "ticket.solved")
SETTLED = "2026-09-15T08:20:00.000Z"


def reason(gate: str, saw: str, answer: str = "never", until: str | None = None, limit: str = "") -> dict[str, Any]:
    return {"gate": gate, "answer": answer, "until": until, "saw": saw, "limit": limit}


def a_decision(outcome: str, *reasons: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "reasons": [reason("erased", "clear", "pass"), *reasons],
        "score": {"value": 75, "raw": 75, "parts": {}},
        "window": {"opens": "2026-09-15T08:00:00.000Z", "deadline": "2026-09-16T08:00:00.000Z"},
        "settled": SETTLED,
        "time_zone": {"name": "Europe/Berlin", "source": "profile"},
        "decided_at": "2026-09-15T08:00:02.000Z",
        **more,
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reason(*OPEN_TICKET), "ticket 4711 is open, waiting for it to be solved"),
        (
            reason("too_early", "customer for 12 days", "until", "2026-10-03T09:00:00.000Z"),
            "too early: customer for only 12 days, no ask before Sat 3 Oct 11:00",
        ),
        (
            reason(
                "overasking", "asked at 2026-08-06T08:20:00.000Z", "until", "2026-11-04T08:20:00.000Z", "one in 90 days"
            ),
            "asked on Thu 6 Aug 10:20 (one in 90 days), no ask before Wed 4 Nov 09:20",
        ),
        (
            reason(
                "account",
                "account asked 2026-08-06T08:20:00.000Z; 3 asks since 2026-08-01T08:20:00.000Z",
                "until",
                "2026-11-04T08:20:00.000Z",
                "limits",
            ),
            (
                "an ask on Thu 6 Aug 10:20 counts for the account and 3 asks since "
                "Sat 1 Aug 10:20 (limits), no ask before Wed 4 Nov 09:20"
            ),
        ),
        (reason("moment", "settling", "until", SETTLED), "settles until Tue 15 Sep 10:20, then asks"),
        (reason("moment", "settling", "until", "2026-09-18T11:00:00.000Z"), "planned for Fri 18 Sep 13:00"),
        (reason("moment", "waits for its slot", "until", "2026-09-18T11:00:00.000Z"), "planned for Fri 18 Sep 13:00"),
        (
            reason("moment", "waits for a good moment", "until_event", "moment"),
            "for a moment when the customer is present",
        ),
        (
            reason("moment", "no allowed instant is left in the window"),
            "quiet hours or the weekend outlast the window",
        ),
        (
            reason("propensity", "score 40", "until_event", "signal", "score of 50"),
            "score 40; asking requires a score of 50, waiting for the next good signal",
        ),
        (reason("consent", "consent withdrawn"), "consent withdrawn"),
        (
            reason("trouble", "ticket 7 is open; refund at 2026-09-01T10:00:00.000Z", "until_event", "ticket.solved"),
            "ticket 7 is open, waiting for it to be solved; refund on Tue 1 Sep 12:00, which takes time",
        ),
        (
            reason("overasking", "ledger_unavailable", "until_event", "ledger.answered", "one in 90 days"),
            "the ledger does not answer (one in 90 days), until it answers",
        ),
        (
            reason("a_gate_of_tomorrow", "a cause of tomorrow", "until_event", "an.event"),
            "a cause of tomorrow, waiting for an.event",
        ),
    ],
)
def test_a_reason_is_told_in_plain_words_and_local_time(answer: dict[str, Any], words: str) -> None:
    assert plain(answer, BERLIN, SETTLED) == words


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (a_decision("asked", channel="email", mode="direct"), "by e-mail, a direct ask, score 75"),
        (a_decision("soft", channel="in_app", mode="soft"), "in the app, a soft mention, score 75"),
        (
            a_decision("asked", channel="email", mode="direct", arm="short/b"),
            "by e-mail, a direct ask, wording short/b, score 75",
        ),
        (a_decision("superseded"), "one ask at a time: another occasion to ask came first"),
        (
            a_decision("deferred", reason(*OPEN_TICKET), reason("moment", "settling", "until", SETTLED)),
            "ticket 4711 is open, waiting for it to be solved",
        ),
        (
            a_decision("suppressed", reason("too_early", "new", "until", "2026-10-03T09:00:00.000Z")),
            "too early: new, no ask before Sat 3 Oct 11:00; the window closes Wed 16 Sep 10:00",
        ),
        (
            a_decision("suppressed", reason(*OPEN_TICKET), decided_at="2026-09-16T08:00:00.000Z"),
            "ticket 4711 is open, waiting for it to be solved; the window closed Wed 16 Sep 10:00",
        ),
        (a_decision("suppressed", reason("consent", "consent withdrawn")), "consent withdrawn"),
        (
            a_decision("expired", reason("moment", "waits for a good moment", "until_event", "moment")),
            "the window closed Wed 16 Sep 10:00 without a good moment",
        ),
        (a_decision("expired_on_arrival"), "the window had closed Wed 16 Sep 10:00"),
        (
            a_decision("cancelled", reason("moment", "settling", "until", SETTLED)),
            "the survey answer was corrected",
        ),
        (a_decision("holdout", reason("holdout", "in the holdout group")), "in the holdout group"),
    ],
)
def test_a_decision_says_why(decision: dict[str, Any], words: str) -> None:
    assert why(decision) == words


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (None, "closes"), ("2026-09-16T07:59:59.999Z", "closes"), ("2026-09-16T08:00:00Z", "closed"),
        ("2027-01-01T00:00:00Z", "closed"),
    ],
)  # fmt: skip
def test_a_window_that_has_closed_since_then_is_closed(told: str | None, word: str) -> None:
    decision = a_decision("suppressed", reason("too_early", "new", "until", "2026-10-03T09:00:00.000Z"))
    now = None if told is None else parse_instant(told)[0]
    assert why(decision, now).endswith(f"the window {word} Wed 16 Sep 10:00")


def test_an_unknown_time_zone_is_told_as_utc() -> None:
    decision = a_decision("expired", time_zone={"name": "Mars/Olympus", "source": "event"})
    assert why(decision) == "the window closed Wed 16 Sep 08:00 without a good moment"


def test_a_trigger_of_a_team_s_own_is_named() -> None:
    assert happening("a_team_s_own") == "a_team_s_own"


def test_a_day_is_named_in_english() -> None:
    assert day_and_time(datetime(2026, 9, 18, 13, 0, tzinfo=UTC)) == "Fri 18 Sep 13:00"
