"""The import itself: the whole file is read before anything is written, and then read again, a row at a time."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import IO, Any, Final, NamedTuple

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import HISTORICAL_HEADER, RawRecord
from referral_stream.ops.importing.columns import Column, Plan, unexplained
from referral_stream.ops.importing.fields import IGNORE
from referral_stream.ops.importing.history import RowFacts, Stops, cloud_events, told
from referral_stream.ops.importing.looks import is_everyday
from referral_stream.ops.importing.table import CustomerTable, TableRow, reading
from referral_stream.ops.importing.values import ReadInstant, is_address, is_blank, is_tick
from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.receiver.writer import NotWritten, SourceWriter, TooLarge, WriterProblem
from referral_stream.replay.whole_files import whole_file
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.email_key import require_same_email_key
from referral_stream.runtime.topics_admin import TopicsProblem

TOPIC: Final = "profile"
"""Where all of it goes, in the order of the rows: what one row says of a customer must not overtake itself."""
HEADERS: Final = ((HISTORICAL_HEADER, b"true"),)

MOST_COLUMNS: Final = 2_000
"""Of JSON objects: names that are ids are no columns."""
_SPARSE: Final = "in the few rows that fill it stands a yes, a no or a date, as in an opt-out"
_MOST_ADDRESSES: Final = 3
"""Of one person, beside one id."""
_SHOWN_VALUES: Final = 3
_MOST_MEANINGS: Final = 12
_ROWS: Final = 500
"""Rows between two looks at the progress; as many are on their way to the broker at once."""
_RECORD_BYTES: Final = 256_000
_ACK_SECONDS: Final = 60.0
_TRIES: Final = 3


class ImportProblem(Exception):
    """Why nothing, or not all, was imported: one line for each reason."""


class ImportRequest(NamedTuple):
    """What is to be imported: a file, its columns, as of the time of its export.

    ``skip_bad``: whether lines that cannot be read at all are left out, where they would stop everything.
    """

    file: Path
    columns: Sequence[Column]
    as_of: ReadInstant
    email_key: bytes
    encoding: str | None = None
    skip_bad: bool = False
    header_line: int | None = None

    def plan(self) -> Plan:
        return Plan(self.columns)


@dataclass(slots=True)
class ColumnTally:
    """What became of a column's cells; ``values`` are the first few of them.

    In a column that is not used, of ``said`` cells that are not blank ``ticks`` are a yes, a no or a date, and
    ``addresses`` look like one.
    """

    column: Column
    filled: int = 0
    said: int = 0
    addresses: int = 0
    ticks: int = 0
    unexplained: bool = False
    meant: Counter[str] = field(default_factory=Counter)
    values: list[str] = field(default_factory=list)

    def is_sparse(self, rows: int) -> bool:
        """Whether it is unused, most rows say nothing in it, and nearly all that do tick a box, or give a day."""
        quiet = self.column.why != "not used" or self.column.is_unexplained or is_everyday(self.column.name)
        return not quiet and 0 < self.said * 2 < rows and self.ticks * 10 >= self.said * 9


@dataclass(slots=True)
class ImportCheck:
    """What is in the file. ``problems``: why nothing may be written. ``lost``: lines that protect somebody unnamed."""

    rows: int = 0
    customers: int = 0
    by_address: int = 0
    refused: int = 0
    unread: int = 0
    faults: int = 0
    held: int = 0
    lost: list[int] = field(default_factory=list)
    lost_more: int = 0
    events: Counter[str] = field(default_factory=Counter)
    columns: dict[str, ColumnTally] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


Progress = Callable[[int], None]
"""Is called with how many bytes of the file lie behind."""


def check(request: ImportRequest, refused: Path, progress: Progress, *, values: bool = False) -> ImportCheck:
    """Read all of it and write nothing, but ``refused``: line, column and reason of what cannot be used.

    That file is there only if there is something to say. Raises UnreadableLog and OSError.
    """
    return _Check(request, refused, values=values).run(progress)


def _table(request: ImportRequest) -> AbstractContextManager[CustomerTable]:
    return reading(request.file, request.encoding, request.header_line)


class _Check:
    def __init__(self, request: ImportRequest, refused: Path, *, values: bool) -> None:
        self._request, self._refused, self._values = request, refused, values
        self._plan = request.plan()
        self._found = ImportCheck()
        self._first: dict[tuple[str, Stops], int] = {}
        self._customers: set[int] = set()
        self._addresses: dict[int, int] = {}
        self._others: dict[int, set[int]] = {}
        self._shared = 0
        self._writer: Any = None

    def run(self, progress: Progress) -> ImportCheck:
        found = self._found
        with ExitStack() as files, _table(self._request) as table:
            for name in table.columns or ():
                self._plan.column(name)
            for row in table.rows:
                found.rows += 1
                if found.rows % _ROWS == 0:
                    progress(table.bytes_read)
                self._row(row, files)
        if self._writer is None:
            _forget(self._refused)
        found.columns = {c.name: found.columns.get(c.name, ColumnTally(c)) for c in self._plan.columns}
        found.problems += self._plan.problems(
            [name for name, tally in found.columns.items() if tally.addresses * 2 > tally.said]
        )
        for name, tally in found.columns.items():
            if tally.is_sparse(found.rows - found.unread):
                found.problems.append(unexplained(name, _SPARSE))
            tally.unexplained = tally.column.is_unexplained or tally.is_sparse(found.rows - found.unread)
        found.problems += self._unclear()
        if not found.rows:
            found.problems.append("there are no rows below the header")
        return found

    def _row(self, row: TableRow, files: ExitStack) -> None:
        found, request = self._found, self._request
        if row.problem is not None:
            found.unread += 1
            self._refuse(files, row.line, "", row.problem)
            if not request.skip_bad and found.unread == 1:
                found.problems.append(
                    f"line {row.line}: {row.problem}. Whoever it is about may have opted out: repair it, "
                    "or leave such lines out with --skip-bad"
                )
            return
        said = told(row.cells, self._plan, request.as_of, request.email_key)
        self._count(row, said)
        for fault in said.faults:
            found.faults += 1
            found.held += fault.held
            self._refuse(files, row.line, fault.column, fault.reason)
            if fault.stops is not None:
                self._first.setdefault((fault.column, fault.stops), row.line)
        if said.subject is None and said.link is None:
            found.refused += 1
            self._refuse(files, row.line, "", "says of nobody whom we could name")
            if said.protects:
                found.lost_more += len(found.lost) >= _MOST_MEANINGS
                found.lost += [row.line] if len(found.lost) < _MOST_MEANINGS else []
        else:
            self._customers.add(hash(said.subject or said.link))
            self._shares(row, said)
            found.customers = len(self._customers)
            found.by_address += said.subject is None
            found.events.update(fact.type for fact in said.facts)

    def _shares(self, row: TableRow, said: RowFacts) -> None:
        """Whether an id stands beside more addresses than one person has: it may be none, such as a word for it."""
        if said.subject is None or said.address is None or self._shared:
            return
        who, address = hash(said.subject), hash(said.address)
        first = self._addresses.setdefault(who, address)
        if address != first:
            others = self._others.setdefault(who, set())
            others.add(address)
            if len(others) >= _MOST_ADDRESSES:
                self._shared = row.line

    def _count(self, row: TableRow, said: RowFacts) -> None:
        for name, cell in row.cells.items():
            tally = self._found.columns.get(name)
            if tally is None:
                if len(self._found.columns) >= MOST_COLUMNS:
                    raise UnreadableLog(str(self._request.file), row.line, f"more than {MOST_COLUMNS:,} columns")
                tally = self._found.columns[name] = ColumnTally(self._plan.column(name))
            if cell and not cell.isspace():
                tally.filled += 1
                if self._values and len(tally.values) < _SHOWN_VALUES and cell not in tally.values:
                    tally.values.append(cell)
                if tally.column.why == "not used" and not is_blank(cell):
                    tally.said += 1
                    tally.ticks += is_tick(cell)
                    tally.addresses += is_address(cell)
            if (what := said.meant.get(name)) is not None:
                tally.meant[what] += 1

    def _unclear(self) -> Iterator[str]:
        yield from self._shared_id()
        for (name, why), line in self._first.items():
            field_name = column.field.name if (column := self._plan.column(name)).field is not None else ""
            named = f"--column {quote(name)}={field_name}"
            match why:
                case "words":
                    yield (
                        f"column {name!r} is not used, and says in line {line} that somebody wants no mail: name it as "
                        f"opted_out, with values for what its other words mean (--columns), or {IGNORE} it"
                    )
                case "date":
                    yield (
                        f"column {name!r}: in line {line} the day or the month may stand first; say which: "
                        f"{named}:day-first, or {field_name}:month-first"
                    )
                case "address":
                    yield (
                        f"column {name!r}: in line {line} an address stands in the place of an id, and would leave "
                        f"this machine in clear, as no other does: --column {quote(name)}=email hashes it; or, if your "
                        f"producers' ids are addresses: {named}:address"
                    )
                case "id":
                    yield (
                        f"column {name!r}: in line {line} the id looks as if a program had made a number of it: export "
                        f"it as text; or, if your producers write it so: {named}"
                    )

    def _shared_id(self) -> Iterator[str]:
        ids = [column for column in self._plan.columns if column.field is not None and column.field.name == "customer"]
        for column in ids if self._shared else ():
            if column.format != "shared":
                yield (
                    f"column {column.name!r}: the id in line {self._shared} stands there with more than "
                    f"{_MOST_ADDRESSES} addresses: it is nobody's, or the column is not the customer's; if one id does "
                    f"stand for several people: --column {quote(column.name)}=customer:shared"
                )

    def _refuse(self, files: ExitStack, line: int, column: str, reason: str) -> None:
        if self._writer is None:
            file: IO[bytes] = files.enter_context(whole_file(self._refused))
            self._writer = file
            _write_row(file, _HEADING)
        _write_row(self._writer, (str(line), column, reason))


_HEADING: Final = ("line", "column", "reason")


def _forget(refused: Path) -> None:
    """What an earlier import could not use is no news of this one; a file of another kind stays."""
    if refused.is_file():
        with refused.open(encoding="utf-8", errors="replace") as file:
            ours = file.readline().strip() == ",".join(_HEADING)
        if ours:
            refused.unlink()


def _write_row(file: IO[bytes], cells: Sequence[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    file.write(text.getvalue().encode())


def _events(request: ImportRequest, plan: Plan, latest: int, progress: Progress) -> Iterator[list[tuple[bytes, bytes]]]:
    """(key, event) of some rows at a time, in their order."""
    portion: list[tuple[bytes, bytes]] = []
    with _table(request) as table:
        for number, row in enumerate(table.rows, 1):
            if row.problem is None:
                said = told(row.cells, plan, request.as_of, request.email_key)
                if said.subject is not None or said.link is not None:
                    key = (said.subject or said.link or "").encode()
                    portion += [(key, event) for event in cloud_events(said, latest=latest)]
            if number % _ROWS == 0:
                progress(table.bytes_read)
                yield portion
                portion = []
    if portion:
        yield portion


def to_log(request: ImportRequest, output: Path, topic: str, progress: Progress) -> int:
    """Write them as a recorded log, all of the time of the export; returns how many. Raises OSError, UnreadableLog."""
    at, offset = request.as_of.last, 0
    with whole_file(output) as file:
        for portion in _events(request, request.plan(), at, progress):
            for key, event in portion:
                record = RawRecord(
                    topic=topic, partition=0, offset=offset, timestamp=at, key=key, value=event, headers=HEADERS
                )
                file.write(render_line(record) + b"\n")
                offset += 1
    return offset


async def to_topic(request: ImportRequest, deployment: Deployment, now: int, progress: Progress) -> int:
    """Write them to the source topic, as any producer would; returns how many, each acknowledged by all replicas.

    Raises ImportProblem, after which it may be started again: what is there already is the same event.
    """
    settings, topic = deployment.settings, deployment.topics.full_name(TOPIC)
    if (vendor := settings.topic_adapters.get(TOPIC)) is not None:
        raise ImportProblem(
            f"{topic} is read as {vendor}'s webhooks alone (TOPIC_ADAPTERS): no event could come in there"
        )
    writer = SourceWriter(deployment.client(), max_record_bytes=_RECORD_BYTES, ack_seconds=_ACK_SECONDS)
    written = 0
    try:
        await writer.start([topic])
        await require_same_email_key(deployment)
        for portion in _events(request, request.plan(), now, progress):
            records = [SourceRecord(topic, event, key, HEADERS) for key, event in portion]
            await _again(lambda records=records: writer.write(records))  # type: ignore[misc] # a default binds it
            written += len(records)
    except (WriterProblem, TopicsProblem) as problem:
        raise ImportProblem(str(problem)) from None
    except (NotWritten, TooLarge) as problem:
        why = str(problem) or "a record is too large for the topic"
        raise ImportProblem(f"{topic}: {why}; {written:,} events are written: import the file again") from None
    finally:
        await writer.stop()
    return written


async def _again(write: Callable[[], Awaitable[None]]) -> None:
    """What is written twice is the same event."""
    for left in reversed(range(_TRIES)):
        try:
            await write()
        except NotWritten:
            if not left:
                raise
        else:
            return


__all__ = [
    "ColumnTally",
    "ImportCheck",
    "ImportProblem",
    "ImportRequest",
    "UnreadableLog",
    "check",
    "to_log",
    "to_topic",
]
