"""Whether addresses are hashed under the key that they were always hashed under.

Under another one, whoever is known by an address is a stranger: an opt-out that names it reaches nobody. So ingest
notes a fingerprint of its key where the positions are, and whoever hashes addresses compares. The entry has the form of
a position (``faust_batches.positions``), of a group that does not exist: every version reads over it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from referral_stream.runtime.clients import started
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import PREFIX
from referral_stream.runtime.topics_admin import BrokersUnreachable, TopicsProblem

logger = logging.getLogger(__name__)

_TOPIC: Final = "fingerprint"
_HASHED: Final = b"referral-stream: fingerprint of the e-mail key"
STALL_SECONDS: Final = 20.0
"""A read that gets no further for this long has failed."""
_POLL_MS: Final = 500
_BYTES: Final = 7
"""So that it is an offset as any other."""


class AnotherEmailKey(TopicsProblem):
    """Addresses would be hashed under another key than before; the message says what to do."""


def fingerprint(key: bytes) -> str:
    """14 hexadecimal digits. They tell keys apart, and nothing of a key that cannot be guessed anyway."""
    return hmac.digest(key, _HASHED, "sha256")[:_BYTES].hex()


def _key(deployment: Deployment) -> bytes:
    return f"{deployment.group('email-key')} {_TOPIC} 0".encode()


async def noted_fingerprint(deployment: Deployment) -> str | None:
    """That of the key under which ingest hashes addresses; None: it has noted none yet.

    Raises KafkaError, TimeoutError.
    """
    value = await last_value(deployment.client(), deployment.positions, _key(deployment))
    return f"{int(value.split()[0]):0{2 * _BYTES}x}" if value else None


async def last_value(client: dict[str, Any], topic: str, key: bytes) -> bytes | None:
    """What stands under a key on the first partition of a topic. Raises KafkaError, TimeoutError."""
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False, auto_offset_reset="earliest")
    async with started(consumer), asyncio.timeout(STALL_SECONDS) as patience:
        tp, found = TopicPartition(topic, 0), None
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=_POLL_MS)).values():
                found = next((record.value for record in reversed(records) if record.key == key), found)
                patience.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
        return found


async def keep_email_key(deployment: Deployment) -> None:
    """For ingest, at its start: note the fingerprint of the key, or compare it with the noted one.

    Raises AnotherEmailKey, KafkaError, TimeoutError.
    """
    ours, noted = _ours(deployment), await noted_fingerprint(deployment)
    if noted == ours:
        return
    if noted is not None:
        if deployment.settings.email_key_changed_to != ours:
            raise AnotherEmailKey(_another(noted, ours))
        logger.warning("email_key_changed", extra={"was": noted, "is": ours})
    async with started(AIOKafkaProducer(**deployment.client(), acks="all")) as producer:
        value = f"{int(ours, 16)} {deployment.settings.partitions}".encode()
        await producer.send_and_wait(deployment.positions, value, _key(deployment), partition=0)
    if (now := await noted_fingerprint(deployment)) != ours:  # another worker has begun at the same time
        raise AnotherEmailKey(_another(str(now), ours))
    logger.info("email_key_noted", extra={"fingerprint": ours})


async def require_same_email_key(deployment: Deployment) -> None:
    """For whoever else hashes addresses. Raises TopicsProblem, AnotherEmailKey among them."""
    ours = _ours(deployment)
    try:
        noted = await noted_fingerprint(deployment)
    except TopicAuthorizationFailedError:
        said = (
            f"{deployment.positions}, which this user may not read, says whether {PREFIX}EMAIL_KEY is the one of ingest"
        )
        raise TopicsProblem(f"{said}. See: referral-stream topics acls operator --user NAME") from None
    except (KafkaError, TimeoutError) as error:
        raise BrokersUnreachable(
            f"{deployment.positions} cannot be read: {str(error) or type(error).__name__}"
        ) from error
    if noted not in (None, ours):
        raise AnotherEmailKey(_another(str(noted), ours))


def _ours(deployment: Deployment) -> str:
    return fingerprint(deployment.boundary.email_key)


def _another(noted: str, ours: str) -> str:
    return (
        f"{PREFIX}EMAIL_KEY is another key (fingerprint {ours}) than the one that addresses were hashed with until now "
        f"({noted}): an opt-out by address would reach nobody who is known by theirs. Set the former key again. If the "
        f"change is meant: {PREFIX}EMAIL_KEY_CHANGED_TO={ours} for ingest, then send all profiles, and all opt-outs "
        "that name an address, again (docs/operations.md, Addresses)"
    )
