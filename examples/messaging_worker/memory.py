"""What the worker knows of every command, in one SQLite file. Each method is one durable transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

_FORGOTTEN_AFTER = 30 * 86_400_000
"""Past its expiry a repeated command is dropped as expired anyway: its id need not be kept for ever."""

_TABLE = """CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY, customer TEXT, status TEXT, changed INTEGER, reported TEXT, due INTEGER, expires INTEGER,
    body TEXT)"""


class Command(NamedTuple):
    """A row: `status` as it is acknowledged, since `changed`; `accepted` waits until `due`. `reported` is the status
    that was published last. Instants are epoch ms, `body` is the command's JSON.
    """

    id: str
    customer: str
    status: str
    changed: int
    reported: str | None
    due: int
    expires: int
    body: str


class Memory:
    def __init__(self, file: Path, now: int) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(_TABLE)
        self._db.execute("DELETE FROM commands WHERE expires < ?", (now - _FORGOTTEN_AFTER,))

    def accept(self, command: str, customer: str, due: int, expires: int, body: str, now: int) -> None:
        """Keep a command, or drop it at once if it has expired; one whose id is known changes nothing."""
        status = "accepted" if now < expires else "dropped_expired"
        new = Command(command, customer, status, now, None, due, expires, body)
        self._db.execute("INSERT OR IGNORE INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?)", new)

    def cancel(self, command: str, customer: str, now: int) -> None:
        """Never send it, whether it waits or is yet to come; what has been sent stays sent."""
        new = Command(command, customer, "cancelled", now, None, now, now, "")
        waiting = "DO UPDATE SET status = excluded.status, changed = excluded.changed WHERE status = 'accepted'"
        self._db.execute(f"INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT {waiting}", new)  # noqa: S608

    def finish(self, command: str, status: str, now: int) -> None:
        self._db.execute("UPDATE commands SET status = ?, changed = ? WHERE id = ?", (status, now, command))

    def postpone(self, command: str, due: int) -> None:
        self._db.execute("UPDATE commands SET due = ? WHERE id = ?", (due, command))

    def next(self) -> Command | None:
        """The waiting command that is due first."""
        return next(iter(self._rows("status = 'accepted' ORDER BY due, id LIMIT 1")), None)

    def unreported(self) -> list[Command]:
        """Commands whose status is still to be published."""
        return self._rows("status IS NOT reported ORDER BY changed, id LIMIT 100")

    def reported(self, published: list[Command]) -> None:
        rows = [(command.status, command.id) for command in published]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("UPDATE commands SET reported = ? WHERE id = ?", rows)

    def _rows(self, condition: str) -> list[Command]:
        return [Command(*row) for row in self._db.execute(f"SELECT * FROM commands WHERE {condition}")]  # noqa: S608
