"""The corpus holds: logs replay to their outputs, byte for byte, and the READMEs tell what is in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.corpus import OUTPUTS, ROOT, SECTIONS, Case, all_cases
from tests.golden.rewrite import main
from tests.golden.tables import as_markdown, rows_in, rows_of

CASES = all_cases()
SECTION = re.compile(r"\[§(\d+) ([^\]]+)\]\((?:\.\./)+docs/specification/semantics\.md#\1\)")
each_case = pytest.mark.parametrize("case", CASES, ids=str)


@each_case
def test_a_log_replays_to_its_outputs_byte_for_byte(case: Case, tmp_path: Path) -> None:
    assert case.replayed(tmp_path) == case.expected()


@each_case
def test_a_readme_tells_every_line_of_the_outputs(case: Case) -> None:
    assert rows_in(case.readme) == rows_of(case.expected())


@each_case
def test_a_readme_names_the_sections_it_shows(case: Case) -> None:
    named = _sections(case)
    assert named, "a line that begins with Shows and links to sections of the specification"
    assert all(SECTIONS.get(number) == title for number, title in named)


@each_case
def test_a_log_is_short_enough_to_be_read(case: Case) -> None:
    assert 5 <= len(case.log.read_text(encoding="utf-8").splitlines()) <= 40


def test_every_section_is_shown() -> None:
    assert {number for case in CASES for number, _ in _sections(case)} == set(SECTIONS)


def test_the_index_lists_every_case_with_its_sections() -> None:
    index = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(.+)\]\(\1/README\.md\) \| (.+?) \|", index, flags=re.MULTILINE)
    assert [(name, SECTION.findall(sections)) for name, sections in listed] == [
        (case.name, _sections(case)) for case in CASES
    ]


@pytest.mark.parametrize("name", ["03-time-zones", "05-daylight-saving"])
@pytest.mark.parametrize(("seed", "machine_zone"), [("1", "America/New_York"), ("2", "Asia/Kolkata")])
def test_output_bytes_do_not_depend_on_hash_seed_or_machine_zone(
    name: str, seed: str, machine_zone: str, tmp_path: Path
) -> None:
    case = Case(name)
    policy = [] if case.policy_file is None else ["--policy", str(case.policy_file)]
    command = [sys.executable, "-m", "referral_stream", "replay", str(case.log), "--output", str(tmp_path), *policy]
    environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": machine_zone, "PYTHONPATH": str(ROOT.parents[1])}
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)
    assert {output: (tmp_path / output).read_bytes() for output in OUTPUTS} == case.expected()


def test_a_table_of_a_readme_is_read_as_it_is_written() -> None:
    rows = [("1", "line 4 of the log", "invalid"), ("2", "line 9 of the log", "no_subject")]
    table = as_markdown("dead-letters.jsonl", rows)
    readme = f"# A case\n\n## dead-letters.jsonl\n\n{table}\n\n## What to look at\n\n| a |\n"
    assert rows_in(readme) == {"decisions.jsonl": [], "asks.jsonl": [], "dead-letters.jsonl": rows}


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dead-letters\.jsonl has the columns line, record, cause"):
        rows_in("## dead-letters.jsonl\n\n| 1 | invalid |\n")


def test_the_tool_that_rewrites_refuses_a_case_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["03-nps-widow"]) == 2
    assert "no case 03-nps-widow; there are 01-signals-in-any-order, " in capsys.readouterr().err


def _sections(case: Case) -> list[tuple[str, str]]:
    """(number, title) of each section that the line `Shows …` names."""
    shown = re.search(r"^Shows (.+)$", case.readme, flags=re.MULTILINE)
    return [] if shown is None else SECTION.findall(shown[1])
