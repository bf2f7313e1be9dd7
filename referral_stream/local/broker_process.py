"""The child process of ``EmbeddedBroker``: librdkafka's mock cluster, and a tally of what it holds.

Protocol over the pipes of the process, one JSON document per line: at the start the bootstrap address; after that, for
every line received, the list of ``[topic, partition, records, bytes]``. At the end of its input, which also comes
when its parent is killed, it exits.

Run by path, as a script, so that it starts without importing the package around it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import cast

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

_METADATA_SECONDS = 5.0
_NEW_TOPICS_SECONDS = 0.25
_POLL_SECONDS = 0.1
_RECORDS_PER_POLL = 500
# An uncompressed batch of one record: 61 bytes of batch header, at most 21 of lengths and deltas in the record. Batches
# of more records share the header, so that the tally errs on the side of too much.
_RECORD_OVERHEAD = 82
_HEADER_OVERHEAD = 4
_CRITICAL_ONLY = {"log_level": 2}  # librdkafka otherwise reports every client that leaves


class RecordCounts:
    """Records and bytes per partition, counted by reading along. Mock clusters cannot be asked for either."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "embedded-broker-tally",  # required, never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                **_CRITICAL_ONLY,
            }
        )
        self._counts: dict[tuple[str, int], tuple[int, int]] = {}
        self._positions: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_along, name="tally", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def rows(self) -> list[tuple[str, int, int, int]]:
        with self._lock:
            return [(topic, partition, *counted) for (topic, partition), counted in sorted(self._counts.items())]

    def _read_along(self) -> None:
        look_again = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= look_again:
                self._assign_new_partitions()
                look_again = time.monotonic() + _NEW_TOPICS_SECONDS
            first = self._consumer.poll(_POLL_SECONDS)  # returns at the first record, whereas `consume` waits for all
            for message in [first, *self._consumer.consume(_RECORDS_PER_POLL, 0)] if first else ():
                if message.error() is None:
                    self._count(message)
        self._consumer.close()

    def _assign_new_partitions(self) -> None:
        try:
            topics = self._consumer.list_topics(timeout=_METADATA_SECONDS).topics
        except KafkaException:
            return  # asked again in a moment; the cluster lives in this very process
        present = {(name, partition) for name, topic in topics.items() for partition in topic.partitions}
        if present <= self._positions.keys():
            return
        with self._lock:
            for place in present - self._positions.keys():
                self._counts[place] = (0, 0)
                self._positions[place] = 0
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._positions.items()])

    def _count(self, message: Message) -> None:
        place = (message.topic() or "", message.partition() or 0)
        offset = message.offset() or 0
        if offset < self._positions[place]:
            return  # fetched before the latest assignment, and counted then
        with self._lock:
            records, size = self._counts[place]
            self._counts[place] = (records + 1, size + _size_of(message))
        self._positions[place] = offset + 1


def _size_of(message: Message) -> int:
    key, value = message.key(), message.value()
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])  # declared wider, for what may be sent
    told = sum(len(name) + len(text or b"") + _HEADER_OVERHEAD for name, text in headers)
    return len(key or b"") + len(value or b"") + told + _RECORD_OVERHEAD


def main() -> None:
    cluster = Producer({"test.mock.num.brokers": 1, **_CRITICAL_ONLY})
    (broker,) = cluster.list_topics(timeout=_METADATA_SECONDS).brokers.values()
    bootstrap = f"{broker.host}:{broker.port}"
    tally = RecordCounts(bootstrap)
    tally.start()
    _say(bootstrap)
    for _ in sys.stdin:
        _say(tally.rows())
    tally.stop()


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
