"""Settings: every fault is one line that names the variable and the remedy; secrets stay secret."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from redis.connection import parse_url

from referral_stream.core.policy import Policy
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import (
    PREFIX,
    SettingsProblem,
    kafka_password_now,
    read_receiver_settings,
    read_settings,
    redis_url_now,
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
        ({"KAFKA_BROKERS": "a..b:1"}, "KAFKA_BROKERS: 'a..b:1' is not host:port"),
        ({"KAFKA_BROKERS": "a:٣"}, "KAFKA_BROKERS: 'a:٣' is not host:port"),
        ({"KAFKA_BROKERS": "a:" + "9" * 5_000}, "is not host:port"),
        ({"STATUS_HOST": "a..b"}, "STATUS_HOST: is not an address or the name of a host"),
        ({"STATIC_MEMBER": "worker one"}, "STATIC_MEMBER: may contain only letters, digits and . _ -"),
        ({"TOPIC_PREFIX": "x" * 201}, "TOPIC_PREFIX: String should have at most 200 characters"),
        ({"DATA_DIR": "/tmp/\udcff"}, "DATA_DIR: is not UTF-8 text"),
        ({"KAFKA_USERNAME": "worker\n"}, "KAFKA_USERNAME: contains a control character"),
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
        ({"KAFKA_USERNAME": "me"}, "KAFKA_SECURITY=PLAINTEXT uses no REFERRAL_STREAM_KAFKA_USERNAME and _PASSWORD"),
        ({"KAFKA_PASSWORD": "secret", "KAFKA_SECURITY": "SSL"}, "KAFKA_SECURITY=SSL uses no "),
        ({"KAFKA_CA_FILE": "/ca.pem"}, "KAFKA_SECURITY=PLAINTEXT uses no REFERRAL_STREAM_KAFKA_CA_FILE, _CERT_FILE or"),
        ({"KAFKA_CERT_FILE": "/cert.pem"}, "KAFKA_SECURITY=PLAINTEXT uses no REFERRAL_STREAM_KAFKA_CA_FILE"),
        (
            {"KAFKA_KEY_FILE": "/key.pem", "KAFKA_SECURITY": "SSL"},
            "KAFKA_KEY_FILE needs REFERRAL_STREAM_KAFKA_CERT_FILE",
        ),
        ({"KAFKA_BROKERS": ","}, "KAFKA_BROKERS: name at least one"),
        ({"CLOCK_SPEED": "0"}, "CLOCK_SPEED: must be a number above 0, up to 1,000,000"),
        ({"TRACING": "maybe"}, "TRACING: must be true or false"),
        ({"EMAIL_KEY_CHANGED_TO": "x"}, "EMAIL_KEY_CHANGED_TO: the fingerprint of the new key, 14 hexadecimal digits"),
        ({"CLOCK_START": "2026-06-16T08:00:00Z"}, "go together"),
        ({"TOPIC_ADAPTERS": "stripe"}, "TOPIC_ADAPTERS: write topic=adapter"),
        ({"KAFKA_BROKER": "a:1"}, "KAFKA_BROKER: no such setting; did you mean REFERRAL_STREAM_KAFKA_BROKERS?"),
        ({"EMAIL_KEY": "short"}, "EMAIL_KEY: at least 16 characters"),
        ({"EMAIL_KEY": "aaaaaaaaaaaaaaaa"}, "EMAIL_KEY: is too predictable"),
        ({"EMAIL_KEY": "referral-stream-test-key"}, "EMAIL_KEY: this is the public key of the demo"),
    ],
)
def test_a_wrong_setting_names_itself_and_the_remedy(given: dict[str, str], told: str) -> None:
    assert told in problem(**given)


def test_all_faults_come_at_once() -> None:
    assert len(problem(PARTITIONS="0", KAFKA_BROKERS="x", NONSENSE="1").splitlines()) == 3


def test_tracing_is_off_and_names_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not read_settings(KEY).tracing
    assert read_settings(KEY | {f"{PREFIX}TRACING": "on"}).tracing
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "TRACING=on needs a library: " in problem(TRACING="on")
    assert "opentelemetry-api" in problem(TRACING="on")


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
    with pytest.raises(SettingsProblem, match="is too predictable"):
        replay_email_key({f"{PREFIX}EMAIL_KEY": "a" * 16})


def test_a_password_in_a_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("before")
    monkeypatch.setenv(f"{PREFIX}KAFKA_PASSWORD_FILE", str(file))
    sasl = {f"{PREFIX}KAFKA_SECURITY": "SASL_SSL", f"{PREFIX}KAFKA_USERNAME": "worker"}
    settings = read_settings(KEY | sasl | {f"{PREFIX}KAFKA_PASSWORD_FILE": str(file)})
    file.write_text("after\n")
    assert [held.get_secret_value() for held in (settings.kafka_password, kafka_password_now(settings)) if held] == [
        "before",
        "after",
    ]
    file.unlink()
    assert kafka_password_now(settings) == settings.kafka_password


@pytest.mark.parametrize("name", ["redis_url", "read_redis_url"])
def test_the_address_of_a_redis_is_read_again_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Literal["redis_url", "read_redis_url"]
) -> None:
    file, held = tmp_path / "url", "redis://:old@127.0.0.1/0"
    file.write_text(held)
    monkeypatch.setenv(f"{PREFIX}{name.upper()}_FILE", str(file))
    settings = read_settings({f"{PREFIX}{name.upper()}_FILE": str(file)}, email_key_needed=False)
    file.write_text("redis://:new@127.0.0.1/0\n")
    assert redis_url_now(settings, name) == "redis://:new@127.0.0.1/0"
    file.unlink()
    assert redis_url_now(settings, name) == held


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter22@redis:abc/0",
        "redis://:hunter22@redis:99999/0",
        "redis://:hunter22@redis:0/0",
        "redis://:hunter22@[::1/0",
        "redis://:hunter22@[zz]:6379/0",
        "redis://:hunter22@a..b:6379/0",
        "redis://:hunter22@redis:6379/zero",
        "redis://:hunter22@redis:6379/0/1",
        "redis://:hunter22@redis/0#fragment",
        "redis://:hunter22@redis/0?db=zero",
        "redis://redis/0?password=hunter22",
        "redis://:hunter22@redis/0?decode_responses=no",
        "redis://:hunter22@redis/0?ssl_cert_reqs=none",
        "rediss://:hunter22@redis/0?ssl_cert_reqs=perhaps",
        "redis://:hunter/22@redis:6379/0",
        "redis://:hunter22?x@redis:6379/0",
        "unix://:hunter22@",
        "redis://:hunter22@redis/0\n",
        "redis://:hunter22\udcff@redis/0",
        "http://:hunter22@redis",
    ],
)
def test_a_malformed_redis_url_is_one_line_without_the_password(url: str) -> None:
    told = problem(REDIS_URL=url)
    assert told.startswith(f"{PREFIX}REDIS_URL: ")
    assert len(told.splitlines()) == 1
    assert "hunter" not in told
    assert "22" not in told.replace("%23", "")


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://redis",
        "redis://user:p%2Fw@redis-1.example.com/15",
        "redis://[::1]:6379/0",
        "redis://redis?db=3",
        "rediss://:pw@redis:6380/0?ssl_cert_reqs=required&ssl_check_hostname=False",
        "unix:///run/redis.sock?db=1",
        "unix://user:pw@/run/redis.sock",
    ],
)
def test_a_redis_url_that_the_client_understands_is_taken(url: str) -> None:
    settings = read_settings(KEY | {f"{PREFIX}REDIS_URL": url})
    assert settings.redis_url.get_secret_value() == url
    parse_url(url)  # type: ignore[no-untyped-call]


def test_a_secret_in_a_file_may_not_hold_what_a_setting_may_not(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:hunter22@a\nredis://b\n")
    with pytest.raises(SettingsProblem) as refused:
        read_settings(KEY | {f"{PREFIX}REDIS_URL_FILE": str(tmp_path / "url")})
    assert str(refused.value).endswith("url: contains a control character, such as a line break")
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_for_redis_are_looked_at_before_the_first_call(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca").write_bytes(content)
    given = {f"{PREFIX}REDIS_URL": "rediss://redis", f"{PREFIX}REDIS_CA_FILE": str(tmp_path / "ca")}
    deployment = Deployment(read_settings(KEY | given), Policy(), Clock())
    with pytest.raises(SettingsProblem, match=f"^{PREFIX}REDIS_CA_FILE, _CERT_FILE or _KEY_FILE cannot be used: "):
        deployment.check()


@pytest.mark.parametrize(
    ("given", "unused"),
    [({}, False), ({"DATA_DIR": "/state"}, True), ({"DATA_DIR": "/state", "STORE": "memory"}, False)],
)
def test_a_folder_for_a_state_that_is_in_memory_is_noticed(given: dict[str, str], *, unused: bool) -> None:
    environment = {f"{PREFIX}{name}": value for name, value in given.items()}
    assert read_settings(environment, email_key_needed=False).leaves_data_dir_unused == unused
