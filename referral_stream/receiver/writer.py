"""Writing to the source topics: nothing counts as written before the broker has acknowledged it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.runtime.connection import no_connection
from referral_stream.runtime.settings import SettingsProblem

logger = logging.getLogger(__name__)

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0
BATCH_BYTES: Final = 16_384
"""A record that is larger comes to the broker by itself."""
REFUSED_SECONDS: Final = 300.0
"""How long a size counts as too large that a topic has refused: its limit may be raised."""
SILENT_SECONDS: Final = 30.0
"""After so long without an acknowledgement, a new producer may find brokers where the present one does not."""
ENVELOPE_BYTES: Final = 64 * 1024
"""Room for key, headers and framing beside a body: HTTP headers, which may become record headers, have limits too."""


class WriterProblem(Exception):
    """Why the writer cannot start; one line for an operator."""


class BrokersUnavailable(WriterProblem):
    """No broker answers, and none turns us away: it may be better soon."""


class NotWritten(Exception):
    """The broker has not acknowledged all records. Some may be written, now or later: send them again."""


class TooLarge(Exception):
    """The record is too large for the topic."""


class SourceWriter:
    """An idempotent producer that waits for all replicas.

    ``client`` are aiokafka's connection settings. A record that a broker refuses leaves a gap in the producer's
    sequence, after which that partition refuses everything: so the producer is replaced then. A record that is too
    large is refused before it comes to that: by our own limit, or since the topic has refused a smaller one.
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        *,
        max_record_bytes: int,
        ack_seconds: float,
        client_now: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """``client_now``: the settings for a producer that is made later, if the password may have changed by then."""
        self._client = dict(client)
        self._client_now = client_now or (lambda: client)
        self._silent_since: float | None = None
        self._max_record_bytes = max_record_bytes
        self._ack_seconds = ack_seconds
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self._too_large: dict[str, tuple[int, float]] = {}  # topic → smallest size that it refused, good until

    async def start(self, topics: Iterable[str]) -> None:
        """Connect. Raises WriterProblem where one of the topics does not exist; BrokersUnavailable."""
        try:
            async with asyncio.timeout(START_SECONDS):
                self._producer = await self._started()
                known = (await self._producer.client.fetch_all_metadata()).topics()
        except (KafkaError, TimeoutError) as error:
            await self.stop()
            found = await no_connection(self._client, error)
            raise (BrokersUnavailable if found.passes else WriterProblem)(found.why) from None
        if missing := sorted(set(topics) - set(known)):
            await self.stop()
            raise WriterProblem(
                f"{', '.join(missing)}: not on the broker, or not for this user; run: referral-stream topics create"
            )

    async def stop(self) -> None:
        """Send what is still queued, for ``STOP_SECONDS`` at most, and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stopped(producer)
        await asyncio.gather(*self._retired, return_exceptions=True)

    async def write(self, records: Sequence[SourceRecord]) -> None:
        """Return when the broker has them all. Raises NotWritten or TooLarge."""
        producer = self._producer
        if producer is None:
            raise NotWritten("stopped")
        if any(self._is_too_large(record) for record in records):
            raise TooLarge
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._ack_seconds):
                for record in records:  # one after the other: in their order per partition
                    headers = list(record.headers)  # aiokafka takes nothing else
                    sent.append(await producer.send(record.topic, record.value, record.key, headers=headers))
                await asyncio.gather(*sent)
        except (TimeoutError, KafkaTimeoutError):
            self._note_silence(producer)
            raise NotWritten("no acknowledgement in time") from None
        except KafkaError as error:
            if not error.retriable:
                logger.warning("producer_replaced", extra={"cause": type(error).__name__})
                await self._replace(producer)
            if isinstance(error, MessageSizeTooLargeError):
                self._remember(records, sent)
                raise TooLarge from None
            topics = ", ".join(sorted({record.topic for record in records}))
            raise NotWritten(f"{type(error).__name__}: {topics}") from None
        else:
            self._silent_since = None
        finally:
            for future in sent:
                future.cancel()  # nobody waits for it any longer; what is queued is still sent

    def _is_too_large(self, record: SourceRecord) -> bool:
        size = record.size
        refused, until = self._too_large.get(record.topic, (size + 1, 0.0))
        return size > self._max_record_bytes + ENVELOPE_BYTES or (size >= refused and monotonic() < until)

    def _remember(self, records: Sequence[SourceRecord], sent: Sequence[asyncio.Future[Any]]) -> None:
        """What a topic takes is known to its administrators alone; what it refused is known from now on to us."""
        until = monotonic() + REFUSED_SECONDS
        for record, answer in zip(records, sent, strict=False):
            is_alone = record.size > BATCH_BYTES  # else it may have been refused for those beside it
            if is_alone and answer.done() and isinstance(_error_of(answer), MessageSizeTooLargeError):
                known, _ = self._too_large.get(record.topic, (record.size, 0.0))
                self._too_large[record.topic] = (min(known, record.size), until)

    def _note_silence(self, producer: AIOKafkaProducer) -> None:
        """A producer asks for the brokers' addresses once, and keeps its password: another one may get through."""
        now = monotonic()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > SILENT_SECONDS:
            self._silent_since = now  # else again after as long
            self._in_background(self._replace_silent(producer))

    async def _replace_silent(self, producer: AIOKafkaProducer) -> None:
        try:
            self._client = dict(self._client_now())
        except (SettingsProblem, OSError) as problem:  # a file that is being replaced: tried again at the next silence
            logger.warning("producer_not_replaced", extra={"cause": type(problem).__name__})
            return
        await self._replace(producer)
        if self._producer is not producer:
            logger.warning("producer_replaced", extra={"cause": "no acknowledgement"})

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def answers(self) -> bool:
        """Whether a broker answers now."""
        if self._producer is None:
            return False
        try:
            async with asyncio.timeout(self._ack_seconds):
                await self._producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError):
            return False
        return True

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._client,
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=self._max_record_bytes + ENVELOPE_BYTES,
        )
        try:
            await producer.start()
        except BaseException:
            await _stopped(producer)
            raise
        return producer

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        """Replace this producer with a new one. If that fails, the next failure tries again."""
        async with self._replacing:
            if self._producer is not broken:
                return
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(self._ack_seconds):
                    self._producer = await self._started()
                self._in_background(_stopped(broken))


def _error_of(answer: asyncio.Future[Any]) -> BaseException | None:
    return None if answer.cancelled() else answer.exception()


async def _stopped(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
