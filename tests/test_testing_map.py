"""The map from the specification to the tests, in docs/testing.md, names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
ROW = re.compile(r"\| (\d+)\.(\d+) \| (.+?) \| ([^|]+) \|")
NODE = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
MAPPED_SECTIONS = [1, 2, 3, 4, 5, 6, 8, 9, 10]
RULE = re.compile(r'<a id="(\d+)\.(\d+)">')


def rows() -> list[tuple[int, int, str]]:
    """(section, number of the sentence, what the row says of its tests)."""
    text = (TESTS.parent / "docs" / "testing.md").read_text(encoding="utf-8")
    found = [ROW.fullmatch(line) for line in text.splitlines()]
    return [(int(row[1]), int(row[2]), row[4]) for row in found if row]


@cache
def names_in(file: str) -> frozenset[str]:
    path = TESTS / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_test_that_the_map_names_exists() -> None:
    named = {node for _, _, told in rows() for node in NODE.findall(told)}
    assert sorted(f"{file}::{name}" for file, name in named if name not in names_in(file)) == []


def test_every_sentence_of_the_map_has_a_test_and_a_number() -> None:
    numbers: dict[int, list[int]] = {}
    for section, number, told in rows():
        assert ", ".join(f"`{file}::{name}`" for file, name in NODE.findall(told)) == told, (section, number)
        numbers.setdefault(section, []).append(number)
    assert list(numbers) == MAPPED_SECTIONS
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values()), numbers


def test_the_map_has_the_numbers_of_the_specification() -> None:
    text = (TESTS.parent / "docs" / "specification" / "semantics.md").read_text(encoding="utf-8")
    rules = [(int(section), int(number)) for section, number in RULE.findall(text)]
    mapped = [(section, number) for section, number, _ in rows()]
    assert mapped == [rule for rule in rules if rule[0] in MAPPED_SECTIONS]
