"""What happens when something that the transport stands on breaks: each outage has a stated end, and one clear line."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import faust
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from faust_batches import BatchApp, BatchResult, Read, Record, WorkerFailed, create_app, running
from faust_batches.errors import ChangelogMismatch, NeedsOperator, NotAllowed, SourceMismatch, TopicsMismatch

from tests.integration.test_transport import PARTITIONS, Counting, a_config, consume, echo, produce, until
from tests.night import by_night
from tests.services.kafka import KafkaServer

KEYS = [b"key-%d" % number for number in range(40)]


@pytest.fixture
def run(kafka: KafkaServer) -> str:
    """The prefix of a test's topics, all of which exist."""
    return with_topics(kafka)


def with_topics(kafka: KafkaServer) -> str:
    run = f"outage-{uuid4().hex[:8]}"
    kafka.create_topics({f"{run}-{name}": PARTITIONS for name in ("in", "out", "counts-changelog")})
    return run


def counting_app(run: str, brokers: str, **settings: object) -> tuple[BatchApp, Counting]:
    app, counting = create_app(a_config(run, brokers, **settings)), Counting(f"{run}-out")
    app.stateful(f"{run}-in", counting, ["counts"])
    return app, counting


def one_of_each(brokers: str, topic: str) -> None:
    produce(brokers, topic, [(key, b"") for key in KEYS])


def counts(brokers: str, run: str) -> list[bytes | None]:
    return sorted((value for _, _, value in consume(brokers, f"{run}-out")), key=str)


async def handled_once(kafka: KafkaServer, run: str, **settings: object) -> None:
    """The topics after a worker's clean life."""
    one_of_each(kafka.bootstrap, f"{run}-in")
    app, counting = counting_app(run, kafka.bootstrap, **settings)
    async with running(app):
        await until(partial(counting.has_seen, len(KEYS)), "the records are processed")
    assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS)


def has_forgotten(kafka: KafkaServer, run: str) -> bool:
    """Whether the last that the broker's own log says of every transactional id of the run is that it is gone."""
    last = {key: value for _, key, value in consume(kafka.bootstrap, "__transaction_state", "read_uncommitted")}
    of_run = [value for key, value in last.items() if key is not None and run.encode() in key]
    return bool(of_run) and not any(of_run)


async def the_failure(app: BatchApp) -> BaseException:
    """Why `app` does not run, or stops."""
    try:
        async with running(app):
            await until(lambda: app.failure, "the app fails")
    except WorkerFailed:
        assert app.failure is not None
        return app.failure
    except NeedsOperator as refusal:
        return refusal
    raise AssertionError


Said: TypeAlias = Callable[[], list[tuple[str, str, str]]]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """(event, app, cause) of the errors that the transport has logged."""
    caplog.set_level(logging.WARNING)
    return lambda: [
        (record.getMessage(), vars(record)["app"], vars(record)["cause"])
        for record in caplog.records
        # mode says in our name, without fields, that a thread of ours answers slowly
        if record.name.startswith("faust_batches") and record.levelno >= logging.ERROR and hasattr(record, "app")
        if not record.exc_info
    ]


def is_logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Whether an event of ours, or one of its fields, mentions this text: workers log no warning of aiokafka."""
    ours = (record for record in list(caplog.records) if not record.name.startswith("aiokafka"))
    return any(text in f"{record.getMessage()} {vars(record)}" for record in ours)


@pytest.mark.parametrize("fencing", ["transactions", "none"])
async def test_a_deleted_target_is_waited_for_and_named(
    kafka: KafkaServer, run: str, fencing: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"fencing": fencing, "request_timeout_seconds": 6.0}
    await handled_once(kafka, run, **settings)
    app, _ = counting_app(run, kafka.bootstrap, **settings)
    async with running(app):
        await until(lambda: app.ready, "the app is ready")
        kafka.delete_topic(f"{run}-out")
        one_of_each(kafka.bootstrap, f"{run}-in")
        await until(partial(is_logged, caplog, f"{run}-out"), "the topic is named")
        kafka.create_topics({f"{run}-out": PARTITIONS})
        await until(lambda: len(counts(kafka.bootstrap, run)) >= len(KEYS), "everything is published", 60)
        assert app.failure is None
    assert counts(kafka.bootstrap, run) == [b"2"] * len(KEYS)


@pytest.mark.parametrize(
    ("deleted", "failure", "line"),
    [
        ("in", SourceMismatch, "-in-0 ends at 0, but its state has seen it up to"),
        ("counts-changelog", ChangelogMismatch, "-in-0 is gone: it was read up to"),
    ],
)
async def test_a_deleted_source_or_changelog_stops_the_worker_and_its_restart(
    kafka: KafkaServer, run: str, deleted: str, failure: type[Exception], line: str, said: Said
) -> None:
    """A changelog is state: without it, every opt-out would be forgotten. Marks in the state skip a new source."""
    await handled_once(kafka, run)
    app, _ = counting_app(run, kafka.bootstrap)
    with suppress(WorkerFailed):
        async with running(app):
            await until(lambda: app.ready, "the app is ready")
            kafka.delete_topic(f"{run}-{deleted}")
            await until(lambda: app.failure, "the app fails")
    assert isinstance(app.failure, TopicsMismatch)
    assert said() == [("app_failed", run, f"{run}-{deleted} does not exist")]

    kafka.create_topics({f"{run}-{deleted}": PARTITIONS})
    for _ in range(2):  # it stays so
        refusal = await the_failure(counting_app(run, kafka.bootstrap)[0])
        assert isinstance(refusal, failure)
        assert line in str(refusal).replace("-in-1", "-in-0").replace("-in-2", "-in-0").replace("-in-3", "-in-0")
        assert "Take new topics and a new group, and refill them by replay" in said()[-1][2]
    assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS)


async def test_a_state_folder_that_is_ahead_of_its_changelog_is_not_believed(
    kafka: KafkaServer, run: str, tmp_path: Path, said: Said
) -> None:
    settings = {"store": "rocksdb", "datadir": tmp_path}
    await handled_once(kafka, run, **settings)
    kafka.delete_topic(f"{run}-counts-changelog")
    kafka.create_topics({f"{run}-counts-changelog": PARTITIONS})
    failure = await the_failure(counting_app(run, kafka.bootstrap, **settings)[0])
    assert isinstance(failure, ChangelogMismatch)
    assert "ends at 0, but the state folder holds it up to" in said()[-1][2]


async def test_a_state_folder_of_before_the_topics_were_made_again_is_read_anew(
    kafka: KafkaServer, run: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another worker has filled the new ones beyond where the folder stands: no offset tells them apart."""
    old = {"store": "rocksdb", "datadir": tmp_path / "old"}
    await handled_once(kafka, run, **old)
    for name in ("in", "out", "counts-changelog"):
        kafka.delete_topic(f"{run}-{name}")
        kafka.create_topics({f"{run}-{name}": PARTITIONS})
    app, counting = counting_app(run, kafka.bootstrap)
    others = [b"other-%d" % number for number in range(4 * len(KEYS))]
    async with running(app):
        produce(kafka.bootstrap, f"{run}-in", [(key, b"") for key in (*KEYS, *others)])
        await until(partial(counting.has_seen, len(KEYS) + len(others)), "the records are processed")
    one_of_each(kafka.bootstrap, f"{run}-in")
    for _ in range(2):  # the second time, the folder is right
        app, _ = counting_app(run, kafka.bootstrap, **old)
        async with running(app):
            await until(partial(getattr, app, "ready"), "the app is ready")
            await until(
                lambda: len(counts(kafka.bootstrap, run)) == 2 * len(KEYS) + len(others), "the records are processed"
            )
    assert counts(kafka.bootstrap, run) == [b"1"] * (len(KEYS) + len(others)) + [b"2"] * len(KEYS)
    assert [record.getMessage() for record in caplog.records].count("stores_of_other_topics") == 1
    assert not list((tmp_path / "old").rglob("*.other"))


@pytest.mark.parametrize("but", [2, by_night(0)], ids=["its head removed", "emptied"])
async def test_a_changelog_that_lacks_its_head_is_not_believed(
    kafka: KafkaServer, run: str, tmp_path: Path, said: Said, caplog: pytest.LogCaptureFixture, but: int
) -> None:
    """Only a folder that holds what was removed proves that nothing is missing. Compaction removes no head."""
    changelog = f"{run}-counts-changelog"
    await handled_once(kafka, run, store="rocksdb", datadir=tmp_path)
    with pytest.raises(KafkaException, match="POLICY_VIOLATION"):  # of a compacted topic no broker lets it be removed
        kafka.remove_records(changelog, but=but)
    kafka.configure(changelog, **{"cleanup.policy": "compact,delete"})
    app, _ = counting_app(run, kafka.bootstrap)
    assert isinstance(await the_failure(app), ChangelogMismatch)
    assert f"cleanup.policy of {changelog} is compact,delete" in said()[-1][2]
    assert f"kafka-configs --alter --topic {changelog} --add-config cleanup.policy=compact" in said()[-1][2]

    kafka.remove_records(changelog, but=but)
    kafka.configure(changelog, **{"cleanup.policy": "compact"})
    for _ in range(2):  # it stays so
        app, counting = counting_app(run, kafka.bootstrap)
        assert isinstance(await the_failure(app), ChangelogMismatch)
        assert "older entries were deleted, so some may be missing. Take new topics and a new group" in said()[-1][2]
        assert counting.seen == 0

    one_of_each(kafka.bootstrap, f"{run}-in")
    app, counting = counting_app(run, kafka.bootstrap, store="rocksdb", datadir=tmp_path)
    async with running(app):
        await until(partial(counting.has_seen, len(KEYS)), "the records are processed")
    assert is_logged(caplog, "changelog_head_lost")
    assert counts(kafka.bootstrap, run).count(b"2") == len(KEYS)


async def test_a_first_state_is_not_made_of_a_source_that_lacks_its_head(
    kafka: KafkaServer, run: str, said: Said
) -> None:
    one_of_each(kafka.bootstrap, f"{run}-in")
    kafka.remove_records(f"{run}-in")
    assert isinstance(await the_failure(counting_app(run, kafka.bootstrap)[0]), SourceMismatch)
    assert "and there is no state: what was removed before it is missing" in said()[-1][2]


async def test_a_state_made_of_another_number_of_partitions_is_not_taken_on(
    kafka: KafkaServer, run: str, said: Said
) -> None:
    await handled_once(kafka, run)
    for name in ("in", "counts-changelog"):
        kafka.grow(f"{run}-{name}", 2 * PARTITIONS)
    app, counting = counting_app(run, kafka.bootstrap, partitions=2 * PARTITIONS)
    assert isinstance(await the_failure(app), TopicsMismatch)
    assert f"was made when {run}-in had {PARTITIONS} partitions; now it has {2 * PARTITIONS}" in said()[-1][2]
    assert "Take new topics and a new group, and refill them by replay" in said()[-1][2]
    assert counting.seen == 0


@pytest.mark.parametrize("grown", ["in", "out", by_night("counts-changelog")])
async def test_partitions_that_are_added_while_a_worker_runs_end_it_before_it_writes_to_them(
    kafka: KafkaServer, run: str, said: Said, grown: str
) -> None:
    settings = {"fixed_topics": frozenset({f"{run}-out"}), "metadata_seconds": 0.5}
    await handled_once(kafka, run, **settings)
    app, _ = counting_app(run, kafka.bootstrap, **settings)
    with suppress(WorkerFailed):
        async with running(app):
            await until(lambda: app.ready, "the app is ready")
            await asyncio.to_thread(kafka.grow, f"{run}-{grown}", 2 * PARTITIONS)
            await until(lambda: app.failure, "the app fails", 30)
    assert isinstance(app.failure, TopicsMismatch)
    ((_, _, line),) = said()
    assert f"{run}-{grown} has " in line
    assert f"partitions instead of {PARTITIONS}" in line
    assert "Take new topics and a new group, and refill them by replay" in line
    assert set(kafka._ends(f"{run}-out").values()) - {0}
    assert not any(end for at, end in kafka._ends(f"{run}-out").items() if at >= PARTITIONS)


async def test_partitions_that_a_source_without_state_gets_are_read_soon(kafka: KafkaServer, run: str) -> None:
    app = create_app(a_config(run, kafka.bootstrap, metadata_seconds=0.5))
    app.stateless([f"{run}-in"], echo(f"{run}-out"))
    async with running(app):
        await until(lambda: app.ready, "the app is ready")
        await asyncio.to_thread(kafka.grow, f"{run}-in", PARTITIONS + 1)
        producer = Producer(kafka.client_settings())
        producer.produce(f"{run}-in", b"new", b"key", partition=PARTITIONS)
        assert producer.flush(20) == 0
        await until(lambda: len(consume(kafka.bootstrap, f"{run}-out")) == 1, "its record is passed on", 60)


async def test_a_new_source_is_told_from_the_old_one_even_if_it_is_longer(
    kafka: KafkaServer, run: str, said: Said
) -> None:
    await handled_once(kafka, run)
    kafka.delete_topic(f"{run}-in")
    kafka.create_topics({f"{run}-in": PARTITIONS})
    for _ in range(3):
        produce(kafka.bootstrap, f"{run}-in", [(key, b"another") for key in KEYS])
    app, counting = counting_app(run, kafka.bootstrap)
    assert isinstance(await the_failure(app), SourceMismatch)
    assert "is not the log that its state was made from: another record stands at" in said()[-1][2]
    assert counting.seen == 0


@pytest.mark.parametrize(
    ("store", "offset"), [("memory", 0), ("rocksdb", None), by_night("memory", None), by_night("rocksdb", 0)]
)
async def test_resetting_the_groups_offsets_changes_nothing(
    kafka: KafkaServer, run: str, tmp_path: Path, store: str, offset: int | None
) -> None:
    settings = {"store": store, "datadir": tmp_path}
    await handled_once(kafka, run, **settings)
    one_of_each(kafka.bootstrap, f"{run}-in")
    kafka.reset_offsets(run, f"{run}-in", offset)
    app, counting = counting_app(run, kafka.bootstrap, **settings)
    async with running(app):
        await until(lambda: len(counts(kafka.bootstrap, run)) >= 2 * len(KEYS), "every record has its effect")
        await until(lambda: app.ready and counting.seen == len(KEYS), "what the state has seen is not read again")
    assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS) + [b"2"] * len(KEYS)


async def test_records_that_were_removed_unread_keep_the_worker_from_going_on(
    kafka: KafkaServer, run: str, said: Said
) -> None:
    """One of them may have been an opt-out."""
    await handled_once(kafka, run)
    one_of_each(kafka.bootstrap, f"{run}-in")
    kafka.remove_records(f"{run}-in")
    assert isinstance(await the_failure(counting_app(run, kafka.bootstrap)[0]), SourceMismatch)
    assert "the records in between are gone" in said()[-1][2]


async def test_without_a_state_a_new_source_is_read_from_its_beginning(kafka: KafkaServer, run: str) -> None:
    def echo_app() -> BatchApp:
        app = create_app(a_config(run, kafka.bootstrap))
        app.stateless([f"{run}-in"], echo(f"{run}-out"))
        return app

    one_of_each(kafka.bootstrap, f"{run}-in")
    async with running(echo_app()):
        await until(lambda: len(consume(kafka.bootstrap, f"{run}-out")) == len(KEYS), "the records are passed on")
    kafka.delete_topic(f"{run}-in")
    kafka.create_topics({f"{run}-in": PARTITIONS})
    kafka.reset_offsets(run, f"{run}-in", 1_000)
    one_of_each(kafka.bootstrap, f"{run}-in")
    async with running(echo_app()):
        await until(lambda: len(consume(kafka.bootstrap, f"{run}-out")) == 2 * len(KEYS), "the new ones too")


@pytest.mark.parametrize("running_meanwhile", [False, True], ids=["while stopped", "while it runs"])
async def test_a_source_without_state_that_was_made_again_is_read_from_its_beginning_however_long_it_is(
    kafka: KafkaServer, run: str, running_meanwhile: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Refilled beyond where the old one was read, no offset tells them apart; the topic of positions does."""
    kafka.create_topics({f"{run}-positions": 1})
    kafka.configure(f"{run}-positions", **{"cleanup.policy": "compact"})

    def echo_app() -> BatchApp:
        app = create_app(a_config(run, kafka.bootstrap, positions=f"{run}-positions", metadata_seconds=0.5))
        app.stateless([f"{run}-in"], echo(f"{run}-out"))
        return app

    def values() -> set[bytes | None]:
        return {value for _, _, value in consume(kafka.bootstrap, f"{run}-out")}

    def made_again() -> None:
        kafka.delete_topic(f"{run}-in")
        kafka.create_topics({f"{run}-in": PARTITIONS})
        produce(kafka.bootstrap, f"{run}-in", [(key, b"again-%d-%s" % (n, key)) for n in range(3) for key in KEYS])

    produce(kafka.bootstrap, f"{run}-in", [(key, b"first-%s" % key) for key in KEYS])
    expected = {b"again-%d-%s" % (n, key) for n in range(3) for key in KEYS}
    async with running(echo_app()):
        await until(lambda: len(values()) == len(KEYS), "the records are passed on")
        if running_meanwhile:
            await asyncio.to_thread(made_again)
            await until(lambda: expected <= values(), "the new ones too", 60)
    if not running_meanwhile:
        made_again()
        async with running(echo_app()):
            await until(lambda: expected <= values(), "the new ones too", 60)
        assert is_logged(caplog, "source_begins_again")
    before = len(consume(kafka.bootstrap, f"{run}-out"))
    async with running(app := echo_app()):
        await until(lambda: app.ready, "the app is ready")
        produce(kafka.bootstrap, f"{run}-in", [(b"last", b"last")])
        await until(lambda: b"last" in values(), "it goes on")
    assert len(consume(kafka.bootstrap, f"{run}-out")) == before + 1


@pytest.mark.usefixtures("kafka")  # so that it is skipped where there is none
@pytest.mark.parametrize("fencing", ["transactions", "none"])
async def test_a_right_that_was_taken_away_stops_the_worker_with_the_topics_name(fencing: str, said: Said) -> None:
    with KafkaServer(secured=True) as kafka:
        run = with_topics(kafka)
        kafka.grant("app", run)
        tls = ssl.create_default_context(cafile=kafka.ca_file)
        password = kafka.passwords["app"]
        credentials = faust.SASLCredentials(
            username="app", password=password, mechanism="SCRAM-SHA-512", ssl_context=tls
        )
        app, counting = counting_app(run, kafka.bootstrap, credentials=credentials, fencing=fencing)
        producer, admin = Producer(kafka.client_settings()), AdminClient(kafka.client_settings())

        def one_of_each() -> None:
            for key in KEYS:
                producer.produce(f"{run}-in", b"", key)
            assert producer.flush(20) == 0

        denied = AclBinding(
            *(ResourceType.TOPIC, f"{run}-out", ResourcePatternType.LITERAL, "User:app", "*"),
            *(AclOperation.WRITE, AclPermissionType.DENY),
        )
        with suppress(WorkerFailed):
            async with running(app):
                one_of_each()
                await until(partial(counting.has_seen, len(KEYS)), "the records are processed")
                for future in admin.create_acls([denied]).values():
                    future.result(20)
                one_of_each()
                await until(lambda: app.failure, "the app fails")
        assert isinstance(app.failure, NotAllowed)
        assert said() == [("app_failed", run, f"{run}-out may not be written by us: grant the right to write")]


@pytest.mark.usefixtures("kafka")
async def test_a_transactional_id_that_the_broker_has_forgotten_is_taken_anew() -> None:
    """It does so after a week without a transaction."""
    forgetful = {
        "transactional.id.expiration.ms": "1000",
        "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
        "producer.id.expiration.ms": "1000",
        "producer.id.expiration.check.interval.ms": "200",
    }
    with KafkaServer(settings=forgetful) as kafka:
        run = with_topics(kafka)
        app, counting = counting_app(run, kafka.bootstrap)
        async with running(app):
            for times in (1, 2):
                one_of_each(kafka.bootstrap, f"{run}-in")
                await until(partial(counting.has_seen, times * len(KEYS)), "the records are processed")
                await until(partial(has_forgotten, kafka, run), "the broker has forgotten the ids")
            assert app.failure is None
        assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS) + [b"2"] * len(KEYS)


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize("fencing", ["transactions", by_night("none")])
async def test_a_broker_that_is_away_is_waited_for(fencing: str, caplog: pytest.LogCaptureFixture) -> None:
    """It goes away under a batch, for longer than the session lasts and than the delivery of a batch may take."""
    with KafkaServer() as kafka:
        run = with_topics(kafka)
        counting = Counting(f"{run}-out")

        def last_batch_before_the_outage(partition: int, records: Sequence[Record], read: Read) -> BatchResult:
            if counting.seen == len(KEYS) and kafka.running:
                kafka.stop()
            return counting(partition, records, read)

        app = create_app(a_config(run, kafka.bootstrap, fencing=fencing, request_timeout_seconds=6.0))
        app.stateful(f"{run}-in", last_batch_before_the_outage, ["counts"])
        async with running(app):
            one_of_each(kafka.bootstrap, f"{run}-in")
            await until(lambda: len(counts(kafka.bootstrap, run)) == len(KEYS), "the records are processed")
            one_of_each(kafka.bootstrap, f"{run}-in")
            await until(partial(is_logged, caplog, f"'brokers': '{kafka.bootstrap}'"), "the outage is logged", 60)
            assert app.failure is None
            await asyncio.to_thread(kafka.start)
            await until(lambda: counts(kafka.bootstrap, run).count(b"2") >= len(KEYS), "everything is published", 90)
            assert app.failure is None
        if fencing == "transactions":
            assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS) + [b"2"] * len(KEYS)
