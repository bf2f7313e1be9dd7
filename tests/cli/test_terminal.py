"""What comes from a log can neither command the terminal nor write a line of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.cli.render.terminal import json_text, rows, wrapped
from referral_stream.words.escaping import visible
from tests.builders import a_customer, fact, nps, ticket_opened
from tests.replay.logs import recorded_lines, write

EVIL = "t\x1b]0;owned\x07\n  ASKED: everything is fine\r\u202e\x9b2J\u2028"
SHOWN = r"t\x1b]0;owned\x07\n  ASKED: everything is fine\r\u202e\x9b2J\u2028"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "plain"), ("Zoë 🙂", "Zoë 🙂"), (EVIL, SHOWN), ("\ud83d", r"\ud83d"), ("a\tb\x7f", r"a\tb\x7f")],
)
def test_a_text_is_shown_with_its_control_characters_escaped(text: str, shown: str) -> None:
    assert visible(text) == wrapped(text, None) == rows([(text,)])[0] == shown


def test_json_stays_the_same_value_and_holds_nothing_to_obey() -> None:
    data = {EVIL: [EVIL, "Zoë", 1]}
    text = json_text(data)
    assert json.loads(text) == data
    assert all(line.isprintable() for line in text.split("\n"))
    assert "Zoë" in text


@pytest.mark.parametrize("verb", [("explain", EVIL), ("explain", EVIL, "--json"), ("explain", "x\x1b")])
def test_an_id_writes_no_line_of_its_own(tmp_path: Path, verb: tuple[str, ...]) -> None:
    told = [*a_customer(), ticket_opened("Thu 12:00", EVIL), nps(9, "Thu 12:30")]
    lines = recorded_lines([fact(event.data, event.time, customer=EVIL, id=event.id) for event in told])
    name, *options = verb[1:]
    result = CliRunner().invoke(main, [verb[0], name, "--log", str(write(tmp_path / "log", lines)), *options])
    _nothing_to_obey(result.output)
    assert (result.exit_code == 0) is (name == EVIL)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_decisions_and_a_summary_are_as_harmless(tmp_path: Path, options: tuple[str, ...]) -> None:
    told = [*a_customer(), nps(9, "Thu 12:30", EVIL)]
    lines = recorded_lines([fact(event.data, event.time, customer=EVIL, id=event.id) for event in told])
    log = str(write(tmp_path / "log.jsonl", lines))
    for arguments in (["replay", log, "--output", str(tmp_path / "out")], ["decisions", log, *options]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0
        _nothing_to_obey(result.output)


def _nothing_to_obey(output: str) -> None:
    assert output
    for line in output.split("\n"):
        assert line.isprintable(), line
        assert not line.startswith("  ASKED")
