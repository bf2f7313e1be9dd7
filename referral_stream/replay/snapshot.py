"""A snapshot: the states that a log of ``customer-events`` without its beginning builds on.

It is the recorded changelog of the table ``customers``, one record per line as in any recorded log: of each customer
the last one counts, and its mark tells which records of the log it has seen already.
"""

from __future__ import annotations

from pathlib import Path

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line
from referral_stream.contracts.state import Stored, UnreadableState, decode_customer
from referral_stream.core.keys import parse_key


def read_snapshot(file: Path) -> dict[str, Stored]:
    """State and mark by customer id. Raises UnreadableLog naming file and line, and OSError."""
    states: dict[str, Stored] = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            record = parse_line(line, file=str(file), number=number)
            if record.key is None:
                raise UnreadableLog(str(file), number, "key: required, the customer's id")
            customer = str(parse_key(record.key))
            if record.value is None:
                states.pop(customer, None)
                continue
            try:
                states[customer] = decode_customer(record.value)
            except UnreadableState as problem:
                raise UnreadableLog(
                    str(file), number, f"{problem} (a snapshot is the changelog of customers)"
                ) from None
    return states
