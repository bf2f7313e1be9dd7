"""A raw log in which a record has a clock of its own: it is taken at that of the others, and moves none."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.core import events as ev
from referral_stream.core.instants import DAY, HOUR
from referral_stream.replay.reading import Counts, FactLog, open_log
from tests.builders import a_customer, at, fact, nps
from tests.replay.logs import BOUNDARY, fact_lines, rows, write
from tests.rules import rule

T = at("Tue 12:00")


def arrived(folder: Path, *stamps: int) -> list[tuple[int, tuple[str, ...]]]:
    """When each record of a log with these timestamps is taken to have arrived, and its flags."""
    lines = [
        orjson.dumps(
            {
                "topic": "product-usage",
                "timestamp": T + stamp,
                "value": {
                    "specversion": "1.0",
                    "id": str(n),
                    "source": "tests",
                    "type": "advice.asked",
                    "subject": "ana",
                    "time": "2026-06-01T10:00:00Z",
                    "data": {},
                },
            }
        )
        for n, stamp in enumerate(stamps)
    ]
    with open_log(write(folder / "log.jsonl", lines), BOUNDARY, Counts(), lambda *_: None) as log:
        assert isinstance(log, FactLog)
        return [(arrival.now - T, arrival.event.flags) for arrival in log.arrivals]


JUMP = ("clock_jump",)


@rule("11.21")
@pytest.mark.parametrize(
    ("stamps", "taken"),
    [
        ((0, DAY + 1, 0), ((0, ()), (0, JUMP), (0, ()))),
        ((0, DAY, -1), ((0, ()), (DAY, ()), (DAY, ()))),  # not more than a day after the one before
        ((0, DAY + 1, 1), ((0, ()), (DAY + 1, ()), (DAY + 1, ()))),  # the next is not more than a day before it
        ((0, 9 * DAY, 2, 9 * DAY, 3), ((0, ()), (0, JUMP), (2, ()), (2, JUMP), (3, ()))),
        ((0, 9 * DAY, 9 * DAY + 1, 2), ((0, ()), (9 * DAY, ()), (9 * DAY + 1, ()), (9 * DAY + 1, ()))),  # two agree
        ((9 * DAY, 0, 1), ((9 * DAY, ()), (9 * DAY, ()), (9 * DAY, ()))),  # none before it
        ((0, 1, 9 * DAY), ((0, ()), (1, ()), (9 * DAY, ()))),  # the last one moves the clock
        ((0, 9 * DAY, DAY, 8 * DAY), ((0, ()), (0, JUMP), (DAY, ()), (8 * DAY, ()))),  # measured from the one before
    ],
)
def test_a_record_far_ahead_of_both_its_neighbours_moves_no_clock(
    tmp_path: Path, stamps: tuple[int, ...], taken: tuple[tuple[int, tuple[str, ...]], ...]
) -> None:
    assert arrived(tmp_path, *stamps) == list(taken)


@rule("11.21", "11.22")
def test_replay_names_the_line_and_asks_as_if_it_had_come_in_its_place(tmp_path: Path) -> None:
    lines = fact_lines(a_customer(), nps(9, "Thu 12:30"), fact(ev.AdviceAsked(), "Thu 12:40"))
    ahead = orjson.loads(lines[2]) | {"timestamp": at("Thu 12:30") + 300 * DAY}
    told = (
        CliRunner()
        .invoke(
            main,
            [
                "replay",
                str(write(tmp_path / "log.jsonl", [*lines[:2], orjson.dumps(ahead), *lines[3:]])),
                "--output",
                str(tmp_path),
            ],
        )
        .stdout
    )

    assert "line 3 is" in told
    assert "newer than line 2, and the next line is not (records like it: 1)" in told
    assert "older" not in told
    asks = [row["data"]["not_before"] for row in rows(tmp_path, "asks")]
    assert asks == ["2026-06-18T10:50:00.000Z"]


@rule("11.22")
def test_an_unsorted_log_is_named_with_the_line_and_the_jump_and_the_remedy(tmp_path: Path) -> None:
    lines = fact_lines(a_customer(), nps(9, "Thu 12:30"))
    late = orjson.loads(lines[-1]) | {"timestamp": at("Thu 12:30") - 5 * HOUR}
    log = write(tmp_path / "log.jsonl", [*lines, orjson.dumps(late)])
    told = CliRunner().invoke(main, ["replay", str(log), "--output", str(tmp_path)]).stdout
    assert f"line {len(lines) + 1} is 5 hours older than line {len(lines)}" in told
    assert "use --sort" in told
