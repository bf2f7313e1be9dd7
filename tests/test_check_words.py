"""`tools/check_words.py`: the repository's prose is plain English, and the tool notices when it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOL = ROOT / "tools" / "check_words.py"


def run(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *files], capture_output=True, text=True, check=False)


def test_the_repository_has_none_of_these_words() -> None:
    done = run()
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("page.md", "Fine.\nIt can not be read.\n", "2: 'can not': cannot"),
        ("code.py", "# a record Of Ours\n", "1: 'Of Ours': our, one of our"),
        ("page.md", "Faults are told at once.\n", "1: 'are told': is reported, is shown, is named"),
    ],
)
def test_a_planted_word_is_found_with_its_place_and_a_better_one(
    tmp_path: Path, name: str, text: str, found: str
) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    done = run(file)
    assert (done.stdout, done.returncode) == (f"{file}:{found}\n", 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("code.py", "told = 'where they are told'\n"),  # in prose only
        ("page.md", "The two are told apart. It cannot be read, so the fix is to write it again.\n"),
    ],
)
def test_plain_english_passes(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert run(file).returncode == 0
