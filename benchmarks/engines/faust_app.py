"""faust-streaming as it comes, for both of its ways: an app with the two tables, set as our own is where it can be."""

from __future__ import annotations

import sys
from typing import Any

import faust
from faust_batches import BatchResult

from benchmarks.engines.job import COMMIT_SECONDS, LINGER_SECONDS, PRODUCE_BATCH_BYTES, SESSION_SECONDS, Job
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import TABLES

RAW: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "value_serializer": "raw", "key_serializer": "raw"}


class Stock:
    """The app, its tables and its topics. Sends are awaited into the producer's buffer, not to the broker."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.app = faust.App(
            job.group,
            broker=[f"kafka://{broker}" for broker in job.settings.kafka_brokers],
            store="memory://",
            datadir=str(job.settings.data_dir),
            topic_partitions=job.settings.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=COMMIT_SECONDS,
            broker_session_timeout=SESSION_SECONDS,
            broker_request_timeout=2 * SESSION_SECONDS,
            producer_linger=LINGER_SECONDS,
            producer_max_batch_size=PRODUCE_BATCH_BYTES,
            web_enabled=False,
        )
        tables: dict[str, Any] = {"partitions": job.settings.partitions, "key_type": bytes, "value_type": bytes}
        self.tables = {name: self.app.Table(name, **tables) for name in TABLES}
        self.source = self.app.topic(job.topics.customer_events, **RAW)
        outbound = (job.topics.referral_asks, job.topics.referral_decisions, job.topics.ledger_requests)
        self._targets = {name: self.app.topic(name, **RAW) for name in outbound}

    def decide(self, partition: int, records: list[RawRecord]) -> BatchResult:
        """The step, reading Faust's tables."""
        return self.job.decide(partition, records, lambda table, key: self.tables[table].get(key))

    async def say(self, result: BatchResult) -> None:
        for output in result.outputs:
            await self._targets[output.topic].send(key=output.key, value=output.value, headers=dict(output.headers))

    def keep(self, result: BatchResult) -> None:
        """Write what has changed to the tables, in the partition of Faust's current event."""
        for name, changes in result.changes.items():
            table = self.tables[name]
            for key, value in changes.items():
                if value is not None:
                    table[key] = value
                elif key in table:
                    del table[key]

    def run(self) -> None:
        """Until SIGTERM."""
        sys.argv[1:] = ["worker", "-l", "warn", "--without-web"]
        self.app.main()


def raw(message: Any) -> RawRecord:
    """A message of Faust's as the contracts know it."""
    return RawRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=round(message.timestamp * 1000),
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
    )
