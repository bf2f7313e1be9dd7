"""The file as rows, one at a time: CSV in the ways people export it, or JSON lines; plain or gzip."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.json_reading import NotJson, parse_json
from referral_stream.ops.importing.no_table import no_header, no_table

Cells: TypeAlias = Mapping[str, str]
"""By column; a cell that JSON says nothing about is not there."""

MOST_LINE_BYTES: Final = 1 << 20
"""Of a JSON object: a longer line is no customer."""
_LOOK: Final = 512
"""Bytes at the beginning by which a file of another kind is known."""
_HEAD: Final = 40
"""Lines in which the header may stand."""
_SEPARATORS: Final = (",", ";", "\t", "|")
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class TableRow(NamedTuple):
    """``line``: where it begins, from 1 on. ``problem``: why its cells cannot be told apart; they are empty then."""

    line: int
    cells: Cells
    problem: str | None = None


@dataclass(slots=True)
class CustomerTable:
    """A file being read; ``columns`` are those of the header of a CSV, None for JSON lines, which have none."""

    file: Path
    columns: tuple[str, ...] | None
    rows: Iterator[TableRow]
    raw: IO[bytes]

    @property
    def bytes_read(self) -> int:
        """How much of the file lies behind, as it is on disk."""
        return self.raw.tell()


@contextmanager
def reading(file: Path, encoding: str | None = None, header_line: int | None = None) -> Iterator[CustomerTable]:
    """The rows of a file, which may be of any length. Raises UnreadableLog (file and line) and OSError.

    ``header_line``: where the names of the columns of a CSV stand, from 1 on; None: in the first line.
    """
    with file.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        with gzip.GzipFile(fileobj=raw) if packed else raw as unpacked:
            content = io.BufferedReader(unpacked) if packed else raw
            start = content.peek(_LOOK)[:_LOOK]
            if (problem := no_table(start, encoding)) is not None:
                raise UnreadableLog(str(file), 1, problem)
            if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{":
                yield CustomerTable(file, None, _objects(content), raw)
                return
            found = encoding or next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8")
            text = io.TextIOWrapper(content, found, newline="")
            columns, rows = _csv(text, file, found, header_line)
            yield CustomerTable(file, columns, rows, raw)


def _objects(content: IO[bytes]) -> Iterator[TableRow]:
    number = 0
    while line := content.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(line) > MOST_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = content.readline(MOST_LINE_BYTES)
            yield TableRow(number, {}, f"longer than {MOST_LINE_BYTES:,} bytes")
            continue
        if not (text := line.removeprefix(codecs.BOM_UTF8).strip()):
            continue
        try:
            found = parse_json(text)
        except NotJson as error:
            yield TableRow(number, {}, f"not JSON: {error}")
            continue
        yield (
            TableRow(number, dict(_flat(found)))
            if isinstance(found, dict)
            else TableRow(number, {}, "not a JSON object")
        )


def _flat(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Objects within it by their paths, as in ``properties.email``; a list as its elements with commas between."""
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, list):
            yield before + name, ",".join(map(_cell, value))
        elif value is not None:
            yield before + name, _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _csv(
    text: io.TextIOWrapper, file: Path, encoding: str, header_line: int | None
) -> tuple[tuple[str, ...], Iterator[TableRow]]:
    lines = _decoded(text, file, encoding)
    above = (header_line or 1) - 1
    first = next(itertools.islice(lines, above, None), "")
    separator = None
    if first.lower().startswith("sep=") and len(first.rstrip("\r\n")) == len("sep=;"):  # as Excel writes it
        separator, first = first[4], next(lines, "")
        above += 1
    head = [first, *itertools.islice(lines, _HEAD)] if header_line is None else [first]
    separator = separator or max(_SEPARATORS, key=lambda each: _outside_quotes(first, each))
    if header_line is None and (problem := no_header(head, separator)) is not None:
        raise UnreadableLog(str(file), 1, problem)
    reader = csv.reader(itertools.chain(head, lines), delimiter=separator, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise UnreadableLog(str(file), above + 1, f"the header is no CSV: {error}") from None
    columns = _names(header)
    if not any(cell.strip() for cell in header):
        raise UnreadableLog(str(file), above + 1, "the header names no column")
    return columns, _records(reader, columns, file, above)


def _records(reader: Any, columns: tuple[str, ...], file: Path, above: int) -> Iterator[TableRow]:
    """``above``: lines of the file that the reader was not given."""
    while True:
        line = above + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            hint = " (a quote that is not closed?)" if "limit" in str(error) or "end of data" in str(error) else ""
            yield TableRow(line, {}, f"no CSV: {error}{hint}")
            if "end of data" in str(error):
                return
            continue
        except UnicodeDecodeError as error:  # pragma: no cover (told by _decoded)
            raise UnreadableLog(str(file), line, str(error)) from None
        if cells is None:
            return
        if not any(cells):
            continue
        if len(cells) != len(columns):
            found = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
            yield TableRow(line, {}, f"has {found}, the header {len(columns)}")
        else:
            yield TableRow(line, dict(zip(columns, cells, strict=True)))


def _decoded(text: io.TextIOWrapper, file: Path, encoding: str) -> Iterator[str]:
    number = 0
    try:
        for line in text:
            number += 1
            yield line
    except UnicodeError:
        failed = codecs.lookup(encoding).name
        other = next(each for each in ("cp1252", "utf-8", "utf-16") if codecs.lookup(each).name != failed)
        remedy = f"name it with --encoding, for example {other}"
        raise UnreadableLog(str(file), number + 1, f"here or a little later: not {encoding}; {remedy}") from None


def _outside_quotes(line: str, separator: str) -> int:
    return sum(part.count(separator) for part in line.split('"')[::2])


def _names(header: list[str]) -> tuple[str, ...]:
    """Each once: a nameless column by its place, a second one of a name with its place."""
    names: list[str] = []
    for place, cell in enumerate(header, 1):
        name = " ".join(cell.split()) or f"column {place}"
        names.append(f"{name} ({place})" if name in names else name)
    return tuple(names)
