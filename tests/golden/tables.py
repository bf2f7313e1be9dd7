"""Outputs as the rows of a README, and the rows that a README holds.

A case's README lists every line of its outputs in one table per file, in the customer's own wall time. People write
these tables, from the specification; the tool that rewrites the outputs leaves them alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, TypeAlias

from referral_stream.core.zones import zone

Row: TypeAlias = tuple[str, ...]
Message: TypeAlias = dict[str, Any]

COLUMNS: dict[str, Row] = {
    "decisions.jsonl": ("line", "at", "who", "trigger", "outcome", "held back by"),
    "asks.jsonl": ("line", "at", "who", "trigger", "command", "score", "channels", "until"),
    "dead-letters.jsonl": ("line", "record", "cause"),
}
NOTHING = "–"


def rows_of(outputs: Mapping[str, bytes]) -> dict[str, list[Row]]:
    """The outputs of a replay as rows, by file name."""
    decisions, asks, letters = (_messages(outputs[name]) for name in COLUMNS)
    zones = {decision["id"]: zone(decision["data"]["time_zone"]["name"]) for decision in decisions}
    return {
        "decisions.jsonl": _numbered(_decision(each["data"], zones[each["id"]]) for each in decisions),
        "asks.jsonl": _numbered(_ask(each, zones[each["data"]["decision_id"]]) for each in asks),
        "dead-letters.jsonl": _numbered(_letter(each) for each in letters),
    }


def rows_in(readme: str) -> dict[str, list[Row]]:
    """The rows of the tables under the headings named like a file; a file without a heading has none.

    Raises ValueError for a table with other columns.
    """
    found: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    file = None
    for line in readme.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ").strip("`")
            file = title if title in COLUMNS else None
        elif file is not None and line.startswith("|") and not line.startswith("|-"):
            cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
            if len(cells) != len(COLUMNS[file]):
                raise ValueError(f"{file} has the columns {', '.join(COLUMNS[file])}; not so: {line}")
            if cells != COLUMNS[file]:
                found[file].append(cells)
    return found


def as_markdown(file: str, rows: Sequence[Row]) -> str:
    """A table of one file, as it stands in a README."""
    heading, *others = (f"| {' | '.join(row)} |" for row in (COLUMNS[file], *rows))
    return "\n".join((heading, "|---" * len(COLUMNS[file]) + "|", *others))


def _messages(content: bytes) -> list[Message]:
    return [json.loads(line) for line in content.splitlines()]


def _numbered(rows: Iterator[Row]) -> list[Row]:
    return [(str(number), *row) for number, row in enumerate(rows, 1)]


def _decision(data: Message, local: tzinfo) -> Row:
    blocking = (reason for reason in data["reasons"] if reason["answer"] != "pass")
    held_back = "; ".join(_held_back(reason, local, data["decided_at"]) for reason in blocking)
    at = _wall(data["decided_at"], local)
    return at, data["customer_id"], data["trigger"], data["outcome"], held_back or NOTHING


def _held_back(reason: Message, local: tzinfo, decided_at: str) -> str:
    match reason["answer"]:
        case "until":
            return f"{reason['gate']} until {_wall(reason['until'], local, decided_at)}"
        case "until_event":
            return f"{reason['gate']} until {reason['until']}"
        case answer:
            return f"{reason['gate']} {answer}"


def _ask(message: Message, local: tzinfo) -> Row:
    data = message["data"]
    who = _wall(message["time"], local), data["customer_id"], data["trigger"]
    match message["type"]:
        case "referral.ask.cancelled":
            return *who, f"cancelled by {data['gate']}", NOTHING, NOTHING, NOTHING
        case "referral.reason.asked":
            command, score = "reason first", NOTHING
        case _:
            command, score = data["mode"], str(data["score"]["value"])
    return *who, command, score, ", ".join(data["channels"]), _wall(data["expires_at"], local, message["time"])


def _letter(record: Message) -> Row:
    headers = dict(record["headers"])
    line = int(headers["source-offset"]) + 1
    return f"line {line} of the log", headers["error"].partition(":")[0]


def _wall(text: str, local: tzinfo, seen_from: str | None = None) -> str:
    """An instant (RFC 3339) as "Thu 10 Sep 12:30"; with its year if that is not the year it is ``seen_from``."""
    wall = datetime.fromisoformat(text).astimezone(local)
    other_year = seen_from is not None and wall.year != datetime.fromisoformat(seen_from).astimezone(local).year
    precision = "milliseconds" if wall.microsecond else "seconds" if wall.second else "minutes"
    year = f" {wall.year}" if other_year else ""
    return f"{wall:%a} {wall.day} {wall:%b}{year} {wall.time().isoformat(precision)}"
