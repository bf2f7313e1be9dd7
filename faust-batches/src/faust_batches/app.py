"""The Faust app of one role: agents feed lanes, tables are written per batch, dangerous defaults are closed.

Stock Faust acks an event whose processing failed, can commit past events in flight, serves tables on all interfaces.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import faust
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from faust.streams import Stream
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, StreamT
from mode.supervisors import CrashingSupervisor
from yarl import URL

from faust_batches.batch import AsyncProcessor, Output, Processor, Refusal, Supersedes
from faust_batches.broker_wait import BrokerWait
from faust_batches.broker_watch import BrokerWatch
from faust_batches.clock_watch import ClockWatch
from faust_batches.config import WorkerConfig
from faust_batches.consumer import BatchConsumer
from faust_batches.errors import ClockRefused, NeedsOperator, NotOwner, TopicsMismatch, WorkEnded
from faust_batches.fence import Fence
from faust_batches.fetched import BatchMessage
from faust_batches.lanes import CLOCK_SECONDS, Lanes, Step, Tracing
from faust_batches.limits import RecordLimits
from faust_batches.membership import Membership
from faust_batches.meter import Meter
from faust_batches.plain_producer import BatchProducer, PlainSender
from faust_batches.ports import Ports
from faust_batches.positions import Positions
from faust_batches.publish import Publisher
from faust_batches.reach import require_let_in
from faust_batches.recovery import BatchRecovery, BatchTableManager
from faust_batches.source import SourcePosition
from faust_batches.stateful import ChangesCallback, Stateful
from faust_batches.stateless import Stateless
from faust_batches.table import BatchTable
from faust_batches.topic_watch import TopicWatch
from faust_batches.topics import (
    BatchTopic,
    asking,
    check_group,
    check_topics,
    other_count,
)

logger = logging.getLogger(__name__)

_HEARTBEATS_PER_SESSION: Final = 3
_IDLE_MS: Final = 60_000  # less than a firewall remembers a connection that nobody uses: minutes
_REQUEST_HEADROOM_BYTES: Final = 100_000
"""Between two looks at how large records may be; a refusal by a broker is followed by one at once."""

PartitionsCallback = Callable[[frozenset[int]], None]


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer and producer."""

    Consumer = BatchConsumer
    Producer = BatchProducer


@dataclass(frozen=True, slots=True)
class _StatefulRole:
    topic: str
    step: Stateful
    tables: dict[str, BatchTable]
    limits: RecordLimits
    on_partitions_ready: PartitionsCallback | None
    on_partitions_lost: PartitionsCallback | None


@dataclass(frozen=True, slots=True)
class _Periodic:
    seconds: float
    action: Callable[[], Awaitable[None]]


class BatchApp(faust.App):
    """Declare with ``stateless``, ``stateful`` and ``periodic``; run with ``run_worker`` or ``running``."""

    def __init__(self, config: WorkerConfig, on_refused: Refusal | None = None, tracing: Tracing | None = None) -> None:
        self.config = config
        self.meter = Meter()
        self.membership = Membership(self, config, self.meter, self._request_rejoin)
        self.lanes = Lanes(config, self.meter, self.membership, lambda: self.batch_consumer)
        self.clock_watch = ClockWatch()
        fixed = dict.fromkeys(config.fixed_topics, config.partitions)
        self._tracing = tracing
        stamped = None if tracing is None else tracing.stamped
        self.publisher = Publisher(
            config.max_record_bytes, on_refused, self.meter.published, self.clock_watch, fixed, stamped
        )
        self._positions = Positions(config, self.send)
        self._plain = PlainSender(self.publisher, self.meter, lambda: self.batch_producer)
        refused = lambda: require_let_in(self._client_settings())  # noqa: E731
        self.brokers = BrokerWait(config.id, config.brokers, config.start_wait_seconds, refused)
        self.ports = Ports(
            *(config, self.meter, self.membership, self.brokers, self.lanes, self),
            lambda: self.batch_consumer,
            lambda: self.recovery,
        )
        self._owned: frozenset[int] = frozenset()
        self._stateful: _StatefulRole | None = None
        self._fence: Fence | None = None
        self._periodics: list[_Periodic] = []
        self._companions: list[AbstractAsyncContextManager[Any]] = []
        self._sources: dict[str, int | None] = {}
        self.ends: dict[TP, int] = {}
        """Where the source partitions ended when ``refresh_ends`` asked last."""
        self.expected: list[tuple[str, Callable[[], object | None]]] = []
        """What ought to move on besides the sources: see ``expects``."""
        self.standing_seconds = 0.0
        """See ``AppStatus``; kept by ``Watch``."""
        watched: Any = {
            "consumer": lambda: self.batch_consumer,
            "client_settings": self._client_settings,
            "has_partitions": lambda: bool(self._assignment),
        }
        self.broker_watch = BrokerWatch(config, self.membership, **watched)
        self._topic_watch = TopicWatch(config, self.membership, fixed_topics=self._fixed_topics, **watched)
        super().__init__(config.id, **_faust_settings(config))

    # -- declaring -------------------------------------------------------------------------------------------------

    def stateless(self, topics: Iterable[str], processor: Processor | AsyncProcessor) -> None:
        """Consume ``topics``, one agent each, and publish what ``processor`` makes from them: at least once."""
        for topic in topics:
            self._consume(topic, Stateless(processor, self._plain, self.meter), partitions=None)

    def stateful(
        self,
        topic: str,
        processor: Processor,
        tables: Mapping[str, Supersedes | None] | Iterable[str],
        *,
        on_partitions_ready: PartitionsCallback | None = None,
        on_partitions_lost: PartitionsCallback | None = None,
        on_changes: ChangesCallback | None = None,
    ) -> None:
        """Consume ``topic`` with ``tables``, each kept in the changelog ``{id}-{table}-changelog``. Once per app.

        Args:
            topic: the one source of these tables; as many partitions as the config says. The changelog records how far
                the state has read it; the group's committed offset is for lag monitors only. If it is not the log that
                the state was made from, the app fails with SourceMismatch.
            processor: see ``Processor``. Whatever it publishes has to come with a change of the last table.
            tables: names, with the hook that distinguishes a zombie's changelog record (``Supersedes``): false
                only if the new value is older than the old one. It is needed when ``fencing="none"``. The last
                one holds the marks.
            on_partitions_ready: after recovery, before the first record of these partitions: with all that this worker
                owns, at every assignment. Tables can be read in it.
            on_partitions_lost: with the same partitions, when they are taken away, all of them before any assignment.
            on_changes: with partition and changes, once a batch is durable and in the stores.
        """
        if self._stateful is not None:
            raise ValueError("an app has one stateful source")
        if not tables:
            raise ValueError("a stateful source needs a table")
        config = self.config
        hooks = dict(tables) if isinstance(tables, Mapping) else dict.fromkeys(tables)
        declared = {name: BatchTable(self, config, name, supersedes=hook) for name, hook in hooks.items()}
        for table in declared.values():
            self.tables.add(table)
        if config.fencing == "transactions":
            self._fence = Fence(config, self._producer_settings)
        changelogs = [table.changelog_topic_name for table in declared.values()]
        limits = RecordLimits(self.publisher, self._client_settings, changelogs)
        step = Stateful(
            processor,
            declared,
            meter=self.meter,
            feed=lambda: self.batch_consumer,
            publisher=self.publisher,
            plain=self._plain,
            fence=self._fence,
            on_changes=on_changes,
            read_limits=limits.read,
            partitions=config.partitions,
        )
        self._stateful = _StatefulRole(topic, step, declared, limits, on_partitions_ready, on_partitions_lost)
        self._consume(topic, step, partitions=config.partitions)

    def _consume(self, topic: str, step: Step, *, partitions: int | None) -> None:
        self.lanes.add_topic(topic, step if self._tracing is None else self._tracing.around(self.config.id, step))
        self._sources[topic] = partitions
        channel = BatchTopic(self, topics=[topic], partitions=partitions, key_type=bytes, value_type=bytes)

        async def feed(stream: StreamT[Any]) -> None:
            async for event in cast("Stream[Any]", stream).noack().events():
                message = cast("BatchMessage", event.message)
                self.clock_watch.see(message.records)
                self.lanes.feed(message)

        self.agent(channel, name=topic, concurrency=1, supervisor_strategy=CrashingSupervisor)(feed)

    def periodic(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Await ``action`` every ``seconds``, never twice at a time, while the app is ``ready``.

        Its exceptions are logged, and it is tried again at the next turn. It only nudges: it may ``send``, but only the
        processor writes tables.
        """
        self._periodics.append(_Periodic(seconds, action))

    def expects(self, what: str, position: Callable[[], object | None]) -> None:
        """Have it noted as standing still while ``position`` is the same (``AppStatus``); ``None``: nothing to do."""
        self.expected.append((what, position))

    def alongside(self, companion: AbstractAsyncContextManager[Any]) -> None:
        """Enter ``companion`` before the first record is consumed, and leave it after the last batch.

        An exception on entry keeps the app from starting.
        """
        self._companions.append(companion)

    # -- using -----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Partitions are assigned, their tables are recovered, and no rebalance is under way."""
        return bool(
            self._assignment
            and not self.rebalancing
            and not self.in_recovery
            and self.tables.actives_ready
            and not self.should_stop
            and self.failure is None
        )

    def owned_partitions(self) -> frozenset[int]:
        """Partitions of the stateful topic that this worker owns and has recovered; empty while not ``ready``."""
        return self._owned if self.ready else frozenset()

    @property
    def table_names(self) -> list[str]:
        """The names of the tables; none without state."""
        return [] if self._stateful is None else list(self._stateful.tables)

    def entry_limit(self, table: str) -> int:
        """How many bytes key and value of an entry of ``table`` may have together, as far as is known.

        A processor that changes an entry to a larger one stops the worker. The limit follows the changelog's
        ``max.message.bytes``: it is read now and then, and whenever a broker refuses a record; until it was read, and
        where it may not be, it is what the config says and refusals have taught.
        """
        return self.publisher.entry_limit(self._role.tables[table].changelog_topic_name)

    def positions(self) -> dict[tuple[str, int], int]:
        """Per source partition that we own, the offset after the last batch that this process made durable, if any."""
        return {(tp.topic, tp.partition): offset for tp, offset in self.lanes.positions.items()}

    def table_items(self, table: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Local entries of an owned partition. Of what changes while iterating, the old or the new value may come.

        Invalid once the partition is lost.

        Raises:
            KeyError: no such table, or the partition is not ours.
        """
        return self._role.tables[table].items(partition)

    async def send(self, outputs: Sequence[Output]) -> None:  # type: ignore[override]  # Faust's own is not used
        """Publish outside of any transaction, idempotently; returns when all is acknowledged by the broker.

        Raises:
            KafkaError: some of it may not have arrived; sending it all again is safe for readers that know duplicates.
        """
        await self._plain.send(outputs)

    @property
    def failure(self) -> BaseException | None:
        """What makes this app stop; ``None`` while nothing does."""
        return self.membership.failure

    def fail(self, exc: BaseException, where: str = "") -> None:
        """Stop this app, and with it the worker: the first failure is kept and logged. Safe from any thread."""
        self.membership.fail(exc, where)

    async def wait_failed(self) -> BaseException:
        """Return the failure, once there is one."""
        return await self.membership.wait_failed()

    # -- the parts that Faust builds ---------------------------------------------------------------------------------

    @property
    def _role(self) -> _StatefulRole:
        if self._stateful is None:
            raise KeyError(f"{self.config.id} has no tables")
        return self._stateful

    @property
    def batch_consumer(self) -> BatchConsumer:
        return cast("BatchConsumer", self.consumer)

    @property
    def batch_producer(self) -> BatchProducer:
        return cast("BatchProducer", self.producer)

    def _request_rejoin(self) -> None:
        self.batch_consumer.request_rejoin()

    def _producer_settings(self) -> dict[str, Any]:
        return self.batch_producer.settings()

    @property
    def recovery(self) -> BatchRecovery:
        return cast("BatchTableManager", self.tables).recovery

    @property
    def loops(self) -> Iterable[asyncio.AbstractEventLoop]:
        """The loops in which this app has tasks."""
        return self.batch_consumer.loops if self.membership.started else ()

    # -- rebalances --------------------------------------------------------------------------------------------------

    @property
    def rebalancing(self) -> bool:
        return self.membership.rebalancing

    @rebalancing.setter
    def rebalancing(self, flag: bool) -> None:
        """Faust's own flag is not kept: see ``Membership.rebalancing``."""

    @property
    def reads_committed(self) -> bool:
        """For all topics at once: changelogs that are written in transactions leave no choice."""
        return self.config.read_committed or self._fence is not None

    async def take_over(self, assigned: set[TP], assignment: int, topics: AbstractSet[str]) -> None:
        if not self.expected_topics().keys() <= topics:  # that metadata may be older than the topics
            with suppress(ConnectionError):  # no broker answers: ask again at the next assignment
                await self.check_topics()
        self.lanes.keep_positions(assigned)
        if self._stateful is not None:
            self._stateful.step.begin_assignment()
            if self._fence is not None:
                await self._fence.take({tp for tp in assigned if tp.topic == self._stateful.topic}, assignment)

    def state_positions(self, assigned: Iterable[TP]) -> dict[TP, SourcePosition | None]:
        ours = [tp for tp in assigned if self.has_state(tp)]
        expected = self.config.partitions
        if (last := max((tp.partition for tp in ours), default=0)) >= expected:  # before the watch has seen it
            raise TopicsMismatch(other_count(ours[0].topic, last + 1, expected))
        return {tp: self._role.step.source(tp.partition) for tp in ours}

    def reached(self, committed: Mapping[TP, int | None], ids: Mapping[str, str]) -> Mapping[TP, int | None]:
        return self._positions.reached(committed, ids)

    def begins_again(self, tp: TP) -> None:
        self._positions.begins_again(tp)

    async def keep_positions(self, offsets: Mapping[TP, int]) -> None:
        try:
            await self._positions.keep(offsets)
        except KafkaError as exc:  # the group has it, and the next commit writes it again
            logger.warning("positions_not_kept", extra={"app": self.config.id, "cause": repr(exc)})

    def has_state(self, tp: TP) -> bool:
        return self._stateful is not None and tp.topic == self._stateful.topic

    def has_changelog(self, partition: int) -> bool:
        marks = self._role.tables[next(reversed(self._role.tables))].changelog(partition)
        return self.recovery.active_highwaters.get(marks, -1) >= 0

    def clients(self) -> Iterable[AIOKafkaClient]:
        consumer, producer = self.batch_consumer._thread._consumer, self.batch_producer._producer
        held = [consumer._client] if consumer is not None else []
        held += [producer.client] if producer is not None else []
        return held + (self._fence.clients() if self._fence is not None else [])

    def partitions_lost(self) -> None:
        owned, self._owned = self._owned, frozenset()
        role = self._stateful
        if owned and role is not None and role.on_partitions_lost is not None:
            role.on_partitions_lost(owned)

    def on_rebalance_end(self) -> None:
        """Faust: recovery is complete and the flow of records resumes; none has been delivered yet."""
        membership = self.membership
        if not membership.is_recovered:
            return  # the assignment that overtook it will get here too
        if membership.is_undisturbed:
            try:
                self._partitions_ready()
            except Exception as exc:  # noqa: BLE001  (a callback's fault)
                self.fail(exc, "on_partitions_ready")
                return
        membership.settle()
        self.batch_consumer.fetch_patiently()
        super().on_rebalance_end()

    def _partitions_ready(self) -> None:
        role = self._stateful
        if role is None:
            return
        self._owned = frozenset(tp.partition for tp in self._assignment or () if tp.topic == role.topic)
        for changelog, highwater in self.recovery.active_highwaters.items():
            role.step.set_end(changelog, highwater + 1)
        if self._owned and role.on_partitions_ready is not None:
            role.on_partitions_ready(self._owned)
        for partition in self._owned:
            if any(table.stale(partition) for table in role.tables.values()):
                self.lanes.repair(TP(role.topic, partition), self.consumer_generation_id)

    def expected_topics(self) -> dict[str, int | None]:
        """What is consumed, changelogs included, with the number of partitions; ``None``: any."""
        kept = {} if self.config.positions is None else {self.config.positions: None}
        return self._sources | kept | dict.fromkeys(self._changelogs(), self.config.partitions)

    def _changelogs(self) -> list[str]:
        tables = () if self._stateful is None else self._stateful.tables.values()
        return [table.changelog_topic_name for table in tables]

    def _fixed_topics(self) -> dict[str, int]:
        """Topics whose number of partitions must not change."""
        consumed = {topic: partitions for topic, partitions in self.expected_topics().items() if partitions is not None}
        return consumed | dict.fromkeys(self.config.fixed_topics, self.config.partitions)

    async def check_topics(self) -> None:
        """Ask the brokers whether everything that is consumed exists. Raises TopicsMismatch, ConnectionError."""
        async with asking(self._client_settings()) as client:
            await check_topics(client, self.expected_topics())

    async def check(self) -> None:
        """Before anything is joined, fenced or read: may this app start? Raises NeedsOperator, BrokersAway."""
        await self.brokers.answer(self._check)

    async def _check(self) -> None:
        async with asking(self._client_settings()) as client:
            await check_topics(client, self.expected_topics())
            await check_group(client, self.config.id, self._sources, self.config.rebalance_timeout_seconds)

    def _client_settings(self) -> dict[str, Any]:
        settings = self._producer_settings()
        return {name: settings[name] for name in settings if name in _CLIENT_SETTINGS}

    # -- life --------------------------------------------------------------------------------------------------------

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Faust's folders stay unused."""

    async def on_start(self) -> None:
        self.membership.start()
        await self.brokers.answer(lambda: self._positions.read(self._client_settings()))
        for companion in self._companions:
            await self.add_async_context(companion)
        await super().on_start()

    async def on_started_init_extra_tasks(self) -> None:
        await super().on_started_init_extra_tasks()
        for periodic in self._periodics:
            self.add_future(self._lasting(self._run_periodic(periodic), "periodic"))
        self.add_future(self._lasting(self.broker_watch.run(), "watch over the brokers"))
        self.add_future(self._lasting(self._topic_watch.run(), "watch over the topics"))
        if self._stateful is not None:
            self.add_future(self._lasting(self._stateful.limits.watch(), "watch over the limits"))

    async def _lasting(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Work that lasts as long as the app: mode ends a task that is cancelled without a word."""
        try:
            await work
        finally:
            if not self.should_stop and self.failure is None:
                self.fail(WorkEnded(f"{name} has ended"))

    async def _run_periodic(self, periodic: _Periodic) -> None:
        name = getattr(periodic.action, "__qualname__", repr(periodic.action))
        while not self.should_stop:
            await self.sleep(periodic.seconds)
            if not self.ready:
                continue
            assignment = self.membership.assignment
            try:
                await periodic.action()
            except NotOwner:
                self.membership.rejoin(assignment)  # a damaged store: the next assignment reads it again
            except NeedsOperator as exc:
                self.fail(exc)
                return
            except ClockRefused:
                await self.sleep(CLOCK_SECONDS)  # that is in the log
            except Exception:
                logger.exception("periodic_failed", extra={"action": name, "again_in_seconds": periodic.seconds})

    async def _stop_consumer(self) -> None:
        self.lanes.drop_queued()  # batches under way are finished below; the next owner gets the rest
        await super()._stop_consumer()
        self.partitions_lost()

    async def on_stop(self) -> None:
        await super().on_stop()
        await self.lanes.close()
        if self._fence is not None:
            await self._fence.close()

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.fail(reason, "crashed")


_CLIENT_SETTINGS: Final = frozenset(
    {
        "bootstrap_servers", "client_id", "request_timeout_ms", "security_protocol", "ssl_context", "sasl_mechanism",
        "sasl_plain_username", "sasl_plain_password", "sasl_kerberos_service_name", "sasl_kerberos_domain_name",
        "sasl_oauth_token_provider",
    }
)  # fmt: skip


def _faust_settings(config: WorkerConfig) -> dict[str, Any]:
    return {
        "env": {},  # instead of os.environ
        "autodiscover": False,
        "broker": [URL(f"kafka://{broker}") for broker in config.brokers],
        "broker_credentials": config.credentials,
        "ssl_context": config.ssl_context,
        "broker_client_id": config.id,
        "broker_session_timeout": config.session_timeout_seconds,
        "broker_heartbeat_interval": config.session_timeout_seconds / _HEARTBEATS_PER_SESSION,
        "broker_rebalance_timeout": config.rebalance_timeout_seconds,
        "broker_request_timeout": config.request_timeout_seconds,
        "broker_commit_interval": config.commit_interval_seconds,
        "consumer_auto_offset_reset": "earliest",
        "consumer_connections_max_idle_ms": _IDLE_MS,
        "consumer_group_instance_id": config.static_member,
        "consumer_max_fetch_size": config.max_fetch_bytes,
        "consumer_metadata_max_age_ms": int(config.metadata_seconds * 1000),
        "producer_acks": -1,
        "producer_connections_max_idle_ms": _IDLE_MS,
        "producer_linger": 0,
        "producer_metadata_max_age_ms": int(config.metadata_seconds * 1000),
        "producer_max_batch_size": config.max_produce_batch_bytes,
        "producer_max_request_size": max(config.max_record_bytes, config.max_produce_batch_bytes)
        + _REQUEST_HEADROOM_BYTES,
        "producer_request_timeout": config.request_timeout_seconds,
        "processing_guarantee": "at_least_once",
        "store": "memory://",  # tables make their own stores
        "stream_buffer_maxsize": 64,  # batches; lanes take them at once
        "stream_recovery_delay": 0,
        "stream_wait_empty": True,
        "table_standby_replicas": 0,
        "TableManager": BatchTableManager,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_partitions": config.partitions,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
    }


def create_app(config: WorkerConfig, *, on_refused: Refusal | None = None, tracing: Tracing | None = None) -> BatchApp:
    """An app without agents. Nothing is connected, read or written before it is started.

    Args:
        config: all settings.
        on_refused: what to publish instead of an output that is too large for its topic, such as a dead letter.
            Without it, such outputs are left out with an error in the log.
        tracing: what surrounds every step, and gives outputs the headers of a trace. Without it, nothing does.
    """
    return BatchApp(config, on_refused, tracing)
