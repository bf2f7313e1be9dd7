"""Throughput of the live pipeline, hop by hop, and of the same decide hop on other engines.

Real worker processes, a real Kafka, a real Redis; `benchmarks.deployment` says how a rate is measured. Ratios compare
what took turns in one run.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from faust_batches import Output

from benchmarks.deployment import PARTITIONS, ROOT, Deployment, Rate, Services, canonical, warm_up
from benchmarks.mix import Sourced
from referral_stream.contracts.topics import TABLES

PEERS_PYTHON = ROOT / "build" / "peers" / "bin" / "python"
"""Where Quix Streams is installed, by `make bench`."""


class Engine(NamedTuple):
    """What runs the decide hop. ``module`` is None for our own worker."""

    name: str
    module: str | None = None
    python: Path | str = sys.executable


OURS = Engine("this pipeline")
OTHERS = (
    Engine("stock Faust", "benchmarks.engines.stock_faust"),
    Engine("Faust take", "benchmarks.engines.faust_take"),
    Engine("raw aiokafka loop", "benchmarks.engines.raw_aiokafka"),
    Engine("Quix Streams", "benchmarks.engines.quix", PEERS_PYTHON),
    Engine("raw confluent-kafka loop", "benchmarks.engines.raw_confluent"),
)

STANDING_CLOCK = {"CLOCK_SPEED": "0.000001"}
"""No wake-up falls due, however long a run takes: every engine gets the very same records."""


def both_hops(
    services: Services,
    records: Sequence[Sourced],
    *,
    workers: int = 1,
    partitions: int = PARTITIONS,
    **settings: str,
) -> tuple[Rate, Counter[str]]:
    """All roles, in so many processes: from the source topics to states and commands; and what came out."""
    with Deployment(services, partitions=partitions) as deployment, ExitStack() as stack:
        started = [
            stack.enter_context(
                deployment.worker("all", DATA_DIR=str(deployment.folder / f"state-{number}"), **settings)
            )
            for number in range(workers)
        ]
        deployment.load(warm_up())
        done = deployment.ingested + deployment.decided
        deployment.await_members(deployment.groups, workers)
        deployment.await_done(done)
        rate = deployment.rate(
            started,
            lambda: deployment.load(records),
            len(records),
            done=done,
            written=[deployment.topic("customer-events"), *deployment.outbound],
        )
        return rate, deployment.said()


def ingest_hop(services: Services, records: Sequence[Sourced]) -> Rate:
    """The ingest hop alone."""
    with Deployment(services) as deployment, deployment.worker("ingest") as process:
        deployment.load(warm_up())
        deployment.await_done(deployment.ingested)
        return deployment.rate(
            [process],
            lambda: deployment.load(records),
            len(records),
            done=deployment.ingested,
            written=[deployment.topic("customer-events")],
        )


def decide_hop(
    services: Services, outputs: Sequence[Output], engine: Engine = OURS, *, workers: int = 1, **settings: str
) -> tuple[Rate, Counter[str]]:
    """The decide hop alone, of canonical records; without a ledger, so no reservation is answered."""
    with Deployment(services) as deployment, ExitStack() as stack:
        arguments = ("-m", "referral_stream", "run", "decide") if engine.module is None else ("-m", engine.module)
        started = [
            stack.enter_context(
                deployment.process(
                    *arguments,
                    python=str(engine.python),
                    DATA_DIR=str(deployment.folder / f"state-{number}"),
                    **STANDING_CLOCK,
                    **settings,
                )
            )
            for number in range(workers)
        ]
        deployment.fill(canonical(warm_up()))
        deployment.await_members([f"{deployment.group}-decide"], workers)
        deployment.await_done(deployment.decided)
        changelogs = {*map(deployment.changelog, TABLES), *_changelogs_of_its_own(deployment)}
        rate = deployment.rate(
            started,
            lambda: deployment.fill(outputs),
            len(outputs),
            done=deployment.decided,
            written=[*changelogs, *(topic for topic in deployment.outbound if topic not in changelogs)],
        )
        return rate, deployment.said()


def _changelogs_of_its_own(deployment: Deployment) -> Iterable[str]:
    """Those that the engine has made itself."""
    topics = deployment.watch.consumer().list_topics(timeout=10).topics
    return (name for name in topics if name.startswith("changelog__") and deployment.prefix in name)


def in_turns(
    rounds: int,
    rivals: Sequence[tuple[str, Callable[[], tuple[Rate, Counter[str]]]]],
    say: Callable[[str], None],
    *,
    same: bool = True,
) -> dict[str, list[Rate]]:
    """Each rival's rates, one per round: A B C, A B C.

    Raises RuntimeError if two of them did not make the ``same`` decisions and requests of the job.
    """
    rates: dict[str, list[Rate]] = {name: [] for name, _ in rivals}
    said: dict[str, Counter[str]] = {}
    for number in range(rounds):
        for name, run in rivals:
            say(f"round {number + 1} of {rounds}: {name}")
            rate, outcomes = run()
            rates[name].append(rate)
            for other, others in said.items():
                if same and others != outcomes:
                    raise RuntimeError(f"not the same job: {other} made {others}, {name} made {outcomes}")
            said[name] = outcomes
    return rates
