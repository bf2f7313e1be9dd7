"""Files that are no table yet, by how they begin: what they are, and what to do about it."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from referral_stream.ops.importing.values import is_address, is_day

_KINDS: Final = (
    (b"PK\x03\x04", "an Excel workbook, or another zip archive: save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook: save the sheet as CSV UTF-8"),
    (b"%PDF", "a PDF: export the table as CSV UTF-8"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"PAR1", "a Parquet file: export it as CSV or JSON lines"),
)
_ARRAY = re.compile(rb"\s*\[\s*(?:[\[{\]]|$)").match
_SEPARATORS: Final = (",", ";", "\t", "|")
_ENOUGH: Final = 3
"""Lines of as many cells that make a table below something else."""


def no_table(start: bytes, encoding: str | None) -> str | None:
    """Why a file that begins so is neither a CSV nor JSON lines; None if it may be. ``encoding``: as somebody said."""
    if not start:
        return "is empty"
    for mark, kind in _KINDS:
        if start.startswith(mark):
            return kind
    if _ARRAY(start.removeprefix(codecs.BOM_UTF8)) is not None:
        return "a JSON array: one object a line is read; jq -c '.[]' makes them of it"
    if encoding is None and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        even, odd = start[::2], start[1::2]
        if odd.count(0) * 2 > len(odd):
            return "UTF-16 without a mark that says so: --encoding utf-16-le"
        if even.count(0) * 2 > len(even):
            return "UTF-16 without a mark that says so: --encoding utf-16-be"
    return None


def no_header(lines: Sequence[str], separator: str) -> str | None:
    """Why the first of these lines names no columns, without quoting it; None if it may. ``separator`` is its own."""
    first = _cells(lines[:1], separator)
    if any(is_address(cell) or is_day(cell) for _, cells in first for cell in cells):
        return (
            "an address or a date in the header: is this line a customer? Put a line with the names of the columns "
            "above it; or, if they are the names: --header-line 1"
        )
    if not any(lines[0].count(each) for each in _SEPARATORS):
        separator = max(_SEPARATORS, key=lambda each: sum(line.count(each) for line in lines))
    rows = _cells(lines, separator)
    sizes = Counter(len(cells) for _, cells in rows if len(cells) > 1)
    size, many = max(sizes.items(), key=lambda each: each[1], default=(0, 0))
    named = sum(map(_is_filled, first[0][1])) if first else 0
    if many < _ENOUGH or named * 2 > size:
        return None
    full = (line for line, cells in rows if len(cells) == size and sum(map(_is_filled, cells)) * 2 > size)
    if (line := next(full, None)) is None:
        return None
    return f"too few names for the {size} cells of the lines below: if the header is line {line}: --header-line {line}"


def _cells(lines: Sequence[str], separator: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of what is no empty line, as far as it is a CSV."""
    found = []
    reader, before = csv.reader(lines, delimiter=separator), 0
    try:
        for cells in reader:
            if cells:
                found.append((before + 1, cells))
            before = reader.line_num
    except csv.Error:
        pass
    return found


def _is_filled(cell: str) -> bool:
    return bool(cell.strip())
