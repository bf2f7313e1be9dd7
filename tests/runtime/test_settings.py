"""Settings: every fault is one line that names the variable and the remedy; secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from referral_stream.runtime.settings import (
    PREFIX,
    SettingsProblem,
    kafka_password_now,
    read_receiver_settings,
    read_settings,
    replay_email_key,
)

KEY = {f"{PREFIX}EMAIL_KEY": "a key for tests only"}


def problem(**given: str) -> str:
    with pytest.raises(SettingsProblem) as caught:
        read_settings(KEY | {f"{PREFIX}{name}": value for name, value in given.items()})
    return str(caught.value)


def test_the_key_is_the_only_setting_without_a_default() -> None:
    assert read_settings(KEY).kafka_brokers == ("127.0.0.1:9092",)
    with pytest.raises(SettingsProblem, match=f"^{PREFIX}EMAIL_KEY: set it"):
        read_settings({})


@pytest.mark.parametrize(
    ("topics", "given", "group"),
    [("", "", "referral-stream"), ("staging.", "", "staging.referral-stream"), ("staging.", "prod", "prod")],
)
def test_topics_of_its_own_give_a_deployment_groups_of_its_own(topics: str, given: str, group: str) -> None:
    names = {f"{PREFIX}TOPIC_PREFIX": topics, f"{PREFIX}GROUP_PREFIX": given}
    assert read_settings(KEY | names).group_prefix == group


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"KAFKA_BROKERS": "kafka"}, "KAFKA_BROKERS: 'kafka' is not host:port"),
        ({"KAFKA_BROKERS": "http://127.0.0.1:39192"}, "KAFKA_BROKERS: 'http://127.0.0.1:39192' is not host:port"),
        ({"KAFKA_BROKERS": "127.0.0.1:399999"}, "KAFKA_BROKERS: '127.0.0.1:399999' is not host:port"),
        ({"KAFKA_BROKERS": "127.0.0.1:0"}, "KAFKA_BROKERS: '127.0.0.1:0' is not host:port"),
        ({"KAFKA_BROKERS": "a:1,b"}, "KAFKA_BROKERS: 'b' is not host:port"),
        ({"PARTITIONS": "0"}, "PARTITIONS: must be a whole number from 1 to 1,000"),
        ({"PARTITIONS": "many"}, "PARTITIONS: must be a whole number from 1 to 1,000"),
        ({"STORE": "tape"}, 'STORE: must be one of "rocksdb", "memory"'),
        ({"TOPIC_PREFIX": "a/b"}, "TOPIC_PREFIX: may contain only letters, digits and . _ -"),
        ({"BACKFILL_TOPICS": "histoy"}, "BACKFILL_TOPICS: no input topic 'histoy'; there are billing, nps"),
        ({"TOPIC_ADAPTERS": "biling=stripe"}, "TOPIC_ADAPTERS: no input topic 'biling'; did you mean 'billing'?"),
        ({"EMAIL_KEY_FILE": "key"}, "EMAIL_KEY: set beside REFERRAL_STREAM_EMAIL_KEY_FILE; keep one of them"),
        ({"ZZZQQQ": "1"}, "REFERRAL_STREAM_ZZZQQQ: no such setting; docs/operations.md lists them"),
        ({"STORE": "rocksdb"}, "STORE=rocksdb needs REFERRAL_STREAM_DATA_DIR"),
        ({"KAFKA_SECURITY": "SASL_SSL"}, "needs REFERRAL_STREAM_KAFKA_USERNAME and _PASSWORD"),
        ({"CLOCK_START": "2026-06-16T08:00:00Z"}, "go together"),
        ({"TOPIC_ADAPTERS": "stripe"}, "TOPIC_ADAPTERS: write topic=adapter"),
        ({"KAFKA_BROKER": "a:1"}, "KAFKA_BROKER: no such setting; did you mean REFERRAL_STREAM_KAFKA_BROKERS?"),
        ({"EMAIL_KEY": "short"}, "EMAIL_KEY: at least 16 characters"),
        ({"EMAIL_KEY": "aaaaaaaaaaaaaaaa"}, "EMAIL_KEY: anybody could guess it"),
        ({"EMAIL_KEY": "referral-stream-test-key"}, "EMAIL_KEY: this key is published"),
    ],
)
def test_a_wrong_setting_names_itself_and_the_remedy(given: dict[str, str], told: str) -> None:
    assert told in problem(**given)


def test_all_faults_come_at_once() -> None:
    assert len(problem(PARTITIONS="0", KAFKA_BROKERS="x", NONSENSE="1").splitlines()) == 3


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file-0123456789\n")
    settings = read_settings({f"{PREFIX}EMAIL_KEY_FILE": str(tmp_path / "key")})
    assert settings.email_key is not None
    assert settings.email_key.get_secret_value() == "from-a-file-0123456789"
    assert replay_email_key({f"{PREFIX}EMAIL_KEY_FILE": str(tmp_path / "key")}) == b"from-a-file-0123456789"


def test_a_process_that_hashes_no_address_does_without_the_key() -> None:
    assert read_settings({}, email_key_needed=False).email_key is None
    with pytest.raises(SettingsProblem, match="at least 16 characters"):
        read_settings({f"{PREFIX}EMAIL_KEY": "short"}, email_key_needed=False)


@pytest.mark.parametrize("name", ["KAFKA_PASSWORD", "REDIS_URL", "WEBHOOK_SECRET_STRIPE", "WEBHOOK_TOKEN_SEGMENT"])
def test_a_secret_by_value_and_by_file_is_refused_for_every_secret(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("s" * 32)
    given = {f"{PREFIX}{name}": "s" * 32, f"{PREFIX}{name}_FILE": str(file)}
    with pytest.raises(SettingsProblem, match=f"{name}: set beside {PREFIX}{name}_FILE; keep one of them"):
        read_receiver_settings(given)


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsProblem, match=r"EMAIL_KEY_FILE: .*nowhere"):
        read_settings({f"{PREFIX}EMAIL_KEY_FILE": str(tmp_path / "nowhere")})


def test_secrets_never_show() -> None:
    settings = read_settings(KEY | {f"{PREFIX}REDIS_URL": "redis://:hunter22@127.0.0.1/0"})
    assert "hunter22" not in repr(settings)
    assert KEY[f"{PREFIX}EMAIL_KEY"] not in repr(settings)


def test_a_refused_secret_is_not_quoted() -> None:
    assert "hunter" not in problem(EMAIL_KEY="hunter")


def test_lists_and_pairs_are_written_with_commas() -> None:
    given = {
        "KAFKA_BROKERS": "a:1, b:2",
        "TOPIC_ADAPTERS": "billing=stripe,nps=delighted",
        "BACKFILL_TOPICS": "profile",
    }
    settings = read_settings(KEY | {f"{PREFIX}{name}": value for name, value in given.items()})
    assert settings.kafka_brokers == ("a:1", "b:2")
    assert settings.topic_adapters == {"billing": "stripe", "nps": "delighted"}
    assert settings.backfill_topics == ("profile",)


def test_a_secret_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe" * 16)
    with pytest.raises(SettingsProblem, match=r"^REFERRAL_STREAM_EMAIL_KEY_FILE: .*key: is not UTF-8 text$"):
        read_settings({f"{PREFIX}EMAIL_KEY_FILE": str(tmp_path / "key")})


def test_a_replay_takes_no_key_that_a_worker_would_refuse() -> None:
    with pytest.raises(SettingsProblem, match="anybody could guess it"):
        replay_email_key({f"{PREFIX}EMAIL_KEY": "a" * 16})


def test_a_password_in_a_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("before")
    monkeypatch.setenv(f"{PREFIX}KAFKA_PASSWORD_FILE", str(file))
    settings = read_settings(KEY | {f"{PREFIX}KAFKA_PASSWORD_FILE": str(file)})
    file.write_text("after\n")
    assert [held.get_secret_value() for held in (settings.kafka_password, kafka_password_now(settings)) if held] == [
        "before",
        "after",
    ]
    file.unlink()
    assert kafka_password_now(settings) == settings.kafka_password
