"""Topics: the Faust channel that passes whole batches through, and the check that topics are as an app needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from faust.topics import Topic

from referral_stream.stream.transport.errors import TopicsMismatch

if TYPE_CHECKING:
    from faust.types import EventT
    from faust.types.tuples import Message


class BatchTopic(Topic):
    """Its messages are whole batches (`BatchMessage`); nothing is decoded."""

    def _compile_decode(self) -> None:
        async def decode(message: Message, *, propagate: bool = False) -> EventT[Any]:  # noqa: ARG001
            return self._create_event(None, None, headers=None, message=message)

        # Faust sets this per instance: overriding the method would have no effect.
        self.decode = decode  # type: ignore[method-assign]


async def check_topics(
    settings: Mapping[str, Any], expected: Mapping[str, int | None], *, timeout_seconds: float
) -> None:
    """Make sure that topics exist, and have the number of partitions that is `expected` (`None`: any).

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
        problems = [
            problem
            for topic, partitions in sorted(expected.items())
            if (problem := await _problem(client, topic, partitions, timeout_seconds))
        ]
    finally:
        await client.close()
    if problems:
        raise TopicsMismatch("; ".join(problems))


async def _problem(client: AIOKafkaClient, topic: str, partitions: int | None, timeout_seconds: float) -> str:
    try:
        async with asyncio.timeout(timeout_seconds):
            await client._wait_on_metadata(topic)
    except UnknownTopicOrPartitionError:
        return f"{topic} does not exist"
    except (KafkaError, TimeoutError) as exc:
        return f"{topic} cannot be read: {exc!r}"
    found = len(client.cluster.partitions_for_topic(topic) or ())
    if partitions is not None and found != partitions:
        return f"{topic} has {found} partitions instead of {partitions}"
    return ""
