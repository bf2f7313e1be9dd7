from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.policy import Policy
from referral_stream.core.zones import zone
from referral_stream.demo.display import CloudEventBody, DecisionBoard, on_screen
from referral_stream.demo.world import CAST, START, demo_world
from referral_stream.replay.files import replay_file

BERLIN = zone("Europe/Berlin")
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


def rendered(renderable: Any, width: int = 160) -> str:
    page = io.StringIO()
    Console(file=page, width=width).print(renderable)
    return page.getvalue()


def test_a_row_shows_only_the_latest_decision_of_an_opportunity() -> None:
    board = DecisionBoard(TITLES, BERLIN)
    board.show(a_decision("pending", reason("moment", "settling", "until", "2026-09-15T08:24:00.000Z")))
    board.show(a_decision("asked", mode="direct", channel="email"))
    (line,) = board.lines
    assert (line.customer, line.happened, line.outcome, line.reason) == (
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
    first = board.show(a_decision("deferred", open_ticket, planned))
    assert board.show(a_decision("deferred", open_ticket, decided_at="2026-09-15T08:24:00.000Z")) is None
    assert board.lines == (first,)


@pytest.mark.parametrize("outcome", ["historical", "duplicate"])
def test_what_is_no_news_is_not_shown(outcome: str) -> None:
    board = DecisionBoard(TITLES, BERLIN)
    assert board.show(a_decision(outcome)) is None
    assert board.lines == ()


def test_a_message_that_is_no_decision_is_not_shown() -> None:
    assert DecisionBoard(TITLES, BERLIN).show({"data": {"command_id": "one", "customer_id": "cus-ana"}}) is None


def test_times_are_in_the_customers_zone_and_the_clock_in_the_demos() -> None:
    board = DecisionBoard(TITLES, BERLIN)
    board.show(a_decision("asked", time_zone={"name": "America/New_York", "source": "profile"}))
    board.tick(datetime(2026, 9, 15, 8, 20, tzinfo=UTC))
    shown = rendered(board)
    assert "Tue 15 Sep 10:20   opportunities: 1, asked: 1" in shown
    assert "Tue 15 Sep 04:20" in shown


def test_the_table_keeps_to_its_latest_rows() -> None:
    board = DecisionBoard(TITLES, BERLIN, rows=2)
    for number in range(4):
        board.show(a_decision("asked", opportunity=f"opportunity-{number}", customer_id=f"cus-{number}"))
    shown = rendered(board)
    assert [f"cus-{number}" in shown for number in range(4)] == [False, False, True, True]


def test_the_week_ends_with_a_row_per_story_and_a_summary(week: list[CloudEventBody]) -> None:
    board = DecisionBoard(TITLES, START.tzinfo or UTC)
    for message in week:
        board.show(message)
    shown = rendered(board)
    for title in TITLES.values():
        assert title in shown
    closing = rendered(board.closing([("referral-stream explain cus-deniz", "every gate's answer")]))
    assert "Asks: 6, out of 15 opportunities." in closing
    assert "trouble 3" in closing
    assert "referral-stream explain cus-deniz" in closing


def test_without_a_terminal_each_decision_is_one_uncoloured_line(week: list[CloudEventBody]) -> None:
    pipe = io.StringIO()
    with on_screen(DecisionBoard(TITLES, BERLIN), Console(file=pipe, width=40)) as screen:
        for message in week:
            screen.show(message)
        screen.tick(START)
    lines = pipe.getvalue().splitlines()
    assert sum("Ana, delighted" in line for line in lines) == 2, "she waits, she is asked"
    assert "\x1b" not in pipe.getvalue()
    assert any("Finn, late at night" in line and line.endswith("outlast the window") for line in lines)


def test_on_a_terminal_the_table_is_drawn_in_place(week: list[CloudEventBody]) -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=160, height=50)
    with on_screen(DecisionBoard(TITLES, BERLIN), console) as screen:
        for message in week:
            screen.show(message)
        screen.tick(START)
    drawn = terminal.getvalue()
    assert "Ana, delighted" in drawn
    assert "\x1b[2K" in drawn, "a live table erases what it draws over"
