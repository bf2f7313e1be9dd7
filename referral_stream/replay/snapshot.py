"""A snapshot: the states that a log of ``customer-events`` without its beginning builds on.

It is the recorded changelog of the table ``customers``, one record per line as in any recorded log: of each key (a
customer, or a link) the last one counts, and its mark tells which records of the log it has seen already.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line
from referral_stream.contracts.state import Stored, UnreadableState, decode_state
from referral_stream.core.entities import Entity
from referral_stream.core.events import Link
from referral_stream.core.keys import parse_key

Snapshot: TypeAlias = Mapping[str | Link, Stored[Entity]]
"""State and mark by customer id, or link."""


def entities_of(snapshot: Snapshot | None) -> list[Entity]:
    """The states alone."""
    return [stored.entity for stored in (snapshot or {}).values()]


def read_snapshot(file: Path) -> Snapshot:
    """State and mark by customer id, or link. Raises UnreadableLog naming file and line, and OSError."""
    states: dict[str | Link, Stored[Entity]] = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            record = parse_line(line, file=str(file), number=number)
            if record.key is None:
                raise UnreadableLog(str(file), number, "key: required, the customer's id")
            name = parse_key(record.key)
            if record.value is None:
                states.pop(name, None)
                continue
            try:
                states[name] = decode_state(record.value)
            except UnreadableState as problem:
                raise UnreadableLog(
                    str(file), number, f"{problem} (a snapshot is the changelog of customers)"
                ) from None
    return states
