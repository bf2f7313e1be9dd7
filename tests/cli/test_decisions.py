"""``referral-stream decisions``: of an output folder, its file, or a recorded log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from tests.builders import a_customer, nps, ticket_opened
from tests.replay.logs import fact_lines, recorded_lines, rows, write

WEEK = (
    a_customer(),
    a_customer("ben"),
    ticket_opened("Wed 10:00", "4711"),
    nps(9, "Thu 12:30"),
    nps(9, "Thu 12:31", customer="ben", response="r-ben"),
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "week.jsonl", fact_lines(*WEEK))


@pytest.fixture
def output(log: Path, tmp_path: Path) -> Path:
    assert CliRunner().invoke(main, ["replay", str(log), "--output", str(tmp_path / "out")]).exit_code == 0
    return tmp_path / "out"


def decisions(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["decisions", *map(str, arguments)])


def test_a_line_says_when_who_and_what_was_decided_why(output: Path) -> None:
    first, *_ = decisions(output, "--customer", "ana", "--outcome", "deferred").stdout.splitlines()
    assert first == (
        "Thu 2026-06-18 12:30 +02:00  ana  gave a top score: held back, ticket 4711 is open, "
        "waiting for it to be solved"
    )


def test_a_folder_its_file_and_the_log_itself_have_the_same_decisions(log: Path, output: Path) -> None:
    told = decisions(output).stdout
    assert len(told.splitlines()) == len(rows(output, "decisions"))
    assert told == decisions(output / "decisions.jsonl").stdout == decisions(log).stdout


def test_a_recorded_log_of_customer_events_is_read_too(tmp_path: Path) -> None:
    recorded = write(tmp_path / "recorded.jsonl", recorded_lines(*WEEK))
    assert "ana  gave a top score: held back" in decisions(recorded).stdout


def test_a_log_is_decided_under_the_policy_given(log: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[triggers.nps_promoter]\nenabled = false\n")
    assert "disabled by the policy" in decisions(log, "--policy", policy, "--customer", "ben").stdout


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [("--customer", "ben", "customer_id"), ("--trigger", "nps_promoter", "trigger"), ("--outcome", "asked", "outcome")],
)
def test_filters_select_what_they_name(output: Path, option: str, value: str, field: str) -> None:
    found = json.loads(decisions(output, option, value, "--json").stdout)
    everything = rows(output, "decisions")
    assert [event["id"] for event in found] == [event["id"] for event in everything if event["data"][field] == value]
    assert len(found) > 0


def test_json_has_everything_and_the_important_fields_first(output: Path) -> None:
    told = decisions(output, "--json").stdout
    assert json.loads(told) == rows(output, "decisions")
    first = json.loads(told)[0]
    assert list(first)[:3] == ["type", "subject", "time"]
    assert list(first)[-1] == "data"
    assert list(first["data"])[:3] == ["customer_id", "trigger", "outcome"]


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_no_such_decision_ends_with_1(output: Path, option: tuple[str, ...]) -> None:
    done = decisions(output, "--customer", "eva", *option)
    assert (done.exit_code, done.stdout) == (1, "[]\n" if option else "")
    assert "no such decision" in done.stderr


@pytest.mark.parametrize("content", [b"not json\n", b"[]\n", b'{"type": "referral.ask.requested"}\n'])
def test_a_file_without_decisions_is_named_with_its_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "asks.jsonl"
    file.write_bytes(content)
    done = decisions(file)
    assert (done.exit_code, f"{file}:1: not " in done.stderr) == (2, True)


def test_a_folder_without_decisions_is_one_line(tmp_path: Path) -> None:
    done = decisions(tmp_path)
    assert (done.exit_code, done.stderr) == (1, f"Error: {tmp_path / 'decisions.jsonl'}: No such file or directory\n")


def test_names_that_there_are_not_are_no_answers(log: Path, output: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").touch()
    for arguments, code, said in (
        ((output, "--outcome", "askd"), 2, "--outcome: did you mean 'asked'?"),
        ((output, "--trigger", "nps"), 1, "no such decision; of the trigger 'nps': did you mean 'nps_promoter'?"),
        ((output, "--policy", tmp_path / "policy.toml"), 2, f"are for a recorded log, not {output}"),
    ):
        done = decisions(*arguments)
        assert (done.exit_code, said in done.output) == (code, True), done.output
    assert decisions(log, "--policy", tmp_path / "policy.toml").exit_code == 0
