"""All benchmarks, one table: `python -m benchmarks [--quick] [name…]`, or `make bench`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from time import monotonic
from typing import NamedTuple

from faust_batches import Output
from rich.console import Console

from benchmarks import backtest, console, core, decode, latency, read_models, recovery, wakeups
from benchmarks.deployment import Rate, Services, canonical
from benchmarks.hops import OTHERS, OURS, PEERS_PYTHON, Engine, both_hops, decide_hop, in_turns, ingest_hop
from benchmarks.mix import Sourced, mix
from benchmarks.table import Figure, markdown, number, save, show
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

RESULTS = Path(__file__).with_name("results.json")

TARGETS = {"stock Faust": 10.0, "raw aiokafka loop": 0.8, "Quix Streams": 1.5}
"""What the decide hop must reach of the other engine's rate."""
LATENCY_RATES = (500, 5_000)
LATENCY_TARGET_MS = {5_000: 250.0}


class Size(NamedTuple):
    """How much of everything; rounds are repeated, and their median is what counts."""

    events: int
    core_events: int
    core_customers: int
    payloads: int
    transport_records: int
    rounds: int
    latency_seconds: float
    recovered_customers: int
    restarts: int
    wakeups: wakeups.Size
    read_models: read_models.Size
    backtest_customers: int


FULL = Size(
    events=200_000,
    core_events=150_000,
    core_customers=100_000,
    payloads=20_000,
    transport_records=120_000,
    rounds=3,
    latency_seconds=30,
    recovered_customers=100_000,
    restarts=5,
    wakeups=wakeups.Size(pending=1_000_000, per_second=300, burst=50_000, events=60_000),
    read_models=read_models.Size(customers=1_000_000, decisions=50_000),
    backtest_customers=10_000,
)
QUICK = Size(
    events=60_000,
    core_events=60_000,
    core_customers=30_000,
    payloads=5_000,
    transport_records=60_000,
    rounds=1,
    latency_seconds=10,
    recovered_customers=20_000,
    restarts=2,
    wakeups=wakeups.Size(pending=100_000, per_second=100, burst=5_000, events=20_000),
    read_models=read_models.Size(customers=50_000, decisions=20_000),
    backtest_customers=1_000,
)
WIDTH = 130
"""Of the table where it goes to a file."""
QUICKLY = ("core", "decode", "pipeline", "engines")
"""Unless others are named."""


class Bench:
    """Runs what was asked for; Kafka and Redis are started once, when the first benchmark needs them."""

    def __init__(self, size: Size, say: Callable[[str], None], stack: ExitStack) -> None:
        self.size, self._say, self._stack = size, say, stack

    @cached_property
    def services(self) -> Services:
        self._say("starting Kafka and Redis")
        kafka = self._stack.enter_context(KafkaServer(heap="1g", java=()))
        return Services(kafka, self._stack.enter_context(RedisServer()).url)

    @cached_property
    def job(self) -> Sequence[Sourced]:
        """As producers send it."""
        return list(mix(self.size.events))

    @cached_property
    def canonical_job(self) -> Sequence[Output]:
        """As our ingest hop hands it on."""
        return canonical(self.job)

    def core(self) -> Iterator[Figure]:
        """The core and the codecs alone."""
        yield from core.measure(self.size.core_events, self.size.core_customers)

    def decode(self) -> Iterator[Figure]:
        """What one core decodes: CloudEvents in both modes, and every vendor's payloads."""
        yield from decode.measure(self.size.core_events, self.size.core_customers, self.size.payloads)

    def backtest(self) -> Iterator[Figure]:
        """The simulator's year under two policies."""
        yield from backtest.measure(self.size.backtest_customers, self._say)

    def pipeline(self) -> Iterator[Figure]:
        """The live pipeline: both hops in one process, and the ingest hop alone."""
        both: list[Rate] = []
        ingest: list[Rate] = []
        for turn in range(self.size.rounds):
            self._say(f"round {turn + 1} of {self.size.rounds}: both hops in one process")
            rate, said = both_hops(self.services, self.job)
            both.append(rate)
            if turn == 0:
                yield Figure("asks made of the job", said["asks"], "asks")
                yield Figure("decisions made of the job", said.total() - said["asks"] - said["requests"], "decisions")
            self._say(f"round {turn + 1} of {self.size.rounds}: the ingest hop")
            ingest.append(ingest_hop(self.services, self.job))
        yield Figure("both hops, one process", median(rate.wall for rate in both), "events/s")
        cpu = median(rate.cpu for rate in both)
        yield Figure("both hops, one process, per core (CPU)", cpu, "events/s", at_least=30_000)
        yield Figure("ingest hop", median(rate.wall for rate in ingest), "events/s")
        yield Figure("ingest hop (CPU)", median(rate.cpu for rate in ingest), "events/s")

    def engines(self) -> Iterator[Figure]:
        """The same decide hop on other engines; a ratio is the median of those within one round."""
        others = [engine for engine in OTHERS if Path(engine.python).exists()]
        if len(others) < len(OTHERS):
            self._say(f"without Quix Streams, which is not at {PEERS_PYTHON}: make bench installs it")

        def run(engine: Engine) -> tuple[Rate, Counter[str]]:
            return decide_hop(self.services, self.canonical_job, engine)

        rivals = [(engine.name, partial(run, engine)) for engine in (OURS, *others)]
        rates = in_turns(self.size.rounds, rivals, self._say)
        ours = rates.pop(OURS.name)
        yield Figure("decide hop", median(rate.wall for rate in ours), "events/s")
        yield Figure("decide hop (CPU)", median(rate.cpu for rate in ours), "events/s")
        for name, theirs in rates.items():
            yield from _compared(f"decide hop, against {name}", ours, theirs, TARGETS.get(name))

    def workers(self) -> Iterator[Figure]:
        """Two processes against one, in turns."""
        services, job, canonical_job = self.services, self.job, self.canonical_job
        for name, run in (
            ("decide hop", lambda workers: decide_hop(services, canonical_job, workers=workers)),
            ("both hops", lambda workers: both_hops(services, job, workers=workers)),
        ):
            rivals = [(f"{name}, {workers} workers", partial(run, workers)) for workers in (2, 1)]
            two, one = in_turns(self.size.rounds, rivals, self._say, same=False).values()
            yield from _compared(f"{name}, two workers against one", two, one, 1.8)

    def variants(self) -> Iterator[Figure]:
        """What else a deployment may choose, against the default of the same run."""
        self._say("both hops: memory, transactions, 4 partitions")
        default, _ = both_hops(self.services, self.job)
        for name, variant in (
            ("both hops, RocksDB", partial(both_hops, STORE="rocksdb")),
            ("both hops, no transactions", partial(both_hops, FENCING="none")),
            ("both hops, 24 partitions", partial(both_hops, partitions=24)),
        ):
            self._say(name)
            rate, _ = variant(self.services, self.job)
            yield Figure(name, rate.wall, "events/s", default.wall)

    def latency(self) -> Iterator[Figure]:
        """From an event to the command, at two rates."""
        for rate in LATENCY_RATES:
            seconds, at_most = self.size.latency_seconds, LATENCY_TARGET_MS.get(rate)
            yield from latency.measure(self.services, rate, seconds, self._say, at_most)

    def recovery(self) -> Iterator[Figure]:
        """State read back, its weight in memory, and restarts after kill -9."""
        yield from recovery.reading_back(self.services, self.size.recovered_customers, self._say)
        yield from recovery.restarts(self.services, recovery.CUSTOMERS, self.size.restarts, self._say)

    def wakeups(self) -> Iterator[Figure]:
        """A million of them."""
        yield from wakeups.measure(self.services, self.size.wakeups, self._say)

    def read_models(self) -> Iterator[Figure]:
        """What the console reads: how fast it is written, what it weighs, how long a page takes."""
        server = self._stack.enter_context(RedisServer())
        yield from read_models.measure(server, self.size.read_models, self._say)
        yield from console.measure(server, read_models.PREFIX, self.size.read_models.customers)

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


def _compared(name: str, ours: list[Rate], theirs: list[Rate], at_least: float | None) -> Iterator[Figure]:
    """The round whose ratio is the median one, so that value, baseline and ratio belong together."""
    for clock in ("wall", "cpu"):
        pairs = [(getattr(mine, clock), getattr(their, clock)) for mine, their in zip(ours, theirs, strict=True)]
        value, baseline = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
        if clock == "wall":
            yield Figure(name, value, "events/s", baseline, at_least=at_least)
        else:
            yield Figure(f"{name} (CPU)", value, "events/s", baseline)


class Screen:
    """What is being done, for how long: one line that changes on a terminal, elsewhere a line for each step."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self._console = console
        self._status = stack.enter_context(console.status("")) if console.is_terminal else None
        self._begun = monotonic()
        self.chapter = ""

    def say(self, what: str) -> None:
        line = f"{monotonic() - self._begun:4.0f} s  {self.chapter}: {what}"
        if self._status is not None:
            self._status.update(f"{line} …")
        else:
            self._console.print(line, highlight=False, soft_wrap=True)

    def found(self, figure: Figure) -> None:
        ratio = "" if figure.ratio is None else f", {figure.ratio:.2f} ×"
        met = {None: "", True: f"   {figure.target} met", False: f"   {figure.target} MISSED"}[figure.met]
        line = f"        {figure.name}: {number(figure.value)} {figure.unit}{ratio}{met}"
        self._console.print(line, highlight=False, soft_wrap=True)


def main() -> None:
    names: dict[str, Callable[[Bench], Iterator[Figure]]] = {
        "core": Bench.core,
        "decode": Bench.decode,
        "pipeline": Bench.pipeline,
        "engines": Bench.engines,
        "workers": Bench.workers,
        "latency": Bench.latency,
        "recovery": Bench.recovery,
        "wakeups": Bench.wakeups,
        "read_models": Bench.read_models,
        "variants": Bench.variants,
        "transport": Bench.transport,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"smaller and once; unless others are named, {', '.join(QUICKLY)}"
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(names)}; default: all")
    parser.add_argument("--markdown", action="store_true", help="measure nothing: the last run's table as Markdown")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(markdown(RESULTS))
        return
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no benchmark {unknown.pop()!r}; there are {', '.join(names)}")
    chosen = arguments.names or (QUICKLY if arguments.quick else list(names))
    figures: list[Figure] = []
    try:
        with ExitStack() as stack:
            screen = Screen(Console(stderr=True), stack)
            bench = Bench(QUICK if arguments.quick else FULL, screen.say, stack)
            for place, name in enumerate(chosen, 1):
                screen.chapter = f"{place} of {len(chosen)}, {name}"
                screen.say("begins")
                for figure in names[name](bench):
                    figures.append(figure)
                    screen.found(figure)
    finally:  # what was found before a failure is worth having
        save(figures, RESULTS)
        show(figures, Console(width=None if sys.stdout.isatty() else WIDTH))
    missed = [figure.name for figure in figures if figure.met is False]
    print(f"{sum(figure.met is True for figure in figures)} targets met, {len(missed)} missed")


if __name__ == "__main__":
    main()
