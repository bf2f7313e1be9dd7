"""What the brokers say about the size of records: a topic's ``max.message.bytes``, its own or the cluster's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

_SETTING: Final = "max.message.bytes"
_SECONDS: Final = 10.0


async def record_limits(client: Mapping[str, Any], topics: Iterable[str]) -> dict[str, int]:
    """The largest batch in bytes that each of ``topics`` takes; a topic is missing if its settings may not be read.

    ``client`` are aiokafka's connection settings. Raises KafkaError, OSError (a TimeoutError is one): nobody answers.
    """
    admin = AIOKafkaAdminClient(**client)
    try:
        async with asyncio.timeout(_SECONDS):
            await admin.start()
            wanted = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
            responses = await admin.describe_configs(wanted)
    finally:
        await _close(admin)
    found: dict[str, int] = {}
    for response in responses:
        for code, _, _, topic, entries in response.resources:
            for name, value, *_ in entries:
                if code == 0 and name == _SETTING and value is not None:
                    found[topic] = int(value)
    return found


async def _close(admin: AIOKafkaAdminClient) -> None:
    try:
        await admin.close()
    except (KafkaError, OSError):  # it never got as far as a connection
        return
