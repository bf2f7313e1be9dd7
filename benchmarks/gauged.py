"""The decide role with gauges inside: what cannot be seen from outside of a worker.

    python -m benchmarks.gauged FILE      (settings as for `referral-stream run decide`)

It appends a line to FILE every quarter of a second (`Reading`), and runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, time
from typing import Any

import msgspec
import uvloop
from faust_batches import BatchApp, running

from referral_stream.contracts.topics import TABLES
from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import parse_policy
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.gc_tuning import spare_values
from referral_stream.runtime.logs import configure_logging
from referral_stream.runtime.settings import read_settings
from referral_stream.stream.apps import decide_role
from referral_stream.stream.wakeups import Wakeups

TURN_SECONDS = 0.005
LINE_SECONDS = 0.25


class Reading(msgspec.Struct):
    """``at`` is epoch seconds; ``worst_turn`` the longest that the event loop was busy since the line before, s."""

    at: float
    worst_turn: float
    recovered_in: float | None
    """Seconds from the assignment of the partitions until they were ready; None while they are not."""
    customers: int
    replayed: int
    """Changelog records that were read for that, of all tables."""
    pending: int
    resident_bytes: int


class Gauges:
    """Watches one app from within its event loop."""

    def __init__(self, app: BatchApp, wakeups: Wakeups) -> None:
        self._app, self._wakeups = app, wakeups
        self._assigned_at = monotonic()
        self._recovered_in: float | None = None
        self._customers = self._replayed = 0
        app.on_partitions_assigned.connect(self._note_assignment, weak=False)
        for name in TABLES:
            self._count_loads(app.tables[name])

    def _note_assignment(self, *_: object, **__: object) -> None:
        self._assigned_at, self._recovered_in = monotonic(), None

    def _count_loads(self, table: Any) -> None:
        load = table.load

        def counted(partition: int, records: Sequence[Any], *more: Any) -> Any:
            self._replayed += len(records)
            return load(partition, records, *more)

        table.load = counted

    async def write(self, file: Path) -> None:
        """For ever."""
        encode = msgspec.json.Encoder().encode
        worst, line_due = 0.0, monotonic()
        with file.open("ab", buffering=0) as sink:
            while True:
                before = monotonic()
                await asyncio.sleep(TURN_SECONDS)
                now = monotonic()
                worst = max(worst, now - before - TURN_SECONDS)
                if self._recovered_in is None and self._app.ready:
                    self._recovered_in = now - self._assigned_at
                    owned = self._app.owned_partitions()
                    self._customers = sum(1 for p in owned for _ in self._app.table_items("customers", p))
                if now >= line_due:
                    sink.write(encode(self._reading(worst)) + b"\n")
                    worst, line_due = 0.0, now + LINE_SECONDS

    def _reading(self, worst_turn: float) -> Reading:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Reading(
            at=time(),
            worst_turn=worst_turn,
            recovered_in=self._recovered_in,
            customers=self._customers,
            replayed=self._replayed,
            pending=self._wakeups.pending(),
            resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        )


def readings(file: Path) -> list[Reading]:
    """The complete lines so far."""
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Reading) for line in lines]


async def run(file: Path) -> None:
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    policy = parse_policy(settings.policy_file.read_bytes()) if settings.policy_file else Policy()
    clock = Clock(settings.clock_start or 0, settings.clock_started_at or 0, settings.clock_speed)
    wakeups = Wakeups()
    app = decide_role(Deployment(settings, policy, clock), wakeups).app
    gauges = Gauges(app, wakeups)
    spare_values()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with running(app):
        writing = asyncio.create_task(gauges.write(file))
        failing = asyncio.create_task(app.wait_failed())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait([writing, failing, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (writing, failing, stopped):
            task.cancel()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(run(Path(sys.argv[1])))
