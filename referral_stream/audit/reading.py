"""Reading topics from outside: no group, no commit, nothing written; and knowing where a log ends.

Our logs end in transaction markers, which no reader sees: a read is over when a record at or after the end
turns up, or when the client reports that there is nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Protocol, Self

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from referral_stream.contracts.records import RawRecord
from referral_stream.runtime.connection import connection_problem
from referral_stream.runtime.settings import KafkaSettings

STALL_SECONDS: Final = 30.0
"""A broker that is silent for this long cannot be audited."""
_AT_ONCE: Final = 5_000
_WAIT_SECONDS: Final = 0.02  # the client waits this long for a full batch, even at the end of a log
_ANSWERED_LATER: Final = frozenset({
    KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
})  # fmt: skip
"""What a broker says of a new topic, or while leaders change; librdkafka marks none of it as retriable here."""


class Unreadable(ConnectionError):
    """A topic does not exist, or the broker does not let us read it; the one-line message says which."""


class Absent(Unreadable):
    """A topic does not exist."""


class Logs(Protocol):
    """The topics as a reader finds them. All methods raise Unreadable."""

    def begins(self, topic: str) -> list[int]:
        """The first offset of each partition that is still retained."""
        ...

    def ends(self, topic: str) -> list[int]:
        """For each partition, the offset before which every transaction is decided."""
        ...

    def read(
        self, topic: str, partition: int, start: int, end: int | None = None, *, committed: bool = True
    ) -> Iterator[RawRecord]:
        """The records from ``start`` to ``end`` (not included; None: as far as there are any now)."""
        ...


class KafkaLogs:
    """The topics of a real broker. One read at a time: the next one ends it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client = _client(settings)
        self._admin = AdminClient(self._client)
        self._consumers: dict[bool, Consumer] = {}

    def __enter__(self) -> Self:
        """Raises Unreadable where no broker lets us in: librdkafka would try on for half a minute, and not say why."""
        problem = asyncio.run(connection_problem(self._settings.kafka_client()))
        if problem is not None:
            raise Unreadable(problem)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def begins(self, topic: str) -> list[int]:
        return self._offsets(topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]  # the client has no types for it

    def ends(self, topic: str) -> list[int]:
        return self._offsets(topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # as above

    def read(
        self, topic: str, partition: int, start: int, end: int | None = None, *, committed: bool = True
    ) -> Iterator[RawRecord]:
        if end is not None and start >= end:
            return
        consumer = self._consumer(committed=committed)
        consumer.assign([TopicPartition(topic, partition, start)])
        heard, complaint = monotonic(), f"nothing came for {STALL_SECONDS:.0f} seconds"
        while True:
            messages = consumer.consume(_AT_ONCE, _WAIT_SECONDS)
            if monotonic() > heard + STALL_SECONDS:
                raise Unreadable(f"{topic}-{partition}: {complaint}")
            for message in messages:
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (its only name)
                        return
                    if message.topic() is not None and not error.retriable():
                        raise Unreadable(f"{topic}-{partition}: {error.str()}")
                    # An error about no partition may be about the group, and that we may not join it does not matter.
                    complaint = error.str()
                    continue
                heard = monotonic()
                record = _record(message)
                if end is not None and record.offset >= end:
                    return
                yield record

    def _consumer(self, *, committed: bool) -> Consumer:
        if committed not in self._consumers:
            isolation = "read_committed" if committed else "read_uncommitted"
            self._consumers[committed] = Consumer(
                {
                    **self._client,
                    "group.id": "referral-stream-audit",  # the client wants a name; nobody joins a group
                    "isolation.level": isolation,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 10,  # an empty fetch marks an end
                }
            )
        return self._consumers[committed]

    def _offsets(self, topic: str, spec: OffsetSpec) -> list[int]:
        try:
            known = self._admin.list_topics(topic, timeout=STALL_SECONDS).topics[topic]
            if known.error is not None:
                if known.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise Absent(f"{topic} does not exist; referral-stream topics create")
                raise Unreadable(f"{topic}: {known.error.str()}")
            found = self._found({TopicPartition(topic, partition): spec for partition in known.partitions})
        except KafkaException as error:
            raise Unreadable(f"{topic}: {error.args[0].str()}") from error
        return [found[partition] for partition in range(len(found))]

    def _found(self, asked: dict[TopicPartition, OffsetSpec]) -> dict[int, int]:
        """Offsets by partition. Asked again while a broker has no answer yet: a new topic, or leaders that change."""
        given_up = monotonic() + STALL_SECONDS
        while True:
            told = self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=STALL_SECONDS
            )
            try:
                return {tp.partition: future.result().offset for tp, future in told.items()}
            except KafkaException as error:
                if monotonic() > given_up or error.args[0].code() not in _ANSWERED_LATER:
                    raise
                sleep(_WAIT_SECONDS)


def _client(s: KafkaSettings) -> dict[str, Any]:
    """Connection settings, as librdkafka names them."""
    files = {
        "ssl.ca.location": s.kafka_ca_file,
        "ssl.certificate.location": s.kafka_cert_file,
        "ssl.key.location": s.kafka_key_file,
    }
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(s.kafka_brokers),
        "security.protocol": s.kafka_security,
        "client.id": "referral-stream-audit",
        "log_level": 0,  # the problem is reported once, instead of for every attempt
    }
    found |= {name: str(file) for name, file in files.items() if file is not None}
    if s.kafka_security.startswith("SASL"):
        found["sasl.mechanism"] = s.kafka_sasl_mechanism
        found["sasl.username"] = s.kafka_username
        found["sasl.password"] = s.kafka_password.get_secret_value() if s.kafka_password else None
    return found


def _record(message: Message) -> RawRecord:
    return RawRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=message.timestamp()[1],
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value)) for name, value in _pairs(message.headers())),
    )


def _pairs(headers: Any) -> list[tuple[str, Any]]:
    return headers or []


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
