"""The example worker is to be read in one go: it stays small."""

from __future__ import annotations

import ast
import io
import tokenize

from tests.messaging.example import FOLDER

MODULES = ("worker", "memory", "senders", "catalogue")
"""All that runs when the worker runs; the checker of the wording is a tool beside it."""

_LAYOUT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def code_lines(source: str) -> int:
    """Physical lines that hold code: no blank ones, no comments, no docstrings."""
    texts = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in _LAYOUT for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - texts)


def test_the_count_leaves_out_what_is_no_code() -> None:
    source = '"""Of what\n\nit does."""\n\nx = """a\nb"""  # two lines\n\n\ndef f(\n) -> None:\n    """Of f."""\n'
    assert code_lines(source) == 4


def test_everything_that_runs_is_counted() -> None:
    imported = {
        name
        for module in MODULES
        for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text()))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [])
        if name and (FOLDER / f"{name}.py").exists()
    }
    assert imported == set(MODULES) - {"worker"}


def test_the_worker_has_less_than_260_lines_of_code() -> None:
    counts = {module: code_lines((FOLDER / f"{module}.py").read_text()) for module in MODULES}
    assert sum(counts.values()) < 260, counts
