"""``topics create`` and ``topics check``, and the whole pipeline on a broker that wants TLS and a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from referral_stream.core.instants import DAY
from tests.integration.live import PARTITIONS, UNEVEN, Pipeline
from tests.integration.scripted import a_promoter
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

NO_REDIS = "redis://127.0.0.1:1/0"

OURS = {
    "customer-events": ("delete", 400 * DAY),
    "ledger-requests": ("delete", 400 * DAY),
    "ledger-generations": ("compact", 7 * DAY),
    "referral-asks": ("delete", 400 * DAY),
    "referral-decisions": ("delete", 400 * DAY),
    "referral-followups": ("delete", 400 * DAY),
    "referral-rewards": ("delete", 400 * DAY),
    "referral-records": ("compact", 7 * DAY),
    "referral-contacts": ("compact,delete", 400 * DAY),
    "dead-letters": ("delete", 30 * DAY),
}
"""Cleanup and retention, ms; the broker's own where nothing lapses."""


@pytest.fixture(scope="module")
def pipeline(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """No worker runs here."""
    pipeline = Pipeline(kafka, NO_REDIS, tmp_path_factory.mktemp("topics"))
    pipeline.create_topics()
    return pipeline


def settings_of(kafka: KafkaServer, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient(kafka.client_settings())
    (found,) = admin.describe_configs([resource]).values()
    return {name: entry.value for name, entry in found.result(20).items()}


def alter(kafka: KafkaServer, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(kafka.client_settings())
    (altered,) = admin.incremental_alter_configs([resource]).values()
    altered.result(20)


def test_create_makes_every_topic_as_the_contract_wants_it(kafka: KafkaServer, pipeline: Pipeline) -> None:
    topics = AdminClient(kafka.client_settings()).list_topics(timeout=20).topics
    for name, (cleanup, retention) in OURS.items():
        settings = settings_of(kafka, pipeline.topic(name))
        assert (settings["cleanup.policy"], settings["retention.ms"]) == (cleanup, str(retention))
        assert len(topics[pipeline.topic(name)].partitions) == PARTITIONS
    for name in ("decide-customers-changelog", "decide-wakeups-changelog", "positions"):
        compacted = f"{pipeline.name}-{name}"
        assert settings_of(kafka, compacted)["cleanup.policy"] == "compact"
        assert len(topics[compacted].partitions) == PARTITIONS


def test_create_makes_source_topics_that_nobody_has_made_yet(kafka: KafkaServer, tmp_path: Path) -> None:
    alone = Pipeline(kafka, NO_REDIS, tmp_path)
    alone.create_topics(sources={})
    assert alone.run_command("topics", "check").returncode == 0
    assert set(map(alone.topic, UNEVEN)) <= set(AdminClient(kafka.client_settings()).list_topics(timeout=20).topics)


def test_create_leaves_alone_what_is_there(pipeline: Pipeline) -> None:
    again = pipeline.run_command("topics", "create")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout


def test_check_finds_nothing_wrong_with_what_create_made(pipeline: Pipeline) -> None:
    checked = pipeline.run_command("topics", "check")
    assert checked.returncode == 0
    lines = checked.stdout.splitlines()
    assert len(lines) == len(UNEVEN) + len(OURS) + 3
    assert all(line.endswith(": ok") for line in lines)


@pytest.mark.parametrize(
    ("topic", "name", "wrong", "right"),
    [
        ("customer-events", "retention.ms", DAY, 400 * DAY),
        ("dead-letters", "retention.ms", DAY, 30 * DAY),
        ("referral-asks", "cleanup.policy", "compact", "delete"),
    ],
)
def test_check_names_a_wrong_setting_and_what_mends_it(
    kafka: KafkaServer, pipeline: Pipeline, topic: str, name: str, wrong: object, right: object
) -> None:
    alter(kafka, pipeline.topic(topic), name, str(wrong))
    checked = pipeline.run_command("topics", "check")
    alter(kafka, pipeline.topic(topic), name, str(right))
    assert checked.returncode == 1
    found = [line for line in checked.stdout.splitlines() if not line.endswith(": ok")]
    assert found == [
        f"{pipeline.topic(topic)}: {name} is {wrong}, should be {right}",
        f"to fix: kafka-configs --alter --topic {pipeline.topic(topic)} --add-config {name}={right}",
    ]


def test_check_lets_topics_be_kept_longer_than_we_need_them(kafka: KafkaServer, pipeline: Pipeline) -> None:
    alter(kafka, pipeline.topic("customer-events"), "retention.ms", "-1")
    assert pipeline.run_command("topics", "check").returncode == 0


def test_check_names_another_number_of_partitions_and_what_to_do(pipeline: Pipeline) -> None:
    checked = pipeline.run_command("topics", "check", partitions="6")
    assert checked.returncode == 1
    assert f"{pipeline.topic('customer-events')}: has 4 partitions, the settings say 6" in checked.stdout
    assert "set REFERRAL_STREAM_PARTITIONS=4" in checked.stdout
    assert f"{pipeline.topic('nps')}: ok" in checked.stdout  # has 3, as its producers like it


def test_check_advises_neither_to_follow_a_topic_that_has_grown_nor_to_believe_a_changelog_without_its_head(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    """Who raises all of them alike, and the setting too, would forget everybody whose partition has changed."""
    with Pipeline(kafka, NO_REDIS, tmp_path) as pipeline:
        pipeline.create_topics(sources={})
        pipeline.start("ingest")
        wait_until(pipeline.positions, "ingest has noted its number")
        pipeline.stop()
        changelog = f"{pipeline.name}-decide-customers-changelog"
        producer = Producer(kafka.client_settings())
        producer.produce(changelog, b"", b"key")
        assert producer.flush(20) == 0
        kafka.configure(changelog, **{"cleanup.policy": "compact,delete"})
        kafka.remove_records(changelog)
        ours = [*map(pipeline.topic, OURS), changelog, f"{pipeline.name}-decide-wakeups-changelog"]
        ours.append(f"{pipeline.name}-positions")
        for topic in ours:
            kafka.grow(topic, 2 * PARTITIONS)
        checked = pipeline.run_command("topics", "check", partitions=str(2 * PARTITIONS))
        said = " ".join(checked.stdout.split())
        assert checked.returncode == 1
        grown = "has 8 partitions, but was written to by 4; more cannot be taken back"
        assert all(f"{topic}: {grown}" in said for topic in ours if topic != changelog)
        assert f"{changelog}: begins at 1: older entries were deleted; {grown}" in said
        assert "cleanup.policy is compact,delete, should be compact" in said
        assert (
            "to fix: take a new REFERRAL_STREAM_TOPIC_PREFIX and REFERRAL_STREAM_GROUP_PREFIX, refilled by replay"
            in said
        )
        assert "PARTITIONS=8" not in said
        started = pipeline.run_command("run", "ingest", partitions=str(2 * PARTITIONS))
        assert started.returncode == 1
        assert "has written by 4 partitions, which are 8 now" in started.stderr


def test_check_names_topics_that_are_missing(pipeline: Pipeline) -> None:
    checked = pipeline.run_command("topics", "check", topic_prefix=f"{pipeline.name}-elsewhere.")
    assert checked.returncode == 1
    assert f"{pipeline.name}-elsewhere.customer-events: does not exist" in checked.stdout
    assert "referral-stream topics create" in checked.stdout


@pytest.fixture(scope="module")
def secured() -> Iterator[KafkaServer]:
    """A broker that speaks TLS only, and lets nobody in without a password, nor further than he was granted."""
    with KafkaServer(secured=True) as server:
        yield server


@pytest.fixture(scope="module")
def protected(
    kafka: KafkaServer, secured: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """``kafka`` is asked for only for its skip where there is none."""
    assert kafka.bootstrap != secured.bootstrap
    credentials = {
        "kafka_security": "SASL_SSL",
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_username": "app",
        "kafka_password": secured.passwords["app"],
        "kafka_ca_file": str(secured.ca_file),
    }
    folder = tmp_path_factory.mktemp("secured")
    with Pipeline(secured, redis_server.url, folder, user="app", settings=credentials) as pipeline:
        secured.grant("app", pipeline.name)
        pipeline.create_topics()
        yield pipeline


def test_pipeline_runs_with_tls_passwords_and_rights_on_its_own_names_only(
    protected: Pipeline,
) -> None:
    protected.start()
    protected.publish(a_promoter("asked in private", protected.now()))
    protected.await_outcome("asked in private", "soft", "holdout", seconds=25)  # less than a retry would take
    protected.stop()


_PLAIN = {"kafka_security": "PLAINTEXT", "kafka_username": "", "kafka_password": "", "kafka_ca_file": ""}
_NO_PASSWORD = {"kafka_security": "SSL", "kafka_username": "", "kafka_password": ""}
_WRONG_PASSWORD = ({"kafka_password": "a wrong one"}, "refused the password of user 'app' (SCRAM-SHA-512)")


@pytest.mark.parametrize(
    ("command", "wrong", "why"),
    [
        (("run",), *_WRONG_PASSWORD),
        (("run",), {"kafka_username": "nobody"}, "refused the password of user 'nobody' (SCRAM-SHA-512)"),
        (("run",), {"kafka_ca_file": ""}, "is not trusted (unable to get local issuer certificate)"),
        (("topics", "create"), *_WRONG_PASSWORD),
        (("topics", "check"), *_WRONG_PASSWORD),
        (("topics", "check"), {"kafka_sasl_mechanism": "PLAIN"}, "does not offer PLAIN"),
        (("topics", "check"), _PLAIN, "closed the connection; it may want another"),
        (
            ("topics", "check"),
            _NO_PASSWORD,
            "closed the connection; it may want another REFERRAL_STREAM_KAFKA_SECURITY",
        ),
        (("deadletters", "list"), *_WRONG_PASSWORD),
        (("deadletters", "replay"), *_WRONG_PASSWORD),
        (("audit",), *_WRONG_PASSWORD),
        (("doctor",), *_WRONG_PASSWORD),
    ],
    ids=str,
)
def test_who_is_not_let_in_is_told_why_in_one_line(
    protected: Pipeline, command: tuple[str, ...], wrong: dict[str, str], why: str
) -> None:
    done = protected.run_command(*command, **wrong)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "no connection to Kafka" in line]
    assert len(lines) == 1, done.stdout + done.stderr
    assert f"no connection to Kafka at {protected.kafka.bootstrap}: " in lines[0]
    assert why in lines[0]
    assert "Traceback" not in done.stderr
    assert protected.settings["kafka_password"] not in done.stdout + done.stderr
    assert done.returncode == (2 if command == ("audit",) else 1)  # for which 1 is a finding


def test_topics_that_a_user_may_not_see_are_not_taken_for_missing(protected: Pipeline) -> None:
    """Under another prefix than the user's rights: the brokers do not say whether there are such topics."""
    for command in (("topics", "check"), ("doctor",)):
        done = protected.run_command(*command, topic_prefix="somebody-elses.")
        assert "somebody-elses.profile" in done.stdout
        assert "may not be described by this user" in done.stdout
        assert "referral-stream topics acls operator --user NAME" in done.stdout
        assert "does not exist" not in done.stdout
        assert done.returncode == 1


def test_a_foreign_record_among_the_positions_is_named_by_all_and_ends_nothing(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    with Pipeline(kafka, NO_REDIS, tmp_path) as pipeline:
        pipeline.create_topics(sources={})
        producer, topic = Producer(kafka.client_settings()), f"{pipeline.name}-positions"
        producer.produce(topic, b"garbage", b"garbage", partition=0)
        assert producer.flush(20) == 0
        checked = pipeline.run_command("topics", "check")
        assert checked.returncode == 1
        assert f"{topic}: {topic}-0@0 is not how far a group has read" in " ".join(checked.stdout.split())
        examined = pipeline.run_command("doctor")
        assert "Traceback" not in checked.stderr + examined.stderr
        assert f"{topic}-0@0 is not how far a group has read" in " ".join(examined.stdout.split())
        pipeline.start("ingest")
        wait_until(lambda: f"position_not_ours position={topic}-0@0" in pipeline.log(), "ingest has named it")
        wait_until(lambda: len(pipeline.positions()) > 1, "ingest has noted where it is")
        pipeline.stop()
        producer.produce(topic, None, b"garbage", partition=0)
        assert producer.flush(20) == 0
        assert pipeline.run_command("topics", "check").returncode == 0
