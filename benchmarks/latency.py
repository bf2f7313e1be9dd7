"""From an event to the command that it makes visible: through both hops, the ledger and all transactions.

Usage flows at a steady rate, in an open loop. Among it, some events make an ask due at once: a survey of an eligible
customer whose settling time is over. The clock runs from the broker's acknowledgement of that event to the moment when
a reader with read_committed has the command; the producer, the reader and the clock are one process, which looks every
millisecond.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Message, TopicPartition
from faust_batches import Output

from benchmarks.deployment import Deployment, Services, warm_up
from benchmarks.load import Trickle, in_turn, usage
from benchmarks.mix import Sourced, promoters
from benchmarks.table import Figure

CUSTOMERS = 20_000
ASKS_PER_SECOND = 50
LEAD_SECONDS = 3.0
"""At full rate before the first ask."""
LAST_SECONDS = 2.0


def measure(
    services: Services, per_second: int, seconds: float, say: Callable[[str], None], at_most: float | None = None
) -> Iterator[Figure]:
    """At one rate. ``at_most`` is the target of the 99th percentile, ms."""
    histories, surveys = promoters(round(ASKS_PER_SECOND * seconds))
    with Deployment(services) as deployment, deployment.worker("all"):
        say(f"latency at {per_second:,} events/s: histories")
        deployment.load(warm_up())
        deployment.load(histories)
        deployment.await_members(deployment.groups)
        deployment.await_done(deployment.ingested + deployment.decided)
        say(f"latency at {per_second:,} events/s: {seconds:.0f} s of asks")
        delays = [delay * 1000 for delay in _delays(deployment, per_second, surveys)]
    name = f"event → visible command at {per_second:,} events/s"
    yield Figure(f"{name}: commands", len(delays), "commands")
    yield Figure(f"{name}: p50", percentile(delays, 50), "ms")
    yield Figure(f"{name}: p99", percentile(delays, 99), "ms", at_most=at_most)
    yield Figure(f"{name}: longest", max(delays), "ms")


def _delays(deployment: Deployment, per_second: int, surveys: Sequence[Sourced]) -> list[float]:
    """Seconds, of every ask that came."""
    acknowledged: dict[bytes, float] = {}
    seen: dict[bytes, float] = {}
    reader = deployment.watch.consumer("asks")
    asks = deployment.topic("referral-asks")
    ends = deployment.watch.ends(asks)
    reader.assign([TopicPartition(asks, partition, end) for partition, end in ends.items()])

    def read() -> None:
        for message in reader.consume(100, 0):
            if message.error() is None:
                seen.setdefault(message.key() or b"", time.monotonic())

    def acknowledge(_error: object, message: Message) -> None:
        acknowledged[message.key() or b""] = time.monotonic()

    with Trickle(deployment, per_second - ASKS_PER_SECOND, usage(in_turn(CUSTOMERS))) as trickle:
        trickle.run_for(LEAD_SECONDS, read)
        begun = time.monotonic()
        for number, survey in enumerate(surveys):
            due = begun + number / ASKS_PER_SECOND
            trickle.run_for(max(0.0, due - time.monotonic()), read)
            trickle.write(
                Output(survey.topic, survey.value, survey.key),
                acknowledge,
            )
        trickle.run_for(LAST_SECONDS, read)
    return [at - acknowledged[customer] for customer, at in seen.items() if customer in acknowledged]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
