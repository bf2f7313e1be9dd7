"""Where results go: never in the place of what is read, whole or not at all, and for their user alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.cli.verbs import INTERRUPTED
from tests.builders import a_customer, nps
from tests.replay.logs import fact_lines, write

TABLE = "customer_id,signed_up_at,opted_out\nc1,2025-01-02,yes\n"


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    return done.exit_code, done.output


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "log.jsonl", fact_lines(a_customer(), nps(9)))


def test_what_is_read_is_never_overwritten(tmp_path: Path, log: Path) -> None:
    table, policy = tmp_path / "table.csv", tmp_path / "b.toml"
    table.write_text(TABLE)
    policy.write_text("[caps]\ncustomer_days = 60\n")
    decided = tmp_path / "decisions.jsonl"
    decided.write_bytes(log.read_bytes())
    before = {each: each.read_bytes() for each in (table, policy, log, decided)}
    for arguments in (
        ("import", table, "--as-of", "2026-06-30", "--output", table),
        ("import", table, "--dry-run", "--refused", table),
        ("backtest", log, "--against", policy, "--report", log),
        ("backtest", log, "--against", policy, "--report", tmp_path / "." / "b.toml"),
        ("replay", decided, "--output", tmp_path),
    ):
        code, said = run(*arguments)
        assert (code, "is an input file; choose another output path" in said) == (2, True), said
    assert {each: each.read_bytes() for each in before} == before


def test_where_nothing_can_be_written_is_said_before_anything_takes_long(tmp_path: Path, log: Path) -> None:
    (tmp_path / "file").touch()
    assert run("backtest", log, "--search", log, "--report", tmp_path / "none" / "x.html") == (
        2,
        f"Error: {tmp_path}/none/x.html: the folder {tmp_path}/none does not exist\n",
    )
    for arguments in (("replay", log, "--output"), ("demo", "--output")):
        code, said = run(*arguments, tmp_path / "file" / "out")
        assert (code, "Not a directory" in said) == (2, True), said


def test_a_replay_that_fails_leaves_the_results_before_it(tmp_path: Path, log: Path) -> None:
    out = tmp_path / "out"
    assert run("replay", log, "--output", out)[0] == 0
    before = {each.name: each.read_bytes() for each in out.iterdir()}
    log.write_bytes(log.read_bytes() + b"no\n")
    assert run("replay", log, "--output", out, "--csv")[0] == 2
    assert {each.name: each.read_bytes() for each in out.iterdir()} == before


def test_results_in_the_place_of_older_ones_are_for_their_user_alone(tmp_path: Path, log: Path) -> None:
    policy, report, out = tmp_path / "b.toml", tmp_path / "report.html", tmp_path / "out"
    policy.write_text("[caps]\ncustomer_days = 60\n")
    out.mkdir()
    for old in (report, out / "decisions.jsonl", out / "moments.csv"):
        old.touch(0o644)
    assert run("replay", log, "--output", out)[0] == 0
    assert run("backtest", log, "--against", policy, "--report", report, "--out", out)[0] == 0
    for new in (report, *out.iterdir()):
        assert new.stat().st_mode & 0o077 == 0, new


def test_what_is_no_file_is_written_to_as_it_is(tmp_path: Path, log: Path) -> None:
    policy, pipe = tmp_path / "b.toml", tmp_path / "pipe"
    policy.write_text("[caps]\ncustomer_days = 60\n")
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reading:
        assert run("backtest", log, "--against", policy, "--report", pipe)[0] == 0
        assert reading.communicate(timeout=60)[0].startswith("<!doctype html>")
    assert pipe.is_fifo()


def test_json_for_a_pipe_is_json_whatever_the_terminal_has(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", fact_lines(a_customer("an😀a"), nps(9, customer="an😀a")))
    done = subprocess.run(
        [sys.executable, "-m", "referral_stream", "decisions", str(log), "--json"],
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
        check=True,
        capture_output=True,
    )
    assert {each["subject"] for each in json.loads(done.stdout)} == {"an😀a"}


def test_a_search_of_which_nothing_is_left_says_what_was_left_out(tmp_path: Path, log: Path) -> None:
    numbers = tmp_path / "search.toml"
    numbers.write_text('[numbers]\n"caps.customer_days" = [-1]\n')
    code, said = run("backtest", log, "--search", numbers)
    assert code == 2
    assert "nothing is left to try" in said
    assert "caps.customer_days must be a whole number from 0 to 3,660" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_stopped_leaves_no_process_and_no_file_behind(number: signal.Signals, tmp_path: Path, log: Path) -> None:
    many = tmp_path / "many.jsonl"
    with many.open("wb") as lines:
        content = log.read_bytes()
        for nth in range(1_500):
            lines.write(content.replace(b'"ana"', b'"ana%d"' % nth))
    policy, temporary = tmp_path / "b.toml", tmp_path / "temporary"
    policy.write_text("[caps]\ncustomer_days = 60\n")
    temporary.mkdir()
    command = [sys.executable, "-m", "referral_stream", "backtest", str(many), "--against", str(policy), "--cores", "2"]
    with subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 (tests may ignore it)
    ) as process:
        give_up = time.monotonic() + 60
        while not list(temporary.glob("backtest-*/*")) and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.05)
        assert process.poll() is None, "it has not begun, or is done already"
        process.send_signal(number)
        code = process.wait(60)
        assert code == (INTERRUPTED if number is signal.SIGINT else 128 + signal.SIGTERM)
        while time.monotonic() < give_up:
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("a process is left")
    assert list(temporary.iterdir()) == []
