"""Topics: the Faust channel that passes whole batches through, and the check that topics are as an app needs them.

The other check before a start is here too: that the group is not another app's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest, DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from faust.topics import Topic
from faust.types import EventT
from faust.types.tuples import Message

from faust_batches.clients import broker_known, close
from faust_batches.errors import REFILL, ChangelogMismatch, GroupTaken, NotAllowed, TopicsMismatch

_PATIENCE_SECONDS: Final = 3.0  # for topics that were, or are, created just now
_AGAIN_SECONDS: Final = 0.2
_TOPIC_RESOURCE: Final = 2  # of Kafka's protocol
CLEANUP_POLICY: Final = "cleanup.policy"
MAX_MESSAGE_BYTES: Final = "max.message.bytes"


class BatchTopic(Topic):
    """Its messages are whole batches (``BatchMessage``); nothing is decoded."""

    def _compile_decode(self) -> None:
        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:  # noqa: ARG001
            return self._create_event(None, None, headers=None, message=message)

        # Faust sets this per instance: overriding the method would have no effect.
        self.decode = decode  # type: ignore[method-assign]


@asynccontextmanager
async def asking(settings: Mapping[str, Any]) -> AsyncIterator[AIOKafkaClient]:
    """A client to ask the brokers with; ``settings`` as aiokafka names them.

    Raises:
        ConnectionError: no broker answers, or it refuses our credentials.
    """
    client = AIOKafkaClient(**settings)
    try:
        with broker_known():
            await client.bootstrap()
        yield client
    except KafkaConnectionError as exc:
        raise ConnectionError(f"no Kafka broker at {settings['bootstrap_servers']} that accepts us: {exc}") from exc
    finally:
        await close(client)


async def check_topics(client: AIOKafkaClient, expected: Mapping[str, int | None]) -> None:
    """Make sure that topics exist, and have the number of partitions that is ``expected`` (``None``: any).

    A worker that starts without its topics would ignore them, and subscribe to them much later. A broker that creates
    topics by itself does so when asked here.

    Raises:
        TopicsMismatch: with all that is missing or wrong in its message.
        ConnectionError: no broker says which topics there are. What was heard of none is not missing.
    """
    deadline = monotonic() + _PATIENCE_SECONDS
    answered = await client.set_topics(expected)
    while True:
        problems = [
            problem
            for topic, partitions in sorted(expected.items())
            if (problem := _problem(client.cluster, topic, partitions))
        ]
        if not problems or monotonic() > deadline:
            break
        await asyncio.sleep(_AGAIN_SECONDS)
        answered = await client.force_metadata_update()
    if problems and not answered:
        raise ConnectionError("no Kafka broker says which topics there are")
    if problems:
        raise TopicsMismatch("; ".join(problems))


async def check_group(client: AIOKafkaClient, group: str, sources: Collection[str], seconds: float) -> None:
    """Make sure that nobody uses ``group`` for other topics than ``sources``.

    Group, changelogs and tables have one name: a second app that joins would take them from the first one. Asked
    before we join, so that the first one notices nothing. A broker that cannot be asked so is believed.

    Raises:
        GroupTaken: the group has committed offsets, or a member, and neither is of any of ``sources``.
        ConnectionError: the brokers do not tell within ``seconds``. KafkaError: they refuse to.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            if await _is_ours(client, group, sources):
                return
            reason = "it is rebalancing"
        except IncompatibleBrokerVersion:
            return
        except KafkaError as exc:
            if not exc.retriable:
                raise
            reason = repr(exc)
        if monotonic() > deadline:
            raise ConnectionError(
                f"the brokers did not tell within {seconds:.0f} s who uses the group {group}: {reason}"
            )
        await asyncio.sleep(_AGAIN_SECONDS)


async def _is_ours(client: AIOKafkaClient, group: str, sources: Collection[str]) -> bool:
    """False: it cannot be known yet, because nobody has committed, and who rebalances does not say what it reads."""
    with broker_known():
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
    fetched = await client.send(coordinator, OffsetFetchRequest(group, None))
    committed = {
        topic for topic, partitions in fetched.topics or () if any(offset >= 0 for _, offset, *_ in partitions)
    }
    described = await client.send(coordinator, DescribeGroupsRequest(groups=[group]))
    ((code, _, _, kind, _, members, *_),) = described.groups
    if code:
        raise for_code(code)
    told = [metadata for _, _, _, metadata, _ in members if metadata] if kind == "consumer" else []
    for read in (committed, *(set(ConsumerProtocolMemberMetadata.decode(each).subscription) for each in told)):
        if read and read.isdisjoint(sources):
            raise GroupTaken(
                f"the group {group} belongs to another app: it reads {', '.join(sorted(read))}, this one "
                f"{', '.join(sorted(sources))}. Take another name for the group; nothing of it has been touched"
            )
    return bool(committed) or len(told) == len(members)


def other_count(topic: str, found: int, expected: int) -> str:
    """What is wrong with a topic whose keys were divided among ``expected`` partitions, and what to do."""
    return (
        f"{topic} has {found} partitions instead of {expected}, which cannot be undone: a key may have moved to a "
        f"partition that knows nothing of it. {REFILL}"
    )


def _problem(cluster: ClusterMetadata, topic: str, partitions: int | None) -> str:
    if topic in cluster.unauthorized_topics:
        return f"{topic} may not be read by us"
    found = cluster.partitions_for_topic(topic)
    if found is None:
        return f"{topic} does not exist"
    if partitions is not None and len(found) != partitions:
        return f"{topic} has {len(found)} partitions instead of {partitions}"
    return ""


async def partition_counts(client: AIOKafkaClient, topics: set[str]) -> dict[str, int]:
    """How many partitions these topics have now; without those that we may not see. Raises KafkaError."""
    cluster = ClusterMetadata()
    cluster.need_all_topic_metadata = True  # says nothing of those in the log
    if not await client._metadata_update(cluster, topics):
        raise KafkaConnectionError("no broker answers")
    return {topic: len(found) for topic in topics if (found := cluster.partitions_for_topic(topic))}


def require_counts(found: Mapping[str, int], expected: int) -> None:
    """Raises TopicsMismatch unless all of these topics have ``expected`` partitions."""
    wrong = [other_count(topic, count, expected) for topic, count in sorted(found.items()) if count != expected]
    if wrong:
        raise TopicsMismatch("; ".join(wrong))


async def topic_settings(client: AIOKafkaClient, topics: list[str], setting: str) -> dict[str, str]:
    """A setting of these topics, their own or the cluster's. Raises NotAllowed, KafkaError."""
    wanted = [(_TOPIC_RESOURCE, topic, [setting]) for topic in topics]
    response = await client.send(client.get_random_node(), DescribeConfigsRequest(wanted))
    found: dict[str, str] = {}
    for code, _, _, topic, entries in response.resources:
        if code == TopicAuthorizationFailedError.errno:
            raise NotAllowed(f"{topic} may not be described by us: grant the right to describe its configuration")
        if code:
            raise for_code(code)(topic)
        found[topic] = next(value for name, value, *_ in entries if name == setting)
    return found


def require_compacted(policies: Mapping[str, str]) -> None:
    """Raises ChangelogMismatch unless each is ``compact`` alone: with any other, entries of the state would lapse."""
    for topic, policy in sorted(policies.items()):
        if policy != "compact":
            raise ChangelogMismatch(
                f"cleanup.policy of {topic} is {policy}: entries of the state would lapse. Set it: "
                f"kafka-configs --alter --topic {topic} --add-config cleanup.policy=compact"
            )
