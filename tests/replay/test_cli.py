"""The verbs replay, explain and schemas: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.published.schemas import documents
from tests.builders import a_customer, nps, ticket_opened
from tests.replay.logs import fact_lines, recorded_lines, rows, write

WEEK = (a_customer(), ticket_opened("Wed 10:00", "4711"), nps(9, "Thu 12:30"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "week.jsonl", fact_lines(*WEEK))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_replay_writes_its_files_and_sums_up(log: Path, tmp_path: Path) -> None:
    result = run("replay", log, "--output", tmp_path / "out")
    assert result.exit_code == 0
    assert "fact replay: 15 records, 15 events, 1 customers, policy default" in result.stdout
    assert {row["type"] for row in rows(tmp_path / "out", "decisions")} == {"referral.decision.made"}


def test_replay_of_a_recorded_log_is_exact_unless_facts_are_wanted(tmp_path: Path) -> None:
    log = write(tmp_path / "log", recorded_lines(*WEEK))
    assert "exact replay" in run("replay", log, "--output", tmp_path / "out").stdout
    assert "fact replay" in run("replay", log, "--facts", "--output", tmp_path / "out").stdout


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"{}", b""], "log:1: topic: required, as text  (--skip-bad counts such lines and goes on)"),
        ([*fact_lines(*WEEK), *recorded_lines(*WEEK)], "log:16: customer-events and source topics in one log"),
        (
            recorded_lines(*WEEK)[1:],
            "or a snapshot  (--state gives the states it builds on, --facts replays from what it holds)",
        ),
    ],
    ids=["bad line", "mixed", "no beginning"],
)
def test_a_log_that_cannot_be_replayed_is_wrong_usage(tmp_path: Path, lines: list[bytes], said: str) -> None:
    log = write(tmp_path / "log", lines)
    result = run("replay", log, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr.replace(str(log.parent) + "/", "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[score", "not TOML"),
        ('[score]\nsoft_at = "high"', "score.soft_at"),
        ("[scores]\nsoft_at = 40", "did you mean 'score'?"),
    ],
)
@pytest.mark.parametrize("verb", [("replay",), ("explain", "ana", "--log")])
def test_a_policy_that_cannot_be_read_is_wrong_usage(
    log: Path, tmp_path: Path, verb: tuple[str, ...], content: str, said: str
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(content)
    result = run(*verb, log, "--policy", policy)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "missing.jsonl"),
        ("replay", "LOG", "--policy", "missing.toml"),
        ("replay", "LOG", "--until", "next week"),
        ("explain", "ana"),
        ("explain", "ana", "--log", "missing.jsonl"),
        ("explain", "ana", "--log", "LOG", "--at", "0001-01-01T00:00:00+01:00"),
        ("explain", "ana", "live"),
        ("schemas", "erase"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(log: Path, arguments: tuple[str, ...]) -> None:
    result = run(*(log if argument == "LOG" else argument for argument in arguments))
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_explain_tells_the_story(log: Path) -> None:
    result = run("explain", "ana", "--log", log, "--at", "2026-06-18T13:00:00+02:00")
    assert result.exit_code == 0
    assert result.stdout.startswith("ana, as of Thu 2026-06-18 13:00 +02:00\n")
    assert result.stdout.endswith(
        "would be asked when ticket 4711 is solved well, if that is before Fri 19 Jun 12:30\n"
    )


def test_explain_for_machines_is_one_json_object(log: Path) -> None:
    told = json.loads(run("explain", "ana", "--log", log, "--json").stdout)
    assert told["next"][0]["changes"] == ["ticket 4711 is solved well"]


def test_explain_knows_no_customer_of_that_name(log: Path) -> None:
    result = run("explain", "anna", "--log", log)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing in this log is about 'anna'; did you mean ana?" in result.stderr


def test_explain_leaves_bad_lines_out_on_request(tmp_path: Path) -> None:
    log = write(tmp_path / "log", [b"not json", *fact_lines(*WEEK)])
    assert run("explain", "ana", "--log", log).exit_code == 2
    assert run("explain", "ana", "--log", log, "--skip-bad").exit_code == 0


def test_explain_takes_another_policy(log: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[triggers.nps_promoter]\nenabled = false\n")
    told = run("explain", "ana", "--log", log, "--policy", policy).stdout
    assert "not asked, trigger nps_promoter is disabled by the policy" in told


def test_schemas_are_written_and_checked(tmp_path: Path) -> None:
    folder = tmp_path / "schemas"
    assert run("schemas", "check", "--to", folder).exit_code == 1
    written = run("schemas", "write", "--to", folder)
    assert (written.exit_code, written.stdout) == (
        0,
        f"{len(documents())} schemas in {folder}: {len(documents())} changed, 0 removed\n",
    )
    assert {path: (folder / path).read_bytes() for path in documents()} == documents()
    checked = run("schemas", "check", "--to", folder)
    assert (checked.exit_code, checked.stdout) == (0, "all current\n")


def test_schemas_that_are_no_more_are_removed_and_other_files_left(tmp_path: Path) -> None:
    run("schemas", "write", "--to", tmp_path)
    (tmp_path / "in" / "nps.answered.json").write_text("{}")
    (tmp_path / "in" / "notes.md").write_text("ours")
    (tmp_path / "other.json").write_text("{}")
    assert run("schemas", "check", "--to", tmp_path).stdout.startswith("in/nps.answered.json: not of this contract\n")
    assert run("schemas", "write", "--to", tmp_path).stdout.endswith(": 0 changed, 1 removed\n")
    assert not (tmp_path / "in" / "nps.answered.json").exists()
    assert (tmp_path / "in" / "notes.md").exists()
    assert (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        (("replay",), "Run a recorded LOG through the real adapters"),
        (("explain",), "Tell the story of one CUSTOMER in plain words"),
        (("schemas",), "check"),
        (("schemas", "write"), "[default: schemas]"),
    ],
)
def test_every_verb_explains_itself(verb: tuple[str, ...], told: str) -> None:
    result = run(*verb, "--help")
    assert result.exit_code == 0
    assert told in result.stdout
