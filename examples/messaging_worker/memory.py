"""What the worker knows about every command, in one SQLite file. Each method is one durable transaction."""

import sqlite3

_FORGOTTEN_AFTER = 30 * 86_400
"""Past its expiry a repeated command is dropped as expired anyway: its id need not be kept forever."""

_COLUMNS = "id PRIMARY KEY, customer, status, changed, reported, due, expires, body"
Command = sqlite3.Row
"""`status` as it is acknowledged, since `changed`; `accepted` waits until `due`. `reported` is the status that was
published last. Instants are seconds since 1970, `body` is the command's JSON.
"""

_NEW = "INSERT INTO commands VALUES (?, ?, ?, ?, NULL, ?, ?, ?) ON CONFLICT DO "


class Memory:
    def __init__(self, file: str, now: float) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"CREATE TABLE IF NOT EXISTS commands ({_COLUMNS})")
        self._db.execute("DELETE FROM commands WHERE expires < ?", (now - _FORGOTTEN_AFTER,))

    def accept(self, command: str, customer: str, due: float, expires: float, body: str, now: float) -> None:
        """Keep a command; one whose id is known changes nothing."""
        self._db.execute(_NEW + "NOTHING", (command, customer, "accepted", now, due, expires, body))

    def cancel(self, command: str, customer: str, now: float) -> None:
        """Never send it, whether it waits or is yet to come; what has been sent stays sent."""
        waiting = "UPDATE SET status = 'cancelled', changed = excluded.changed, body = '' WHERE status = 'accepted'"
        self._db.execute(_NEW + waiting, (command, customer, "cancelled", now, now, now, ""))

    def finish(self, command: str, status: str, now: float) -> None:
        """The outcome; the body is no longer needed."""
        self._db.execute("UPDATE commands SET status = ?, changed = ?, body = '' WHERE id = ?", (status, now, command))

    def postpone(self, command: str, due: float) -> None:
        self._db.execute("UPDATE commands SET due = ? WHERE id = ?", (due, command))

    def due(self, now: float) -> Command | None:
        """The first of the commands that wait and are due."""
        due = "SELECT * FROM commands WHERE status = 'accepted' AND due <= ? ORDER BY due, id LIMIT 1"
        return next(self._db.execute(due, (now,)), None)

    def unreported(self) -> list[Command]:
        """Commands whose status is still to be published."""
        return self._db.execute("SELECT * FROM commands WHERE status IS NOT reported ORDER BY changed, id").fetchall()

    def reported(self, command: str, status: str) -> None:
        self._db.execute("UPDATE commands SET reported = ? WHERE id = ?", (status, command))
