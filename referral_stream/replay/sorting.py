"""Sorting more rows than fit in memory: sorted runs on disk, merged as they are read."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import BinaryIO, TypeAlias

import msgspec

MEMORY_BYTES = 64 * 2**20
"""How much is sorted at once. All runs are merged together, a file each: 64 GB of rows are about a thousand files."""

_ROW_BYTES = 400
"""What a row takes beside its content: measured, tuples and strings of a typical decision."""

_LENGTH_BYTES = 4

Key: TypeAlias = tuple[int, str]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """Something to be sorted by ``key``; ``label`` and ``content`` come along."""

    key: Key
    label: str
    content: bytes


def in_order(rows: Iterable[Row], memory_bytes: int = MEMORY_BYTES) -> Iterator[Row]:
    """The rows by key, those of equal keys in the order in which they came.

    Holds about ``memory_bytes`` in memory, the rest in unnamed temporary files that vanish with the iterator. Raises
    OSError when the disk is full.
    """
    with ExitStack() as stack:
        runs: list[BinaryIO] = []
        held: list[Row] = []
        size = 0
        for row in rows:
            held.append(row)
            size += len(row.content) + _ROW_BYTES
            if size >= memory_bytes:
                runs.append(stack.enter_context(_spilled(held)))
                held, size = [], 0
        held.sort(key=_key)
        # The merge takes equal keys in the order of the runs, which is that of their arrival.
        yield from heapq.merge(*(_rows(run) for run in runs), held, key=_key)


def _spilled(rows: list[Row]) -> BinaryIO:
    """A file with the rows in order, ready to be read."""
    run: BinaryIO = TemporaryFile()  # noqa: SIM115 (closed by the caller's stack)
    encoder = msgspec.msgpack.Encoder()
    for row in sorted(rows, key=_key):
        encoded = encoder.encode(row)
        run.write(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)
    run.seek(0)
    return run


def _rows(run: BinaryIO) -> Iterator[Row]:
    decoder = msgspec.msgpack.Decoder(Row)
    while length := run.read(_LENGTH_BYTES):
        yield decoder.decode(run.read(int.from_bytes(length, "big")))


def _key(row: Row) -> Key:
    return row.key
