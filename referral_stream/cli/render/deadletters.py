"""Dead letters on the terminal and for machines. Payloads, and keys that a producer chose, only on request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import rfc3339
from referral_stream.ops.deadletters import DeadLetters, ListedLetter, ReplayOutcome
from referral_stream.words.escaping import visible

Originals = Mapping[str, RawRecord]
"""Letter id → its record, for the letters whose payload may be shown."""


def as_json(
    dead_letters: DeadLetters, selected: Sequence[ListedLetter], shown: Sequence[ListedLetter], records: Originals
) -> dict[str, Any]:
    """Counts of all that was ``selected``, by stage and cause; the letters ``shown``."""
    counts: dict[str, dict[str, int]] = {}
    for (stage, cause), count in _counted(selected):
        counts.setdefault(stage, {})[cause] = count
    letters = [_described(letter, records.get(letter.failure.id)) for letter in shown]
    return {"counts": counts, "letters": letters, "unreadable": dead_letters.unreadable}


def show_dead_letters(
    console: Console,
    dead_letters: DeadLetters,
    selected: Sequence[ListedLetter],
    shown: Sequence[ListedLetter],
    records: Originals,
) -> None:
    """As :func:`as_json`, for people."""
    if not selected:
        console.print("no dead letters")
    else:
        console.print(_counts_table(selected))
        console.print()
        for letter in shown:
            console.print(_line(letter), soft_wrap=True)
            if (record := records.get(letter.failure.id)) is not None:
                console.print(Text(f"    {_ascii(record)}"), soft_wrap=True)
    if len(shown) < len(selected):
        console.print(f"… and {len(selected) - len(shown):,} older ones (--limit)")
    if dead_letters.unreadable:
        console.print(f"{dead_letters.unreadable:,} records on the topic are not dead letters of this program")


def show_outcome(console: Console, outcome: ReplayOutcome) -> None:
    """The outcome of a replay."""
    for what, count in sorted(outcome.letters.items()):
        console.print(Text(f"{count:>8,}  {what}"))
    console.print(f"{outcome.events:,} events appended")
    if outcome.released or outcome.held:
        console.print(f"customers on hold: {outcome.released:,} released, {outcome.held:,} still on hold")


def _counted(letters: Sequence[ListedLetter]) -> list[tuple[tuple[str, str], int]]:
    counts = Counter((letter.failure.stage, letter.cause) for letter in letters)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _counts_table(letters: Sequence[ListedLetter]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("letters", justify="right")
    table.add_column("stage")
    table.add_column("cause")
    for (stage, cause), count in _counted(letters):
        table.add_row(f"{count:,}", Text(visible(stage)), Text(visible(cause)))
    return table


def _line(letter: ListedLetter) -> Text:
    failed = letter.failure
    where = f"{letter.topic}/{letter.source_partition}@{letter.source_offset}"
    again = f" attempt {failed.attempt}" if failed.attempt > 1 else ""
    done = " replayed" if letter.replayed else ""
    return Text(visible(f"{rfc3339(failed.occurred_at)}  {failed.stage}  {where}{again}{done}  {failed.error}"))


def _described(letter: ListedLetter, record: RawRecord | None) -> dict[str, Any]:
    failed = letter.failure
    described: dict[str, Any] = {
        "id": failed.id,
        "occurred_at": rfc3339(failed.occurred_at),
        "stage": failed.stage,
        "cause": letter.cause,
        "error": failed.error,
        "attempt": failed.attempt,
        "topic": letter.topic,
        "partition": letter.source_partition,
        "offset": letter.source_offset,
        "bytes": letter.size_bytes,
        "has_payload": letter.has_payload,
        "replayed": letter.replayed,
    }
    if failed.stage != "ingest" and letter.key is not None:
        described["key"] = letter.key.decode("utf-8", "replace")  # a customer or an account: ours, not the producer's
    if record is not None:
        described["record"] = json.loads(render_line(record))
    return described


def _ascii(record: RawRecord) -> str:
    """The record as a line of a recorded log, without anything that a terminal might obey."""
    return json.dumps(json.loads(render_line(record)))
