"""Topics: the Faust channel that passes whole batches through, and the check that topics are as an app needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.admin import DescribeConfigsRequest
from faust.topics import Topic
from faust.types import EventT
from faust.types.tuples import Message

from faust_batches.errors import REFILL, ChangelogMismatch, NotAllowed, TopicsMismatch

_PATIENCE_SECONDS: Final = 3.0  # for topics that were, or are, created just now
_AGAIN_SECONDS: Final = 0.2
_TOPIC_RESOURCE: Final = 2  # of Kafka's protocol
_POLICY: Final = "cleanup.policy"


class BatchTopic(Topic):
    """Its messages are whole batches (``BatchMessage``); nothing is decoded."""

    def _compile_decode(self) -> None:
        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:  # noqa: ARG001
            return self._create_event(None, None, headers=None, message=message)

        # Faust sets this per instance: overriding the method would have no effect.
        self.decode = decode  # type: ignore[method-assign]


async def check_topics(settings: Mapping[str, Any], expected: Mapping[str, int | None]) -> None:
    """Make sure that topics exist, and have the number of partitions that is ``expected`` (``None``: any).

    A worker that starts without its topics would ignore them, and subscribe to them much later. A broker that creates
    topics by itself does so when asked here.

    Raises:
        TopicsMismatch: with all that is missing or wrong in its message.
        ConnectionError: no broker answers, or it refuses our credentials.
    """
    client = AIOKafkaClient(**settings)
    try:
        await client.bootstrap()
    except KafkaConnectionError as exc:
        raise ConnectionError(f"no Kafka broker at {settings['bootstrap_servers']} that accepts us: {exc}") from exc
    try:
        deadline = monotonic() + _PATIENCE_SECONDS
        await client.set_topics(expected)
        while True:
            problems = [
                problem
                for topic, partitions in sorted(expected.items())
                if (problem := _problem(client.cluster, topic, partitions))
            ]
            if not problems or monotonic() > deadline:
                break
            await asyncio.sleep(_AGAIN_SECONDS)
            await client.force_metadata_update()
    finally:
        await client.close()
    if problems:
        raise TopicsMismatch("; ".join(problems))


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


async def cleanup_policies(client: AIOKafkaClient, topics: list[str]) -> dict[str, str]:
    """``cleanup.policy`` of these topics. Raises NotAllowed, KafkaError."""
    wanted = [(_TOPIC_RESOURCE, topic, [_POLICY]) for topic in topics]
    response = await client.send(client.get_random_node(), DescribeConfigsRequest(wanted))
    found: dict[str, str] = {}
    for code, _, _, topic, entries in response.resources:
        if code == TopicAuthorizationFailedError.errno:
            raise NotAllowed(f"{topic} may not be described by us: grant the right to describe its configuration")
        if code:
            raise for_code(code)(topic)
        found[topic] = next(value for name, value, *_ in entries if name == _POLICY)
    return found


def require_compacted(policies: Mapping[str, str]) -> None:
    """Raises ChangelogMismatch unless each is ``compact`` alone: with any other, entries of the state would lapse."""
    for topic, policy in sorted(policies.items()):
        if policy != "compact":
            raise ChangelogMismatch(
                f"cleanup.policy of {topic} is {policy}: entries of the state would lapse. Set it: "
                f"kafka-configs --alter --topic {topic} --add-config cleanup.policy=compact"
            )
