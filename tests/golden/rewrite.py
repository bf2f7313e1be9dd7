"""Rewrites the expected outputs: ``python -m tests.golden.rewrite [CASE ...]``, for all cases if none is named.

For use after a change of behaviour or wording that has been reviewed, never by a test. The tables of a README are
written by people: where they do not say what the outputs now say, the rows are printed for comparison, and the test
fails until the README (or the engine) is put right.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.golden.corpus import Case, all_cases
from tests.golden.tables import as_markdown, rows_in, rows_of


def main(names: list[str]) -> int:
    """0: everything is rewritten; 1: and some README tells another story; 2: there is no such case."""
    cases = {case.name: case for case in all_cases()}
    if unknown := [name for name in names if name not in cases]:
        sys.stderr.write(f"no case {', '.join(unknown)}; there are {', '.join(cases)}\n")
        return 2
    agreed = [_rewrite(cases[name]) for name in names or cases]
    return 0 if all(agreed) else 1


def _rewrite(case: Case) -> bool:
    """Whether the README agrees with what has been written."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = case.replayed(Path(folder))
    changed = []
    for name, content in outputs.items():
        file = case.folder / name
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)
            changed.append(name)
    sys.stdout.write(f"{case}: {'wrote ' + ', '.join(changed) if changed else 'unchanged'}\n")
    told, happened = rows_in(case.readme), rows_of(outputs)
    for name, rows in happened.items():
        if told[name] != rows:
            sys.stdout.write(f"{case}: README.md tells another story of {name} than:\n{as_markdown(name, rows)}\n")
    return told == happened


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
