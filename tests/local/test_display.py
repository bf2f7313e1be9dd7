from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.policy import Policy
from referral_stream.core.zones import zone
from referral_stream.demo.display import ONE_LINE_COLUMNS, STARTING, BoardRow, CloudEventBody, DecisionBoard, Screen
from referral_stream.demo.world import CAST, START, demo_world
from referral_stream.replay.files import replay_file
from referral_stream.words.decisions import outcome_words

BERLIN = zone("Europe/Berlin")
_CONTROL = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
TITLES = {character.customer_id: character.title for character in CAST}


def reason(gate: str, saw: str, answer: str = "never", until: str | None = None, limit: str = "") -> dict[str, Any]:
    return {"gate": gate, "answer": answer, "until": until, "saw": saw, "limit": limit}


def a_decision(outcome: str, *reasons: dict[str, Any], opportunity: str = "one", **more: Any) -> CloudEventBody:
    return {
        "data": {
            "opportunity_id": opportunity,
            "customer_id": "cus-ana",
            "trigger": "nps_promoter",
            "outcome": outcome,
            "reasons": [reason("erased", "clear", "pass"), *reasons],
            "score": {"value": 75, "raw": 75, "parts": {}},
            "window": {"opens": "2026-09-15T08:00:00.000Z", "deadline": "2026-09-16T08:00:00.000Z"},
            "time_zone": {"name": "Europe/Berlin", "source": "profile"},
            "decided_at": "2026-09-15T08:20:00.000Z",
            **more,
        }
    }


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> list[CloudEventBody]:
    """The decisions of the demo world, as the engine writes them."""
    folder: Path = tmp_path_factory.mktemp("week")
    log = folder / "world.jsonl"
    log.write_text("".join(json.dumps(record) + "\n" for record in demo_world()))
    replay_file(log, folder, Policy(), Boundary(email_key=b"demo"))
    return [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]


def rows_of(messages: list[CloudEventBody]) -> list[BoardRow]:
    board = DecisionBoard(TITLES, BERLIN)
    return [row for message in messages if (row := board.show(message)) is not None]


def terminal(width: int, height: int) -> tuple[Console, io.StringIO]:
    page = io.StringIO()
    # Without colours, so that what is left of a terminal's own language is what moves the cursor.
    return Console(file=page, force_terminal=True, width=width, height=height, color_system=None), page


def plain(drawn: str) -> str:
    """What is left on a terminal that was drawn on: every erased line is gone."""
    lines: list[str] = []
    for line in drawn.split("\n"):
        erased = line.count("\x1b[1A\x1b[2K")
        lines[len(lines) - erased :] = []
        lines.append(_CONTROL.sub("", line).rpartition("\r")[2])
    return "\n".join(lines)


def test_what_was_held_back_and_asked_later_stays_on_the_screen_as_both() -> None:
    waits = a_decision("pending", reason("moment", "settling", "until", "2026-09-15T08:24:00.000Z"))
    first, second = rows_of([waits, a_decision("asked", mode="direct", channel="email")])
    assert (first.outcome, first.reason) == ("pending", "planned for Tue 15 Sep 10:24")
    assert (second.customer, second.happened, second.outcome, second.reason) == (
        "Ana, delighted",
        "gave a top score",
        "asked",
        "by e-mail, a direct ask, score 75",
    )


def test_a_planned_moment_is_not_told_beside_what_stands_in_the_way() -> None:
    board = DecisionBoard(TITLES, BERLIN)
    line = board.show(
        a_decision(
            "deferred",
            reason("trouble", "ticket 4711 is open", "until_event", "ticket.solved"),
            reason("moment", "settling", "until", "2026-09-15T08:24:00.000Z"),
        )
    )
    assert line is not None
    assert line.reason == "ticket 4711 is open, waiting for it to be solved"


def test_a_decision_in_the_same_words_is_shown_once() -> None:
    open_ticket = reason("trouble", "ticket 4711 is open", "until_event", "ticket.solved")
    planned = reason("moment", "settling", "until", "2026-09-15T08:24:00.000Z")
    board = DecisionBoard(TITLES, BERLIN)
    assert board.show(a_decision("deferred", open_ticket, planned)) is not None
    assert board.show(a_decision("deferred", open_ticket, decided_at="2026-09-15T08:24:00.000Z")) is None
    assert board.summary() == "Asks: 0, out of 1 opportunities."


@pytest.mark.parametrize("outcome", ["historical", "duplicate"])
def test_what_is_no_news_is_not_shown(outcome: str) -> None:
    board = DecisionBoard(TITLES, BERLIN)
    assert board.show(a_decision(outcome)) is None
    assert board.summary() == "Asks: 0, out of 0 opportunities."


def test_a_message_that_is_no_decision_is_not_shown() -> None:
    assert DecisionBoard(TITLES, BERLIN).show({"data": {"command_id": "one", "customer_id": "cus-ana"}}) is None


def test_times_are_in_the_customers_zone_and_the_clock_in_the_demos() -> None:
    board = DecisionBoard(TITLES, BERLIN)
    row = board.show(a_decision("asked", time_zone={"name": "America/New_York", "source": "profile"}))
    assert row is not None
    assert row.text().plain.startswith("Tue 15 Sep 04:20  Ana, delighted")
    assert board.__rich__().plain == "Tue 15 Sep 10:20 in Berlin   opportunities: 1, asked: 1"


def test_the_clock_is_never_behind_the_newest_decision_and_never_goes_back() -> None:
    board = DecisionBoard(TITLES, BERLIN)
    board.tick(datetime(2026, 9, 15, 8, 0, tzinfo=UTC))
    board.show(a_decision("asked"))
    assert board.clock() == "Tue 15 Sep 10:20 in Berlin"
    board.tick(datetime(2026, 9, 15, 8, 10, tzinfo=UTC))
    assert board.clock() == "Tue 15 Sep 10:20 in Berlin"
    board.tick(datetime(2026, 9, 15, 8, 30, tzinfo=UTC))
    assert board.clock() == "Tue 15 Sep 10:30 in Berlin"


def test_the_week_ends_with_a_summary(week: list[CloudEventBody]) -> None:
    board = DecisionBoard(TITLES, BERLIN)
    for message in week:
        board.show(message)
    assert board.summary() == (
        "Asks: 6, out of 15 opportunities.\n"
        "Not asked because of: trouble 3, consent 1, too early 1, overasking 1, moment 1."
    )


@pytest.mark.parametrize("width", [80, 100, ONE_LINE_COLUMNS - 1, ONE_LINE_COLUMNS, 140, 200])
def test_a_row_is_as_wide_as_the_screen_and_breaks_between_words_only(week: list[CloudEventBody], width: int) -> None:
    rows = rows_of(week)
    assert {row.customer for row in rows} == set(TITLES.values())
    for row in rows:
        shown = row.text(width).plain
        assert max(map(len, shown.split("\n"))) <= width
        assert shown.replace(":", "").split() == row.text().plain.replace(":", "").split()
        assert shown.count("\n") < 4, "four lines at most, on the narrowest of these"


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_even_the_narrowest_screen_gets_every_word(week: list[CloudEventBody], width: int) -> None:
    for row in rows_of(week):
        shown = row.text(width).plain
        assert max(map(len, shown.split("\n"))) <= width
        assert "".join(shown.replace(":", "").split()) == "".join(row.text().plain.replace(":", "").split())


def test_in_a_pipe_the_columns_stand_apart_and_a_decision_is_one_line(week: list[CloudEventBody]) -> None:
    for row in rows_of(week):
        when, customer, happened, decision, why = re.split(" {2,}", row.text().plain)
        assert (customer, happened, why) == (row.customer, row.happened, row.reason)
        assert re.fullmatch(r"\w{3} \d+ \w{3} \d\d:\d\d", when)
        assert decision == outcome_words(row.outcome)


def test_the_decided_word_alone_is_coloured(week: list[CloudEventBody]) -> None:
    for row in rows_of(week):
        for width in (80, 140, None):
            text = row.text(width)
            (span,) = text.spans
            assert text.plain[span.start : span.end] == outcome_words(row.outcome)


def test_without_a_terminal_each_decision_is_one_uncoloured_line(week: list[CloudEventBody]) -> None:
    pipe = io.StringIO()
    with Screen(DecisionBoard(TITLES, BERLIN), Console(file=pipe, width=40)) as screen:
        for message in week:
            screen.show(message)
        screen.tick(START)
    assert pipe.getvalue().splitlines() == [STARTING, *(row.text().plain for row in rows_of(week))]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (140, 40), (80, 8)])
def test_on_a_terminal_the_newest_decision_is_at_the_bottom_and_the_clock_below_it(
    week: list[CloudEventBody], width: int, height: int
) -> None:
    console, page = terminal(width, height)
    with Screen(DecisionBoard(TITLES, BERLIN), console) as screen:
        assert plain(page.getvalue()) == STARTING
        shown = []
        for message in week:
            before = page.getvalue()
            screen.show(message)
            if page.getvalue() != before:
                shown.append(plain(page.getvalue()).split("\n"))
    rows = [row.text(width).plain.split("\n") for row in rows_of(week)]
    assert len(shown) == len(rows)
    for lines, row in zip(shown, rows, strict=True):
        visible = lines[-height:]
        assert visible[-1 - len(row) : -1] == row
        assert "in Berlin   opportunities:" in visible[-1]
    assert plain(page.getvalue()).rstrip("\n").split("\n") == [line for row in rows for line in row]


def test_a_terminal_that_cannot_move_its_cursor_gets_the_decisions_alone(
    week: list[CloudEventBody], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    page = io.StringIO()
    with Screen(DecisionBoard(TITLES, BERLIN), Console(file=page, force_terminal=True)) as screen:
        for message in week:
            screen.show(message)
    assert "\x1b" not in page.getvalue()
    assert page.getvalue().splitlines()[1:] == [
        line for row in rows_of(week) for line in row.text(80).plain.split("\n")
    ]


def test_the_readme_shows_what_a_terminal_of_80_columns_shows(week: list[CloudEventBody]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.partition("## One decision, line by line")[2].partition("\n## ")[0]
    deniz = [row.text(80).plain for row in rows_of(week) if row.customer == TITLES["cus-deniz"]]
    assert section.split("```")[1] == "\n" + "\n".join(deniz) + "\n"
    first = next(
        row["data"]
        for row in week
        if row["data"]["customer_id"] == "cus-deniz"
        if row["data"]["outcome"] != "historical"
    )
    answers = {reason["gate"]: reason["until"] for reason in first["reasons"] if reason["answer"] != "pass"}
    assert answers == {"trouble": "ticket.solved", "moment": "2026-09-16T07:50:00.000Z"}
    assert len(first["reasons"]) - len(answers) == 12
    for told in ("fourteen **gates**", "Twelve passed", "`until_event(ticket.solved)`", "`until 09:50`"):
        assert told in section


def test_what_follows_an_ask_is_shown_in_the_zone_of_the_customers_decisions() -> None:
    board = DecisionBoard(TITLES)
    board.show(a_decision("asked", mode="direct", channel="email"))
    reversed_ = {
        "type": "referral.reward.reversed",
        "time": "2026-09-21T13:00:02.000Z",
        "data": {"customer_id": "cus-ana", "referral_id": "ref-1", "reason": "refunded"},
    }
    row = board.show(reversed_)
    assert row is not None
    assert row.text().plain == (
        "Mon 21 Sep 15:00  Ana, delighted            a reward             reward           "
        "the reward for the referral ref-1 is taken back: what the contact bought was refunded"
    )
    assert board.summary().splitlines()[-1] == (
        "After the asks: follow-ups 0, withdrawn 0; rewards granted 0, taken back 1."
    )
    assert board.show({"type": "referral.record.changed", "time": "", "data": {"customer_id": "cus-ana"}}) is None
