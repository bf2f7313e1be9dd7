"""What keeps a worker from starting is one line that names the key and the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.live import UNEVEN, Pipeline
from tests.services.kafka import KafkaServer
from tests.services.process import free_port, wait_until

NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def pipeline(kafka: KafkaServer, tmp_path: Path) -> Pipeline:
    return Pipeline(kafka, NO_REDIS, tmp_path)


@pytest.mark.parametrize(
    ("settings", "key", "remedy"),
    [
        ({"partitions": "0"}, "PARTITIONS", "must be a whole number from 1 to 1,000"),
        ({"kafka_brokers": "nowhere"}, "KAFKA_BROKERS", "host:port"),
        ({"kafka_broker": "localhost:9092"}, "KAFKA_BROKER", "did you mean REFERRAL_STREAM_KAFKA_BROKERS?"),
        ({"store": "rocksdb"}, "STORE", "needs REFERRAL_STREAM_DATA_DIR"),
        ({"email_key": ""}, "EMAIL_KEY", "set it"),
        ({"email_key": "short"}, "EMAIL_KEY", "at least 16 characters"),
        ({"kafka_security": "SASL_SSL"}, "KAFKA_SECURITY", "needs REFERRAL_STREAM_KAFKA_USERNAME"),
        ({"kafka_security": "SSL", "kafka_ca_file": "/no/such/file"}, "KAFKA_CA_FILE", "No such file"),
        ({"redis_url": "localhost:6379"}, "REDIS_URL", "redis://"),
        ({"topic_adapters": "billing=strype"}, "TOPIC_ADAPTERS", "stripe"),
        ({"topic_adapters": "biling=stripe"}, "TOPIC_ADAPTERS", "no input topic 'biling'; did you mean 'billing'?"),
        ({"clock_started_at": ""}, "CLOCK_START", "go together"),
        ({"policy_file": "/no/such/file"}, "/no/such/file", "No such file"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_its_remedy(
    pipeline: Pipeline, settings: dict[str, str], key: str, remedy: str
) -> None:
    done = pipeline.run_command("run", **settings)
    (line,) = done.stderr.splitlines()
    assert key in line
    assert remedy in line
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("policy", "key", "remedy"),
    [
        ("[moments]\nrival_wait_secs = 3\n", "moments.rival_wait_secs", "did you mean 'rival_wait_seconds'?"),
        ("[score]\ndirect_at = 'high'\n", "score.direct_at", "must be a whole number from 0 to 100"),
        ("[score]\nsoft_at = 80\n", "score", "must not exceed direct_at"),
        ("[triggers.renewal]\nwindow_day = 1\n", "triggers.renewal.window_day", "did you mean 'window_days'?"),
        ("[moments\n", "policy.toml", "not TOML"),
    ],
    ids=str,
)
def test_a_wrong_policy_is_named_with_its_remedy(pipeline: Pipeline, policy: str, key: str, remedy: str) -> None:
    pipeline.policy_file.write_text(policy)
    done = pipeline.run_command("run")
    (line,) = done.stderr.splitlines()
    assert key in line
    assert remedy in line
    assert done.returncode == 2


def test_every_wrong_setting_is_named_at_once(pipeline: Pipeline) -> None:
    done = pipeline.run_command("run", partitions="many", email_key="", store="tape")
    assert [line.removeprefix("Error: ").partition(":")[0] for line in done.stderr.splitlines()] == [
        "REFERRAL_STREAM_EMAIL_KEY",
        "REFERRAL_STREAM_PARTITIONS",
        "REFERRAL_STREAM_STORE",
    ]
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (("run",), True),
        (("run", "ingest"), True),
        (("deadletters", "replay"), True),
        (("run", "decide"), False),
        (("run", "ledger"), False),
        (("topics", "check"), False),
        (("topics", "acls", "decide", "--user", "x"), False),
        (("doctor",), False),
        (("audit",), False),
        (("deadletters", "list"), False),
    ],
    ids=str,
)
def test_only_what_hashes_addresses_needs_their_key(
    pipeline: Pipeline, command: tuple[str, ...], *, needed: bool
) -> None:
    done = pipeline.run_command(
        *command, email_key="", kafka_brokers=f"127.0.0.1:{free_port()}", start_wait_seconds="1"
    )
    assert ("EMAIL_KEY: set it" in done.stderr) == needed
    assert (done.returncode == 2) == (needed or command == ("audit",))  # which ends with 2 where it cannot read


def test_a_state_folder_that_cannot_be_made_is_one_line(pipeline: Pipeline) -> None:
    done = pipeline.run_command("run", store="rocksdb", data_dir="/dev/null/state")
    (line,) = done.stderr.splitlines()
    assert "/dev/null/state cannot be written (Not a directory)" in line
    assert "REFERRAL_STREAM_DATA_DIR" in line
    assert done.returncode == 1


def test_topics_that_are_missing_are_named(pipeline: Pipeline) -> None:
    done = pipeline.run_command("run")
    (line,) = done.stderr.splitlines()
    assert all(pipeline.topic(name) in line for name in (*UNEVEN, "customer-events", "dead-letters"))
    assert "referral-stream topics create" in line
    assert done.returncode == 1


def test_another_number_of_partitions_than_the_topics_have_is_refused(pipeline: Pipeline) -> None:
    pipeline.create_topics()
    done = pipeline.run_command("run", partitions="5")
    (line,) = done.stderr.splitlines()
    assert f"{pipeline.topic('customer-events')} has 4 partitions, the settings say 5" in line
    assert "set REFERRAL_STREAM_PARTITIONS=4" in line
    assert done.returncode == 1


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
@pytest.mark.parametrize("role", ["all", "ingest"])
def test_a_source_that_is_compacted_is_refused_before_it_loses_an_opt_out(
    pipeline: Pipeline, kafka: KafkaServer, role: str, policy: str
) -> None:
    pipeline.create_topics()
    kafka.configure(pipeline.topic("profile"), **{"cleanup.policy": policy})
    try:
        done = pipeline.run_command("run", role)
        for command in (("topics", "check"), ("doctor",)):
            said = " ".join(pipeline.run_command(*command).stdout.split())
            assert f"cleanup.policy is {policy}: of several events with one key only the last is kept" in said
    finally:
        kafka.configure(pipeline.topic("profile"), **{"cleanup.policy": "delete"})
    (line,) = done.stderr.splitlines()
    assert f"{pipeline.topic('profile')}: cleanup.policy is {policy}" in line
    assert f"kafka-configs --alter --topic {pipeline.topic('profile')} --add-config cleanup.policy=delete" in line
    assert done.returncode == 1


def test_another_key_for_addresses_than_before_is_refused_by_whoever_hashes_them(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.create_topics()
    table = tmp_path / "customers.csv"
    table.write_text("customer_id,opted_out\ncus-1,yes\n")
    bring_in = ("import", str(table), "--as-of", "2026-06-15")
    assert pipeline.run_command(*bring_in).returncode == 0  # ingest has noted no key yet
    pipeline.start("ingest")
    noted = f"{pipeline.name}-email-key fingerprint 0".encode()
    wait_until(lambda: noted in pipeline.positions(), "ingest has noted its key")
    pipeline.stop()
    other = {"email_key": "a key that is not that of the others"}
    said = ""
    for command in (("run",), ("run", "ingest"), ("deadletters", "replay"), bring_in, ("doctor",)):
        done = pipeline.run_command(*command, **other)
        said = " ".join((done.stdout + done.stderr).split())
        assert "REFERRAL_STREAM_EMAIL_KEY is another key (fingerprint " in said, command
        assert done.returncode == 1
        assert "Traceback" not in said
    (fingerprint,) = re.findall(r"EMAIL_KEY_CHANGED_TO=([0-9a-f]+)", said)
    assert pipeline.run_command(*bring_in).returncode == 0
    pipeline.start("ingest", **other, email_key_changed_to=fingerprint)
    wait_until(lambda: "email_key_changed" in pipeline.log(), "ingest has noted its new key")
    pipeline.stop()
    assert pipeline.run_command(*bring_in, **other).returncode == 0
    assert pipeline.run_command("run", "ingest").returncode == 1  # the former one is the wrong one now


@pytest.mark.parametrize("role", ["all", "ingest"])
def test_a_worker_waits_for_a_broker_that_is_not_there_and_names_it(pipeline: Pipeline, role: str) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    done = pipeline.run_command("run", role, kafka_brokers=nobody, start_wait_seconds="2")
    waiting, ended = done.stderr.splitlines()
    assert all(nobody in line and "REFERRAL_STREAM_KAFKA_BROKERS" in line for line in (waiting, ended))
    assert "brokers_awaited" in waiting
    assert "worker_not_started reason=BrokersAway" in ended
    assert done.returncode == 75


@pytest.mark.parametrize("command", [("topics", "create"), ("topics", "check")])
def test_a_broker_that_is_not_there_is_named(pipeline: Pipeline, command: tuple[str, ...]) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    done = pipeline.run_command(*command, kafka_brokers=nobody)
    (line,) = done.stderr.splitlines()
    assert nobody in line
    assert "REFERRAL_STREAM_KAFKA_BROKERS" in line
    assert done.returncode == 1
