"""The facts of a log on disk, read once and in parallel, and dealt to shards: groups of whole components.

A log is cut into blocks of lines. Each is read apart from the others: where the log's clock stands at its beginning is
taken from the lines before it, and checked when the block before it has been read; a block for which that was wrong is
read again. Once it is known who belongs together, each block's facts are sorted by shard. A shard reads its part of
every block. How a log is cut, and what its shards are, does not depend on the number of cores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from referral_stream.backtest.components import ties_of
from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.replay.log_lines import Line
from referral_stream.replay.reading import Block, Counts, LogClock, ReadBlock, Span, clock_after
from referral_stream.replay.sorting import Row, in_order
from referral_stream.replay.virtual_run import Arrival

BLOCK_BYTES = 2**21
LEAD_LINES = 50
"""Lines before a block by which its clock is guessed."""
BEHIND_LINES = 5

SHARD_EVENTS = 10_000
"""So that states under both policies take little memory, and the cores have work to the end."""

EVERYBODY = -1
"""In the place of a name: a fact that concerns all."""

_Fact: TypeAlias = tuple[int, int, bytes]
"""Whose (a place among the block's names), now, the event."""
_Dealt: TypeAlias = tuple[int, bytes]

_encode = msgspec.msgpack.Encoder().encode
_facts = msgspec.msgpack.Decoder(list[_Fact]).decode
_dealt = msgspec.msgpack.Decoder(list[_Dealt]).decode
_index = msgspec.msgpack.Decoder(dict[int, tuple[int, int]]).decode
_INDEX_BYTES = 4


class CutBlock(NamedTuple):
    """A block as it is cut from the log; ``number`` from 0."""

    number: int
    block: Block
    begin: LogClock
    """As the lines before it suggest."""


class BlockFound(NamedTuple):
    """What a block holds. ``names``: of all that its facts are about, with how many facts of each; ``ties``: pairs of
    places in it that belong together; ``first``, ``last``: the arrival of its first and last fact.
    """

    number: int
    begin: LogClock
    end: LogClock
    ours: bool | None
    names: list[str]
    facts: list[int]
    ties: list[tuple[int, int]]
    spans: dict[tuple[str, int], Span]
    counts: Counts
    first: int | None
    last: int | None


class Digest:
    """Of the lines of a log, as they go by."""

    def __init__(self) -> None:
        self._made = sha256()

    def through(self, lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            self._made.update(line[1])
            yield line

    @property
    def hex(self) -> str:
        return self._made.hexdigest()


def cut(lines: Iterable[Line], file: str, block_bytes: int = BLOCK_BYTES) -> Iterator[CutBlock]:
    """Blocks of about so many bytes."""
    waiting: list[Line] = []
    lead: list[Line] = []
    held: list[Line] | None = None
    size = number = 0
    for line in lines:
        waiting.append(line)
        size += len(line[1])
        if held is not None and len(waiting) == BEHIND_LINES:
            yield CutBlock(number, Block(held, waiting[:]), clock_after(lead, file) if number else LogClock())
            lead, held, number = held[-LEAD_LINES:], None, number + 1
        if held is None and size >= block_bytes:
            held, waiting, size = waiting, [], 0
    if held is not None:
        yield CutBlock(number, Block(held, waiting), clock_after(lead, file) if number else LogClock())
        lead, number = held[-LEAD_LINES:], number + 1
    if waiting or not number:
        yield CutBlock(number, Block(waiting, []), clock_after(lead, file) if number else LogClock())


def read_block(cut_block: CutBlock, file: str, boundary: Boundary, folder: Path, *, skip_bad: bool) -> BlockFound:
    """Read one block into a file of the folder. Raises UnreadableLog."""
    counts = Counts()
    reading = ReadBlock(file, cut_block.block, cut_block.begin, boundary, counts, skip_bad=skip_bad)
    places: dict[str, int] = {}
    found: list[int] = []
    ties: set[tuple[int, int]] = set()
    facts: list[_Fact] = []
    first = last = None
    for now, event, _ in reading.facts():
        names = ties_of(event)
        place = EVERYBODY
        for name in names:
            at = places.setdefault(name, len(places))
            if at == len(found):
                found.append(0)
            if place == EVERYBODY:
                place = at
            else:
                ties.add((place, at))
        if place != EVERYBODY:
            found[place] += 1
        facts.append((place, now, encode_event(event)))
        first, last = now if first is None else min(first, now), now if last is None else max(last, now)
    _facts_file(folder, cut_block.number).write_bytes(_encode(facts))
    return BlockFound(
        cut_block.number, cut_block.begin, reading.clock, reading.ours, list(places), found, sorted(ties),
        reading.spans, counts, first, last,
    )  # fmt: skip


def deal(folder: Path, block: int, shard_of: Sequence[int], shards: int) -> None:
    """Sort a block's facts by shard; ``shard_of``: by the places of its names."""
    file = _facts_file(folder, block)
    parts: dict[int, list[_Dealt]] = {}
    for place, now, event in _facts(file.read_bytes()):
        for shard in range(shards) if place == EVERYBODY else (shard_of[place],):
            parts.setdefault(shard, []).append((now, event))
    file.unlink()
    index: dict[int, tuple[int, int]] = {}
    content = bytearray()
    for shard, facts in parts.items():
        encoded = _encode(facts)
        index[shard] = len(content), len(encoded)
        content += encoded
    head = _encode(index)
    _dealt_file(folder, block).write_bytes(len(head).to_bytes(_INDEX_BYTES, "big") + head + content)


def arrivals(folder: Path, blocks: int, shard: int, *, by_time: bool, memory_bytes: int) -> Iterator[list[Arrival]]:
    """A shard's facts, instant by instant. ``by_time``: they lie by partition, and are sorted first."""
    facts = _of_shard(folder, blocks, shard)
    if by_time:
        rows = (Row(key=(now, ""), label="", content=event) for now, event in facts)
        facts = ((row.key[0], row.content) for row in in_order(rows, memory_bytes))
    for now, together in groupby(facts, key=lambda fact: fact[0]):
        yield [Arrival(now, decode_event(event)) for _, event in together]


def _of_shard(folder: Path, blocks: int, shard: int) -> Iterator[_Dealt]:
    for block in range(blocks):
        with _dealt_file(folder, block).open("rb") as file:
            length = int.from_bytes(file.read(_INDEX_BYTES), "big")
            where = _index(file.read(length)).get(shard)
            if where is None:
                continue
            file.seek(_INDEX_BYTES + length + where[0])
            part = file.read(where[1])
        yield from _dealt(part)


def added(total: Counts, more: Counts) -> None:
    """Count what was read of another block, which comes behind."""
    total.records += more.records
    total.events += more.events
    total.bad_lines += more.bad_lines
    total.skipped += Counter(more.skipped)
    total.refused += Counter(more.refused)
    total.remarks.add(more.remarks)


def joined(spans: dict[tuple[str, int], Span], more: dict[tuple[str, int], Span]) -> None:
    """The spans of a block that comes behind."""
    for where, span in more.items():
        known = spans.get(where)
        spans[where] = (
            span if known is None else Span(known.first, span.last, known.named, known.records + span.records)
        )


def _facts_file(folder: Path, block: int) -> Path:
    return folder / f"facts-{block}"


def _dealt_file(folder: Path, block: int) -> Path:
    return folder / f"dealt-{block}"
