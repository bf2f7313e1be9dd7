"""The transport's promises to the apps that use it, each seen on a real Kafka (and on the broker of the demo)."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import faust
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from faust.types import TP
from faust_batches import (
    BatchApp,
    BatchResult,
    Output,
    Read,
    Record,
    RecordTooLarge,
    TopicsMismatch,
    WorkerConfig,
    WorkerFailed,
    create_app,
    partition_of,
    running,
)
from faust_batches.errors import BrokersAway, Fenced, ForeignWrite, NotAllowed
from faust_batches.fence import Fence
from faust_batches.publish import Sent

from referral_stream.local.broker import EmbeddedBroker
from tests.services.kafka import KafkaServer

PARTITIONS = 4


async def until(condition: Callable[[], object], description: str, seconds: float = 90.0) -> None:
    """The asynchronous `wait_until`."""
    try:
        async with asyncio.timeout(seconds):
            # In a thread, because it may read topics, and the apps need this loop.
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110  (it happens in other processes)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"waited {seconds:g} s in vain until {description}") from None


def a_config(id: str, brokers: str, **settings: object) -> WorkerConfig:
    defaults = {"partitions": PARTITIONS, "session_timeout_seconds": 6.0, "fencing": "transactions"}
    return WorkerConfig(id=id, brokers=(brokers,), **defaults | settings)  # type: ignore[arg-type]


def produce(brokers: str, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "log_level": 2})
    for key, value in records:
        producer.produce(topic, value, key)
    assert producer.flush(20) == 0


def consume(
    brokers: str, topic: str, isolation: str = "read_committed"
) -> list[tuple[int, bytes | None, bytes | None]]:
    """(partition, key, value) of every record of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "reader",
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found: list[tuple[int, bytes | None, bytes | None]] = []
    ended: set[int | None] = set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(1000, 1):
            error = message.error()
            if error is None:
                key, value = message.key(), message.value()
                assert not isinstance(key, str)
                assert not isinstance(value, str)
                found.append((message.partition() or 0, key, value))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return found


class Counting:
    """A processor that counts the records of each key, skips by its mark, and publishes every count."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.seen = 0

    def has_seen(self, records: int) -> bool:
        return self.seen >= records

    def __call__(self, _partition: int, records: Sequence[Record], read: Read) -> BatchResult:
        result = BatchResult()
        states: dict[bytes, dict[str, int]] = {}
        for record in records:
            key = record.key or b""
            state = states.get(key) or json.loads(read("counts", key) or b'{"at": 0, "count": 0}')
            if record.offset >= state["at"]:
                states[key] = {"at": record.offset + 1, "count": state["count"] + 1}
                result.outputs.append(Output(self.target, b"%d" % states[key]["count"], key))
        result.changes = {"counts": {key: json.dumps(state).encode() for key, state in states.items()}}
        self.seen += len(records)
        return result


def echo(target: str) -> Callable[[int, Sequence[Record], Read], BatchResult]:
    def process(_partition: int, records: Sequence[Record], _read: Read) -> BatchResult:
        return BatchResult([Output(target, record.value, record.key, tuple(record.headers)) for record in records])

    return process


@pytest.fixture
def run(kafka: KafkaServer) -> str:
    """The prefix of a test's topics, all of which exist."""
    run = f"transport-{uuid4().hex[:8]}"
    kafka.create_topics({f"{run}-{name}": PARTITIONS for name in ("in", "more", "out", "counts-changelog")})
    return run


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
@pytest.mark.parametrize("fencing", ["none", "transactions"])
async def test_state_and_outputs_survive_a_restart(
    kafka: KafkaServer, run: str, tmp_path: Path, store: str, fencing: str
) -> None:
    keys = [b"key-%d" % (number % 50) for number in range(1000)]
    seen: list[int] = []
    for _ in range(2):
        produce(kafka.bootstrap, f"{run}-in", [(key, b"") for key in keys])
        app = create_app(a_config(run, kafka.bootstrap, store=store, fencing=fencing, datadir=tmp_path))
        counting = Counting(f"{run}-out")
        app.stateful(f"{run}-in", counting, ["counts"])
        async with running(app):
            await until(partial(counting.has_seen, 1000), "the records are processed")
        seen.append(counting.seen)
    assert seen == [1000, 1000]  # the second run saw nothing of what the first had done
    outputs = consume(kafka.bootstrap, f"{run}-out")
    assert sorted(outputs) == sorted(
        (partition_of(key, PARTITIONS), key, b"%d" % count) for key in set(keys) for count in range(1, 41)
    )


async def test_several_apps_run_side_by_side_in_one_loop(kafka: KafkaServer, run: str) -> None:
    first = create_app(a_config(f"{run}-first", kafka.bootstrap))
    first.stateless([f"{run}-in", f"{run}-more"], echo(f"{run}-out"))
    second = create_app(a_config(run, kafka.bootstrap))
    counting = Counting(f"{run}-more-out")
    kafka.create_topics({f"{run}-more-out": PARTITIONS})
    second.stateful(f"{run}-out", counting, ["counts"])
    produce(kafka.bootstrap, f"{run}-in", [(b"a", b"1")] * 10)
    produce(kafka.bootstrap, f"{run}-more", [(b"b", b"1")] * 10)
    async with running(first, second):
        await until(lambda: counting.seen == 20, "the second app has what the first one published")
        assert first.ready
        assert second.ready
    assert len(consume(kafka.bootstrap, f"{run}-more-out")) == 20


async def test_partitions_are_announced_with_their_tables_before_their_first_record(
    kafka: KafkaServer, run: str
) -> None:
    events: list[object] = []

    def build() -> BatchApp:
        app = create_app(a_config(run, kafka.bootstrap))
        counting = Counting(f"{run}-out")

        def process(partition: int, records: Sequence[Record], read: Read) -> BatchResult:
            events.append("record")
            return counting(partition, records, read)

        def ready(partitions: frozenset[int]) -> None:
            recovered = {key for partition in partitions for key, _ in app.table_items("counts", partition)}
            events.append(("ready", partitions, recovered))

        app.stateful(
            f"{run}-in",
            process,
            ["counts"],
            on_partitions_ready=ready,
            on_partitions_lost=lambda partitions: events.append(("lost", partitions)),
            on_changes=lambda partition, changes: events.append(("changed", partition, set(changes["counts"]))),
        )
        return app

    everything = frozenset(range(PARTITIONS))
    produce(kafka.bootstrap, f"{run}-in", [(b"a", b"")])
    home = partition_of(b"a", PARTITIONS)
    app = build()
    async with running(app):
        await until(lambda: len(events) >= 3, "the record is processed")
        assert app.owned_partitions() == everything
    expected: list[object] = [("ready", everything, set()), "record", ("changed", home, {b"a"}), ("lost", everything)]
    assert events == expected
    assert app.owned_partitions() == frozenset()
    events.clear()
    async with running(build()):
        await until(lambda: events, "the table is recovered")
    assert events == [("ready", everything, {b"a"}), ("lost", everything)]


async def test_a_timer_sends_only_while_ready_and_outlives_its_own_faults(kafka: KafkaServer, run: str) -> None:
    app = create_app(a_config(run, kafka.bootstrap))
    app.stateless([f"{run}-in"], echo(f"{run}-out"))
    turns: list[bool] = []

    async def tick() -> None:
        turns.append(app.ready)
        if len(turns) == 1:
            raise RuntimeError("the first turn fails")
        await app.send([Output(f"{run}-out", b"tick", partition=3)])

    app.periodic(0.05, tick)
    async with running(app):
        await until(lambda: len(turns) >= 3, "the timer has had three turns")
    assert all(turns)
    assert (3, None, b"tick") in consume(kafka.bootstrap, f"{run}-out")


@pytest.mark.parametrize("fencing", ["none", "transactions"])
async def test_an_output_that_is_too_large_becomes_what_the_app_makes_of_it(
    kafka: KafkaServer, run: str, fencing: str
) -> None:
    reasons: list[Exception] = []

    def refuse(output: Output, reason: Exception) -> list[Output]:
        reasons.append(reason)
        return [Output(f"{run}-out", b"refused", output.key)]

    def process(_partition: int, records: Sequence[Record], _read: Read) -> BatchResult:
        return BatchResult([Output(f"{run}-out", b"x" * int(record.value or b"0"), record.key) for record in records])

    app = create_app(a_config(run, kafka.bootstrap, max_record_bytes=10_000, fencing=fencing), on_refused=refuse)
    app.stateful(f"{run}-in", process, ["counts"])
    produce(kafka.bootstrap, f"{run}-in", [(b"a", b"9000"), (b"a", b"11000"), (b"a", b"1")])
    async with running(app):
        await until(lambda: reasons, "the large output is refused")
    home = partition_of(b"a", PARTITIONS)
    assert consume(kafka.bootstrap, f"{run}-out") == [
        (home, b"a", b"x" * 9000),
        (home, b"a", b"refused"),
        (home, b"a", b"x"),
    ]
    assert isinstance(reasons[0], RecordTooLarge)


@pytest.mark.parametrize("fencing", ["none", "transactions"])
async def test_the_smaller_limit_of_a_topic_is_learnt_from_its_refusals(
    kafka: KafkaServer, run: str, fencing: str
) -> None:
    kafka.create_topics({f"{run}-small": PARTITIONS}, {"max.message.bytes": "2000"})

    def process(_partition: int, records: Sequence[Record], _read: Read) -> BatchResult:
        return BatchResult([Output(f"{run}-small", b"x" * int(record.value or b"0"), record.key) for record in records])

    app = create_app(
        a_config(run, kafka.bootstrap, fencing=fencing),
        on_refused=lambda output, _reason: [Output(f"{run}-small", b"refused", output.key)],
    )
    app.stateful(f"{run}-in", process, ["counts"])
    sizes = [b"1000", b"1500", b"5000", b"1200"]
    produce(kafka.bootstrap, f"{run}-in", [(b"a", size) for size in sizes])
    lengths: list[int] = []

    def arrived() -> bool:
        lengths[:] = [len(value or b"") for _, _, value in consume(kafka.bootstrap, f"{run}-small")]
        return 1200 in lengths

    async with running(app):
        await until(arrived, "the last record has arrived")
    assert set(lengths) == {1000, 1500, len(b"refused"), 1200}
    if fencing == "transactions":
        assert len(lengths) == len(sizes)


async def test_a_former_owner_can_write_nothing_more(kafka: KafkaServer, run: str) -> None:
    source, target = TP(f"{run}-in", 0), f"{run}-out"
    old_app, new_app = (create_app(a_config(run, kafka.bootstrap)) for _ in range(2))
    old, new = (Fence(app.config, app._producer_settings) for app in (old_app, new_app))
    opened, released = asyncio.Event(), asyncio.Event()

    def sending(
        value: bytes, before_commit: Callable[[], Awaitable[object]]
    ) -> Callable[..., Awaitable[Sequence[Sent]]]:
        async def send(producer: object) -> Sequence[Sent]:
            sent = await old_app.publisher.send(producer, [Output(target, value, partition=0)])
            await old_app.publisher.acknowledged(sent)
            await before_commit()
            return sent

        return send

    async def hold() -> None:
        opened.set()
        await released.wait()

    async def at_once() -> None:
        return

    await old.take([source], 1)
    held = asyncio.create_task(old.transact(source, 1, old_app.publisher, sending(b"old", hold)))
    await opened.wait()
    await new.take([source], 1)
    released.set()
    with pytest.raises(Fenced):
        await held
    with pytest.raises(Fenced):
        await old.transact(source, 1, old_app.publisher, sending(b"old again", at_once))
    await new.transact(source, 1, new_app.publisher, sending(b"new", at_once))
    await old.close()
    await new.close()
    assert consume(kafka.bootstrap, target) == [(0, None, b"new")]


async def test_a_worker_that_was_fenced_by_mistake_takes_its_partitions_back(kafka: KafkaServer, run: str) -> None:
    app = create_app(a_config(run, kafka.bootstrap))
    counting = Counting(f"{run}-out")
    app.stateful(f"{run}-in", counting, ["counts"])
    zombie_app = create_app(a_config(run, kafka.bootstrap))
    zombie = Fence(zombie_app.config, zombie_app._producer_settings)
    async with running(app):
        produce(kafka.bootstrap, f"{run}-in", [(b"key-%d" % number, b"") for number in range(40)])
        await until(lambda: counting.seen == 40, "the first records are processed")
        await zombie.take([TP(f"{run}-in", partition) for partition in range(PARTITIONS)], 1)
        produce(kafka.bootstrap, f"{run}-in", [(b"key-%d" % number, b"") for number in range(40)])
        await until(lambda: len(consume(kafka.bootstrap, f"{run}-out")) == 80, "every record has its effect")
        await zombie.close()
    assert sorted(consume(kafka.bootstrap, f"{run}-out")) == sorted(
        (partition_of(b"key-%d" % number, PARTITIONS), b"key-%d" % number, count)
        for number in range(40)
        for count in (b"1", b"2")
    )


async def test_a_stale_write_of_a_zombie_is_ignored_and_repaired(kafka: KafkaServer, run: str) -> None:
    """Without fencing, the changelog may end in an older value than it held before."""
    home = partition_of(b"a", PARTITIONS)
    good, stale = b'{"at": 7, "count": 7}', b'{"at": 3, "count": 3}'
    produce(kafka.bootstrap, f"{run}-counts-changelog", [(b"a", good), (b"a", stale)])
    app = create_app(a_config(run, kafka.bootstrap, fencing="none"))
    recovered: list[bytes] = []
    app.stateful(
        f"{run}-in",
        Counting(f"{run}-out"),
        {"counts": lambda new, old: bool(json.loads(new)["at"] >= json.loads(old)["at"])},
        on_partitions_ready=lambda _partitions: recovered.extend(v for _, v in app.table_items("counts", home)),
    )
    async with running(app):
        await until(
            lambda: consume(kafka.bootstrap, f"{run}-counts-changelog")[-1][2] == good, "the changelog is repaired"
        )
    assert recovered == [good]


async def test_a_foreign_write_to_a_changelog_stops_the_worker(kafka: KafkaServer, run: str) -> None:
    app = create_app(a_config(run, kafka.bootstrap, fencing="none"))
    counting = Counting(f"{run}-out")
    app.stateful(f"{run}-in", counting, ["counts"])
    with suppress(WorkerFailed):
        async with running(app):
            produce(kafka.bootstrap, f"{run}-counts-changelog", [(b"a", b"{}")])
            produce(kafka.bootstrap, f"{run}-in", [(b"a", b"")])
            await until(lambda: app.failure, "the foreign write is noticed")
    assert isinstance(app.failure, ForeignWrite)


async def test_what_a_failing_batch_was_made_of_is_delivered_again(kafka: KafkaServer, run: str) -> None:
    """The processor fails, or the worker ends after the effects of a batch and before its ack: nothing is committed."""
    produce(kafka.bootstrap, f"{run}-in", [(b"key-%d" % (number % 7), b"") for number in range(100)])

    def broken(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
        raise ZeroDivisionError

    def cannot_go_on(_partition: int, _changes: object) -> None:
        raise ZeroDivisionError

    counting = Counting(f"{run}-out")
    for processor, on_changes in ((broken, None), (counting, cannot_go_on)):
        app = create_app(a_config(run, kafka.bootstrap))
        app.stateful(f"{run}-in", processor, ["counts"], on_changes=on_changes)
        with suppress(WorkerFailed):
            async with running(app):
                await app.wait_failed()
        assert isinstance(app.failure, ZeroDivisionError)
    app = create_app(a_config(run, kafka.bootstrap))
    app.stateful(f"{run}-in", counting, ["counts"])
    async with running(app):
        await until(lambda: len(consume(kafka.bootstrap, f"{run}-out")) >= 100, "every record has its effect")
    assert sorted(consume(kafka.bootstrap, f"{run}-out")) == sorted(
        (partition_of(key, PARTITIONS), key, b"%d" % count)
        for number in range(7)
        for key in [b"key-%d" % number]
        for count in range(1, len(range(number, 100, 7)) + 1)
    )


async def test_missing_topics_and_brokers_are_named_at_the_start(kafka: KafkaServer, run: str) -> None:
    kafka.create_topics({f"{run}-one": 1})
    app = create_app(a_config(run, kafka.bootstrap))
    app.stateless([f"{run}-absent"], echo(f"{run}-out"))
    app.stateful(f"{run}-one", Counting(f"{run}-out"), ["counts"])
    with pytest.raises(TopicsMismatch, match=r"-absent does not exist; .*-one has 1 partitions instead of 4"):
        async with running(app):
            pass
    nowhere = create_app(a_config(run, "127.0.0.1:1", start_wait_seconds=1.0))
    nowhere.stateless([f"{run}-in"], echo(f"{run}-out"))
    with pytest.raises(BrokersAway, match=r"no Kafka broker at .*127\.0\.0\.1:1"):
        async with running(nowhere):
            pass


async def test_the_broker_of_the_demo_is_enough_for_both_kinds_of_apps() -> None:
    run = f"demo-{uuid4().hex[:8]}"
    with EmbeddedBroker() as broker:
        counting = Counting(f"{run}-out")
        first = create_app(a_config(f"{run}-first", broker.bootstrap, fencing="none"))
        first.stateless([f"{run}-raw"], echo(f"{run}-in"))
        second = create_app(a_config(run, broker.bootstrap, fencing="none"))
        second.stateful(f"{run}-in", counting, ["counts"])
        async with running(first, second):
            produce(broker.bootstrap, f"{run}-raw", [(b"key-%d" % (number % 7), b"") for number in range(700)])
            await until(lambda: counting.seen == 700, "all records went through both apps")
        assert len(consume(broker.bootstrap, f"{run}-out")) == 700


@pytest.mark.usefixtures("kafka")  # so that it is skipped where there is none
async def test_transport_runs_with_tls_a_password_and_rights_on_the_prefix_only(tmp_path: Path) -> None:
    run = f"secured-{uuid4().hex[:8]}"
    with KafkaServer(secured=True, users=("app",)) as kafka:
        kafka.create_topics({f"{run}-{name}": PARTITIONS for name in ("in", "out", "counts-changelog")})
        kafka.grant("app", run)
        tls = ssl.create_default_context(cafile=kafka.ca_file)

        def credentials(password: str) -> faust.SASLCredentials:
            return faust.SASLCredentials(username="app", password=password, mechanism="SCRAM-SHA-512", ssl_context=tls)

        app = create_app(
            a_config(run, kafka.bootstrap, credentials=credentials(kafka.passwords["app"]), datadir=tmp_path)
        )
        counting = Counting(f"{run}-out")
        app.stateful(f"{run}-in", counting, ["counts"])
        admin = Producer(kafka.client_settings())
        for number in range(100):
            admin.produce(f"{run}-in", b"", b"key-%d" % number)
        assert admin.flush(20) == 0
        async with running(app):
            await until(partial(counting.has_seen, 100), "the records are processed")
        stranger = create_app(a_config(run, kafka.bootstrap, credentials=credentials("wrong")))
        stranger.stateless([f"{run}-in"], echo(f"{run}-out"))
        with pytest.raises(NotAllowed, match="the brokers do not take our credentials"):
            async with running(stranger):
                pass
