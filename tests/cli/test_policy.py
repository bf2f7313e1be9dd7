"""``referral-stream policy check``."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from referral_stream.cli import main
from referral_stream.cli.render.policy import show_policy
from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import build_policy, parse_policy
from referral_stream.policy_file.settings import settings_of
from tests.rules import rule


def check(folder: Path, text: str, *options: str) -> Result:
    (folder / "policy.toml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(main, ["policy", "check", str(folder / "policy.toml"), *options])


def test_a_good_file_is_told_by_name_version_hash_and_what_it_changes(tmp_path: Path) -> None:
    result = check(tmp_path, 'name = "growth"\nversion = 4\n[caps]\nadvocacy_days = 30\n')
    policy = build_policy({"name": "growth", "version": 4, "caps": {"advocacy_days": 30}})
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"# {tmp_path / 'policy.toml'}: growth, version 4, hash {policy.hash}",
        "# 3 settings differ from the default",
        'name = "growth"  # default "default"; What decisions and reports call this policy (§8).',
        "version = 4  # default 1; Increment it with each change (§8).",
        "caps.advocacy_days = 30  # days; default 14; Days after any other advocacy ask, such as a review (gate 10).",
    ]


@pytest.mark.parametrize(("text", "line"), [("", "no settings differ"), ("version = 2", "1 setting differs")])
def test_the_number_of_changes_is_told_in_words(tmp_path: Path, text: str, line: str) -> None:
    assert check(tmp_path, text).output.splitlines()[1] == f"# {line} from the default"


@rule("A11.2")
def test_show_tells_every_setting_once(tmp_path: Path) -> None:
    where, *lines = check(tmp_path, "", "--show").output.splitlines()[2:]
    assert where == "# § and gates: docs/specification/semantics.md in the repository"
    assert [line.removeprefix("# ").partition(" = ")[0] for line in lines] == [
        setting.key for setting in settings_of(Policy())
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[moments]\nslot_weekday = "none"',
        '[triggers.mine]\non = ["usage.recorded"]\nwhen = "true"\nwindow_hours = 1',
    ],
)
def test_what_show_prints_into_a_pipe_is_a_policy_file_that_says_the_same(tmp_path: Path, text: str) -> None:
    shown = check(tmp_path, text, "--show").output
    assert parse_policy(shown.encode()) == parse_policy(text.encode())


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("", False),
        ('name = "growth"', False),
        ("version = 2\n[caps]\ncustomer_days = 60", False),
        ("[caps]\ncustomer_days = 60", True),
        ("[caps]\ncustomer_days = 90", False),
    ],
)
def test_a_changed_policy_under_the_defaults_name_and_version_is_warned_about(
    tmp_path: Path, text: str, *, warned: bool
) -> None:
    output = check(tmp_path, text).output
    assert ("warning: version: is still that of the default policy" in output) == warned


def test_init_writes_a_file_that_is_the_default_policy_and_never_overwrites_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    made = CliRunner().invoke(main, ["policy", "init", str(file)])
    assert (made.exit_code, f"written to {file}" in made.output) == (0, True)
    assert parse_policy(file.read_bytes()) == Policy()
    again = CliRunner().invoke(main, ["policy", "init", str(file)])
    assert (again.exit_code, f"{file} already exists" in again.output) == (1, True)
    assert CliRunner().invoke(main, ["policy", "init", "-"]).output == file.read_text(encoding="utf-8")


def test_a_bad_file_ends_with_2_and_all_its_faults_and_nothing_else(tmp_path: Path) -> None:
    result = check(tmp_path, '[caps]\ncustomer_day = 1\n[score]\nsoft_at = 80\ntenure = "x"\n')
    file = tmp_path / "policy.toml"
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"{file}: caps.customer_day: unknown key; did you mean 'customer_days'?",
        f"{file}: score.soft_at: soft_at (80) must not exceed direct_at (70)",
        f"{file}: score.tenure: must be a whole number from 0 to 100 (got 'x')",
    ]


@pytest.mark.parametrize("text", ["[caps", "= 3", "a = 1\na = 2"])
def test_what_is_no_toml_ends_with_2(tmp_path: Path, text: str) -> None:
    result = check(tmp_path, text)
    assert (result.exit_code, "not TOML" in result.stderr) == (2, True)


@pytest.mark.parametrize("content", [None, "[score", "shadow = true"])
def test_the_name_of_a_file_moves_no_terminal(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ab\x1b[31m.toml"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(main, ["policy", "check", str(file)])
    assert "ab\\x1b[31m" in result.output
    assert "\x1b" not in result.output


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["policy", "check", str(tmp_path / "none.toml")]).exit_code == 2


def test_what_is_odd_is_a_warning_and_ends_with_0(tmp_path: Path) -> None:
    result = check(tmp_path, "shadow = true")
    assert (result.exit_code, result.output.splitlines()[-1]) == (
        0,
        "# warning: shadow: nothing is sent: decisions are only recorded",
    )


def test_replay_refuses_a_bad_policy_with_the_same_words(tmp_path: Path) -> None:
    log, policy = tmp_path / "log.jsonl", tmp_path / "policy.toml"
    log.touch()
    policy.write_text("[capz]\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["replay", str(log), "--policy", str(policy), "--output", str(tmp_path / "out")])
    assert (result.exit_code, "capz: unknown key; did you mean 'caps'?" in result.stderr) == (2, True)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_at_a_terminal_it_is_a_table_in_which_every_word_is_left_whole(width: int) -> None:
    policy = build_policy({"caps": {"customer_days": 120}, "triggers": {"renewal": {"priority": 11}}})
    screen = io.StringIO()
    show_policy(
        policy, "policy.toml", Console(file=screen, force_terminal=True, no_color=True, width=width), everything=True
    )
    words = screen.getvalue().split()
    assert {"customer_days", "120", "require_onboarding", "cancellation_considered_days"} <= set(words)
    assert "triggers.renewal" in screen.getvalue()
