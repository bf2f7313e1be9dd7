"""Settings of a deployment: the only reader of the environment.

Every setting is an environment variable ``REFERRAL_STREAM_<NAME>``. A secret may also come from a file that
``<NAME>_FILE`` names. A wrong or missing setting stops the start with one line that names the variable and the remedy.
"""

from __future__ import annotations

import difflib
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from referral_stream.core.instants import Instant

PREFIX = "REFERRAL_STREAM_"


TEST_EMAIL_KEY = "referral-stream-test-key"
"""``replay`` and ``demo`` hash addresses with this key unless one is given: equal in, equal out, on every machine."""


class SettingsProblem(Exception):
    """One line per wrong setting, each naming the variable and what to do."""


def _comma_separated(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """``"billing=stripe,nps=delighted"`` → a dict."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _comma_separated(value)]
    if not all(name and sign and adapter for name, sign, adapter in pairs):
        raise ValueError("write topic=adapter, separated by commas, for example billing=stripe")
    return {name.strip(): adapter.strip() for name, _, adapter in pairs}


def _millis(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _has_port(brokers: tuple[str, ...]) -> tuple[str, ...]:
    for broker in brokers:
        host, _, port = broker.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{broker!r} is not host:port")
    return brokers


class Settings(BaseModel):
    """Where Kafka and Redis are, how to talk to them, where state lives, and which clock counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka_brokers: Annotated[
        tuple[str, ...], BeforeValidator(_comma_separated), AfterValidator(_has_port), Field(min_length=1)
    ] = ("127.0.0.1:9092",)
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    redis_ca_file: Path | None = None
    email_key: SecretStr

    topic_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = ""
    group_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "referral-stream"
    partitions: Annotated[int, Field(ge=1, le=1_000)] = 24
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    topic_adapters: Annotated[dict[str, str], BeforeValidator(_pairs)] = {}
    backfill_topics: Annotated[tuple[str, ...], BeforeValidator(_comma_separated)] = ()

    policy_file: Path | None = None
    store: Literal["rocksdb", "memory"] = "memory"
    data_dir: Path | None = None
    fencing: Literal["transactions", "none"] = "transactions"
    static_member: str | None = None
    session_timeout_seconds: Annotated[float, Field(ge=1, le=300)] = 10.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"

    clock_start: Annotated[Instant, BeforeValidator(_millis)] | None = None
    clock_started_at: Annotated[Instant, BeforeValidator(_millis)] | None = None
    clock_speed: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("begins with redis://, rediss:// (TLS) or unix://, for example redis://127.0.0.1:6379/0")
        return url

    @field_validator("email_key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < 16:  # noqa: PLR2004 (128 bits as text)
            raise ValueError("at least 16 characters, for example from: openssl rand -hex 32")
        return key

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if self.store == "rocksdb" and self.data_dir is None:
            raise ValueError(f"{PREFIX}STORE=rocksdb needs {PREFIX}DATA_DIR, a folder of its own for each worker")
        if self.kafka_security.startswith("SASL") and not (self.kafka_username and self.kafka_password):
            raise ValueError(f"{PREFIX}KAFKA_SECURITY={self.kafka_security} needs {PREFIX}KAFKA_USERNAME and _PASSWORD")
        if (self.clock_start is None) != (self.clock_started_at is None):
            raise ValueError(f"{PREFIX}CLOCK_START and {PREFIX}CLOCK_STARTED_AT go together")
        return self

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context for Kafka; None where the listener is plain. Raises SettingsProblem for unusable files."""
        if not self.kafka_security.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.kafka_ca_file) if self.kafka_ca_file else None)
            if self.kafka_cert_file:
                context.load_cert_chain(self.kafka_cert_file, self.kafka_key_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsProblem(f"{PREFIX}KAFKA_CA_FILE, _CERT_FILE or _KEY_FILE cannot be used: {error}") from None
        return context


_SECRETS = ("KAFKA_PASSWORD", "REDIS_URL", "EMAIL_KEY")


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings in the environment (default: the process's own). Raises SettingsProblem with one line per fault."""
    env = dict(os.environ if environment is None else environment)
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        variable = f"{PREFIX}{name.upper()}"
        if env.get(variable):
            given[name] = env[variable]
    for secret in _SECRETS:
        if (file := env.get(f"{PREFIX}{secret}_FILE")) and not env.get(f"{PREFIX}{secret}"):
            given[secret.lower()] = _secret_in(file, f"{PREFIX}{secret}_FILE")
    unknown = sorted(
        name
        for name in env
        if name.startswith(PREFIX)
        and name.removeprefix(PREFIX).removesuffix("_FILE").lower() not in Settings.model_fields
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    )
    faults = [f"{name}: no such setting; {_nearest(name)}" for name in unknown]
    try:
        settings = Settings.model_validate({**given, **overrides})
    except ValidationError as error:
        faults += [_fault(item) for item in error.errors(include_url=False, include_input=False)]
        raise SettingsProblem("\n".join(faults)) from None
    if faults:
        raise SettingsProblem("\n".join(faults))
    return settings


def replay_email_key(environment: Mapping[str, str] | None = None) -> bytes:
    """The key for addresses in a replayed log: the deployment's if it is set, else the fixed test key."""
    env = os.environ if environment is None else environment
    return env.get(f"{PREFIX}EMAIL_KEY", TEST_EMAIL_KEY).encode()


def _secret_in(file: str, variable: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsProblem(f"{variable}: {error.filename}: {error.strerror}") from None


def _fault(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    variable = f"{PREFIX}{str(error['loc'][0]).upper()}"
    if error["type"] == "missing":
        return f"{variable}: set it (or {variable}_FILE), for example from: openssl rand -hex 32"
    return f"{variable}: {message}"


def _nearest(name: str) -> str:
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else "referral-stream doctor lists them"
