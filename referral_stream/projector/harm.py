"""The harm budget at work: which triggers are paused because their asks do harm (after §7).

``metrics.harm`` judges, from the newest record of every customer; here a judgement becomes a ``control.paused``, sent
by the worker that leads. It is sent once: not for what is paused already, whoever paused it; not while switches may
have been thrown that the read models do not know yet, or a trigger that a person has just resumed would be paused on
the evidence of before; and always under the same id until a person resumes it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from referral_stream.contracts.codec import encode_event
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER
from referral_stream.core.events import Event
from referral_stream.core.policy import Policy
from referral_stream.metrics.harm import Pause, pauses
from referral_stream.metrics.records import Records
from referral_stream.read_models.views import Control, MessageBody
from referral_stream.runtime.clients import started
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import partitions_of

logger = logging.getLogger(__name__)

SEND_SECONDS: Final = 20.0
MOST_UNREAD: Final = 100_000
"""Offsets of switches that are looked through before a pause."""
UNREAD_PART: Final = 20
"""One record in so many may be missing in a judgement."""
_NEEDED: Final = ("customer_id", "account_id", "recorded_at", "ids")
_REPEATED: Final = frozenset({"trigger", "template", "mode", "channel", "kind"})
_OF_ASKS: Final = _REPEATED | {"command_id", "t0", "asked_at", "decided_at", "referrals", "regret"}
_WAIT_MS: Final = 500

Sending: TypeAlias = Callable[[Event], Awaitable[None]]
"""Appends the event to ``responses``, where switches count; returns when the broker has it. Raises KafkaError."""


class Judged(Protocol):
    """What a judgement is made of: ``read_models.writing.Writer``."""

    def bodies(self) -> AsyncIterator[MessageBody]: ...

    async def controls(self) -> Sequence[Control]: ...

    async def positions(self) -> Mapping[tuple[str, int], int]: ...


AppliedUpTo: TypeAlias = Mapping[tuple[str, int], int]
"""(topic, partition) → the offset that is applied next."""


class Knowing(Protocol):
    """Whether who is at ``now`` knows every switch that was thrown, and who was at ``then`` nearly all records.

    ``kept``: how many records there were. Raises KafkaError.
    """

    async def __call__(self, then: AppliedUpTo, now: AppliedUpTo, kept: int) -> bool: ...


async def judge_once(judged: Judged, policy: Policy, knows_all: Knowing, send: Sending) -> list[str]:
    """The triggers for which a pause was sent. Raises WriteRefused, KafkaError and NotSent: judge again later."""
    if policy.harm.pause_at is None:
        return []
    then = await judged.positions()
    records, kept = await _gathered(judged)
    found = await asyncio.to_thread(pauses, records, policy, _resumed(await judged.controls()))
    if not found or not await knows_all(then, await judged.positions(), kept):
        return []
    switches = await judged.controls()
    paused = {each.name for each in switches if each.scope == "trigger" and each.paused}
    resumed = _resumed(switches)
    sent = []
    for each in found:
        # Another word than the one that was judged: somebody has resumed it meanwhile.
        if each.trigger not in paused and resumed.get(each.trigger, 0) == each.resumed_at:
            await send(each.event())
            _tell(each)
            sent.append(each.trigger)
    return sent


def _resumed(switches: Sequence[Control]) -> dict[str, int]:
    """Trigger → when a person last resumed it (epoch ms)."""
    return {each.name: each.at for each in switches if each.scope == "trigger" and each.name and not each.paused}


async def _gathered(judged: Judged) -> tuple[Records, int]:
    """The records that a judgement needs, and how many there are: of a million customers most were never asked."""
    records, kept, newest = Records(), 0, None
    async for body in judged.bodies():
        kept += 1
        needed = _needed(body)
        if needed["asks"] or "ids" in needed:
            records.take(body["customer_id"], needed)
        if newest is None or newest["recorded_at"] < needed["recorded_at"]:
            newest = needed  # as of when all is judged
    if newest is not None:
        records.take(newest["customer_id"], newest)
    return records, kept


def _needed(body: MessageBody) -> MessageBody:
    """Of a record what is judged, some 600 bytes for each ask: all are in memory at once."""
    needed: MessageBody = {str(name): body[name] for name in _NEEDED if name in body}
    needed["asks"] = [
        {name: sys.intern(value) if name in _REPEATED else value for name, value in ask.items() if name in _OF_ASKS}
        for ask in body.get("asks", ())
        if ask["kind"] != "shadow"
    ]
    return needed


def _tell(pause: Pause) -> None:
    found, (asked, held_out) = pause.found, pause.found.arms
    odds = None if found.evidence is None else round(found.evidence.value)
    logger.warning(
        "paused_for_harm",
        extra={
            "trigger": pause.trigger, "evidence": odds, "asked": asked.units, "asked_trouble": asked.successes,
            "held_out": held_out.units, "held_out_trouble": held_out.successes,
        },
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- the broker


class NotSent(Exception):
    """A pause could not be written to its topic, which the message names."""


def sender(deployment: Deployment) -> Sending:
    """Sends by a producer of its own, made when there is something to send: that is rare."""

    async def send(event: Event) -> None:
        producer = AIOKafkaProducer(**deployment.client(), acks="all", enable_idempotence=True)
        headers = [(CONTENT_TYPE_HEADER, CLOUD_EVENT.encode())]
        topic = deployment.topics.responses
        try:
            async with asyncio.timeout(SEND_SECONDS), started(producer):
                await producer.send_and_wait(topic, encode_event(event), headers=headers)
        except (KafkaError, TimeoutError) as error:
            raise NotSent(f"{topic} takes no pause: {type(error).__name__}") from error

    return send


def knowing(deployment: Deployment) -> Knowing:
    """Asks the broker what there is behind these positions."""
    names = deployment.topics

    async def knows_all(then: AppliedUpTo, now: AppliedUpTo, kept: int) -> bool:
        consumer = AIOKafkaConsumer(
            **deployment.client(), enable_auto_commit=False, auto_offset_reset="none", isolation_level="read_committed"
        )
        async with asyncio.timeout(SEND_SECONDS), started(consumer):
            records = await _behind(consumer, names.referral_records, then)
            switches = await _behind(consumer, names.ledger_requests, now)
            # The end of a transaction is an offset, too, and nobody's record.
            if _count(records) > kept // UNREAD_PART + len(records) or _count(switches) > MOST_UNREAD:
                return False
            return not await _has_a_switch(consumer, switches)

    return knows_all


async def _behind(
    consumer: AIOKafkaConsumer, topic: str, positions: AppliedUpTo
) -> dict[TopicPartition, tuple[int, int]]:  # fmt: skip
    """Where something lies behind a position: (position, end) by partition."""
    partitions = [TopicPartition(topic, number) for number in sorted(await partitions_of(consumer, topic))]
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    at = {tp: max(positions.get((topic, tp.partition), 0), begins[tp]) for tp in partitions}
    return {tp: (at[tp], ends[tp]) for tp in partitions if ends[tp] > at[tp]}


def _count(unread: Mapping[TopicPartition, tuple[int, int]]) -> int:
    return sum(end - at for at, end in unread.values())


async def _has_a_switch(consumer: AIOKafkaConsumer, unread: Mapping[TopicPartition, tuple[int, int]]) -> bool:
    """Whether a word about a switch lies there; mostly nothing does but the ends of transactions."""
    if not unread:
        return False
    consumer.assign(list(unread))
    for tp, (at, _) in unread.items():
        consumer.seek(tp, at)
    left = set(unread)
    while left:
        batches: dict[TopicPartition, list[Any]] = await consumer.getmany(*left, timeout_ms=_WAIT_MS)
        for record in (record for records in batches.values() for record in records):
            if record.value is not None and b'"control.' in record.value:
                return True
        left = {tp for tp in left if await consumer.position(tp) < unread[tp][1]}
    return False
