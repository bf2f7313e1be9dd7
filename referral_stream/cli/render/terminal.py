"""Lines for a terminal and for a pipe: wrapped to the terminal's width, never wrapped elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from referral_stream.words.escaping import visible

_NARROWEST = 40


def width(*, err: bool = False) -> int | None:
    """The width of the terminal behind stdout (or stderr); None for a file or a pipe: do not wrap."""
    stream = sys.stderr if err else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else None


def json_text(data: Any) -> str:
    """Indented JSON of the same value, whose texts hold nothing that a terminal might obey."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def wrapped(text: str, columns: int | None, indent: int = 0) -> str:
    """One visible line, broken between words where it is wider than ``columns``; what follows is indented."""
    text = visible(text)
    if columns is None or len(text) <= columns:
        return text
    return textwrap.fill(
        text,
        max(columns, _NARROWEST, indent + 20),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def many(count: int, what: str) -> str:
    """A count and what is counted: "1 row", "1,200 rows"."""
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def say(text: str, indent: int = 0, *, err: bool = False) -> None:
    """Print one line, wrapped with a hanging indent at a terminal."""
    click.echo(wrapped(text, width(err=err), indent), err=err)


def rows(table: Sequence[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """The lines of a table: every column but the last as wide as its widest cell; ``right`` are aligned right."""
    if not table:
        return []
    table = [tuple(map(visible, row)) for row in table]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(wide) if column in right else cell.ljust(wide)
            for column, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
