"""One class, one name; no file and no function longer than a reader can hold; the glossary speaks of what exists."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "referral_stream", ROOT / "faust-batches" / "src")

TWICE = {"Headers": "records have headers here and in the transport, which may not know us"}
"""Names of classes and aliases that exist twice, and why; this list only shrinks."""

LONGER_FILES = {"referral_stream/core/events.py": 959}
"""Modules that may be longer, and how long (all facts of the contract are in that one); this list only shrinks."""

MOST_LINES = 600
MOST_LINES_OF_A_FUNCTION = 60


def modules() -> Iterator[tuple[str, ast.Module, int]]:
    for root in SOURCES:
        for path in sorted(root.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            yield str(path.relative_to(ROOT)), ast.parse(text), text.count("\n")


def names_of_types(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield ast.unparse(node.target)


def test_no_class_has_the_name_of_another() -> None:
    places = defaultdict(list)
    for path, tree, _ in modules():
        for name in names_of_types(tree):
            places[name].append(path)
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in TWICE} == {}
    assert {name for name, where in places.items() if len(where) > 1} >= set(TWICE), "the list of exceptions shrinks"


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: lines for path, _, lines in modules()}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES and path not in LONGER_FILES} == {}
    assert {path: lengths[path] for path in LONGER_FILES} == LONGER_FILES, "the list of exceptions shrinks"


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": length
        for path, tree, _ in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_every_term_of_the_glossary_is_in_the_code() -> None:
    text = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\*\*(.+?)\*\* —", text, flags=re.MULTILINE)
    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)
    sources = (*SOURCES, ROOT / "tests")
    code = "\n".join(path.read_text(encoding="utf-8").lower() for root in sources for path in root.rglob("*.py"))
    spellings = {term: (term, term.replace(" ", "_"), term.replace(" ", ""), term.replace("-", "")) for term in terms}
    assert [term for term, ways in spellings.items() if not any(way.lower() in code for way in ways)] == []


def test_every_place_that_the_glossary_names_exists() -> None:
    text = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:core|contracts|stream|audit|faust_batches)/[\w/.]+)`", text)
    bases = (ROOT / "referral_stream", ROOT / "faust-batches" / "src")
    assert [place for place in named if not any((base / place).exists() for base in bases)] == []
