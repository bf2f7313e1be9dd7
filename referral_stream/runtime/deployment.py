"""A deployment: its settings, policy and clock, and the names and clients that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from referral_stream import __version__
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.mapping import language
from referral_stream.contracts.mapping.parsing import MappingProblem, parse_mappings
from referral_stream.contracts.toml_file import read_toml
from referral_stream.contracts.topics import TOPICS, Topics, changelogs, positions
from referral_stream.core.policy import Policy
from referral_stream.ledger.client import RedisLedger
from referral_stream.ledger.servers import client_of, is_tls
from referral_stream.read_models.reader import Reader
from referral_stream.read_models.writing import Writer
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.settings import PREFIX, Settings, SettingsProblem, redis_url_now

READ_SECONDS: Final = 10.0
"""How long the Redis of the read models may take: a batch blocks it for a fraction of a second."""

ROLES: Final = ("ingest", "decide", "ledger")
"""The workers' roles: each is a consumer group, and runs alone or with the others."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """All that the roles have in common."""

    settings: Settings
    policy: Policy
    clock: Clock
    fetch_wait_seconds: float = 0.25
    """How long the broker may hold a fetch back until there is something to deliver."""

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    @property
    def boundary(self) -> Boundary:
        """How source topics are read. Raises ValueError, MappingProblem and OSError for unusable settings."""
        key = self.settings.email_key
        if key is None:
            raise SettingsProblem(
                f"{PREFIX}EMAIL_KEY: set it (or {PREFIX}EMAIL_KEY_FILE): addresses are hashed with it"
            )
        return self._boundary(key.get_secret_value().encode())

    def _boundary(self, email_key: bytes) -> Boundary:
        s = self.settings
        return Boundary(
            email_key=email_key,
            adapters=s.topic_adapters,
            prefix=s.topic_prefix,
            backfill_topics=frozenset(s.backfill_topics),
            mappings=parse_mappings(read_toml(s.mappings_file), str(s.mappings_file))
            if s.mappings_file
            else language.NONE,
            identity=self.policy.identity,
        )

    @property
    def described(self) -> dict[str, str]:
        """What is running here, for a log: no secret is in it."""
        s, policy = self.settings, self.policy
        return {
            "version": __version__,
            "policy": f"{policy.name} {policy.version}",
            "policy_hash": policy.hash,
            "brokers": ",".join(s.kafka_brokers),
            "group_prefix": s.group_prefix,
            "topic_prefix": s.topic_prefix,
            "store": s.store,
        }

    def check(self) -> None:
        """Raises SettingsProblem where a setting names a file or an adapter that cannot be used."""
        self.settings.ssl_context()
        self.settings.check_redis_tls()
        try:
            self._boundary(b"")
        except MappingProblem as problem:
            raise SettingsProblem(str(problem)) from None
        except OSError as error:
            raise SettingsProblem(f"{PREFIX}MAPPINGS_FILE: {error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise SettingsProblem(f"{PREFIX}TOPIC_ADAPTERS: {error}") from None

    @property
    def positions(self) -> str:
        """The topic of positions (``contracts.topics.positions``)."""
        return positions(self.settings.group_prefix)

    @property
    def own_topics(self) -> tuple[str, ...]:
        """Every topic whose partitions the settings fix: all but the sources; changelogs and positions included."""
        ours = (self.topics.full_name(topic.name) for topic in TOPICS.values() if not topic.source)
        return (*ours, *changelogs(self.group("decide")), self.positions)

    def group(self, role: str) -> str:
        """The consumer group of a role; also the prefix of its changelogs and transactional ids."""
        return f"{self.settings.group_prefix}-{role}"

    def client(self) -> dict[str, Any]:
        """Connection settings, as aiokafka names them."""
        return self.settings.kafka_client()

    def reader(self) -> Reader:
        """Reads the read models; nothing is sent yet. The caller closes it."""
        return Reader(self._read_client(), prefix=self.settings.group_prefix)

    def writer(self) -> Writer:
        """Writes them, likewise: for the projector alone."""
        s = self.settings
        return Writer(self._read_client(), prefix=s.group_prefix, log_kept=s.read_decisions)

    def _read_client(self) -> Any:
        s = self.settings
        name: Literal["redis_url", "read_redis_url"] = "read_redis_url" if s.read_redis_url else "redis_url"
        url = redis_url_now(s, name)
        timeouts = {"socket_timeout": READ_SECONDS, "socket_connect_timeout": READ_SECONDS}
        tls = s.redis_tls() if is_tls(url) else {}
        return client_of(url, url_now=lambda: redis_url_now(s, name), **timeouts, **tls)

    def ledger(self) -> RedisLedger:
        """The ledger of this deployment; nothing is sent yet. The caller closes it."""
        s = self.settings
        return RedisLedger.connect(
            s.redis_url.get_secret_value(),
            self.policy,
            prefix=s.group_prefix,
            tls=s.redis_tls(),
            url_now=lambda: redis_url_now(s),
        )
