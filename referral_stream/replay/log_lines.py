"""The lines of a recorded log, wherever they come from: a file, plain or gzip, or stdin; as they are, or by time."""

from __future__ import annotations

import gzip
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line
from referral_stream.replay.remarks import CUSTOMER_EVENTS
from referral_stream.replay.sorting import MEMORY_BYTES, Row, in_order

STDIN: Final = Path("-")

Line: TypeAlias = tuple[int, bytes]
"""Number, from 1, and content."""
Progress: TypeAlias = Callable[[int], None]
"""Is called with how many bytes have been read: of a compressed file, as they lie on the disk."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_REPORT_EVERY: Final = 1_000


@contextmanager
def log_lines(
    log: Path,
    progress: Progress = lambda _: None,
    *,
    sort: bool = False,
    memory_bytes: int = MEMORY_BYTES,
    prefix: str = "",
) -> Iterator[Iterator[Line]]:
    """The lines of ``log``, blank ones left out. ``-`` is stdin; what is compressed is recognised by its first bytes.

    ``sort``: by the timestamps of the records, equal timestamps keep their order; lines keep their numbers, and
    one that is not a record stays behind the line before it. Records of ``customer-events`` go by their offsets, which
    are their order; ``prefix`` is the deployment's, before every topic. Opening and reading raise OSError, and
    UnreadableLog for a damaged archive.
    """
    with ExitStack() as stack:
        raw: BinaryIO = sys.stdin.buffer if log == STDIN else stack.enter_context(log.open("rb"))
        packed = _begins_with_magic(raw)
        content = stack.enter_context(gzip.open(raw, "rb")) if packed else raw
        lines = _numbered(content, raw if packed and raw.seekable() else None, log, progress)
        yield _sorted(lines, str(log), memory_bytes, prefix) if sort else lines


def _begins_with_magic(source: BinaryIO) -> bool:
    peek = getattr(source, "peek", None)
    return peek is not None and peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)] == _GZIP_MAGIC


def _numbered(content: Iterable[bytes], compressed: BinaryIO | None, log: Path, progress: Progress) -> Iterator[Line]:
    read = number = 0
    try:
        for number, line in enumerate(content, 1):
            read += len(line)
            if number == 1:
                if (kind := _other_kind(line)) is not None:
                    raise UnreadableLog(str(log), 1, f"{kind}: plain text in UTF-8 and gzip are read; write it as one")
                line = line.removeprefix(BOM_UTF8)  # noqa: PLW2901 (it says nothing)
            if number % _REPORT_EVERY == 1:
                progress(read if compressed is None else compressed.tell())
            if not line.isspace():
                yield number, line
    except (EOFError, gzip.BadGzipFile) as error:
        raise UnreadableLog(str(log), number + 1, f"the gzip archive is damaged: {error}") from None
    progress(read if compressed is None else compressed.tell())


def _other_kind(first: bytes) -> str | None:
    """What a file is whose first bytes are those of something else than lines of text."""
    return next((kind for begins, kind in _OTHER_KINDS.items() if first.startswith(begins)), None)


_OTHER_KINDS: Final = {
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x04\x22\x4d\x18": "an lz4 archive",
    BOM_UTF16_LE: "text in UTF-16",
    BOM_UTF16_BE: "text in UTF-16",
}


def _sorted(lines: Iterator[Line], file: str, memory_bytes: int, prefix: str) -> Iterator[Line]:
    rows = in_order(_rows(lines, file, prefix), memory_bytes)
    return ((int(row.label), row.content) for row in rows)


def _rows(lines: Iterator[Line], file: str, prefix: str) -> Iterator[Row]:
    at = 0
    for number, line in lines:
        try:
            record = parse_line(line, file=file, number=number)
        except UnreadableLog:
            pass  # the reader of the line reports what is wrong with it
        else:
            at = record.offset if record.topic.removeprefix(prefix) == CUSTOMER_EVENTS else record.timestamp
        yield Row(key=(at, ""), label=str(number), content=line)
