"""How far groups have read their sources, and by how many partitions they write: kept in a compacted topic.

A group's committed offsets lapse when it has been away for a week, and anybody can set them back. Read again, a source
counts twice as soon as its readers have forgotten what they saw. So what is committed is also written here, right after
it, and whichever of the two is further counts: reading never goes back. Should both be gone, ``outcome`` tells a group
that begins from one that has forgotten where it was.

One partition is used, the first. Of a killed worker the last commits may be missing, some records of its last second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition
from faust.types import TP

from faust_batches.batch import Output
from faust_batches.clients import started
from faust_batches.config import WorkerConfig
from faust_batches.errors import REFILL, ChangelogMismatch, NotAllowed, SourceMismatch, TopicsMismatch

logger = logging.getLogger(__name__)

_POLL_MS: Final = 500
STALL_SECONDS: Final = 20.0
"""A read that gets no further for this long has failed."""
_OTHERS_SECONDS: Final = 15.0
"""So long a worker that begins beside us may take from its first records in ``outcome`` to its first position."""
_AGAIN_SECONDS: Final = 0.5


class KeptPosition(NamedTuple):
    """One entry: the offset that ``group`` reads next, and among how many partitions it divides keys.

    Key ``GROUP TOPIC PARTITION``, value ``NEXT_OFFSET PARTITIONS``, in ASCII.
    """

    group: str
    topic: str
    partition: int
    next_offset: int
    partitions: int

    def output(self, topic: str) -> Output:
        key = f"{self.group} {self.topic} {self.partition}".encode()
        return Output(topic, b"%d %d" % (self.next_offset, self.partitions), key, partition=0)


async def read_positions(client: Mapping[str, Any], topic: str) -> list[KeptPosition]:
    """The last entry of every source partition. ``client``: aiokafka's connection settings.

    Raises:
        ChangelogMismatch: the topic lacks its beginning. KafkaError. TimeoutError: nothing comes any more.
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
        found: dict[bytes, KeptPosition] = {}
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=_POLL_MS)).values():
                found |= {record.key: _decode(record.key, record.value) for record in records if record.value}
                patience.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
        return list(found.values())


def _decode(key: bytes, value: bytes) -> KeptPosition:
    group, topic, partition = key.decode().split(" ")
    next_offset, partitions = map(int, value.split())
    return KeptPosition(group, topic, int(partition), next_offset, partitions)


class Positions:
    """What is known of one group. Without a topic (``config.positions``) nothing is, and nothing is written."""

    def __init__(self, config: WorkerConfig, send: Callable[[Sequence[Output]], Awaitable[None]]) -> None:
        self._config = config
        self._send = send
        self._known: dict[TP, int] = {}
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
        self._known = {TP(e.topic, e.partition): e.next_offset for e in entries if e.group == config.id}
        self._found = frozenset(self._known)

    def reached(self, committed: Mapping[TP, int | None]) -> dict[TP, int | None]:
        """Where to read on: what is committed, unless we have been further.

        Raises:
            SourceMismatch: nothing says where, although we have been here before.
        """
        found: dict[TP, int | None] = {}
        for tp, offset in committed.items():
            known = self._known.get(tp)
            found[tp] = offset
            if known is None or (offset is not None and offset >= known):
                continue
            found[tp] = known
            if known > 0 and tp in self._found:  # not what we have written ourselves, which may be uncommitted yet
                fields = {"topic": tp.topic, "partition": tp.partition, "committed": offset, "offset": known}
                logger.warning("offsets_went_back", extra=fields)
        if self._lost and found and all(offset is None for offset in found.values()):
            config = self._config
            raise SourceMismatch(
                f"nothing says how far {config.id} has read its sources, but {config.outcome} holds records: read "
                "again, they would count twice. Say where to go on, when it last ran: kafka-consumer-groups "
                f"--group {config.id} --reset-offsets --to-datetime … --execute; or --to-earliest where it never ran"
            )
        return found

    async def keep(self, offsets: Mapping[TP, int]) -> None:
        """Write down what is committed. Raises KafkaError."""
        config = self._config
        if config.positions is None or not offsets:
            return
        entries = (KeptPosition(config.id, *tp, offset, config.partitions) for tp, offset in offsets.items())
        await self._send([entry.output(config.positions) for entry in entries])
        self._known |= offsets
        self._found -= offsets.keys()


async def _holds_records(client: Mapping[str, Any], topic: str) -> bool:
    async with (
        started(AIOKafkaConsumer(**client, enable_auto_commit=False)) as consumer,
        asyncio.timeout(STALL_SECONDS),
    ):
        cluster = await consumer._client.fetch_all_metadata()
        partitions = [TopicPartition(topic, partition) for partition in cluster.partitions_for_topic(topic) or ()]
        return any((await consumer.end_offsets(partitions)).values())
