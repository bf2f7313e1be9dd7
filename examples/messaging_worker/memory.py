"""What the worker knows of every command, in one SQLite file. Each method is one durable transaction."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

_FORGET_AFTER = 30 * 86_400_000
"""Past its expiry a repeated command is dropped as expired anyway: its id need not be kept for ever."""

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL, status TEXT NOT NULL, due INTEGER, expires INTEGER, body TEXT);
CREATE TABLE IF NOT EXISTS reports (command TEXT, customer TEXT, status TEXT, time INTEGER);
"""


class Waiting(NamedTuple):
    """A command that nothing has come of yet; instants in epoch ms."""

    id: str
    due: int
    expires: int
    body: dict[str, Any]


class Report(NamedTuple):
    """An acknowledgement that is still to be published."""

    row: int
    command: str
    customer: str
    status: str
    time: int


class Memory:
    def __init__(self, file: Path, now: int) -> None:
        self._db = sqlite3.connect(file)
        self._db.executescript(_SCHEMA)
        with self._db:
            self._db.execute("DELETE FROM commands WHERE expires < ?", (now - _FORGET_AFTER,))

    def accept(self, command: str, customer: str, due: int, expires: int, body: dict[str, Any], now: int) -> None:
        """Keep a command, or drop it at once if it has expired; one whose id is known changes nothing."""
        status, kept = ("waiting", json.dumps(body)) if now < expires else ("dropped_expired", None)
        with self._db:
            row = (command, customer, status, due, expires, kept)
            if self._db.execute("INSERT OR IGNORE INTO commands VALUES (?, ?, ?, ?, ?, ?)", row).rowcount:
                self._report(command, "accepted" if kept else status, now)

    def cancel(self, command: str, customer: str, now: int) -> None:
        """Never send it, whether it waits or is yet to come; what has been sent stays sent."""
        with self._db:
            row = (command, customer, now, now)
            self._db.execute("INSERT OR IGNORE INTO commands VALUES (?, ?, 'waiting', ?, ?, NULL)", row)
            self._end(command, "cancelled", now)

    def finish(self, command: str, status: str, now: int) -> None:
        with self._db:
            self._end(command, status, now)

    def postpone(self, command: str, due: int) -> None:
        with self._db:
            self._db.execute("UPDATE commands SET due = ? WHERE id = ?", (due, command))

    def next(self) -> Waiting | None:
        """The waiting command that is due first."""
        columns = "SELECT id, due, expires, body FROM commands WHERE status = 'waiting' ORDER BY due, id LIMIT 1"
        row = self._db.execute(columns).fetchone()
        return row and Waiting(*row[:3], json.loads(row[3]))

    def reports(self) -> list[Report]:
        """What is still to be published, in the order in which it happened."""
        return [Report(*row) for row in self._db.execute("SELECT rowid, * FROM reports ORDER BY rowid LIMIT 100")]

    def published(self, reports: list[Report]) -> None:
        with self._db:
            self._db.executemany("DELETE FROM reports WHERE rowid = ?", [(report.row,) for report in reports])

    def _end(self, command: str, status: str, now: int) -> None:
        change = "UPDATE commands SET status = ?, body = NULL WHERE id = ? AND status = 'waiting'"
        if self._db.execute(change, (status, command)).rowcount:
            self._report(command, status, now)

    def _report(self, command: str, status: str, now: int) -> None:
        customer = "SELECT id, customer, ?, ? FROM commands WHERE id = ?"
        self._db.execute(f"INSERT INTO reports {customer}", (status, now, command))  # noqa: S608 (a constant)
