"""The verbs replay, explain and schemas: what they print, and how they end."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.published.schemas import documents
from tests.builders import Told, a_customer, nps, ticket_opened
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
    assert "fact replay: 15 records, 15 events, 1 customer, policy default" in result.stdout
    assert {row["type"] for row in rows(tmp_path / "out", "decisions")} == {"referral.decision.made"}


def test_replay_of_a_recorded_log_is_exact_unless_facts_are_wanted(tmp_path: Path) -> None:
    log = write(tmp_path / "log", recorded_lines(*WEEK))
    assert "exact replay" in run("replay", log, "--output", tmp_path / "out").stdout
    assert "fact replay" in run("replay", log, "--facts", "--output", tmp_path / "out").stdout


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"{}", b""], "log:1: topic: required, as text  (--skip-bad counts such lines and continues)"),
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
        ("explain", "ana", "--at", "2026-06-18"),
        ("explain", "ana", "--log", "LOG", "--since", "2026-06-18"),
        ("explain", "ana", "--log", "LOG", "--language", "xx"),
        ("explain", "ana", "--log", "LOG", "--format", "html"),
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


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_log_in_the_place_of_the_customer_is_seen(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"")
    result = run("explain", file)
    assert result.exit_code == 2
    assert "did you mean: CUSTOMER --log" in " ".join(result.stderr.split())


def test_explain_tells_the_story(log: Path) -> None:
    result = run("explain", "ana", "--log", log, "--at", "2026-06-18T13:00:00+02:00")
    assert result.exit_code == 0
    assert result.stdout.startswith("ana, as of Thu 2026-06-18 13:00 +02:00\n")
    assert "would be asked at once (Thu 18 Jun 13:00) if ticket 4711 is solved well now; just before " in result.stdout


def test_explain_for_machines_is_one_json_object(log: Path) -> None:
    told = json.loads(run("explain", "ana", "--log", log, "--json").stdout)
    assert told["next"][0]["changes"] == ["ticket 4711 is solved well"]


def test_explain_speaks_german_and_writes_markdown(log: Path) -> None:
    told = run("explain", "ana", "--log", log, "--language", "de", "--format", "markdown")
    assert told.exit_code == 0
    assert "## Wie es weitergeht\n" in told.stdout
    unknown = run("explain", "anna", "--log", log, "--language", "de")
    assert "nichts über 'anna'; gemeint: ana?" in unknown.stderr


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


def test_schemas_are_checked_only_where_there_are_some(tmp_path: Path) -> None:
    checked = run("schemas", "check", "--to", tmp_path / "schemas")
    assert (checked.exit_code, checked.stdout, checked.stderr.count("\n")) == (1, "", 1)
    assert f"no schemas in {tmp_path / 'schemas'}" in checked.stderr


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


# ---- what a replay says of its log, and of who was asked


def summary_of(folder: Path, lines: list[bytes], *options: str | Path) -> str:
    result = run("replay", write(folder / "log.jsonl", lines), "--output", folder / "out", *options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_lines_out_of_order_are_named_and_sorting_mends_them(tmp_path: Path) -> None:
    lines = fact_lines(*WEEK)
    backwards = list(reversed(lines))
    assert "warning: 14 lines are older than a line before them; line 15 is 403 days older than line 1" in summary_of(
        tmp_path, backwards
    )
    as_it_was = summary_of(tmp_path, lines)
    decisions = rows(tmp_path / "out", "decisions")
    sorted_ = summary_of(tmp_path, backwards, "--sort")
    assert "warning" not in as_it_was + sorted_
    assert rows(tmp_path / "out", "decisions") == decisions


def test_lines_that_lie_seconds_apart_are_not_worth_a_word(tmp_path: Path) -> None:
    *lines, last = fact_lines(*WEEK)
    early = json.loads(last) | {"timestamp": json.loads(lines[-1])["timestamp"] - 60_000}
    assert "older" not in summary_of(tmp_path, [*lines, json.dumps(early).encode()])
    too_early = early | {"timestamp": early["timestamp"] - 1}
    assert "1 lines are older" in summary_of(tmp_path, [*lines, json.dumps(too_early).encode()])


def test_a_partition_whose_offsets_go_back_is_named_and_sorting_mends_it(tmp_path: Path) -> None:
    lines = recorded_lines(*WEEK)
    as_it_was = summary_of(tmp_path, lines)
    decisions = rows(tmp_path / "out", "decisions")
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    told = summary_of(tmp_path, swapped)
    assert "warning: line 3 has an offset no higher than line 2 of the same partition" in told
    assert summary_of(tmp_path, swapped, "--sort") == as_it_was
    assert rows(tmp_path / "out", "decisions") == decisions


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"type": "nps.answered"},
            "unknown type 'nps.answered': 1 skipped, the first on line 15; did you mean nps.responded?",
        ),
        ({"data": {"response_id": "r", "score": "9"}}, "line 15 cannot be used: invalid: score: "),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    *lines, last = fact_lines(*WEEK)
    record = json.loads(last)
    record["value"] |= changed
    assert f"warning: {told}" in summary_of(tmp_path, [*lines, json.dumps(record).encode()])


def test_a_topic_that_no_worker_reads_is_named(tmp_path: Path) -> None:
    *lines, last = fact_lines(*WEEK)
    told = summary_of(tmp_path, [*lines, json.dumps(json.loads(last) | {"topic": "suport"}).encode()])
    assert (
        "warning: 'suport' is not an input topic, and no worker would read it (records: 1, the first on line 15); "
        "did you mean support?"
    ) in told


def test_the_summary_tells_who_was_asked_when_and_what_kept_the_others_back(log: Path, tmp_path: Path) -> None:
    ben: list[Told] = [a_customer("ben"), nps(9, "Thu 12:30", customer="ben", response="r-ben")]
    told = summary_of(tmp_path, fact_lines(*WEEK, *ben)).splitlines()
    assert [line.split() for line in told[-8:-1]] == [
        ["trigger", "opportunities", "asked", "not", "asked", "because", "of"],
        ["nps_promoter", "2", "1", "1", "trouble", "1"],
        [],
        ["asks", "by", "week,", "from", "its", "Monday:", "15", "Jun", "2026:", "1"],
        [],
        ["asked", "on", "customer", "account", "trigger", "how"],
        ["Thu", "18", "Jun", "12:50", "+02:00", "ben", "–", "nps_promoter", "direct", "email"],
    ]
    assert log.exists()


def test_a_pause_by_the_burst_breaker_is_said_loudly(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[breaker]\nfloor = 1\nfactor = 1\n")
    names = ("ana", "ben", "eva")
    scores = [nps(9, f"Thu 12:3{n}", customer=name, response=f"r-{name}") for n, name in enumerate(names)]
    lines = fact_lines(*map(a_customer, names), *scores)
    assert (
        "warning: the burst breaker paused the trigger nps_promoter on Thu 18 Jun 10:31 2026 UTC (2 openings since "
        "Thu 18 Jun 10:00, more than 1), for breaker.pause_hours: 3 opportunities were held back. To go on sooner: "
        "a control.resumed event"
    ) in summary_of(tmp_path, lines, "--policy", policy)


def test_tables_for_a_spreadsheet_hold_every_ask_and_every_opportunity_without_one(tmp_path: Path) -> None:
    ben: list[Told] = [a_customer("=ben"), nps(9, "Thu 12:30", customer="=ben", response="r-ben")]
    summary_of(tmp_path, fact_lines(*WEEK, *ben), "--csv")
    with (tmp_path / "out" / "asks.csv").open(newline="") as file:
        (ask,) = csv.DictReader(file)
    assert (ask["customer"], ask["trigger"], ask["local_time"]) == ("'=ben", "nps_promoter", "2026-06-18 12:50")
    with (tmp_path / "out" / "not-asked.csv").open(newline="") as file:
        (other,) = csv.DictReader(file)
    assert (other["customer"], other["gates"], other["outcome"]) == ("ana", "trouble moment", "not asked")
    assert other["why"].startswith("ticket 4711 is open")


@pytest.mark.parametrize("verb", [("replay",), ("explain", "ana", "--log")])
def test_a_compressed_log_is_read(tmp_path: Path, verb: tuple[str, ...]) -> None:
    plain = write(tmp_path / "plain", fact_lines(*WEEK))
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    output = ("--output", tmp_path / "out") if verb == ("replay",) else ()
    assert run(*verb, packed, *output).stdout == run(*verb, plain, *output).stdout


def test_a_damaged_archive_is_named_with_the_line(tmp_path: Path) -> None:
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress(b"\n".join(fact_lines(*WEEK)))[:-20])
    result = run("replay", log, "--output", tmp_path / "out")
    assert (result.exit_code, "the gzip archive is damaged" in result.stderr) == (2, True)


@pytest.mark.parametrize("verb", [("replay",), ("explain", "ana", "--log")])
def test_a_log_comes_from_stdin(tmp_path: Path, verb: tuple[str, ...]) -> None:
    log = write(tmp_path / "log", fact_lines(*WEEK))
    output = ["--output", str(tmp_path / "out")] if verb == ("replay",) else []
    piped = CliRunner().invoke(main, [*verb, "-", *output], input=log.read_bytes(), env={"COLUMNS": "200"})
    assert piped.exit_code == 0
    assert piped.stdout == run(*verb, log, *output).stdout


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-06-18", "2026-06-18T23:59:59.999Z"),
        ("2026-06-18T12:00:00+02:00", "2026-06-18T10:00:00.000Z"),
        ("2026-06-18 12:00", "2026-06-18T12:00:00.000Z"),
    ],
)
def test_a_date_alone_is_taken_to_its_end(log: Path, text: str, instant: str) -> None:
    assert json.loads(run("explain", "ana", "--log", log, "--at", text, "--json").stdout)["at"] == instant


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", "TOMORROW T", "18.06.2026"])
def test_what_is_no_date_says_how_to_write_one(log: Path, text: str) -> None:
    result = run("replay", log, "--until", text)
    assert result.exit_code == 2
    assert f"{text!r} is not a date or time; write 2026-06-30" in result.stderr


def test_nothing_is_wrapped_in_a_pipe(log: Path, tmp_path: Path) -> None:
    narrow = CliRunner().invoke(
        main, ["replay", str(log), "--output", str(tmp_path / "out")], env={"COLUMNS": "40"}, terminal_width=40
    )
    assert "fact replay: 15 records, 15 events, 1 customer, policy default 736f70974e0b9b43" in narrow.stdout
