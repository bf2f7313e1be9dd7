"""What the transport relies on in Faust and aiokafka beyond their documentation.

Both are pinned exactly. Whoever raises a pin reads what has changed behind these names, runs the torture with
`TESTS_TORTURE_SECONDS=300`, and then changes the versions below.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from importlib.metadata import version
from time import monotonic
from typing import Any

import aiokafka
import pytest
from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.transaction_manager import TransactionManager
from batch_builders import an_app
from faust.app import App
from faust.stores import memory
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.tables.table import Table
from faust.topics import Topic
from faust.transport.consumer import Consumer as CoreConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage


@pytest.mark.parametrize(
    ("package", "pinned"), [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0"), ("mode-streaming", "0.7.1")]
)
def test_the_release_is_the_one_that_was_read(package: str, pinned: str) -> None:
    assert version(package) == pinned


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (driver.AIOKafkaConsumerThread._create_worker_consumer, ["transport"]),
        (driver.AIOKafkaConsumerThread._seek_wait, ["consumer", "partitions"]),
        (driver.AIOKafkaConsumerThread._fetch_records, ["consumer", "active_partitions", "timeout", "max_records"]),
        (driver.AIOKafkaConsumerThread._commit, ["offsets"]),
        (driver.AIOKafkaConsumerThread.on_partitions_assigned, ["assigned", "generation_id"]),
        (driver.ConsumerRebalanceListener.on_partitions_assigned, ["assigned"]),
        (driver.AIOKafkaConsumerThread.on_thread_stop, []),
        (driver.AIOKafkaConsumerThread.call_thread, ["fun", "args", "kwargs"]),
        (driver.AIOKafkaConsumerThread._ensure_consumer, []),
        (CoreConsumer._getmany, ["active_partitions", "timeout"]),
        (CoreConsumer.earliest_offsets, ["partitions"]),
        (CoreConsumer.highwaters, ["partitions"]),
        (CoreConsumer._is_changelog_tp, ["tp"]),
        (CoreConsumer._drain_messages, ["fetcher"]),
        (CoreConsumer.perform_seek, []),
        (CoreConsumer.ack, ["message"]),
        (CoreConsumer._new_offset, ["tp"]),
        (CoreConsumer._commit_offsets, ["offsets", "start_new_transaction"]),
        (CoreConsumer.on_partitions_revoked, ["revoked"]),
        (CoreConsumer.on_partitions_assigned, ["assigned", "generation_id"]),
        (CoreConsumer._get_active_partitions, []),
        (driver.Producer._settings_default, []),
        (driver.Producer._settings_auth, []),
        (driver.Producer._settings_extra, []),
        (driver.Producer._new_producer, ["transactional_id"]),
        (driver.Producer._ensure_producer, []),
        (Recovery._add, ["table", "tp", "offsets"]),
        (Recovery._seek_offsets, ["consumer", "tps", "offsets", "title"]),
        (Recovery._build_offsets, ["consumer", "tps", "destination", "title"]),
        (Recovery._resume_streams, ["generation_id"]),
        (Recovery.on_recovery_completed, ["generation_id"]),
        (Recovery._set_recovery_started, []),
        (Recovery._set_recovery_ended, []),
        (Recovery.need_recovery, []),
        (TableManager._update_channels, []),
        (Table._new_store, []),
        (Table.on_rebalance, ["assigned", "revoked", "newly_assigned", "generation_id"]),
        (Table.apply_changelog_batch, ["batch"]),
        (memory.Store.on_rebalance, ["assigned", "revoked", "newly_assigned", "generation_id"]),
        (memory.Store.persisted_offset, ["tp"]),
        (Topic._compile_decode, []),
        (Topic._create_event, ["key", "value", "headers", "message"]),
        (App.on_rebalance_start, []),
        (App.on_rebalance_end, []),
        (App._new_transport, []),
        (App._create_directories, []),
        (App._stop_consumer, []),
        (App.on_started_init_extra_tasks, []),
        (App._crash, ["reason"]),
        (GroupCoordinator._do_heartbeat, []),
        (GroupCoordinator.request_rejoin, []),
        (GroupCoordinator.coordinator_dead, []),
        (AIOKafkaConnection.close, ["reason", "exc"]),
        (TransactionManager.is_fatal_error, []),
        (BatchBuilder.append, ["timestamp", "key", "value", "headers"]),
        (aiokafka.AIOKafkaProducer.create_batch, []),
        (aiokafka.AIOKafkaProducer.send_batch, ["batch", "topic", "partition"]),
        (AIOKafkaClient.bootstrap, []),
        (AIOKafkaClient.set_topics, ["topics"]),
        (AIOKafkaClient.force_metadata_update, []),
        (ClusterMetadata.partitions_for_topic, ["topic"]),
        (ClusterMetadata.topics, ["exclude_internal_topics"]),
    ],
    ids=lambda value: value.__qualname__ if callable(value) else "",
)
def test_a_private_method_is_called_as_we_expect(function: Callable[..., Any], expected: list[str]) -> None:
    assert parameters(function) == expected


def test_the_consumers_bookkeeping_has_the_expected_shape() -> None:
    app = an_app()
    consumer = app.batch_consumer
    tp = TP("any", 0)
    assert consumer._read_offset[tp] is None
    assert consumer._acked[tp] == []
    assert consumer._acked_index[tp] == set()
    assert consumer._committed_offset[tp] is None
    assert consumer._buffered_partitions == set()
    assert consumer._paused_partitions == set()
    assert not consumer.unacked
    assert consumer._waiting_for_ack is None
    assert consumer.flow_active
    assert not consumer.can_resume_flow.is_set()


def test_the_app_and_its_recovery_have_the_attributes_that_we_use() -> None:
    app = an_app()
    assert (app.consumer_generation_id, app.rebalancing_count, app._assignment, app.in_recovery) == (0, 0, None, False)
    recovery = app.recovery
    assert not recovery.signal_recovery_end.is_set()
    assert (recovery.active_tps, dict(recovery.active_offsets), dict(recovery.active_highwaters)) == (set(), {}, {})
    assert recovery.tp_to_table == {}
    assert "_slurp_changelogs" in {task.fun.__name__ for task in recovery._get_tasks()}


async def test_the_clients_have_the_parts_that_we_reach_into() -> None:
    consumer = aiokafka.AIOKafkaConsumer(group_id="any")
    await consumer.stop()
    assert consumer._client.cluster.topics() == set()
    assert "self._coordinator = GroupCoordinator(" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    begun = inspect.getsource(GroupCoordinator.__init__)
    assert all(f"self.{name} = " in begun for name in ("_coordination_task", "generation"))
    assert "self._fetch_task = " in inspect.getsource(Fetcher.__init__)
    producer = aiokafka.AIOKafkaProducer(transactional_id="any")
    await producer.stop()
    assert producer.client._conns == {}
    connection = AIOKafkaConnection("any", 9)
    assert connection._last_action <= monotonic()
    assert connection._loop is asyncio.get_running_loop()
    assert isinstance(producer._txn_manager, TransactionManager)
    assert app_thread_loop() is not None


def app_thread_loop() -> object:
    """What SIGUSR1 looks at besides the main loop."""
    return an_app().batch_consumer._thread.thread_loop


def test_faust_still_sets_the_decoder_of_a_topic_per_instance() -> None:
    assert "self.decode = " in inspect.getsource(Topic._compile_decode)


def test_faust_still_decides_on_the_isolation_level_and_the_fetch_wait_by_itself() -> None:
    """We overwrite both on aiokafka's consumer before it is started."""
    source = inspect.getsource(driver.AIOKafkaConsumerThread._create_worker_consumer)
    assert "fetch_max_wait_ms=1500" in source
    assert 'isolation_level = "read_committed"' in source
    used_at_start = inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "self._isolation_level" in used_at_start
    assert "self._fetch_max_wait_ms" in used_at_start
    assert "self._fetch_max_wait_ms" in inspect.getsource(Fetcher._get_actions_per_node)  # so it can be changed later


def test_faust_still_compares_the_generation_with_its_own_count_only() -> None:
    """We put a count of assignments in the place of Kafka's generation."""
    assert "app.consumer_generation_id" in inspect.getsource(Recovery.on_rebalance)
    assert "consumer_generation_id = generation" in inspect.getsource(
        driver.ConsumerRebalanceListener.on_partitions_assigned
    )


def test_a_message_is_acked_through_its_consumer_when_nobody_else_holds_it() -> None:
    assert parameters(ConsumerMessage.ack) == ["consumer", "n"]
    assert "consumer.ack(self)" in inspect.getsource(ConsumerMessage.on_final_ack)


def test_aiokafka_still_drops_what_it_fetched_before_a_seek() -> None:
    """So that the beginning of a fetch is either our last seek or the end of the fetch before it."""
    source = inspect.getsource(FetchResult.check_assignment)
    assert "position != self._partition_records.next_fetch_offset" in source


def test_aiokafka_still_reads_the_backoff_after_a_commit_from_its_module() -> None:
    assert isinstance(sender.BACKOFF_OVERRIDE, float)
    assert "return BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler)


@pytest.mark.parametrize(
    ("error", "retriable"),
    [
        (kafka.NotLeaderForPartitionError, True),
        (kafka.RequestTimedOutError, True),
        (kafka.MessageSizeTooLargeError, False),
        (kafka.TopicAuthorizationFailedError, False),
        (kafka.ProducerFenced, False),
        (kafka.OutOfOrderSequenceNumber, False),
    ],
)
def test_errors_are_classified_as_we_expect(error: type[kafka.KafkaError], retriable: bool) -> None:
    assert error.retriable is retriable


def test_faust_still_ends_a_rebalance_at_the_end_of_either_way_through_recovery() -> None:
    """We note before it which assignment was recovered."""
    for way in (Recovery._resume_streams, Recovery.on_recovery_completed):
        source = inspect.getsource(way)
        assert source.index("perform_seek()") < source.index("resume_flow()") < source.index("app.on_rebalance_end()")


def test_aiokafka_still_goes_to_the_beginning_of_a_log_that_ends_below_the_position() -> None:
    """A fetch that begins below where it was asked for means another log."""
    assert "tp_state.await_reset(self._default_reset_strategy)" in inspect.getsource(Fetcher._proc_fetch_request)


def test_faust_still_closes_the_client_from_the_main_loop_when_it_rebalances_during_shutdown() -> None:
    """We leave that to `on_thread_stop`, which does it in the loop that owns the connections."""
    assert "self.consumer.close()" in inspect.getsource(App._on_rebalance_when_stopped)
    assert "self._consumer._client.close(), self.app.loop" in inspect.getsource(driver.AIOKafkaConsumerThread.close)
    assert "self._consumer.stop()" in inspect.getsource(driver.AIOKafkaConsumerThread.on_thread_stop)
