"""Transactional producers: one per owned source partition, opened again at every assignment.

``transactional.id`` is group, topic and partition. Opening it (InitProducerId) aborts what the former owner left open
and refuses everything that it still sends, so that recovery after it sees all of the former owner's work, and no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import aiokafka
from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.producer import sender
from faust.types import TP

from faust_batches.clients import broker_known, close
from faust_batches.config import WorkerConfig
from faust_batches.errors import BatchRefused, ClockRefused, Fenced, NotAllowed, NotOwner, RefusedByBroker
from faust_batches.publish import Publisher, Sent

logger = logging.getLogger(__name__)

# After a commit, the coordinator answers CONCURRENT_TRANSACTIONS until its markers are written: 1 to 3 ms. aiokafka
# then sleeps 20 ms, which would be most of a small batch's latency.
_MARKER_BACKOFF_SECONDS: Final = 0.002
_RETRY_BACKOFF_MS: Final = 20
_OPEN_AGAIN_SECONDS: Final = 0.2

# A producer that was fenced once answers with its state machine's exceptions from then on.
_FATAL: Final = (
    kafka.ProducerFenced,
    kafka.InvalidProducerEpoch,
    kafka.InvalidProducerIdMapping,
    kafka.InvalidTxnState,
    kafka.OutOfOrderSequenceNumber,
    kafka.UnknownProducerId,
    kafka.IllegalOperation,
    AssertionError,
)


class Fence:
    """The producers of the current assignment."""

    def __init__(self, config: WorkerConfig, producer_settings: Callable[[], dict[str, Any]]) -> None:
        self._config = config
        self._producer_settings = producer_settings
        self._assignment = -1
        self._producers: dict[TP, aiokafka.AIOKafkaProducer] = {}
        self._discarding: set[asyncio.Task[None]] = set()

    async def take(self, sources: Iterable[TP], assignment: int) -> None:
        """Open the producers of ``sources`` for ``assignment``: after this, no former owner can write.

        Raises:
            RefusedByBroker, NotAllowed: the brokers do not allow it.
            TimeoutError: no broker let us do so within the rebalance timeout. KafkaError: another refusal.
        """
        sender.BACKOFF_OVERRIDE = _MARKER_BACKOFF_SECONDS
        old, self._producers = self._producers, {}
        self._discard(old.values())
        new: dict[TP, aiokafka.AIOKafkaProducer] = {}
        try:
            async with asyncio.timeout(self._config.rebalance_timeout_seconds):
                await asyncio.gather(*(self._open(tp, new) for tp in sources))
        except BaseException:
            self._discard(new.values())
            raise
        self._producers, self._assignment = new, assignment
        logger.info("partitions_fenced", extra={"partitions": len(new)})

    async def _open(self, tp: TP, opened: dict[TP, aiokafka.AIOKafkaProducer]) -> None:
        """Open the producer of ``tp``, again and again while a broker that fails may come back."""
        while True:
            producer = opened[tp] = self._create(tp)
            try:
                with broker_known():
                    await producer.start()
            except kafka.InvalidTransactionTimeout as exc:
                raise RefusedByBroker(
                    f"the brokers take no transaction timeout of {self._config.transaction_timeout_seconds:g} s: their "
                    "transaction.max.timeout.ms is lower. Raise it, or lower ours (transaction_timeout_seconds)"
                ) from exc
            except kafka.TransactionalIdAuthorizationFailed as exc:
                raise NotAllowed(
                    f"the transactional id {self._id(tp)} may not be used by us: grant Write on it"
                ) from exc
            except kafka.KafkaError as exc:
                if not _passes(exc):
                    raise
                logger.info("producer_opened_again", extra={"partition": tp.partition, "cause": repr(exc)})
                self._discard([opened.pop(tp)])
                await asyncio.sleep(_OPEN_AGAIN_SECONDS)
            else:
                return

    def _id(self, tp: TP) -> str:
        return f"{self._config.id}-{tp.topic}-{tp.partition}"

    def _create(self, tp: TP) -> aiokafka.AIOKafkaProducer:
        config = self._config
        return aiokafka.AIOKafkaProducer(
            **self._producer_settings()
            | {
                "transactional_id": self._id(tp),
                "transaction_timeout_ms": int(config.transaction_timeout_seconds * 1000),
                "retry_backoff_ms": _RETRY_BACKOFF_MS,
            }
        )

    def _discard(self, producers: Iterable[aiokafka.AIOKafkaProducer]) -> None:
        for producer in producers:
            task = asyncio.get_running_loop().create_task(_stop(producer))
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)

    def clients(self) -> list[AIOKafkaClient]:
        """The clients of the present producers."""
        return [producer.client for producer in list(self._producers.values())]

    async def close(self) -> None:
        producers, self._producers = self._producers, {}
        self._discard(producers.values())
        await asyncio.gather(*self._discarding)

    async def transact(
        self,
        tp: TP,
        assignment: int,
        publisher: Publisher,
        send: Callable[[aiokafka.AIOKafkaProducer], Awaitable[Sequence[Sent]]],
    ) -> None:
        """One transaction with everything that ``send`` sends; returns when it is committed.

        Raises:
            NotOwner: the producer of ``tp`` is of another assignment than the records.
            Fenced: there is a newer owner, or this producer cannot continue. Nothing of this will ever be visible.
            KafkaError: the transaction was aborted; it can be tried again if the error is retriable.
        """
        producer = self._producers.get(tp)
        if producer is None or assignment != self._assignment:
            raise NotOwner(f"{tp.topic}-{tp.partition}")
        try:
            await producer.begin_transaction()
            sent = await send(producer)
            await publisher.acknowledged(sent)  # aiokafka commits even though a send has failed
            await producer.commit_transaction()
        except asyncio.CancelledError:
            raise  # the next owner's InitProducerId aborts it
        except Exception as exc:
            if _is_fatal(producer, exc):
                raise Fenced(f"{tp.topic}-{tp.partition}") from exc
            try:
                await producer.abort_transaction()
            except Exception as abort:
                raise Fenced(f"{tp.topic}-{tp.partition}") from abort
            if isinstance(
                exc, BatchRefused | ClockRefused
            ):  # it broke the sequence of this producer: begin again with new ones
                raise Fenced(f"{tp.topic}-{tp.partition}") from exc
            raise


def _passes(exc: kafka.KafkaError) -> bool:
    """Whether the next try may succeed. aiokafka does not call a lost connection, or a failed bootstrap, retriable."""
    return bool(exc.retriable) or isinstance(exc, kafka.KafkaConnectionError)


def _is_fatal(producer: aiokafka.AIOKafkaProducer, exc: Exception) -> bool:
    return isinstance(exc, _FATAL) or bool(producer._txn_manager.is_fatal_error())


async def _stop(producer: aiokafka.AIOKafkaProducer) -> None:
    await close(producer)  # what it has to say does not matter: it is fenced or unconnected, and no longer needed
