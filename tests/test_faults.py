"""Whatever a process may say is wrong has a row with cause and remedy, and docs/operations.md has every row."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from faust_batches import errors, run
from faust_batches import faults as transport
from faust_batches.faults import Fault

from referral_stream.ops import faults as product

ROOT = Path(__file__).parents[1]
SOURCES = {"transport": ROOT / "faust-batches" / "src", "product": ROOT / "referral_stream"}
LINES = {"transport": transport.LINES, "product": product.LINES}

LOGGING = {"warning", "error", "critical", "exception", "warn", "log"}
NO_LOG = {"screen"}
"""What has a method of such a name, and is no log: the demo's screen."""

THROTTLE = ROOT / "referral_stream" / "runtime" / "log_throttle.py"
"""It logs what it is told, under a name that its callers give."""

_TOOL = runpy.run_path(str(ROOT / "tools" / "faults_page.py"))


def logged(root: Path) -> Iterator[tuple[str, str | None]]:
    """(place, event) of every call that logs at WARNING or above; None: its name cannot be read from the code."""
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path != THROTTLE else ():
            match node:
                case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=[first, *_]) if attr in LOGGING:
                    if ast.unparse(owner) not in NO_LOG:
                        name = str(first.value) if isinstance(first, ast.Constant) else None
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", name


@pytest.mark.parametrize("part", SOURCES)
def test_every_warning_and_error_has_a_row_and_every_row_a_line_in_the_code(part: str) -> None:
    found = list(logged(SOURCES[part]))
    assert [place for place, name in found if name is None] == [], "the name of an event is a literal"
    assert sorted({name for _, name in found if name}) == sorted(row.name for row in LINES[part])


def test_every_kind_of_failure_that_tells_what_to_do_has_a_row() -> None:
    told = [*errors.NeedsOperator.__subclasses__(), *errors.NeedsRestart.__subclasses__()]
    assert sorted(kind.__name__ for kind in told) == sorted(row.name for row in transport.REASONS)


def test_every_exit_code_has_a_row() -> None:
    codes = [value for name, value in vars(run).items() if name.startswith("EXIT_")]
    assert [row.name for row in transport.EXITS] == [str(code) for code in sorted(codes)]


@pytest.mark.parametrize("rows", [*LINES.values(), transport.REASONS])
def test_rows_are_sorted_and_say_something(rows: tuple[Fault, ...]) -> None:
    assert [row.name for row in rows] == sorted({row.name for row in rows})
    assert all(row.cause and row.remedy and "|" not in row.cause + row.remedy for row in rows)


def test_the_page_of_operations_has_them_all() -> None:
    page = _TOOL["PAGE"].read_text("utf-8")
    assert _TOOL["tables_in"](page) == list(_TOOL["TABLES"])
    assert _TOOL["filled"](page) == page, "write them again: python tools/faults_page.py"
