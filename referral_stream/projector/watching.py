"""What the brokers say of the roles' groups, for the console: members, partitions, lag."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from referral_stream.read_models.views import RoleState
from referral_stream.runtime.clients import close, started
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import ROLES, Deployment
from referral_stream.runtime.topics_admin import TopicsProblem, group_seen

logger = logging.getLogger(__name__)

WATCHED: Final = (*ROLES, "projector", "rewards")
ASK_SECONDS: Final = 20.0


async def seen_roles(deployment: Deployment) -> list[RoleState]:
    """The groups of all roles that were ever there; of one that may not be described nothing is said."""
    now, found = Clock().now(), []
    admin = AIOKafkaAdminClient(**deployment.client())
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await admin.start()
            async with started(AIOKafkaConsumer(**deployment.client(), isolation_level="read_committed")) as consumer:
                for role in WATCHED:
                    seen = await _seen(admin, consumer, role, deployment.group(role), now)
                    if seen is not None:
                        found.append(seen)
    except (KafkaError, TimeoutError, OSError) as error:
        logger.debug("roles_not_seen", extra={"reason": type(error).__name__})
    finally:
        await close(admin)
    return found


async def _seen(admin: Any, consumer: AIOKafkaConsumer, role: str, group: str, now: int) -> RoleState | None:
    try:
        seen = await group_seen(admin, group)
    except (KafkaError, TopicsProblem):
        return None
    if not seen.members and not seen.offsets:
        return None
    return RoleState(role, group, seen.members, len(seen.offsets), await _lag(consumer, seen.offsets), now)


async def _lag(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> int | None:
    """Records behind the committed offsets; the markers at the ends of transactions count with them."""
    if not offsets:
        return 0
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(sorted(offsets))
    except KafkaError:
        return None
    return sum(max(0, end - offsets[tp]) for tp, end in ends.items())
