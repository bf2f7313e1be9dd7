"""A backtest of the simulator's year: how fast on one core and on two, and how much memory it takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.table import Figure
from referral_stream.core.effects import AskRequested
from referral_stream.core.policy import Policy
from referral_stream.replay.virtual_run import FactReplay
from tests.properties.comparing import arrivals
from tests.worlds.records import Record
from tests.worlds.years import Year

PER_CORE, TWO_CORES = 40_000, 1.7
"""What it is to reach: canonical events a second and core; two cores against one."""

_RUN = """
import json, resource, sys, time
from pathlib import Path
from referral_stream.backtest.run import backtest
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.policy import CapLimits, Policy
from referral_stream.runtime.gc_tuning import spare_values

if __name__ == "__main__":
    spare_values()
    begun = time.monotonic()
    a, b = Policy(), Policy(caps=CapLimits(customer_days=60))
    found = backtest(Path(sys.argv[1]), a, b, Boundary(email_key=b"a key"), cores=int(sys.argv[2]))
    wall = time.monotonic() - begun
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({
        "events": found.log.counts.events, "wall": wall, "changed": found.totals.changed,
        "cpu": sum(each.ru_utime + each.ru_stime for each in used),
        "peak_mb": max(each.ru_maxrss for each in used) / 1024,
    }))
"""


def year(file: Path, customers: int) -> None:
    """A year in which customers answer, as a recorded log."""
    lived = Year(seed=7, customers=customers)
    with file.open("wb") as lines:

        def recorded() -> Iterator[Record]:
            for record in lived:
                lines.write(orjson.dumps(record) + b"\n")
                yield record

        for items in FactReplay(Policy()).run(arrivals(recorded())):
            for _, effect in items:
                if isinstance(effect, AskRequested):
                    lived.answer(effect)


def measure(customers: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """Caps of 90 days against 60. A year of 10,000 customers is two million records, one of 50,000 ten million."""
    with tempfile.TemporaryDirectory() as folder:
        log, script = Path(folder, "year.jsonl"), Path(folder, "run.py")
        say(f"a year of {customers:,} customers")
        year(log, customers)
        script.write_text(_RUN, encoding="utf-8")
        runs: dict[int, dict[str, Any]] = {}
        for cores in (1, 2):
            say(f"backtest of it, cores: {cores}")
            command = [sys.executable, str(script), str(log), str(cores)]
            runs[cores] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        one, two = runs[1], runs[2]
        if one["changed"] != two["changed"]:
            raise RuntimeError("the number of cores changed the result")
        yield Figure("backtest, events of the log", one["events"], "events")
        yield Figure("backtest, one core (CPU)", one["events"] / one["cpu"], "events/s", at_least=PER_CORE)
        yield Figure("backtest, one core (CPU), each policy's", 2 * one["events"] / one["cpu"], "events/s")
        rates = [run["events"] / run["wall"] for run in (two, one)]
        yield Figure("backtest, two cores against one", rates[0], "events/s", rates[1], at_least=TWO_CORES)
        yield Figure("backtest, largest process", one["peak_mb"], "MB")
