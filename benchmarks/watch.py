"""Looking at topics and groups from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Self

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tests.services.process import wait_until

TAIL = 10
"""A partition's last offsets may be those of transaction markers, which no reader sees."""


class Watch:
    """Looks at topics and groups of one broker; reads committed records only."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._admin = AdminClient({"bootstrap.servers": brokers})
        self._consumers: dict[str, Consumer] = {}
        self._partitions: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def consumer(self, group: str = "watch") -> Consumer:
        """A consumer that may ask after the group's offsets, and never joins it."""
        if group not in self._consumers:
            self._consumers[group] = Consumer(
                {
                    "bootstrap.servers": self._brokers,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 10,
                }
            )
        return self._consumers[group]

    def partitions(self, topic: str) -> list[TopicPartition]:
        """None while there is no such topic."""
        if topic not in self._partitions:
            known = self.consumer().list_topics(topic, timeout=10).topics[topic].partitions
            if not known:
                return []
            self._partitions[topic] = sorted(known)
        return [TopicPartition(topic, partition) for partition in self._partitions[topic]]

    def ends(self, topic: str) -> dict[int, int]:
        """Per partition, the offset of the next record."""
        found: dict[int, int] = {}
        for tp in self.partitions(topic):
            wait_until(partial(self._put_end, tp, found), f"the broker leads {topic}", seconds=20)
        return found

    def _put_end(self, tp: TopicPartition, found: dict[int, int]) -> bool:
        """False while the broker, short of CPU, is not counted as leader of the partition."""
        with suppress(KafkaException):
            found[tp.partition] = self.consumer().get_watermark_offsets(tp, timeout=10)[1]
        return tp.partition in found

    def end(self, topic: str) -> int:
        """How many offsets the topic has, all partitions together."""
        return sum(self.ends(topic).values())

    def caught_up(self, group: str, topic: str) -> bool:
        """Whether the group has committed all of a topic. The markers of transactions at its end are seen by nobody."""
        ends = self.ends(topic)
        committed = self.consumer(group).committed(self.partitions(topic), timeout=10)
        left = {tp.partition: (max(0, tp.offset), ends[tp.partition]) for tp in committed}
        left = {partition: (begin, end) for partition, (begin, end) in left.items() if begin < end}
        if any(end - begin > TAIL for begin, end in left.values()):
            return False
        return not left or next(self.messages(topic, left), None) is None

    def shared_out(self, group: str, members: int) -> bool:
        """Whether so many members have settled on who reads what, and each reads something."""
        try:
            found = self._admin.describe_consumer_groups([group])[group].result(10)
        except (KafkaException, TimeoutError):  # its coordinator has just begun to lead, or is short of CPU
            return False
        return found.state == ConsumerGroupState.STABLE and (
            [bool(member.assignment.topic_partitions) for member in found.members] == [True] * members
        )

    def last_timestamp(self, topic: str) -> int:
        """Epoch ms of the latest record; 0 where there is none."""
        tails = {partition: (max(0, end - TAIL), end) for partition, end in self.ends(topic).items() if end}
        return max((message.timestamp()[1] for message in self.messages(topic, tails)), default=0)

    def values(self, topic: str) -> Iterator[bytes]:
        """Every value of the topic."""
        everything = {partition: (0, end) for partition, end in self.ends(topic).items()}
        return (message.value() or b"" for message in self.messages(topic, everything))

    def messages(self, topic: str, spans: dict[int, tuple[int, int]]) -> Iterator[Message]:
        """The records in ``[begin, end)`` of each partition, or up to its present end."""
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, partition, begin) for partition, (begin, _) in spans.items()])
        reading = set(spans)
        while reading:
            for message in consumer.consume(500, timeout=0.2):
                fault, partition = message.error(), message.partition() or 0
                if fault is not None and fault.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (its public name)
                    raise KafkaException(fault)
                end = spans[partition][1]
                if fault is None and (message.offset() or 0) < end:
                    yield message
                if fault is not None or (message.offset() or 0) >= end - 1:
                    reading.discard(partition)
