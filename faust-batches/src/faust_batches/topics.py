"""Topics: the Faust channel that passes whole batches through, and the check that topics are as an app needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaConnectionError
from faust.topics import Topic
from faust.types import EventT
from faust.types.tuples import Message

from faust_batches.errors import TopicsMismatch

_PATIENCE_SECONDS: Final = 3.0  # for topics that were, or are, created just now
_AGAIN_SECONDS: Final = 0.2


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


def _problem(cluster: ClusterMetadata, topic: str, partitions: int | None) -> str:
    if topic in cluster.unauthorized_topics:
        return f"{topic} may not be read by us"
    found = cluster.partitions_for_topic(topic)
    if found is None:
        return f"{topic} does not exist"
    if partitions is not None and len(found) != partitions:
        return f"{topic} has {len(found)} partitions instead of {partitions}"
    return ""
