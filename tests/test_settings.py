"""Settings: every fault is one line that names the variable and the remedy; secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from referral_stream.runtime.settings import PREFIX, SettingsProblem, read_settings

KEY = {f"{PREFIX}EMAIL_KEY": "k" * 16}


def problem(**given: str) -> str:
    with pytest.raises(SettingsProblem) as caught:
        read_settings(KEY | {f"{PREFIX}{name}": value for name, value in given.items()})
    return str(caught.value)


def test_the_key_is_the_only_setting_without_a_default() -> None:
    assert read_settings(KEY).kafka_brokers == ("127.0.0.1:9092",)
    with pytest.raises(SettingsProblem, match=f"^{PREFIX}EMAIL_KEY: set it"):
        read_settings({})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"KAFKA_BROKERS": "kafka"}, "KAFKA_BROKERS: 'kafka' is not host:port"),
        ({"PARTITIONS": "0"}, "PARTITIONS: Input should be greater than or equal to 1"),
        ({"PARTITIONS": "many"}, "PARTITIONS: Input should be a valid integer"),
        ({"STORE": "rocksdb"}, "STORE=rocksdb needs REFERRAL_STREAM_DATA_DIR"),
        ({"KAFKA_SECURITY": "SASL_SSL"}, "needs REFERRAL_STREAM_KAFKA_USERNAME and _PASSWORD"),
        ({"CLOCK_START": "2026-06-16T08:00:00Z"}, "go together"),
        ({"TOPIC_ADAPTERS": "stripe"}, "TOPIC_ADAPTERS: write topic=adapter"),
        ({"KAFKA_BROKER": "a:1"}, "KAFKA_BROKER: no such setting; did you mean REFERRAL_STREAM_KAFKA_BROKERS?"),
        ({"EMAIL_KEY": "short"}, "EMAIL_KEY: at least 16 characters"),
    ],
)
def test_a_wrong_setting_names_itself_and_the_remedy(given: dict[str, str], told: str) -> None:
    assert told in problem(**given)


def test_all_faults_come_at_once() -> None:
    assert len(problem(PARTITIONS="0", KAFKA_BROKERS="x", NONSENSE="1").splitlines()) == 3


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file-0123456789\n")
    settings = read_settings({f"{PREFIX}EMAIL_KEY_FILE": str(tmp_path / "key")})
    assert settings.email_key.get_secret_value() == "from-a-file-0123456789"


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
    given = {"KAFKA_BROKERS": "a:1, b:2", "TOPIC_ADAPTERS": "billing=stripe,nps=delighted", "BACKFILL_TOPICS": "old"}
    settings = read_settings(KEY | {f"{PREFIX}{name}": value for name, value in given.items()})
    assert settings.kafka_brokers == ("a:1", "b:2")
    assert settings.topic_adapters == {"billing": "stripe", "nps": "delighted"}
    assert settings.backfill_topics == ("old",)
