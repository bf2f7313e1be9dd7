"""Settings of a deployment: the only reader of the environment.

Every setting is an environment variable ``REFERRAL_STREAM_<NAME>``. A secret may also come from a file that
``<NAME>_FILE`` names. An invalid or missing setting prevents start-up, with one line naming the variable and the fix.
"""

from __future__ import annotations

import importlib.util
import os
import re
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from referral_stream.contracts.schema_words import schema_words
from referral_stream.contracts.topics import SOURCES
from referral_stream.core.instants import Instant
from referral_stream.core.suggestions import did_you_mean, nearest
from referral_stream.runtime.addresses import REDIS_FORM, has_port, is_public_url, is_redis_url, may_be_listened_on
from referral_stream.runtime.console_settings import ConsoleOptions
from referral_stream.runtime.listed import comma_separated, millis, pairs
from referral_stream.runtime.payer_address import address_fault, is_monotonous, secret_fault

PREFIX = "REFERRAL_STREAM_"

_ADAPTERS_FORM = "topic=adapter, separated by commas, for example billing=stripe"
_TOPICS_FORM = "vendor=topic, separated by commas, for example hubspot=relationship"

TEST_EMAIL_KEY = "referral-stream-test-key"
"""``replay`` and ``demo`` hash addresses with this key unless one is given: equal in, equal out, on every machine."""

_KEY_SOURCE = "for example from: openssl rand -hex 32"
_FEWEST_CHARACTERS: Final = 16


def is_guessable(secret: str) -> bool:
    """Whether a secret, however long, is in everybody's hands, or is of the same few characters."""
    return is_monotonous(secret) or secret == TEST_EMAIL_KEY


def _key_fault(key: str) -> str | None:
    """What is wrong with a key that somebody sets to hash addresses with."""
    if len(key) < _FEWEST_CHARACTERS:  # 128 bits, even of hexadecimal digits that repeat
        return f"at least {_FEWEST_CHARACTERS} characters, {_KEY_SOURCE}"
    if is_monotonous(key):
        return f"is too predictable; generate another one, {_KEY_SOURCE}"
    return None


class SettingsProblem(Exception):
    """One line per wrong setting, each naming the variable and what to do."""


T = TypeVar("T", tuple[str, ...], dict[str, str])

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
NEAR_ENOUGH: Final = 0.6
_OUT_OF_BOUNDS: Final = ("int_", "float_", "bool_", "literal_error", "greater_than", "less_than")
"""The kinds of errors that are explained by what the setting may be."""


def _are_input_topics(names: T) -> T:
    """Topics, without prefix, that producers write to: waiting for a name that no worker reads would be in vain."""
    for name in names:
        if name not in SOURCES:
            raise ValueError(f"no input topic {name!r}; {did_you_mean(name, SOURCES)}")
    return names


def _lead_to_input_topics(topics: dict[str, str]) -> dict[str, str]:
    _are_input_topics(tuple(topics.values()))
    return topics


class KafkaSettings(BaseModel):
    """Where Kafka is and how to talk to it, and how to log: what every process of a deployment needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka_brokers: Annotated[
        tuple[str, ...], BeforeValidator(comma_separated), AfterValidator(has_port), Field(min_length=1)
    ] = ("127.0.0.1:9092",)
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None

    start_wait_seconds: Annotated[float, Field(ge=1, le=3_600)] = 120.0
    """How long a process that starts waits for brokers that are away."""

    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=200)] = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError(f"{PREFIX}KAFKA_SECURITY={self.kafka_security} needs {PREFIX}KAFKA_USERNAME and _PASSWORD")
        return self

    @model_validator(mode="after")
    def _uses_what_is_set(self) -> Self:
        """Who sets a password, or a certificate, believes that the connection is protected by it."""
        security = f"{PREFIX}KAFKA_SECURITY={self.kafka_security}"
        if not self.kafka_security.startswith("SASL") and (self.kafka_username or self.kafka_password):
            raise ValueError(f"{security} uses no {PREFIX}KAFKA_USERNAME and _PASSWORD: SASL_SSL or SASL_PLAINTEXT do")
        if not self.kafka_security.endswith("SSL") and (
            self.kafka_ca_file or self.kafka_cert_file or self.kafka_key_file
        ):
            raise ValueError(f"{security} uses no {PREFIX}KAFKA_CA_FILE, _CERT_FILE or _KEY_FILE: SSL or SASL_SSL do")
        if self.kafka_key_file and not self.kafka_cert_file:
            raise ValueError(f"{PREFIX}KAFKA_KEY_FILE needs {PREFIX}KAFKA_CERT_FILE")
        return self

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for Kafka; None where the listener is plain. Raises SettingsProblem for unusable files."""
        if not self.kafka_security.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.kafka_ca_file) if self.kafka_ca_file else None)
            if self.kafka_cert_file:
                context.load_cert_chain(self.kafka_cert_file, self.kafka_key_file)
        except (OSError, ValueError) as error:
            raise SettingsProblem(f"{PREFIX}KAFKA_CA_FILE, _CERT_FILE or _KEY_FILE cannot be used: {error}") from None
        return context

    def kafka_client(self) -> dict[str, Any]:
        """Connection settings, as aiokafka names them. Raises SettingsProblem for unusable files."""
        found: dict[str, Any] = {
            "bootstrap_servers": list(self.kafka_brokers),
            "security_protocol": self.kafka_security,
        }
        if self.kafka_security.endswith("SSL"):
            found["ssl_context"] = self.ssl_context()
        if self.kafka_security.startswith("SASL"):
            found["sasl_mechanism"] = self.kafka_sasl_mechanism
            found["sasl_plain_username"] = self.kafka_username
            found["sasl_plain_password"] = self.kafka_password.get_secret_value() if self.kafka_password else None
        return found


class MemberSettings(KafkaSettings):
    """What a process needs besides that reads as a member of one of our groups, and reports on its status page."""

    group_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", validate_default=True)] = ""
    """Precedes groups, changelogs, transactional ids and keys in Redis; empty: made of ``topic_prefix``."""
    session_timeout_seconds: Annotated[float, Field(ge=1, le=300)] = 10.0
    status_host: Annotated[str, AfterValidator(may_be_listened_on)] = "127.0.0.1"
    status_port: Annotated[int, Field(ge=0, le=65_535)] = 6066
    """Where a worker answers ``/live``, ``/ready`` and ``/metrics``; 0: nowhere."""

    clock_start: Annotated[Instant, BeforeValidator(millis)] | None = None
    clock_started_at: Annotated[Instant, BeforeValidator(millis)] | None = None
    clock_speed: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0

    @property
    def has_test_clock(self) -> bool:
        """Whether another time than the real one counts: for tests and demonstrations only."""
        return self.clock_start is not None or self.clock_speed != 1

    @model_validator(mode="after")
    def _has_both_clock_times(self) -> Self:
        if (self.clock_start is None) != (self.clock_started_at is None):
            raise ValueError(f"{PREFIX}CLOCK_START and {PREFIX}CLOCK_STARTED_AT go together")
        return self

    @field_validator("group_prefix")
    @classmethod
    def _of_these_topics(cls, prefix: str, info: ValidationInfo) -> str:
        """Two deployments with topics of their own have groups of their own, unless somebody says otherwise."""
        return prefix or f"{info.data.get('topic_prefix', '')}referral-stream"


class Settings(MemberSettings):
    """What the workers need besides Kafka: Redis, where state lives, and which clock counts."""

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    redis_ca_file: Path | None = None
    redis_cert_file: Path | None = None
    redis_key_file: Path | None = None
    read_redis_url: SecretStr | None = None
    """Where the read models are; None: where the ledger is."""
    read_decisions: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """The newest decisions of the deployment that the read models can filter: some 1 KB each."""
    email_key: SecretStr | None = None
    """Needed to read source topics: see :func:`read_settings`."""
    email_key_changed_to: Annotated[str, Field(pattern=r"^[0-9a-f]{14}$")] | None = None
    """The fingerprint of the key, where it is meant to be another one than before."""

    partitions: Annotated[int, Field(ge=1, le=1_000)] = 24
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    topic_adapters: Annotated[
        dict[str, str], BeforeValidator(pairs(_ADAPTERS_FORM)), AfterValidator(_are_input_topics)
    ] = {}
    backfill_topics: Annotated[
        tuple[str, ...], BeforeValidator(comma_separated), AfterValidator(_are_input_topics)
    ] = ()

    policy_file: Path | None = None
    mappings_file: Path | None = None
    store: Literal["rocksdb", "memory"] = "memory"
    data_dir: Path | None = None
    fencing: Literal["transactions", "none"] = "transactions"
    static_member: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=200)] | None = None
    transaction_timeout_seconds: Annotated[float, Field(ge=1, le=900)] = 15.0
    """After this, the broker ends what a dead worker left open, and readers go on."""
    tracing: bool = False
    """Whether workers make OpenTelemetry spans, and carry trace contexts on as headers."""

    @property
    def leaves_data_dir_unused(self) -> bool:
        """Whether a folder for the state is set, and nobody has said that the state shall not be there."""
        return self.data_dir is not None and "store" not in self.model_fields_set

    def redis_tls(self) -> dict[str, str]:
        """TLS files of the connection to Redis, as redis-py names them; empty where none is set."""
        files = {
            "ssl_ca_certs": self.redis_ca_file,
            "ssl_certfile": self.redis_cert_file,
            "ssl_keyfile": self.redis_key_file,
        }
        return {name: str(file) for name, file in files.items() if file is not None}

    def check_redis_tls(self) -> None:
        """Raises SettingsProblem for unusable files, which the client would open at its first connection."""
        if not self.redis_tls():
            return
        try:
            context = ssl.create_default_context(cafile=str(self.redis_ca_file) if self.redis_ca_file else None)
            if self.redis_cert_file:
                context.load_cert_chain(self.redis_cert_file, self.redis_key_file)
        except (OSError, ValueError) as error:
            raise SettingsProblem(f"{PREFIX}REDIS_CA_FILE, _CERT_FILE or _KEY_FILE cannot be used: {error}") from None

    @field_validator("redis_url", "read_redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        from referral_stream.ledger.servers import url_problem  # noqa: PLC0415 (the receiver loads no Redis client)

        if (problem := url_problem(url.get_secret_value())) is not None:
            raise ValueError(problem)
        if "+sentinel" not in url.get_secret_value().partition("://")[0] and not is_redis_url(url.get_secret_value()):
            raise ValueError(REDIS_FORM)
        return url

    @field_validator("email_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and (fault := _key_fault(key.get_secret_value())):
            raise ValueError(fault)
        return key

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.store == "rocksdb" and self.data_dir is None:
            raise ValueError(f"{PREFIX}STORE=rocksdb needs {PREFIX}DATA_DIR, a separate folder for each worker")
        if self.store == "rocksdb" and importlib.util.find_spec("rocksdict") is None:
            raise ValueError(
                f"{PREFIX}STORE=rocksdb needs a library: {sys.executable} -m pip install 'rocksdict>=0.3.28,<0.4'"
            )
        if self.tracing and importlib.util.find_spec("opentelemetry") is None:
            raise ValueError(
                f"{PREFIX}TRACING=on needs a library: {sys.executable} -m pip install 'opentelemetry-api>=1.38,<2'"
            )
        if (self.redis_cert_file is None) != (self.redis_key_file is None):
            raise ValueError(f"{PREFIX}REDIS_CERT_FILE and {PREFIX}REDIS_KEY_FILE go together")
        if self.redis_tls() and not self.redis_url.get_secret_value().startswith(("rediss://", "rediss+sentinel://")):
            raise ValueError(f"{PREFIX}REDIS_CA_FILE, _CERT_FILE and _KEY_FILE need a {PREFIX}REDIS_URL of rediss://")
        return self


class ReceiverSettings(KafkaSettings):
    """What the webhook receiver needs besides Kafka. It knows neither Redis nor the key of the e-mail addresses.

    ``webhook_secrets`` and ``webhook_tokens`` are by vendor; a secret holds one credential per line, so that a new one
    can be taken beside the old. ``http_topics`` are topics by vendor, without prefix; CloudEvents are ``events`` there.
    ``mappings_file`` declares sources of the deployment's own, which have credentials as vendors do.
    """

    http_host: Annotated[str, AfterValidator(may_be_listened_on)] = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    http_cert_file: Path | None = None
    http_key_file: Path | None = None
    http_public_url: Annotated[str, AfterValidator(is_public_url)] | None = None
    http_max_body_bytes: Annotated[int, Field(ge=1_024, le=1_000_000)] = 256_000
    http_max_requests: Annotated[int, Field(ge=1, le=10_000)] = 64
    http_max_connections: Annotated[int, Field(ge=1, le=100_000)] = 512
    http_max_connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 128
    http_ack_seconds: Annotated[float, Field(gt=0, le=60)] = 4.0
    http_drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    http_topics: Annotated[
        dict[str, str], BeforeValidator(pairs(_TOPICS_FORM)), AfterValidator(_lead_to_input_topics)
    ] = {}
    http_events_token: SecretStr | None = None
    http_control_token: SecretStr | None = None
    mappings_file: Path | None = None
    webhook_secrets: dict[str, SecretStr] = {}
    webhook_tokens: dict[str, SecretStr] = {}

    @model_validator(mode="after")
    def _has_both_files(self) -> Self:
        if (self.http_cert_file is None) != (self.http_key_file is None):
            raise ValueError(f"{PREFIX}HTTP_CERT_FILE and {PREFIX}HTTP_KEY_FILE go together")
        return self

    def http_ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for HTTP; None where it is plain. Raises SettingsProblem for unusable files."""
        if self.http_cert_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.http_cert_file, self.http_key_file)
        except (OSError, ValueError) as error:
            raise SettingsProblem(f"{PREFIX}HTTP_CERT_FILE or _KEY_FILE cannot be used: {error}") from None
        return context


class RewardsSettings(MemberSettings):
    """What the role ``rewards`` needs besides Kafka: the payer. It knows neither Redis nor the key of the addresses."""

    rewards_url: SecretStr
    """Whoever knows it may know a token in it: it is printed nowhere."""
    rewards_secret: SecretStr
    rewards_previous_secret: SecretStr | None = None
    """While the payer changes to a new secret: every request is signed with both."""
    rewards_plain_http: bool = False
    rewards_ca_file: Path | None = None
    rewards_timeout_seconds: Annotated[float, Field(ge=0.1, le=120)] = 15.0
    rewards_in_flight: Annotated[int, Field(ge=1, le=1_000)] = 16
    rewards_backlog: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    rewards_begin: Literal["committed", "earliest"] = "committed"
    """Where to begin on a partition of which the group has no offset, although there are records."""

    @field_validator("rewards_secret", "rewards_previous_secret")
    @classmethod
    def _signs(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and (fault := secret_fault(secret.get_secret_value())):
            raise ValueError(fault)
        return secret

    @model_validator(mode="after")
    def _leads_to_a_payer(self) -> Self:
        fault = address_fault(self.rewards_url.get_secret_value(), plain_http=self.rewards_plain_http)
        if fault:
            raise ValueError(f"{PREFIX}REWARDS_URL: {fault}")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets to sign with, the new one first."""
        both = (self.rewards_secret, self.rewards_previous_secret)
        return tuple(secret.get_secret_value() for secret in both if secret is not None)

    def payer_ssl_context(self) -> ssl.SSLContext:
        """The TLS context for the payer. Raises SettingsProblem for an unusable file."""
        try:
            return ssl.create_default_context(cafile=str(self.rewards_ca_file) if self.rewards_ca_file else None)
        except (OSError, ValueError) as error:
            raise SettingsProblem(f"{PREFIX}REWARDS_CA_FILE cannot be used: {error}") from None


class ConsoleSettings(Settings, ConsoleOptions):
    """What the console needs: all of a worker's, and its own."""


_Kind = TypeVar("_Kind", Settings, ReceiverSettings, RewardsSettings, ConsoleSettings)
_KINDS = (Settings, ReceiverSettings, RewardsSettings, ConsoleSettings)
_NAMES = {name for kind in _KINDS for name in kind.model_fields} - {"webhook_secrets", "webhook_tokens"}
_OF_THE_PAYER = ("REWARDS_URL", "REWARDS_SECRET", "REWARDS_PREVIOUS_SECRET")
_SECRETS = (
    "KAFKA_PASSWORD",
    "REDIS_URL",
    "READ_REDIS_URL",
    "EMAIL_KEY",
    "HTTP_EVENTS_TOKEN",
    "HTTP_CONTROL_TOKEN",
    "CONSOLE_OIDC_CLIENT_SECRET",
    *_OF_THE_PAYER,
)
_PER_VENDOR = {"webhook_secrets": f"{PREFIX}WEBHOOK_SECRET_", "webhook_tokens": f"{PREFIX}WEBHOOK_TOKEN_"}
"""Settings of which there is one per vendor, whose name is the rest of the variable's."""


def read_settings(
    environment: Mapping[str, str] | None = None, *, email_key_needed: bool = True, **overrides: Any
) -> Settings:
    """The settings in the environment (default: the process's own). Raises SettingsProblem with one line per fault.

    ``email_key_needed``: whether the process hashes addresses; one that only inspects topics does without that secret.
    """
    return _read(Settings, environment, overrides, needed=("EMAIL_KEY",) if email_key_needed else ())


def read_receiver_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> ReceiverSettings:
    """The receiver's settings, likewise."""
    return _read(ReceiverSettings, environment, overrides)


def read_rewards_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> RewardsSettings:
    """The settings of the role ``rewards``, likewise."""
    return _read(RewardsSettings, environment, overrides)


def read_console_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> ConsoleSettings:
    """The console's settings, likewise."""
    return _read(ConsoleSettings, environment, overrides)


def payer_is_named(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment says anything about the payer: other processes need none."""
    return any(name.startswith(f"{PREFIX}REWARDS_") for name in (os.environ if environment is None else environment))


def _read(
    kind: type[_Kind],
    environment: Mapping[str, str] | None,
    overrides: Mapping[str, Any],
    needed: tuple[str, ...] = (),
) -> _Kind:
    env = dict(os.environ if environment is None else environment)
    given: dict[str, Any] = {}
    faults = [
        f"{variable}: {fault}" for variable, value in sorted(env.items()) if (fault := _text_fault(variable, value))
    ]
    if faults:
        raise SettingsProblem("\n".join(faults))
    faults = [f"{variable}: set beside {variable}_FILE; keep one of them" for variable in _given_twice(env)]
    for name in kind.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        if name in _PER_VENDOR:
            given[name] = _by_vendor(env, _PER_VENDOR[name])
        elif env.get(variable):
            given[name] = env[variable]
        elif name.upper() in _SECRETS and (file := env.get(f"{variable}_FILE")):
            given[name] = _secret_in(file, f"{variable}_FILE")
    faults += [f"{name}: no such setting; {_nearest(name)}" for name in sorted(env) if not _is_setting(name)]
    faults += [
        f"{PREFIX}{name}: set it (or {PREFIX}{name}_FILE), {_KEY_SOURCE}"
        for name in needed
        if name.lower() not in {*given, *overrides}
    ]
    if given.get("email_key") == TEST_EMAIL_KEY:
        faults.append(f"{PREFIX}EMAIL_KEY: this is the public key of the demo; generate your own, {_KEY_SOURCE}")
    try:
        settings = kind.model_validate({**given, **overrides})
    except ValidationError as error:
        faults += [_fault(kind, item) for item in error.errors(include_url=False, include_input=False)]
        raise SettingsProblem("\n".join(faults)) from None
    if faults:
        raise SettingsProblem("\n".join(faults))
    return settings


def _text_fault(variable: str, value: str) -> str | None:
    """What none of our settings may hold. The value is not quoted: it may be a secret."""
    if not variable.startswith(PREFIX):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that Python had to keep as they are
        return "is not UTF-8 text"
    if _CONTROL.search(value) and not variable.startswith(
        tuple(_PER_VENDOR.values())
    ):  # of which a line holds one each
        return "contains a control character, such as a line break"
    return None


def _is_setting(variable: str) -> bool:
    """Whether the variable is a setting of any process of a deployment, or of another program."""
    if not variable.startswith(PREFIX) or variable.startswith(tuple(_PER_VENDOR.values())):
        return True
    name = variable.removeprefix(PREFIX)
    return name.lower() in _NAMES or name.removesuffix("_FILE") in _SECRETS


def _given_twice(env: Mapping[str, str]) -> list[str]:
    """Secrets that are set by value and by file: it would be unclear which one counts."""
    secret = tuple(f"{PREFIX}{name}" for name in _SECRETS)
    return [
        name
        for name, value in sorted(env.items())
        if value and env.get(f"{name}_FILE") and (name in secret or name.startswith(tuple(_PER_VENDOR.values())))
    ]


def _by_vendor(env: Mapping[str, str], prefix: str) -> dict[str, str]:
    """What is set for each vendor, from a file where there is one and no value."""
    found: dict[str, str] = {}
    for variable, value in env.items():
        if variable.startswith(prefix) and value:
            vendor = variable.removeprefix(prefix).removesuffix("_FILE").lower()
            if not variable.endswith("_FILE"):
                found[vendor] = value
            elif not env.get(variable.removesuffix("_FILE")):
                found[vendor] = _secret_in(value, variable)
    return found


def replay_email_key(environment: Mapping[str, str] | None = None) -> bytes:
    """The key for addresses in a replayed log: the deployment's if set, else the test key. Raises SettingsProblem."""
    env = os.environ if environment is None else environment
    variable = f"{PREFIX}EMAIL_KEY"
    if file := env.get(f"{variable}_FILE"):
        if env.get(variable):
            raise SettingsProblem(f"{variable}: set beside {variable}_FILE; keep one of them")
        key = _secret_in(file, f"{variable}_FILE")
    else:
        key = env.get(variable) or TEST_EMAIL_KEY
    if fault := _key_fault(key):
        raise SettingsProblem(f"{variable}: {fault}")
    return key.encode()


def kafka_password_now(settings: KafkaSettings) -> SecretStr | None:
    """The password as its file has it now; the one that we have, if it comes from no file, or that cannot be read."""
    return _now("KAFKA_PASSWORD", settings.kafka_password)


def redis_url_now(settings: Settings, name: Literal["redis_url", "read_redis_url"] = "redis_url") -> str:
    """The address of a Redis, likewise. ``read_redis_url`` must be set."""
    held = settings.redis_url if name == "redis_url" else settings.read_redis_url
    now = _now(name.upper(), held)
    if held is None or now is None:
        raise ValueError(name)
    return now.get_secret_value()


def _now(name: str, held: SecretStr | None) -> SecretStr | None:
    file = os.environ.get(f"{PREFIX}{name}_FILE")
    try:
        return SecretStr(_secret_in(file, "")) if file and not os.environ.get(f"{PREFIX}{name}") else held
    except SettingsProblem:
        return held


def _secret_in(file: str, variable: str) -> str:
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsProblem(f"{variable}: {error.filename}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsProblem(f"{variable}: {file}: is not UTF-8 text") from None
    if fault := _text_fault(variable, secret):
        raise SettingsProblem(f"{variable}: {file}: {fault}")
    return secret


def _fault(kind: type[BaseModel], error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    name = str(error["loc"][0])
    if error["type"] == "missing":
        message = "set it, or its _FILE" if name.upper() in _SECRETS else "set it"
    elif error["type"].startswith(_OUT_OF_BOUNDS):
        message = f"must be {schema_words(kind.model_json_schema()['properties'][name])}"
    elif error["type"] == "too_short":
        message = "name at least one"
    elif name == "email_key_changed_to":
        message = "the fingerprint of the new key, 14 hexadecimal digits: ingest names it when it refuses that key"
    elif error["type"] == "string_pattern_mismatch":  # of prefixes, which become parts of topics' names
        message = "may contain only letters, digits and . _ -"
    return f"{PREFIX}{name.upper()}: {message}"


def _nearest(variable: str) -> str:
    near = nearest(variable.removeprefix(PREFIX), [name.upper() for name in sorted(_NAMES)], NEAR_ENOUGH)
    return f"did you mean {PREFIX}{near}?" if near else "docs/operations.md lists them"
