"""Which test checks which rule of the specification: ``@rule("10.15")`` on a test, and the page made from the marks.

python -m tests.rules            writes the tables of docs/testing.md
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "testing.md"
SPECIFICATION = TESTS.parent / "docs" / "specification"
BEGIN, END = "<!-- rules: begin -->\n", "<!-- rules: end -->\n"

PAGES = {"": "semantics.md", "A": "after.md", "I": "identity.md"}
"""Letter of the numbers → the page of the specification that has them."""

_NUMBER = re.compile(r"([A-Z]?)(\d+)\.(\d+)")
_SECTION = re.compile(r"^## §(\d+) (.+)$", re.MULTILINE)


def rule(*numbers: str) -> pytest.MarkDecorator:
    """Marks a test with the numbers of the rules that it checks, as in ``@rule("10.15")``."""
    return pytest.mark.rule(*numbers)


def marked() -> dict[str, list[str]]:
    """Rule → the tests marked with it, as ``core/test_caps.py::test_…`` relative to ``tests/``."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "@rule(" in text:
            for test, numbers in _marks(ast.parse(text)):
                for number in numbers:
                    found[number].append(f"{path.relative_to(TESTS)}::{test}")
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "rule":
                    yield node.name, [ast.literal_eval(number) for number in mark.args]


def in_order(number: str) -> tuple[str, int, int]:
    """``10.15`` before ``I1.2``: semantics, which has no letter, comes first."""
    letter, section, rule = _NUMBER.fullmatch(number).groups()  # type: ignore[union-attr]  # a test holds their form
    return letter, int(section), int(rule)


def titles() -> dict[str, str]:
    """Section → its title: ``10`` of semantics, ``I1`` of identity."""
    return {
        f"{letter}{number}": title
        for letter, name in PAGES.items()
        for number, title in _SECTION.findall((SPECIFICATION / name).read_text(encoding="utf-8"))
    }


def tables() -> str:
    """The tables of the page: a section of the specification each, a row a rule."""
    tests = marked()
    parts = []
    for section, title in titles().items():
        numbers = sorted((number for number in tests if number.split(".")[0] == section), key=in_order)
        if numbers:
            name = PAGES[section.rstrip("0123456789")]
            rows = [f"| [{n}](specification/{name}#{n}) | {_named(tests[n])} |" for n in numbers]
            parts.append("\n".join([f"### §{section} {title}", "", "| rule | tests |", "|---|---|", *rows, ""]))
    return "\n" + "\n".join(parts) + "\n"


def _named(tests: list[str]) -> str:
    return ", ".join(f"`{test}`" for test in tests)


def page(text: str) -> str:
    """The page with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{tables()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
