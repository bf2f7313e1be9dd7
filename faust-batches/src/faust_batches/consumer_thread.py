"""The thread that talks to the group: heartbeats, fetches, commits, and where each fetch begins."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final, cast

import aiokafka
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    UnknownError,
)
from faust.transport.consumer import ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from faust_batches.clients import broker_known, close
from faust_batches.errors import NameTaken, NeedsOperator, NeedsRestart, RefusedByBroker, WorkEnded
from faust_batches.fetched import Fetched
from faust_batches.ports import Ports
from faust_batches.slim_records import unpack_slim
from faust_batches.topic_ids import topic_ids
from faust_batches.topics import CLEANUP_POLICY, topic_settings

logger = logging.getLogger(__name__)

_BRIEFLY_MS: Final = 10
"""How long a broker may hold a fetch back during a rebalance. What else is asked over the same connection waits behind
it, and so does the first fetch after a seek; recovery asks and seeks several times before it reads anything."""
_PULSE_SHARE: Final = 0.5  # of the session timeout: a connection that is dead is left, and there is time for another
_PULSE_SECONDS: Final = 5.0  # at least: a broker under load may take a second or two
_PULSE_LOOKS: Final = 10
_COMMIT_SECONDS: Final = 5.0
_COMMIT_AT_STOP_SECONDS: Final = 2.0  # there are several, and all that a worker may take to stop is 25 s
_REFUSED_SECONDS: Final = 0.5
_SESSION_LIMITS: Final = (
    "set another one (session_timeout_seconds), within the brokers' group.min.session.timeout.ms and "
    "group.max.session.timeout.ms, or change those"
)
_REPLACED_TOO_OFTEN: Final = range(3, 9)
_REPLACED_WITHIN_SECONDS: Final = 60.0


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Runs in the consumer's thread, between aiokafka's coordinator and Faust."""

    _thread: BatchConsumerThread

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        thread = self._thread
        thread.begin_assignment()
        await thread.on_partitions_assigned(ensure_TPset(assigned), thread.app.consumer_generation_id)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker: notes where fetches begin and when the group last knew us."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ports = Ports.of(self.app)
        self.next_offsets: dict[TP, int] = {}
        self.coordinator_generation = -1
        self._member = ""
        # Of two workers with one name, each drawing its own patience, one gives up first and the other continues.
        self._replaced: deque[float] = deque(maxlen=random.choice(_REPLACED_TOO_OFTEN))  # noqa: S311 (no secret)
        self.lease = monotonic()
        """``monotonic()`` when the last heartbeat that the broker confirmed was *sent*; at first, when we began."""

    def begin_assignment(self) -> None:
        coordinator = self._ensure_consumer()._coordinator
        self.coordinator_generation = coordinator.generation
        self._check_name(coordinator.member_id)
        self.lease = monotonic()
        self.next_offsets.clear()  # positions are aiokafka's until the first seek
        self._fetch_waits(_BRIEFLY_MS)
        self._ports.membership.begin()

    def fetch_patiently(self) -> None:
        """The rebalance is over: from the next fetch on, a broker holds it back until there is something to deliver."""
        self._fetch_waits(int(self._ports.config.fetch_wait_seconds * 1000))

    def _fetch_waits(self, at_most_ms: int) -> None:
        if self._consumer is not None:
            self._consumer._fetcher._fetch_max_wait_ms = at_most_ms

    def _check_name(self, member: str) -> None:
        """Two workers with one static name keep taking the membership from each other: one of them has to end.

        A single time may be a zombie that woke up. A member that was silent for too long lost its place anyway.
        """
        config, before = self._ports.config, self._member
        self._member = member
        if config.static_member is None or before in ("", member):
            return
        if monotonic() - self.lease < config.session_timeout_seconds:
            self._note_replaced()

    def _note_replaced(self) -> None:
        config, now = self._ports.config, monotonic()
        self._replaced.append(now)
        if len(self._replaced) == self._replaced.maxlen and now - self._replaced[0] < _REPLACED_WITHIN_SECONDS:
            taken = f"another worker joins the group {config.id} as {config.static_member!r} too: "
            self._ports.membership.fail(NameTaken(f"{taken}every worker needs a static name of its own"))

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust offers no setting for these two (drivers/aiokafka.py, _create_worker_consumer).
        consumer._isolation_level = "read_committed" if self._ports.state.reads_committed else "read_uncommitted"
        consumer._fetch_max_wait_ms = _BRIEFLY_MS
        return consumer

    async def on_start(self) -> None:
        if await self._connected():
            self._watch_over()

    async def _connected(self) -> bool:
        """Connect, and wait for brokers that are away; False: we have been stopped meanwhile.

        A thread cannot raise why it does not start without a traceback: the app is told, and stops it.
        """
        connecting = asyncio.ensure_future(self._ports.brokers.answer(self._connect))
        stopped = asyncio.ensure_future(self.wait_until_stopped())
        try:
            await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
        except (NeedsOperator, NeedsRestart) as exc:
            self._ports.membership.fail(exc)
            await stopped
        finally:
            for task in (connecting, stopped):
                task.cancel()
            await asyncio.gather(connecting, stopped, return_exceptions=True)
        return not self.should_stop

    async def _connect(self) -> None:
        """As Faust does; a client that cannot connect is closed."""
        try:
            with broker_known():
                await super().on_start()
        except BaseException:
            consumer, self._consumer = self._consumer, None
            await close(consumer)
            raise

    def _watch_over(self) -> None:
        """Note when heartbeats are confirmed, and what ends."""
        unpack_slim(self._ensure_consumer()._fetcher)
        coordinator = self._ensure_consumer()._coordinator
        heartbeat, client = coordinator._do_heartbeat, self._ensure_consumer()._client

        async def confirmed_heartbeat() -> bool:
            sent = monotonic()
            beat = asyncio.ensure_future(heartbeat())
            try:
                while not await self._comes(beat):
                    link = client._conns.get((coordinator.coordinator_id, ConnectionGroup.COORDINATION))
                    if link is not None and link._last_action < sent:  # else it is being connected
                        self._drop_silent(sent)  # and with it what the heartbeat waits for
            finally:
                beat.cancel()
            if confirmed := beat.result():
                self.lease = sent
            return bool(confirmed)

        lookup = client.coordinator_lookup

        async def coordinator_lookup(*args: Any) -> Any:
            with broker_known():  # else the group coordination ends, and the worker with it
                return await lookup(*args)

        client.coordinator_lookup = coordinator_lookup
        coordinator._do_heartbeat = confirmed_heartbeat
        coordinator._push_error_to_user = partial(self._heed_refusal, coordinator._push_error_to_user)
        consumer = self._ensure_consumer()
        # aiokafka reports the end of none of them. Without the first there are no heartbeats and no rebalances, without
        # the second a lost coordinator is never found again, without the third nothing is fetched.
        for task, name in (
            (coordinator._coordination_task, "group coordination"),
            (consumer._client._sync_task, "metadata refresh"),
            (consumer._fetcher._fetch_task, "fetching"),
        ):
            task.add_done_callback(partial(self._ended, name))

    async def _heed_refusal(self, push: Callable[[KafkaError], Awaitable[Any]], exc: KafkaError) -> None:
        """The group does not let us in. aiokafka waits until somebody fetches, which nobody does without partitions."""
        consumer, membership = self._ensure_consumer(), self._ports.membership
        if isinstance(exc, InvalidSessionTimeoutError):
            seconds = self._ports.config.session_timeout_seconds
            membership.fail(
                RefusedByBroker(f"the brokers allow no session timeout of {seconds:g} s: {_SESSION_LIMITS}")
            )
            await asyncio.sleep(_REFUSED_SECONDS)
        elif type(exc) is UnknownError and self._ports.config.static_member is not None:
            # That our name is taken (FENCED_INSTANCE_ID) is an error that aiokafka does not know. We take it back.
            consumer._coordinator.reset_generation()
            self._note_replaced()
            await asyncio.sleep(_REFUSED_SECONDS)
        elif consumer.assignment() and not membership.rebalancing:
            await push(exc)
        elif exc.retriable or isinstance(exc, KafkaConnectionError):
            await asyncio.sleep(_REFUSED_SECONDS)  # then it is tried again: brokers that are away are waited for
        else:
            membership.fail(exc, "joining the group")
            await asyncio.sleep(_REFUSED_SECONDS)

    async def _comes(self, beat: asyncio.Future[bool]) -> bool:
        """Whether a heartbeat is answered in time; for as long as this process is frozen, the time stands still."""
        patience = max(self._ports.config.session_timeout_seconds * _PULSE_SHARE, _PULSE_SECONDS)
        for _ in range(_PULSE_LOOKS):
            if (await asyncio.wait({beat}, timeout=patience / _PULSE_LOOKS))[0]:
                return True
        return False

    def _drop_silent(self, since: float) -> None:
        """Close all connections of the app that have been silent since a heartbeat was sent, which is answered at once.

        A firewall may have forgotten them all. Each would be noticed by a request of its own, which ends after the
        request timeout, one after the other, and after the session; whereas connecting again takes milliseconds.
        """
        dropped = 0
        for client in self._ports.state.clients():
            for connection in list(client._conns.values()):
                if connection._last_action < since:
                    dropped += 1
                    connection._loop.call_soon_threadsafe(connection.close, CloseReason.CONNECTION_TIMEOUT)
        fields = {"app": self._ports.config.id, "connections": dropped, "seconds": round(monotonic() - since, 1)}
        logger.warning("connections_dropped", extra=fields)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        membership = self._ports.membership
        if not task.cancelled() and (exc := task.exception()) is not None:
            membership.fail(exc, name)
        elif not membership.stopping and not self.should_stop:
            membership.fail(WorkEnded(f"{name} has ended"))

    async def on_thread_stop(self) -> None:
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None and (problem := await close(self._consumer, seconds=None)) is not None:
            logger.warning("client_not_closed", extra={"cause": repr(problem)})

    def close(self) -> None:
        """Nothing: Faust calls this in a rebalance at shutdown, and ``on_thread_stop`` is about to close the client.

        Faust would close it from the main loop, whereas its connections belong to this thread's loop and must not be
        touched from another. It would also mark the client as closed, so ``on_thread_stop`` could not leave the group.
        """

    async def _seek_wait(self, consumer: aiokafka.AIOKafkaConsumer, partitions: Mapping[TP, int]) -> None:
        self.next_offsets.update(partitions)
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> dict[TP, Fetched]:  # type: ignore[override]  # `_fetch` knows
        fetched: dict[TP, Fetched] = {}
        for partition, records in (await super()._fetch_records(*args, **kwargs)).items():
            tp = TP(*partition)  # aiokafka's own type equals Faust's, but Faust insists on its own
            fetched[tp] = Fetched(self.next_offsets.get(tp), records)
            self.next_offsets[tp] = records[-1].offset + 1
        return fetched

    async def _committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        offsets = await asyncio.gather(*(consumer.committed(driver.ensure_aiokafka_TP(tp)) for tp in partitions))
        return dict(zip(partitions, offsets, strict=True))

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        committed: dict[TP, int | None] = await self.call_thread(self._committed, partitions)
        return committed

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False when that has to be repeated, or no longer matters, because of a rebalance or an outage.

        aiokafka tries again for as long as an error is retriable, which it is for ever where a topic was deleted.
        Whatever else this thread is asked, and the end of a rebalance or of the worker, waits behind it.
        """
        patience = _COMMIT_AT_STOP_SECONDS if self._ports.membership.stopping else _COMMIT_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self._ensure_consumer().commit({driver.ensure_aiokafka_TP(tp): at for tp, at in offsets.items()})
        except TimeoutError:
            logger.warning("offsets_not_committed", extra={"cause": f"nothing came of it within {patience:g} s"})
            return False
        except (CommitFailedError, IllegalStateError) as exc:
            logger.info("offsets_not_committed", extra={"cause": repr(exc)})
            return False
        except KafkaError as exc:
            if not exc.retriable:
                raise
            logger.warning("offsets_not_committed", extra={"cause": repr(exc)})
            return False
        return True

    def topics(self) -> set[str]:
        """Topics that exist according to the present metadata."""
        return set(self._ensure_consumer()._client.cluster.topics())

    async def cleanup_policies(self, topics: Iterable[str]) -> dict[str, str]:
        """``cleanup.policy`` of these topics. Raises NotAllowed, or KafkaError."""
        return cast("dict[str, str]", await self.call_thread(self._cleanup_policies, list(topics)))

    async def _cleanup_policies(self, topics: list[str]) -> dict[str, str]:
        return await topic_settings(self._ensure_consumer()._client, topics, CLEANUP_POLICY)

    async def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """As the function of this name."""
        return cast("dict[str, str]", await self.call_thread(self._topic_ids, set(topics)))

    async def _topic_ids(self, topics: set[str]) -> dict[str, str]:
        return await topic_ids(self._ensure_consumer()._client, topics)

    def request_rejoin(self) -> None:
        """Ask for a new assignment; safe from any thread."""
        self.thread_loop.call_soon_threadsafe(self._ensure_consumer()._coordinator.request_rejoin)
