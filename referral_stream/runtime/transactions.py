"""Who holds a partition back: producers whose transaction is open.

aiokafka has no call that tells, so the requests are here. Readers with ``read_committed`` get nothing behind the first
open transaction of a partition (its last stable offset), and nothing in the group's offsets shows that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from referral_stream.runtime.clients import started
from referral_stream.runtime.deployment import Deployment

_LOOK_AGAIN_SECONDS: Final = 1.0
"""Between two looks: a transaction of a producer at work is over by then, and the next one begins further on."""


class DescribeProducersResponse(Response):  # type: ignore[misc]  # aiokafka is untyped
    """KIP-664, version 0."""

    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("begun_at_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersStruct(RequestStruct):  # type: ignore[misc]  # aiokafka is untyped
    """Its request."""

    API_KEY = 61
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeProducersResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("name", CompactString("utf-8")), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducers(Request[DescribeProducersStruct]):  # type: ignore[misc]  # aiokafka is untyped
    """Who writes to these partitions, to be asked of their leader. Needs the right to read the topics."""

    API_KEY = 61

    def __init__(self, partitions: Mapping[str, Sequence[int]]) -> None:
        self._topics: list[Any] = [(topic, list(numbers), {}) for topic, numbers in partitions.items()]

    def build(self, request_struct_class: type[DescribeProducersStruct]) -> DescribeProducersStruct:
        return request_struct_class(self._topics, {})


class ListTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka is untyped
    """KIP-664, version 0."""

    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_filters", CompactArray(CompactString("utf-8"))),
        (
            "transactions",
            CompactArray(
                ("transactional_id", CompactString("utf-8")),
                ("producer_id", Int64),
                ("state", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class ListTransactionsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka is untyped
    """Its request."""

    API_KEY = 66
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ListTransactionsResponse
    SCHEMA = Schema(
        ("states", CompactArray(CompactString("utf-8"))),
        ("producer_ids", CompactArray(Int64)),
        ("tags", TaggedFields),
    )


class ListTransactions(Request[ListTransactionsStruct]):  # type: ignore[misc]  # aiokafka is untyped
    """Transactions of these producers, of every broker those that it coordinates and that we may see."""

    API_KEY = 66

    def __init__(self, producer_ids: Collection[int]) -> None:
        self._producer_ids = list(producer_ids)

    def build(self, request_struct_class: type[ListTransactionsStruct]) -> ListTransactionsStruct:
        return request_struct_class([], self._producer_ids, {})


@dataclass(frozen=True, slots=True)
class Holder:
    """A producer with an open transaction. ``last_write`` in epoch ms; No ``transactional_id``: we may not see it."""

    producer_id: int
    last_write: int
    transactional_id: str = ""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A partition whose readers get nothing at or behind ``offset``, ``records`` of them, because of ``holders``."""

    topic: str
    partition: int
    offset: int
    records: int
    holders: tuple[Holder, ...] = ()


async def held_back(
    committed: AIOKafkaConsumer, uncommitted: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> list[HeldBack]:
    """Those of ``partitions`` that an open transaction holds back, and still does so a second later; without holders.

    The two consumers read as their names say. Raises KafkaError.
    """
    found: dict[TopicPartition, tuple[int, int]] = {}
    for look in range(2):
        stable = await committed.end_offsets(list(partitions))
        ends = await uncommitted.end_offsets(list(partitions))
        at = {tp: (stable[tp], ends[tp]) for tp in partitions if ends[tp] > stable[tp]}
        found = at if look == 0 else {tp: seen for tp, seen in at.items() if tp in found and found[tp][0] == seen[0]}
        if not found:
            return []
        if look == 0:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return [HeldBack(tp.topic, tp.partition, begin, end - begin) for tp, (begin, end) in sorted(found.items())]


async def holders_of(client: AIOKafkaClient, held: HeldBack) -> tuple[Holder, ...]:
    """Whose transactions hold ``held`` back; empty if the brokers do not tell. ``client`` is connected."""
    try:
        await client.set_topics([held.topic])
        leader = client.cluster.leader_for_partition(TopicPartition(held.topic, held.partition))
        described = await client.send(leader, DescribeProducers({held.topic: [held.partition]}))
        ((_, ((_, _, _, producers, _),), _),) = described.topics
        begun = {each[0]: each[3] for each in producers or () if each[5] >= 0}
        names = await _transactional_ids(client, begun) if begun else {}
    except (KafkaError, NotImplementedError):
        return ()
    return tuple(Holder(number, at, names.get(number, "")) for number, at in sorted(begun.items()))


async def _transactional_ids(client: AIOKafkaClient, producer_ids: Collection[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for broker in client.cluster.brokers():
        listed = await client.send(broker.nodeId, ListTransactions(producer_ids))
        found |= {producer_id: name for name, producer_id, _, _ in listed.transactions or ()}
    return found


async def limits_of(client: AIOKafkaClient, name: str) -> list[int]:
    """What each broker has for a setting; none if we may not know it. ``client`` is connected."""
    found: list[int] = []
    for broker in client.cluster.brokers():
        wanted = (int(ConfigResourceType.BROKER), str(broker.nodeId), [name])
        try:
            told = await client.send(broker.nodeId, DescribeConfigsRequest([wanted], include_synonyms=False))
        except KafkaError:
            return []
        found += [int(entry[1]) for resource in told.resources for entry in resource[4] if entry[0] == name]
    return found


@asynccontextmanager
async def asking(deployment: Deployment) -> AsyncIterator[AIOKafkaClient]:
    """A connected client for such questions. Raises KafkaError."""
    async with started(AIOKafkaClient(**deployment.client())) as client:
        yield client
