"""How far groups have read their sources, and by how many partitions they write: kept in a compacted topic.

A group's committed offsets lapse when it has been away for a week, and anybody can set them back. Read again, a source
counts twice as soon as its readers have forgotten what they saw. So what is committed is also written here, right after
it, and whichever of the two is further counts: reading never goes back. Should both be gone, ``outcome`` tells a group
that begins from one that has forgotten where it was. A position counts for the topic that it was written of: one that
was deleted and created again under its name has another id, and is read from its beginning.

One partition is used, the first. Of a killed worker the last commits may be missing, some records of its last second.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition
from faust.types import TP

from faust_batches.batch import Output, Record
from faust_batches.clients import started
from faust_batches.config import WorkerConfig
from faust_batches.errors import REFILL, ChangelogMismatch, NotAllowed, SourceMismatch, TopicsMismatch
from faust_batches.topic_ids import is_another

logger = logging.getLogger(__name__)

_POLL_MS: Final = 500
STALL_SECONDS: Final = 20.0
"""A read that gets no further for this long has failed."""
_OTHERS_SECONDS: Final = 15.0
"""So long a worker that begins beside us may take from its first records in ``outcome`` to its first position."""
_AGAIN_SECONDS: Final = 0.5
_TOPIC_ID: Final = "topic-id"
_KEY: Final = re.compile(r"([^ ]+) ([a-zA-Z0-9._-]+) ([0-9]{1,9})")
_VALUE: Final = re.compile(rb"(\d{1,19}) (\d{1,9})")
_SHOWN: Final = 100


class KeptPosition(NamedTuple):
    """One entry: the offset that ``group`` reads next, and among how many partitions it divides keys.

    Key ``GROUP TOPIC PARTITION``, value ``NEXT_OFFSET PARTITIONS``, header ``topic-id`` as Kafka's tools show it, in
    ASCII. ``topic_id`` None: an entry of an earlier version, or a broker without ids.
    """

    group: str
    topic: str
    partition: int
    next_offset: int
    partitions: int
    topic_id: str | None = None

    def output(self, topic: str) -> Output:
        key = f"{self.group} {self.topic} {self.partition}".encode()
        headers = () if self.topic_id is None else ((_TOPIC_ID, self.topic_id.encode()),)
        return Output(topic, b"%d %d" % (self.next_offset, self.partitions), key, headers, partition=0)


async def read_positions(client: Mapping[str, Any], topic: str) -> list[KeptPosition]:
    """The last entry of every source partition. ``client``: aiokafka's connection settings.

    A record that no worker of any group can have written is left out, with an error in the log.

    Raises:
        ChangelogMismatch: the topic lacks its beginning, or an entry cannot be read. KafkaError.
        TimeoutError: nothing comes any more.
    """
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False, auto_offset_reset="earliest")
    async with started(consumer), asyncio.timeout(STALL_SECONDS) as patience:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        begin, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
        if begin > 0:
            raise ChangelogMismatch(
                f"{topic}-0 begins at {begin}: entries were deleted. Let its cleanup.policy be compact, nothing else; "
                "while the groups still have their committed offsets, the topic may be deleted and created again"
            )
        last: dict[bytes | None, Record] = {}
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=_POLL_MS)).values():
                last |= {record.key: record for record in records}
                patience.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
        return entries_of(last.values())


def entries_of(records: Iterable[Record]) -> list[KeptPosition]:
    """The entries that these records hold, as ``read_positions``; one without a value has been taken back."""
    return [entry for record in records if record.value and (entry := _entry(record, record.value)) is not None]


def _entry(record: Record, value: bytes) -> KeptPosition | None:
    """None, and an error in the log: the record is nobody's. Raises ChangelogMismatch."""
    at = f"{record.topic}-{record.partition}@{record.offset}"
    key = _KEY.fullmatch((record.key or b"").decode("utf-8", "replace"))
    if key is None or "\N{REPLACEMENT CHARACTER}" in key[1]:
        logger.error("position_not_ours", extra={"position": at, "key": repr(record.key)[:_SHOWN]})
        return None
    told = _VALUE.fullmatch(value)
    if told is None:
        raise ChangelogMismatch(
            f"{at} says how far a group has read, but cannot be read: something else writes to this topic. Take that "
            f"right away, and write a record of the key {key[0]!r} without a value: then what the group has "
            "committed counts alone; where that is gone, set it (kafka-consumer-groups --reset-offsets)"
        )
    ids = [content.decode("ascii", "replace") for name, content in record.headers if name == _TOPIC_ID and content]
    return KeptPosition(key[1], key[2], int(key[3]), int(told[1]), int(told[2]), ids[-1] if ids else None)


class Positions:
    """What is known of one group. Without a topic (``config.positions``) nothing is, and nothing is written."""

    def __init__(self, config: WorkerConfig, send: Callable[[Sequence[Output]], Awaitable[None]]) -> None:
        self._config = config
        self._send = send
        self._known: dict[TP, KeptPosition] = {}
        self._ids: dict[TP, str] = {}
        """Of the topics that this assignment reads; without those that began again under it."""
        self._found: frozenset[TP] = frozenset()
        self._lost = False

    async def read(self, client: Mapping[str, Any]) -> None:
        """At the start. Raises TopicsMismatch, ChangelogMismatch, NotAllowed, ConnectionError."""
        if self._config.positions is None:
            return
        try:
            await self._read(client, self._config.positions)
        except TopicAuthorizationFailedError as exc:
            raise NotAllowed(f"{self._config.positions} may not be read by us: grant the right to read") from exc
        except (KafkaError, TimeoutError) as exc:
            raise ConnectionError(f"{self._config.positions} cannot be read: {exc!r}") from exc

    async def _read(self, client: Mapping[str, Any], topic: str) -> None:
        await self._look(client, topic)
        give_up = asyncio.get_running_loop().time() + _OTHERS_SECONDS
        while not self._known and (outcome := self._config.outcome) and await _holds_records(client, outcome):
            if asyncio.get_running_loop().time() >= give_up:
                self._lost = True
                return
            await asyncio.sleep(_AGAIN_SECONDS)
            await self._look(client, topic)

    async def _look(self, client: Mapping[str, Any], topic: str) -> None:
        config = self._config
        entries = await read_positions(client, topic)
        for entry in entries:
            if entry.partitions != config.partitions:
                raise TopicsMismatch(
                    f"{entry.group} has written by {entry.partitions} partitions, which are {config.partitions} now: a "
                    f"key may have moved to a partition that knows nothing of it. {REFILL}"
                )
        self._known = {TP(e.topic, e.partition): e for e in entries if e.group == config.id}
        self._found = frozenset(self._known)

    def reached(self, committed: Mapping[TP, int | None], ids: Mapping[str, str]) -> dict[TP, int | None]:
        """Where to read on: what is committed, unless we have been further. None: at the beginning.

        ``ids``: of topics, as they are now. Of another one than we have read, nothing was read, whatever is committed:
        the last commits of a worker may have come after the new topic, and offsets do not say of which one they are.

        Raises:
            SourceMismatch: nothing says where, although we have been here before.
        """
        self._ids = {tp: ids[tp.topic] for tp in committed if tp.topic in ids}
        found: dict[TP, int | None] = {}
        for tp, offset in committed.items():
            entry = self._known.get(tp)
            found[tp] = offset
            if entry is None:
                continue
            fields: dict[str, Any] = {"topic": tp.topic, "partition": tp.partition}
            known = entry.next_offset
            if is_another(entry.topic_id, ids.get(tp.topic)):
                found[tp] = None
                logger.error("source_begins_again", extra=fields | {"read_up_to": known})
            elif offset is None or offset < known:
                found[tp] = known
                if known > 0 and tp in self._found:  # not what we have written ourselves, which may be uncommitted yet
                    logger.warning("offsets_went_back", extra=fields | {"committed": offset, "offset": known})
        if self._lost and found and all(offset is None for offset in found.values()):
            config = self._config
            raise SourceMismatch(
                f"nothing says how far {config.id} has read its sources, but {config.outcome} holds records: read "
                "again, they would count twice. Say where to go on, when it last ran: kafka-consumer-groups "
                f"--group {config.id} --reset-offsets --to-datetime … --execute; or --to-earliest where it never ran"
            )
        return found

    def begins_again(self, tp: TP) -> None:
        """The topic has turned out to be another one while it is read: from now on, nobody knows its id."""
        self._ids.pop(tp, None)

    async def keep(self, offsets: Mapping[TP, int]) -> None:
        """Write down what is committed. Raises KafkaError."""
        config = self._config
        if config.positions is None or not offsets:
            return
        entries = {
            tp: KeptPosition(config.id, *tp, offset, config.partitions, self._ids.get(tp))
            for tp, offset in offsets.items()
        }
        await self._send([entry.output(config.positions) for entry in entries.values()])
        self._known |= entries
        self._found -= offsets.keys()


async def _holds_records(client: Mapping[str, Any], topic: str) -> bool:
    async with (
        started(AIOKafkaConsumer(**client, enable_auto_commit=False)) as consumer,
        asyncio.timeout(STALL_SECONDS),
    ):
        cluster = await consumer._client.fetch_all_metadata()
        partitions = [TopicPartition(topic, partition) for partition in cluster.partitions_for_topic(topic) or ()]
        return any((await consumer.end_offsets(partitions)).values())
