"""The Faust app of one role: agents feed lanes, tables are written per batch, dangerous defaults are closed.

Stock Faust acks an event whose processing failed, can commit past events in flight, lets the commit overtake the
changelog, serves tables on all interfaces and reads 100 settings from the environment. None of that is left here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.supervisors import CrashingSupervisor
from yarl import URL

from faust_batches.batch import AsyncProcessor, Changes, Output, Processor, Refusal, Supersedes
from faust_batches.config import WorkerConfig
from faust_batches.consumer import BatchConsumer, BatchMessage
from faust_batches.errors import BatchRefused, NeedsOperator, TransportError
from faust_batches.fence import Fence
from faust_batches.lanes import Lanes, Step
from faust_batches.meter import Meter
from faust_batches.publish import Publisher, Sent
from faust_batches.recovery import BatchRecovery, BatchTableManager
from faust_batches.source import SourcePosition
from faust_batches.stateful import Stateful
from faust_batches.stateless import Stateless
from faust_batches.table import BatchTable
from faust_batches.topics import BatchTopic, check_topics

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer
    from faust.streams import Stream
    from faust.types import StreamT

logger = logging.getLogger(__name__)

_HEARTBEATS_PER_SESSION: Final = 3
_REQUEST_HEADROOM_BYTES: Final = 100_000

PartitionsCallback = Callable[[frozenset[int]], None]
ChangesCallback = Callable[[int, Changes], None]


class BatchProducer(driver.Producer):
    """The producer outside transactions: what aiokafka repeats by itself is neither duplicated nor reordered."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def renew(self) -> None:
        """Go on with a new producer: a refused batch leaves a hole in the sequence of the old one."""
        old, new = self._producer, self._new_producer()
        await new.start()
        self._producer = new
        if old is not None:
            await old.stop()
        cast("BatchApp", self.app).meter.producers_renewed += 1


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer and producer."""

    Consumer = BatchConsumer
    Producer = BatchProducer


@dataclass(frozen=True, slots=True)
class _StatefulRole:
    topic: str
    step: Stateful
    tables: dict[str, BatchTable]
    on_partitions_ready: PartitionsCallback | None
    on_partitions_lost: PartitionsCallback | None
    on_changes: ChangesCallback | None


@dataclass(frozen=True, slots=True)
class _Periodic:
    seconds: float
    action: Callable[[], Awaitable[None]]


class BatchApp(faust.App):
    """Declare with `stateless`, `stateful` and `periodic`; run with `run_worker` or `running`."""

    def __init__(self, config: WorkerConfig, on_refused: Refusal | None = None) -> None:
        self.config = config
        self.failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._main_loop: asyncio.AbstractEventLoop | None = None
        self._settled_rebalances = 0
        self._rebalances_at_assignment = 0
        self._rejoined_after = -1
        self.recovered_assignment = -1
        """The assignment whose recovery ended last."""
        self._owned: frozenset[int] = frozenset()
        self._stateful: _StatefulRole | None = None
        self._fence: Fence | None = None
        self._periodics: list[_Periodic] = []
        self._companions: list[AbstractAsyncContextManager[Any]] = []
        self._sources: dict[str, int | None] = {}
        self.meter = Meter()
        self.ends: dict[TP, int] = {}
        """Where the source partitions were found to end, when somebody asked last."""
        self.lanes = Lanes(self)
        self.publisher = Publisher(config.max_record_bytes, lambda: on_refused, self.meter.published)
        super().__init__(config.id, **_faust_settings(config))

    # -- declaring -------------------------------------------------------------------------------------------------

    def stateless(self, topics: Iterable[str], processor: Processor | AsyncProcessor) -> None:
        """Consume `topics`, one agent each, and publish what `processor` makes of them: at least once."""
        for topic in topics:
            self._consume(topic, Stateless(self, processor), partitions=None)

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
        """Consume `topic` with `tables`, each kept in the changelog `{id}-{table}-changelog`. Once per app.

        Args:
            topic: the one source of these tables; as many partitions as the config says. Where the state stands in it,
                the changelog says; the group's committed offset is for lag monitors only. If it is not the log that the
                state was made from, the app fails with SourceMismatch.
            processor: see `Processor`. Whatever it publishes has to come with a change of the last table.
            tables: names, with the hook that tells a zombie's changelog record from a good one (`Supersedes`): false
                only if the new value is older than the old one. It is needed when `fencing="none"`. The last one holds
                the marks.
            on_partitions_ready: after recovery, before the first record of these partitions: with all that this worker
                owns, at every assignment. Tables can be read in it.
            on_partitions_lost: with the same partitions, when they are taken away, all of them before any assignment.
            on_changes: with partition and changes, once a batch is durable and in the stores.
        """
        if self._stateful is not None:
            raise ValueError("an app has one stateful source")
        if not tables:
            raise ValueError("a stateful source needs a table")
        hooks = dict(tables) if isinstance(tables, Mapping) else dict.fromkeys(tables)
        declared = {name: BatchTable(self, name, supersedes=hook) for name, hook in hooks.items()}
        for table in declared.values():
            self.tables.add(table)
        if self.config.fencing == "transactions":
            self._fence = Fence(self)
        step = Stateful(self, processor, declared, self._fence)
        self._stateful = _StatefulRole(topic, step, declared, on_partitions_ready, on_partitions_lost, on_changes)
        self._consume(topic, step, partitions=self.config.partitions)

    def _consume(self, topic: str, step: Step, *, partitions: int | None) -> None:
        self.lanes.add_topic(topic, step)
        self._sources[topic] = partitions
        channel = BatchTopic(self, topics=[topic], partitions=partitions, key_type=bytes, value_type=bytes)

        async def feed(stream: StreamT[Any]) -> None:
            async for event in cast("Stream[Any]", stream).noack().events():
                self.lanes.feed(cast("BatchMessage", event.message))

        self.agent(channel, name=topic, concurrency=1, supervisor_strategy=CrashingSupervisor)(feed)

    def periodic(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Await `action` every `seconds`, never twice at a time, while the app is `ready`.

        What it raises is logged, and it is tried again at the next turn. It only nudges: it may `send`, but tables are
        written by the processor alone.
        """
        self._periodics.append(_Periodic(seconds, action))

    def alongside(self, companion: AbstractAsyncContextManager[Any]) -> None:
        """Enter `companion` before the first record is consumed, and leave it after the last batch.

        What it raises on entry keeps the app from starting.
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
        """Partitions of the stateful topic that this worker owns and has recovered; empty while not `ready`."""
        return self._owned if self.ready else frozenset()

    @property
    def table_names(self) -> list[str]:
        """The names of the tables; none without state."""
        return [] if self._stateful is None else list(self._stateful.tables)

    def positions(self) -> dict[tuple[str, int], int]:
        """Per source partition of ours, the offset after the last batch that this process made durable, if any."""
        return {(tp.topic, tp.partition): offset for tp, offset in self.lanes.positions.items()}

    def table_items(self, table: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Local entries of an owned partition. Of what changes while iterating, the old or the new value may come.

        Not to be used any more once the partition is lost.

        Raises:
            KeyError: no such table, or the partition is not ours.
        """
        return self._role.tables[table].items(partition)

    async def send(self, outputs: Sequence[Output]) -> None:  # type: ignore[override]  # nobody else calls Faust's
        """Publish outside of any transaction, idempotently; returns when all is acknowledged by the broker.

        Raises:
            KafkaError: some of it may not have arrived; sending it all again is safe for readers that know duplicates.
        """
        if not outputs:
            return
        admitted = self.publisher.admit(outputs)
        begun = monotonic()
        await self.acknowledged(await self.publisher.send(self.plain_producer, admitted))
        self.meter.publish_seconds.observe(monotonic() - begun)

    # -- what the parts of the transport ask of the app --------------------------------------------------------------

    @property
    def _role(self) -> _StatefulRole:
        if self._stateful is None:
            raise KeyError(f"{self.config.id} has no tables")
        return self._stateful

    @property
    def reads_committed(self) -> bool:
        """Of all topics at once: changelogs that are written in transactions leave no choice."""
        return self.config.read_committed or self._fence is not None

    @property
    def batch_consumer(self) -> BatchConsumer:
        return cast("BatchConsumer", self.consumer)

    @property
    def batch_producer(self) -> BatchProducer:
        return cast("BatchProducer", self.producer)

    @property
    def recovery(self) -> BatchRecovery:
        return cast("BatchTableManager", self.tables).recovery

    @property
    def plain_producer(self) -> AIOKafkaProducer:
        return self.batch_producer._ensure_producer()

    async def acknowledged(self, sent: Sequence[Sent]) -> None:
        """As `Publisher.acknowledged`, for what went through the plain producer."""
        try:
            await self.publisher.acknowledged(sent)
        except BatchRefused:
            await self.batch_producer.renew()
            raise

    def changed(self, partition: int, changes: Changes) -> None:
        if self._role.on_changes is not None:
            self._role.on_changes(partition, changes)

    def producer_settings(self) -> dict[str, Any]:
        """What every producer of this app is made with."""
        producer = self.batch_producer
        return {**producer._settings_default(), **producer._settings_auth(), **producer._settings_extra()}

    def fail(self, exc: BaseException, what: str = "") -> None:
        """Stop this app, and with it the worker: the cause is logged once. Safe from any thread."""
        if self.failure is None:
            self.failure = exc
            if isinstance(exc, NeedsOperator):
                logger.error("%s has to stop: %s", self.config.id, exc)
            else:
                logger.error("%s has to stop: %s", self.config.id, what or "fault", exc_info=exc)
            if self._main_loop is not None:
                self._main_loop.call_soon_threadsafe(self._failed.set)

    @property
    def loops(self) -> Iterable[asyncio.AbstractEventLoop]:
        """The loops in which this app has tasks."""
        return self.batch_consumer.loops if self._main_loop is not None else ()

    async def wait_failed(self) -> BaseException:
        """Return the failure, once there is one."""
        await self._failed.wait()
        return cast("BaseException", self.failure)

    def rejoin(self, assignment: int) -> None:
        """Ask for a new assignment, once in each: we were fenced, or are not counted as owner any more.

        Either we are out already, or a zombie fenced us by mistake. A new assignment settles both: new producers, state
        from the changelog, source from the committed offset. If none begins within the session timeout, the app fails.
        """
        if assignment != self.consumer_generation_id or assignment == self._rejoined_after or self.rebalancing:
            return
        self._rejoined_after = assignment
        self.batch_consumer.request_rejoin()

        def check() -> None:
            if assignment == self.consumer_generation_id and not self.rebalancing and not self.should_stop:
                self.fail(TransportError("no new assignment within the session timeout"))

        asyncio.get_running_loop().call_later(self.config.session_timeout_seconds, check)

    # -- rebalances --------------------------------------------------------------------------------------------------

    @property
    def rebalancing(self) -> bool:
        """Counted instead of flagged: the end of one rebalance cannot hide the beginning of the next one."""
        return self.rebalancing_count != self._settled_rebalances

    @rebalancing.setter
    def rebalancing(self, flag: bool) -> None:
        """Faust's own flag is not kept."""

    def begin_assignment(self) -> None:
        """Called in the consumer's thread, before anything learns of the assignment."""
        self._rebalances_at_assignment = self.rebalancing_count
        self.consumer_generation_id += 1
        self.meter.assignments += 1

    async def take_over(self, assigned: set[TP], assignment: int) -> None:
        """Before recovery: nobody else may write to what is ours from now on."""
        self.lanes.keep_positions(assigned)
        if self._stateful is not None:
            self._stateful.step.begin_assignment()
            if self._fence is not None:
                await self._fence.take({tp for tp in assigned if tp.topic == self._stateful.topic}, assignment)

    def state_positions(self, assigned: Iterable[TP]) -> dict[TP, SourcePosition | None]:
        """Of the partitions with state among `assigned`: how far it has read them, if its changelog says so."""
        return {tp: self._role.step.source(tp.partition) for tp in assigned if self.has_state(tp)}

    def has_state(self, tp: TP) -> bool:
        return self._stateful is not None and tp.topic == self._stateful.topic

    def has_changelog(self, partition: int) -> bool:
        """Whether the changelogs of a partition that is being taken over ever held anything."""
        changelogs = (table.changelog(partition) for table in self._role.tables.values())
        return any(self.recovery.active_highwaters.get(changelog, -1) >= 0 for changelog in changelogs)

    def partitions_lost(self) -> None:
        """All partitions were revoked, and no batch is under way."""
        owned, self._owned = self._owned, frozenset()
        role = self._stateful
        if owned and role is not None and role.on_partitions_lost is not None:
            role.on_partitions_lost(owned)

    def on_rebalance_end(self) -> None:
        """Faust: recovery is complete and the flow of records resumes; none has been delivered yet."""
        if self.recovered_assignment != self.consumer_generation_id:
            return  # that recovery was overtaken by another assignment, whose own comes next
        if self.rebalancing_count == self._rebalances_at_assignment:
            try:
                self._partitions_ready()
            except Exception as exc:  # noqa: BLE001  (a callback's fault)
                self.fail(exc, "on_partitions_ready")
                return
        self._settled_rebalances = self._rebalances_at_assignment
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
        """What is consumed, changelogs included, with the number of partitions; `None`: any."""
        tables = () if self._stateful is None else self._stateful.tables.values()
        return self._sources | {table.changelog_topic_name: self.config.partitions for table in tables}

    async def check_topics(self) -> None:
        """Ask the brokers whether all is there that is consumed. Raises TopicsMismatch, ConnectionError."""
        settings = self.producer_settings()
        client = {name: settings[name] for name in settings if name in _CLIENT_SETTINGS}
        await check_topics(client, self.expected_topics())

    # -- life --------------------------------------------------------------------------------------------------------

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Faust's folders stay unused."""

    async def on_start(self) -> None:
        self._main_loop = asyncio.get_running_loop()
        await self.check_topics()
        for companion in self._companions:
            await self.add_async_context(companion)
        await super().on_start()

    async def on_started_init_extra_tasks(self) -> None:
        await super().on_started_init_extra_tasks()
        for periodic in self._periodics:
            self.add_future(self._run_periodic(periodic))
        self.add_future(self._tell_silence())

    async def _tell_silence(self) -> None:
        """Say now and again that no broker answers: everything waits then, and nothing fails."""
        config, silent = self.config, False
        while not self.should_stop:
            await self.sleep(config.session_timeout_seconds)
            seconds = self.batch_consumer.silence_seconds()
            if self._assignment and not self.rebalancing and seconds > config.session_timeout_seconds:
                silent = True
                brokers = ", ".join(config.brokers)
                logger.error("%s waits: no broker of %s has answered for %.0f s", config.id, brokers, seconds)
            elif silent:
                silent = False
                logger.warning("%s goes on: the brokers answer again", config.id)

    async def _run_periodic(self, periodic: _Periodic) -> None:
        name = getattr(periodic.action, "__qualname__", repr(periodic.action))
        while not self.should_stop:
            await self.sleep(periodic.seconds)
            if not self.ready:
                continue
            try:
                await periodic.action()
            except Exception:
                logger.exception("%s failed, again in %s s", name, periodic.seconds)

    async def _stop_consumer(self) -> None:
        self.lanes.drop_queued()  # what has begun is finished below; the rest is delivered to whoever comes next
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
        "consumer_group_instance_id": config.static_member,
        "consumer_max_fetch_size": config.max_fetch_bytes,
        "producer_acks": -1,
        "producer_linger": 0,
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


def create_app(config: WorkerConfig, *, on_refused: Refusal | None = None) -> BatchApp:
    """An app without agents. Nothing is connected, read or written before it is started.

    Args:
        config: all settings.
        on_refused: what to publish in the place of an output that is too large for its topic, such as a dead letter.
            Without it, such outputs are left out with an error in the log.
    """
    return BatchApp(config, on_refused)
