"""Events at a steady rate, whatever becomes of them: an open loop, as producers are one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import orjson
from confluent_kafka import Producer
from faust_batches import Output

from benchmarks.deployment import Deployment
from benchmarks.mix import START, customer_id
from referral_stream.core.instants import rfc3339

STEP_SECONDS = 0.001


def usage(customers: Iterable[str]) -> Iterator[Output]:
    """A typical source record of each of these customers, with an id of its own."""
    for number, customer in enumerate(customers):
        event = {
            "specversion": "1.0",
            "id": f"use_{number:024x}",
            "source": "https://app.example.com/tracking",
            "type": "usage.recorded",
            "subject": customer,
            "time": rfc3339(START),
            "data": {"feature": "reports", "count": 3},
        }
        yield Output("product-usage", orjson.dumps(event), customer.encode())


def in_turn(customers: int) -> Iterator[str]:
    """The first so many customers of the job, for ever; neighbours in time are none in number."""
    return (customer_id(number * 7919 % customers) for number in itertools.count())


class Trickle:
    """Writes records at ``per_second``, while `run_for` is called; behind schedule, it catches up."""

    def __init__(self, deployment: Deployment, per_second: float, records: Iterator[Output]) -> None:
        self._deployment, self._per_second, self._records = deployment, per_second, records
        self._producer = Producer(
            {
                "bootstrap.servers": deployment.services.kafka.bootstrap,
                "linger.ms": 1,
                "acks": "all",
                "partitioner": "murmur2_random",
            }
        )
        self._due = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.flush(30)

    def run_for(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        """``meanwhile`` is called every millisecond or so; what it takes is caught up with."""
        now = time.monotonic()
        until, self._due = now + seconds, max(self._due, now)
        while now < until:
            while self._due <= now:
                self.write(next(self._records))
                self._due += 1 / self._per_second
            self._producer.poll(0)
            meanwhile()
            time.sleep(STEP_SECONDS)
            now = time.monotonic()

    def write(self, record: Output, on_delivery: Callable[[Any, Any], None] | None = None) -> None:
        """One record now, besides."""
        topic, headers = self._deployment.topic(record.topic), dict[str, str | bytes | None](record.headers)
        self._producer.produce(topic, record.value, record.key, headers=headers, on_delivery=on_delivery)
