"""What was in the sources and is not on ``customer-events`` yet: while it is unread, silence is no evidence.

After days without ingest, a timer would find customers silent who were not, and ask others whose opt-out is still
unread. So no wake-up is sent before everything has been read that the sources held a minute ago. Facts are handled
meanwhile: they bring the opt-outs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from time import monotonic
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from referral_stream.runtime.clients import started
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.runtime.topic_log import partitions_of
from referral_stream.runtime.topics_admin import TopicsProblem, admin_client, group_seen

logger = logging.getLogger(__name__)

TOLERANCE_SECONDS: Final = 60.0
"""What arrived within the last minute may be unread: some of it always is, and a restart or two take no longer."""
LOOK_SECONDS: Final = 20.0
"""Between two looks: two of them fit into the tolerance."""
HELD_SECONDS: Final = 1.0
"""The same, while wake-ups are held."""

Offsets = Mapping[TopicPartition, int]


class Backlog:
    """Compares what ingest has read with what the sources held when it was last asked for. A context."""

    def __init__(
        self,
        look: Callable[[], Awaitable[tuple[Offsets, Offsets]]],
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``look`` gives what has been read (committed), and where the sources end. May raise KafkaError and others.

        ``close`` gives back what it looks with.
        """
        self._look, self._close = look, close
        self._throttle = LogThrottle(logger)
        self._wanted: tuple[float, Offsets] | None = None
        self._read_at: float | None = None
        self._looked_at: float | None = None
        self._begun_at: float | None = None
        self.held = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._close is not None:
            await self._close()

    async def is_read(self) -> bool:
        """Whether all has been read that the sources held ``TOLERANCE_SECONDS`` ago. Unknown is no. Logs a no."""
        now = monotonic()
        if self._looked_at is None or now - self._looked_at >= (HELD_SECONDS if self.held else LOOK_SECONDS):
            self._looked_at = now
            try:
                cause, unread = "ingest has not read the sources", self._compare(now, *await self._look())
            except Exception as error:  # noqa: BLE001  (whatever it is: what is not known holds)
                why = str(error) if isinstance(error, (KafkaError, TopicsProblem)) else type(error).__name__
                cause, unread = f"nobody knows how far ingest has read: {why}", None
        else:
            cause, unread = "", None
        self.held = self._read_at is None or now - self._read_at > TOLERANCE_SECONDS
        if self.held and cause and unread is not None and self._has_just_begun(now):
            self._throttle.note("wakeups_held", cause, unread=unread)
        elif self.held and cause:
            self._throttle.warn("wakeups_held", cause, **({} if unread is None else {"unread": unread}))
        elif not self.held:
            self._throttle.settled()
        return not self.held

    def _has_just_begun(self, now: float) -> bool:
        """At a start, ingest begins when we do, and needs some seconds: that is no trouble."""
        self._begun_at = now if self._begun_at is None else self._begun_at
        return self._read_at is None and now - self._begun_at <= TOLERANCE_SECONDS

    def _compare(self, now: float, read: Offsets, ends: Offsets) -> int:
        """How many records are unread, by offsets."""
        if self._wanted is not None and not _unread(read, self._wanted[1]):
            self._read_at, self._wanted = self._wanted[0], None
        unread = _unread(read, ends)
        if not unread:
            self._read_at, self._wanted = now, None
        elif self._wanted is None:
            self._wanted = now, ends
        return unread


def _unread(read: Offsets, ends: Offsets) -> int:
    return sum(max(0, end - read.get(tp, 0)) for tp, end in ends.items())


def read_up_to(committed: Offsets, begins: Offsets, ends: Offsets) -> dict[TopicPartition, int]:
    """How far ingest has read each partition. What lapsed unread is not waited for.

    An offset beyond the end is that of another topic of the same name: of this one, nothing has been read.
    """
    known = {tp: at for tp, at in committed.items() if at <= ends.get(tp, -1)}
    return {tp: max(begin, known.get(tp, 0)) for tp, begin in begins.items()}


class _Look:
    """A look at the sources and at ingest's group, by clients that stay connected until a look fails."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._topics, self._group = deployment.topics.sources, deployment.group("ingest")
        self._open: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None
        self._clients = AsyncExitStack()

    async def __call__(self) -> tuple[Offsets, Offsets]:
        try:
            if self._open is None:
                self._open = await self._connected()
            return await self._compared(*self._open)
        except BaseException:
            await self.close()
            raise

    async def _connected(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        settings = self._deployment.client()
        consumer = AIOKafkaConsumer(**settings, enable_auto_commit=False, isolation_level="read_committed")
        admin = await self._clients.enter_async_context(started(admin_client(self._deployment)))
        return admin, await self._clients.enter_async_context(started(consumer))

    async def _compared(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> tuple[Offsets, Offsets]:
        seen = await group_seen(admin, self._group)
        for topic in self._topics:
            await partitions_of(consumer, topic)  # from now on, its metadata is asked for
        if not await consumer._client.force_metadata_update():  # noqa: SLF001 (what it knows may be older than a partition)
            raise KafkaConnectionError("no broker tells what partitions the sources have")
        found = [TopicPartition(topic, at) for topic in self._topics for at in await partitions_of(consumer, topic)]
        begins, ends = await consumer.beginning_offsets(found), await consumer.end_offsets(found)
        return read_up_to(seen.offsets, begins, ends), ends

    async def close(self) -> None:
        self._open = None
        await self._clients.aclose()


def backlog_of(deployment: Deployment) -> Backlog:
    """That of this deployment's ingest role. It needs to be shown the sources and the group, not to read them."""
    look = _Look(deployment)
    return Backlog(look, look.close)
