"""Whether the topics are still those that a worker began with: their partitions, and that they were not made again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from faust_batches.config import WorkerConfig
from faust_batches.consumer import BatchConsumer
from faust_batches.errors import NeedsOperator
from faust_batches.membership import Membership
from faust_batches.topic_ids import those_made_again, topic_ids
from faust_batches.topics import asking, partition_counts, require_counts

logger = logging.getLogger(__name__)


class TopicWatch:
    """``fixed_topics``: those whose number of partitions must not change; the rest as of ``BrokerWatch``."""

    def __init__(
        self,
        config: WorkerConfig,
        membership: Membership,
        *,
        consumer: Callable[[], BatchConsumer],
        client_settings: Callable[[], Mapping[str, Any]],
        has_partitions: Callable[[], bool],
        fixed_topics: Callable[[], Mapping[str, int]],
    ) -> None:
        self._config = config
        self._membership = membership
        self._consumer = consumer
        self._client_settings = client_settings
        self._has_partitions = has_partitions
        self._fixed_topics = fixed_topics

    async def run(self) -> None:
        """End the app when a topic gets partitions that would move keys: before anything is written by that number."""
        while not self._membership.stopping:
            await asyncio.sleep(self._config.metadata_seconds)
            if not self._has_partitions():
                continue
            try:
                await self.look()
                await self._consumer().commit_invisible_ends()
            except NeedsOperator as exc:
                self._membership.fail(exc)
                return
            except Exception as exc:  # noqa: BLE001  (asked again soon; that brokers are away is said elsewhere)
                logger.debug("topics_not_seen", extra={"cause": repr(exc)})

    async def look(self) -> None:
        """Where a topic was made again while it is read, the next assignment says from where: ask for it.

        Asked by a client of its own: what the consumer is asked waits behind its commits, which a broker may hold up.

        Raises:
            TopicsMismatch: another number of partitions. ConnectionError, KafkaError.
        """
        assignment, known = self._membership.assignment, dict(self._consumer().known_ids)
        async with asking(self._client_settings()) as client:
            found = await partition_counts(client, set(self._fixed_topics()))
            require_counts(found, self._config.partitions)
            now = await topic_ids(client, known) if known else {}
        if again := those_made_again(known, now):
            logger.info("topics_made_again", extra={"topics": ", ".join(again)})
            self._membership.rejoin(assignment)
