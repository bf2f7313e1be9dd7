"""Throughput of the batch transport on a real Kafka: one worker process, four partitions, trivial processors.

    python -m benchmarks.transport [--brokers HOST:PORT] [--records 300000] [--customers 20000]

Without `--brokers` it starts the Kafka of the test suite. A *hop* takes records of about 60 bytes and publishes one for
each; a *step* adds to a counter per customer and publishes one record for every three. *recovery* starts a second
worker on the changelog of the step before it, from an empty store, and measures until its partitions are ready.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from faust_batches import BatchApp, BatchResult, Output, Read, Record, WorkerConfig, create_app, running

from tests.services.kafka import KafkaServer

PARTITIONS = 4


def create_topics(brokers: str, topics: dict[str, int], config: dict[str, str] | None = None) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    for created in admin.create_topics(
        [NewTopic(name, count, 1, config=config or {}) for name, count in topics.items()]
    ).values():
        created.result(20)


def load(brokers: str, topic: str, records: int, customers: int) -> None:
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "linger.ms": 20,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 0,
        }
    )
    keys = [b"customer-%06d" % number for number in range(customers)]
    rng = random.Random(1)
    for number in range(records):
        producer.produce(topic, b'{"sequence": %9d, "amount": 4711, "kind": "usage"}' % number, rng.choice(keys))
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


class Progress:
    """Counts records, and measures wall and CPU seconds from the end of the first batch to the last."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.seen = self.before = 0
        self.begin = (0.0, 0.0)
        self.done = asyncio.Event()

    def add(self, records: int) -> None:
        self.seen += records
        if not self.before:
            self.before, self.begin = self.seen, (time.perf_counter(), time.process_time())
        if self.seen >= self.records:
            self.done.set()

    async def seconds(self, app: BatchApp) -> tuple[float, float]:
        """Wait for the last record; its effects included."""
        failed = asyncio.create_task(app.wait_failed())
        done = asyncio.create_task(self.done.wait())
        await asyncio.wait([failed, done], return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        await app.lanes.idle()
        share = self.records / (self.records - self.before)
        return (time.perf_counter() - self.begin[0]) * share, (time.process_time() - self.begin[1]) * share


async def hop(config: WorkerConfig, source: str, target: str, records: int) -> tuple[float, float]:
    progress = Progress(records)

    def process(_partition: int, batch: Sequence[Record], _read: Read) -> BatchResult:
        progress.add(len(batch))
        return BatchResult([Output(target, record.value, record.key) for record in batch])

    app = create_app(config)
    app.stateless([source], process)
    async with running(app):
        return await progress.seconds(app)


async def step(config: WorkerConfig, source: str, target: str, records: int) -> tuple[float, float]:
    progress = Progress(records)

    def process(_partition: int, batch: Sequence[Record], read: Read) -> BatchResult:
        progress.add(len(batch))
        counts: dict[bytes, int] = {}
        outputs = []
        for record in batch:
            key = record.key or b""
            count = counts.get(key)
            if count is None:
                count = int(read("counts", key) or 0)
            counts[key] = count + 1
            if count % 3 == 0:
                outputs.append(Output(target, record.value, key))
        return BatchResult(outputs, {"counts": {key: b"%d" % count for key, count in counts.items()}})

    app = create_app(config)
    app.stateful(source, process, ["counts"])
    async with running(app):
        return await progress.seconds(app)


async def recovery(config: WorkerConfig, source: str) -> tuple[float, int]:
    """Seconds from the assignment of the partitions until they are ready, and the entries that were recovered."""
    ready = asyncio.Event()
    entries = [0]

    def count(partitions: frozenset[int]) -> None:
        entries[0] = sum(1 for partition in partitions for _ in app.table_items("counts", partition))
        ready.set()

    app = create_app(config)
    app.stateful(source, lambda _partition, _batch, _read: BatchResult(), ["counts"], on_partitions_ready=count)
    begins: list[float] = []

    def note(*_arguments: object, **_keywords: object) -> None:
        begins.append(time.perf_counter())

    app.on_partitions_assigned.connect(note, weak=False)
    async with running(app):
        await ready.wait()
        return time.perf_counter() - begins[-1], entries[0]


def end_offsets(brokers: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "none"})
    try:
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(PARTITIONS))
    finally:
        consumer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    uvloop.install()
    with ExitStack() as stack:
        brokers = arguments.brokers or stack.enter_context(KafkaServer(java=())).bootstrap
        source = f"bench-{uuid4().hex[:8]}"
        create_topics(brokers, {source: PARTITIONS})
        load(brokers, source, arguments.records, arguments.customers)
        print(f"{arguments.records} records, {arguments.customers} customers, {PARTITIONS} partitions; records/s")
        print(f"{'case':<32}{'wall':>10}{'CPU':>10}")
        cases = [("hop, stateless", "memory", "none")]
        cases += [
            (f"step, {store}, {fencing}", store, fencing)
            for fencing in ("none", "transactions")
            for store in ("memory", "rocksdb")
        ]
        for name, store, fencing in cases:
            if arguments.only not in name:
                continue
            group = f"{source}-{uuid4().hex[:8]}"
            create_topics(brokers, {f"{group}-out": PARTITIONS})
            create_topics(brokers, {f"{group}-counts-changelog": PARTITIONS}, {"cleanup.policy": "compact"})
            config = WorkerConfig(
                id=group,
                brokers=(brokers,),
                partitions=PARTITIONS,
                store="rocksdb" if store == "rocksdb" else "memory",
                datadir=Path(stack.enter_context(tempfile.TemporaryDirectory())),
                fencing="transactions" if fencing == "transactions" else "none",
            )
            run = hop if name.startswith("hop") else step
            wall, cpu = asyncio.run(run(config, source, f"{group}-out", arguments.records))
            print(f"{name:<32}{arguments.records / wall:>10,.0f}{arguments.records / cpu:>10,.0f}", flush=True)
            if run is step:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                seconds, entries = asyncio.run(recovery(replace(config, datadir=folder), source))
                logged = end_offsets(brokers, f"{group}-counts-changelog")
                print(f"{'  its recovery':<32}{logged / seconds:>10,.0f}    {entries:,} entries in {seconds:.2f} s")


if __name__ == "__main__":
    main()
