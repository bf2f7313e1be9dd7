"""A loop around confluent-kafka (librdkafka in C): as the one around aiokafka, with threads of C for the network.

It does not read its changelog back either.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from types import FrameType
from typing import cast

from confluent_kafka import Consumer, KafkaError, Producer

from benchmarks.engines.job import LINGER_SECONDS, MAX_RECORDS, SESSION_SECONDS, Job, read_job
from referral_stream.contracts.records import RawRecord


class Loop:
    """Runs until it is told to stop."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stopping = False
        self._failed: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": job.brokers,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": LINGER_SECONDS * 1000,
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 0,
            }
        )

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._job.brokers,
                "group.id": self._job.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": SESSION_SECONDS * 1000,
            }
        )
        consumer.subscribe([self._job.topics.customer_events])
        while not self._stopping:
            fetched: defaultdict[int, list[RawRecord]] = defaultdict(list)
            for message in consumer.consume(MAX_RECORDS, 0.25):
                fetched[message.partition() or 0].append(
                    RawRecord(
                        topic=message.topic() or "",
                        partition=message.partition() or 0,
                        offset=message.offset() or 0,
                        timestamp=message.timestamp()[1],
                        key=message.key(),
                        value=message.value(),
                        headers=tuple(cast("list[tuple[str, bytes]]", message.headers() or [])),
                    )
                )
            for partition, records in fetched.items():
                self._say(partition, records)
            if fetched:
                if self._producer.flush(60) or self._failed:
                    raise RuntimeError(f"not delivered: {self._failed[:1]}")
                consumer.commit(asynchronous=False)
        consumer.close()

    def _say(self, partition: int, records: list[RawRecord]) -> None:
        job, produce = self._job, self._producer.produce
        result = job.step(partition, records)
        for output in result.outputs:
            produce(output.topic, output.value, output.key, headers=list(output.headers), on_delivery=self._delivered)
        for table, changes in result.changes.items():
            topic = job.changelog(table)
            for key, value in changes.items():
                produce(topic, value, key, partition, on_delivery=self._delivered)
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed.append(error)


if __name__ == "__main__":
    loop = Loop(read_job())
    signal.signal(signal.SIGTERM, loop.stop)
    loop.run()
