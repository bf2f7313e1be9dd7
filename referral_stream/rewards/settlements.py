"""``reward.settled`` for what the payer refuses for good, written to ``responses``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from referral_stream.core.events import RewardSettled
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import rfc3339
from referral_stream.rewards.orders import PaymentOrder

SOURCE: Final = "referral-stream/rewards"
"""The CloudEvents ``source`` of this role, which speaks for the payer."""

ACK_SECONDS: Final = 20.0
"""How long a broker may take."""


class NotSettled(Exception):
    """The broker has not acknowledged the event; the message is the kind of its error."""


def settlement(order: PaymentOrder, reference: str | None, now: int) -> bytes:
    """The CloudEvent: failed. Its id is the same however often it is written, so that it counts once."""
    told = RewardSettled(grant_id=order.grant_id, status="failed", reference=reference)
    document = {
        "specversion": "1.0",
        "id": derived_id(RewardSettled.type, order.grant_id, told.status),
        "source": SOURCE,
        "type": RewardSettled.type,
        "subject": order.customer,
        "time": rfc3339(now),
        "datacontenttype": "application/json",
        "data": told.model_dump(mode="json", exclude_none=True),
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


class Settlements:
    """A producer that waits for all replicas. It is not idempotent: the event's id is.

    ``now`` is the deployment's clock, epoch ms: events have its time, whatever that shows.
    """

    def __init__(self, client: Mapping[str, Any], topic: str, now: Callable[[], int]) -> None:
        self.producer = AIOKafkaProducer(**client, acks="all")
        self._topic, self._now = topic, now

    async def write(self, order: PaymentOrder, reference: str | None) -> None:
        """Return when the broker has it. Raises NotSettled; it may be written then, now or later."""
        value = settlement(order, reference, self._now())
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await self.producer.send_and_wait(self._topic, value, order.customer.encode())
        except (KafkaError, TimeoutError) as error:
            raise NotSettled(f"{type(error).__name__}: {self._topic}") from None
