"""docs/first-week.md: its commands do what the page says, in the order in which they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import known_options, options_of

_ROOT = Path(__file__).parents[1]
_PAGE = (_ROOT / "docs" / "first-week.md").read_text()
_EXAMPLE = _ROOT / "examples" / "first_week"
_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", _PAGE, flags=re.MULTILINE | re.DOTALL)
LOCAL = [line for kind, block in _BLOCKS if kind == "sh" for line in block.splitlines()]
LIVE = [line for kind, block in _BLOCKS if kind == "" for line in block.splitlines()]


def _step(line: str) -> str:
    """Runs a line of the page, writes down what it says, and ends where its exit code is not as the page has it."""
    expected = re.search(r"# exit code (\d)", line)
    code = expected[1] if expected else "0"
    return f"echo {shlex.quote(line)} >> said\n{{ {line}\n}} >> said 2>&1\ntest $? = {code} || exit 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands that need no services have been run."""
    folder = tmp_path_factory.mktemp("first_week")
    (folder / "examples").symlink_to(_ROOT / "examples")
    commands = folder / "bin"
    commands.mkdir()
    for name, call in (("referral-stream", "-m referral_stream"), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {call} "$@"\n')
        (commands / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REFERRAL_STREAM_")}
    kept |= {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(["sh", "-c", "\n".join(map(_step, LOCAL))], cwd=folder, env=kept, check=False)
    said = (folder / "said").read_text()
    assert done.returncode == 0, said
    return folder


def asked(folder: Path, name: str) -> set[str]:
    return {json.loads(line)["subject"] for line in (folder / name / "asks.jsonl").read_text().splitlines()}


def test_the_quarter_replays_to_asks(folder: Path) -> None:
    found = asked(folder, "replayed")
    assert "cus-01" in found
    assert len(found) > 5
    # opted out, opted out in words, refused consent, asked in May
    assert not found & {"cus-08", "cus-22", "cus-06", "cus-04"}


def test_the_page_tells_of_the_example_what_is_true(folder: Path) -> None:
    said = (folder / "said").read_text()
    assert "the day or the month may stand first" in said
    assert "somebody else asked for a referral on Mon 1 Jun" in said
    assert asked(folder, "shadowed") == set()
    assert "cus-01" in said.rsplit("--outcome shadow", 1)[1]


def test_what_is_made_for_the_example_is_for_its_owner_alone(folder: Path) -> None:
    for name in ("history.jsonl", "customers.csv.refused.csv"):
        assert (folder / name).stat().st_mode & 0o077 == 0


def test_the_customers_of_the_example_are_what_its_script_writes() -> None:
    made = subprocess.run(
        [sys.executable, str(_EXAMPLE / "company.py"), "customers"], capture_output=True, check=True
    ).stdout
    assert made == (_EXAMPLE / "customers.csv").read_bytes()


@pytest.mark.parametrize("line", LIVE)
def test_the_commands_that_need_a_cluster_exist_with_their_options(line: str) -> None:
    assert options_of(line) <= known_options(line)
