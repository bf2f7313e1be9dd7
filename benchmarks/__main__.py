"""All benchmarks, one table: `python -m benchmarks [--quick] [name…]`, or `make bench`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import monotonic
from typing import NamedTuple

from rich.console import Console

from benchmarks import core
from benchmarks.pipeline import Rate, Services, both_hops, each_hop, stock_both_hops, stock_decide_hop
from benchmarks.table import Figure, save, show
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

RESULTS = Path(__file__).with_name("results.json")


class Size(NamedTuple):
    """How much of everything; rounds are repeated, and their median is what counts."""

    events: int
    stock_events: int
    core_events: int
    core_customers: int
    transport_records: int
    rounds: int


FULL = Size(160_000, 16_000, 150_000, 100_000, 120_000, 3)
QUICK = Size(60_000, 6_000, 60_000, 30_000, 60_000, 1)


class Bench:
    """Runs what was asked for; Kafka and Redis are started once, when the first benchmark needs them."""

    def __init__(self, size: Size, console: Console, stack: ExitStack) -> None:
        self.size, self.console, self._stack = size, console, stack
        self._services: Services | None = None

    @property
    def services(self) -> Services:
        if self._services is None:
            with self.console.status("starting Kafka and Redis"):
                kafka = self._stack.enter_context(KafkaServer())
                self._services = Services(kafka, self._stack.enter_context(RedisServer()).url)
        return self._services

    def core(self) -> Iterator[Figure]:
        """The core and the codecs alone."""
        yield from core.measure(self.size.core_events, self.size.core_customers)

    def pipeline(self) -> Iterator[Figure]:
        """The live pipeline against stock Faust, hop by hop; each ratio is the median of ratios within one round."""
        both: list[Rate] = []
        alone: list[tuple[Rate, Rate]] = []
        stock_both: list[Rate] = []
        stock_decide: list[Rate] = []
        for n in range(self.size.rounds):
            self._say(f"round {n + 1} of {self.size.rounds}: both hops in one process")
            rate, outcomes = both_hops(self.services, self.size.events)
            both.append(rate)
            if n == 0:
                yield Figure("asks made of the job", outcomes["asks"], "asks")
                yield Figure("decisions made of the job", outcomes.total() - outcomes["asks"], "decisions")
            self._say("each hop alone")
            alone.append(each_hop(self.services, self.size.events))
            self._say("stock Faust, both hops")
            stock_both.append(stock_both_hops(self.services, self.size.stock_events))
            self._say("stock Faust, decide hop")
            stock_decide.append(stock_decide_hop(self.services, self.size.stock_events))
        decide = [rate for _, rate in alone]
        yield from _compared("both hops, one process", both, stock_both)
        yield from _compared("decide hop", decide, stock_decide)
        yield Figure("ingest hop", median(rate.wall for rate, _ in alone), "events/s")

    def variants(self) -> Iterator[Figure]:
        """What else a deployment may choose, against the default of the same run."""
        self._say("both hops: memory, transactions, 4 partitions")
        default, _ = both_hops(self.services, self.size.events)
        for name, partitions, settings in (
            ("both hops, RocksDB", 4, {"STORE": "rocksdb"}),
            ("both hops, no transactions", 4, {"FENCING": "none"}),
            ("both hops, 24 partitions", 24, {}),
        ):
            self._say(name)
            rate, _ = both_hops(self.services, self.size.events, partitions, **settings)
            yield Figure(name, rate.wall, "events/s", default.wall)

    def transport(self) -> Iterator[Figure]:
        """The batch transport with trivial processors: what the hops could reach with a core that costs nothing."""
        command = [sys.executable, "-m", "benchmarks.transport", "--records", str(self.size.transport_records)]
        command += ["--brokers", self.services.kafka.bootstrap]
        found = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
        case = ""
        for line in found.splitlines()[2:]:
            name, wall = line[:32].strip(), float(line[32:].split()[0].replace(",", ""))
            case = case if name == "its recovery" else name
            yield Figure(f"transport: {case}" + (", recovery" if case != name else ""), wall, "records/s")

    def _say(self, what: str) -> None:
        self.console.print(f"[dim]{what} …[/dim]")


def _compared(name: str, ours: list[Rate], stock: list[Rate]) -> Iterator[Figure]:
    """The round whose ratio is the median one, so that value, baseline and ratio belong together."""
    for clock in ("wall", "cpu"):
        pairs = [(getattr(mine, clock), getattr(theirs, clock)) for mine, theirs in zip(ours, stock, strict=True)]
        value, baseline = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
        yield Figure(f"{name}, against stock Faust" + (" (CPU)" if clock == "cpu" else ""), value, "events/s", baseline)
        if clock == "wall":
            yield Figure(f"{name}, median", median(value for value, _ in pairs), "events/s")


def main() -> None:
    names: dict[str, Callable[[Bench], Iterator[Figure]]] = {
        "core": Bench.core,
        "pipeline": Bench.pipeline,
        "variants": Bench.variants,
        "transport": Bench.transport,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and once; unless named, core and pipeline only")
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(names)}; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no benchmark {unknown.pop()!r}; there are {', '.join(names)}")
    chosen = arguments.names or (["core", "pipeline"] if arguments.quick else list(names))
    console = Console(stderr=True)
    figures: list[Figure] = []
    with ExitStack() as stack:
        bench = Bench(QUICK if arguments.quick else FULL, console, stack)
        for name in chosen:
            begun = monotonic()
            console.print(f"[bold]{name}[/bold]")
            for figure in names[name](bench):
                figures.append(figure)
                console.print(f"  {figure.name}: {figure.value:,.0f} {figure.unit}")
            console.print(f"[dim]{name} took {monotonic() - begun:.0f} s[/dim]")
    save(figures, RESULTS)
    show(figures, Console())


if __name__ == "__main__":
    main()
