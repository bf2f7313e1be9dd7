"""A real Apache Kafka broker (KRaft, one node) on a JVM, from its Maven Central artefacts.

    with KafkaServer() as kafka:
        kafka.create_topics({"nps": 4, "customer-events": 8})
        ... kafka.bootstrap ...

The jars (54 MB) are fetched once by Maven into `~/.cache/referral-stream/kafka-VERSION`; a start takes a few seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from referral_stream.ops.rights import Right
from tests.services.certificates import Certificates, issue_certificates
from tests.services.process import (
    ServerProcess,
    ServiceFailed,
    ServiceUnavailable,
    accepts_connections,
    free_port,
    wait_until,
)

KAFKA_VERSION = "4.3.0"
_LOG4J_VERSION = "2.25.3"  # the artefacts of the broker bring no logger of their own
_CLUSTER_ID = "cmVmZXJyYWwtc3RyZWFtMQ"  # any 16 bytes in URL-safe base64
_NODE_ID = 1
_FETCH_SECONDS = 600
_FORMAT_SECONDS = 60
_READY_SECONDS = 90
_ADMIN = "admin"
_SOON_UP = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For a broker of some seconds or minutes: it computes 40 % less until it is up, for it compiles less."""

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>referral-stream</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{_LOG4J_VERSION}</version></dependency>
  </dependencies>
</project>
"""

_LOG4J = """rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1} %m%n
"""


_LOG4J_OF_RIGHTS = """logger.rights.name = kafka.authorizer.logger
logger.rights.level = debug
"""
"""Every right that a client makes use of, and every one that it lacks."""


def java_missing() -> str | None:
    """Why Kafka cannot be started on this machine, with the remedy; None when it can."""
    if shutil.which("java") is None:
        return "Apache Kafka needs Java 17 or later: apt-get install openjdk-17-jre-headless"
    if not _jar_folder().is_dir() and shutil.which("mvn") is None:
        return "the jars of Apache Kafka are fetched by Maven once: apt-get install maven"
    return None


def kafka_jars() -> Path:
    """The folder with the broker's jars, fetched when it is not there. Safe to call from several processes at once."""
    if reason := java_missing():
        raise ServiceUnavailable(reason)
    jars = _jar_folder()
    jars.parent.mkdir(parents=True, exist_ok=True)
    # The lock is for Maven's own repository, which two Mavens must not fill at once;
    # the rename is for a fetch that is interrupted.
    with jars.with_name(f"{jars.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetching-") as scratch:
                _fetch(Path(scratch)).rename(jars)
    return jars


def _jar_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "referral-stream" / f"kafka-{KAFKA_VERSION}"


def _fetch(scratch: Path) -> Path:
    (scratch / "pom.xml").write_text(_POM)
    jars = scratch / "jars"
    command = [
        "mvn",
        "-q",
        "-B",
        "--strict-checksums",
        "-f",
        str(scratch / "pom.xml"),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={jars}",
    ]
    fetched = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    if fetched.returncode != 0:
        raise ServiceUnavailable(
            f"Maven could not fetch Apache Kafka {KAFKA_VERSION}:\n{fetched.stdout[-2000:]}{fetched.stderr[-2000:]}"
        )
    return jars


def _allowed(
    user: str, kind: ResourceType, name: str, pattern: ResourcePatternType, operation: AclOperation
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def _in_capitals(operation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()


def _kept(topic: str) -> dict[str, str]:
    return {"cleanup.policy": "compact"} if topic.endswith("-changelog") else {}


class KafkaServer:
    """One broker with its own ports and data directory; topics are never created by merely being named.

    `secured=True` makes the only client listener TLS with SASL/SCRAM-SHA-512 and an authorizer: user `admin` may do
    all, each of `users` what `grant()` gave it; `ca_file`, `passwords` and `client_settings()` are for its clients.
    `settings` are further lines for the broker's server.properties, and win over ours. `java`: options of the JVM, none
    for a broker that is measured.
    """

    def __init__(
        self,
        *,
        secured: bool = False,
        users: tuple[str, ...] = ("app",),
        settings: Mapping[str, str] | None = None,
        heap: str = "512m",
        java: tuple[str, ...] = _SOON_UP,
        node: int = _NODE_ID,
    ) -> None:
        self._node = node
        self._settings = dict(settings or {})
        self._front: tuple[int, int] | None = None
        self._java = (f"-Xmx{heap}", *java)
        self._process: ServerProcess | None = None
        self._port = free_port()
        self._controller_port = free_port()
        self.passwords = {user: secrets.token_hex(12) for user in (_ADMIN, *users)} if secured else {}
        self._certificates: Certificates | None = None
        self._secured = secured
        self._jars = kafka_jars()
        self.home = Path(tempfile.mkdtemp(prefix="kafka-for-tests-"))

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def voter(self) -> str:
        """The node as its quorum of controllers knows it."""
        return f"{self._node}@127.0.0.1:{self._controller_port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, PEM (secured brokers only)."""
        if self._certificates is None:
            raise ValueError("a broker without TLS, or not yet started, has no certificate")
        return self._certificates.authority

    @property
    def log(self) -> Path:
        return self.home / "broker.log"

    @property
    def pid(self) -> int:
        return self._running().pid

    def client_settings(self, user: str = _ADMIN) -> dict[str, str | int | float | bool]:
        """What a librdkafka client must be given to reach this broker as `user`."""
        settings: dict[str, str | int | float | bool] = {"bootstrap.servers": self.bootstrap, "log_level": 0}
        if self._secured:
            settings |= {
                "security.protocol": "SASL_SSL",
                "ssl.ca.location": str(self.ca_file),
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": user,
                "sasl.password": self.passwords[user],
            }
        return settings

    def add_settings(self, settings: Mapping[str, str]) -> None:
        """Further lines for server.properties; before the first start only."""
        self._settings.update(settings)

    def behind(self, port: int) -> int:
        """Listen on a second loopback port too, the result, and tell its clients to come to `port` from then on.

        Before the first start, or while it is stopped: then they are told another one when it is there again.
        """
        listens = free_port() if self._front is None else self._front[0]
        self._front = (listens, port)
        written = self.home / "server.properties"
        if written.exists():
            told = self._properties()["advertised.listeners"]
            lines = written.read_text().splitlines()
            moved = [f"advertised.listeners={told}" if line.startswith("advertised.") else line for line in lines]
            written.write_text("".join(f"{line}\n" for line in moved))
        return listens

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self) -> Self:
        """Start on the data that is there (or on none) and return when clients get answers."""
        if not (self.home / "server.properties").exists():
            self._prepare()
        command = [
            "java",
            *self._java,
            f"-Dlog4j2.configurationFile={self.home / 'log4j2.properties'}",
            "-cp",
            f"{self._jars}/*",
            "kafka.Kafka",
            str(self.home / "server.properties"),
        ]
        self._process = ServerProcess("Apache Kafka", command, self.log)
        self._process.await_ready(self._answers, seconds=_READY_SECONDS)
        return self

    def stop(self) -> None:
        """An orderly shutdown; the data stays."""
        if self._process is not None:
            self._process.stop()

    def kill9(self) -> None:
        """The crash of a broker; the data stays as it lies on the disk."""
        self._running().kill9()

    def restart(self) -> Self:
        """Stop if running, and start again on the same port and data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freeze the broker: connections stay open, nothing answers."""
        self._running().pause()

    def resume(self) -> None:
        self._running().resume()

    def close(self) -> None:
        """Stop and remove every trace."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def keep_files(self, folder: Path) -> None:
        """Copy what the broker has on disk, and its log."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.home / "data", folder, ignore=shutil.ignore_patterns("*index", "*.snapshot"))
        shutil.copy(self.log, folder)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_topics(self, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics (name → partitions) with this config; return when clients see a leader of every partition.

        Changelogs are compacted, as workers want them.
        """
        admin = AdminClient(self.client_settings())
        created = admin.create_topics(
            [NewTopic(name, count, 1, config=_kept(name) | dict(config or {})) for name, count in topics.items()],
            request_timeout=30,
        )
        for future in created.values():
            future.result(30)

        def all_led() -> bool:
            known = admin.list_topics(timeout=5).topics
            return all(
                name in known
                and len(known[name].partitions) == count
                and all(p.leader == self._node for p in known[name].partitions.values())
                for name, count in topics.items()
            )

        wait_until(all_led, f"the topics {', '.join(topics)} have leaders")

    def delete_topic(self, topic: str) -> None:
        """Delete a topic with all its records; return when the broker has done it."""
        admin = AdminClient(self.client_settings())
        for future in admin.delete_topics([topic]).values():
            future.result(30)

    def reset_offsets(self, group: str, topic: str, offset: int | None) -> None:
        """Set the committed offsets of a group without members to `offset` in every partition; None: to the ends."""
        ends = self._ends(topic)
        reset = [TopicPartition(topic, at, end if offset is None else offset) for at, end in ends.items()]
        admin = AdminClient(self.client_settings())
        for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, reset)]).values():
            future.result(30)

    def compact_at_once(self, *topics: str) -> None:
        """Let the cleaner take all of these topics but what was written last, seconds after the next write."""
        eager = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.0001", "delete.retention.ms": "0"}
        eager |= {"cleanup.policy": "compact", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100"}
        for topic in topics:
            self.configure(topic, **eager)

    def configure(self, topic: str, **config: str) -> None:
        """Change these settings of a topic, and no other."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        admin = AdminClient(self.client_settings())
        wanted = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]
        for future in admin.incremental_alter_configs(wanted).values():
            future.result(30)

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic that many partitions; return when clients see a leader of each."""
        admin = AdminClient(self.client_settings())
        for future in admin.create_partitions([NewPartitions(topic, partitions)]).values():
            future.result(30)

        def all_led() -> bool:
            found = admin.list_topics(topic, timeout=5).topics[topic].partitions
            return len(found) == partitions and all(each.leader == self._node for each in found.values())

        wait_until(all_led, f"the {partitions} partitions of {topic} have leaders")

    def remove_records(self, topic: str, *, but: int = 0) -> None:
        """Remove every record of a topic ``but`` the last ones of each partition, as retention does: offsets stay."""
        ends = self._ends(topic).items()
        removed = [TopicPartition(topic, partition, max(0, end - but)) for partition, end in ends]
        admin = AdminClient(self.client_settings())
        for future in admin.delete_records(removed).values():
            future.result(30)

    def _ends(self, topic: str) -> dict[int, int]:
        admin = AdminClient(self.client_settings())
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # its stub says nothing
        asked = {
            TopicPartition(topic, partition): latest
            for partition in admin.list_topics(topic, timeout=20).topics[topic].partitions
        }
        for _ in range(60):  # a new topic may have no leader yet
            try:
                return {tp.partition: future.result(30).offset for tp, future in admin.list_offsets(asked).items()}
            except KafkaException as error:
                if error.args[0].code() not in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):
                    raise
                time.sleep(0.5)
        raise TimeoutError(f"{topic} has no leader")

    def add_partitions(self, topic: str, number: int) -> int:
        """Let a topic have so many more partitions; how many it has now."""
        admin = AdminClient(self.client_settings())
        total = len(admin.list_topics(topic, timeout=20).topics[topic].partitions) + number
        for future in admin.create_partitions([NewPartitions(topic, total)]).values():
            future.result(30)
        return total

    def set_topic(self, topic: str, name: str, value: str | None) -> None:
        """Change one setting of a topic; None: back to the broker's own."""
        operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        entry = ConfigEntry(name, value or "", incremental_operation=operation)
        wanted = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient(self.client_settings())  # kept: what it has begun ends with it
        for future in admin.incremental_alter_configs([wanted]).values():
            future.result(30)

    def grant(self, user: str, prefix: str) -> None:
        """Let `user` do all with topics, groups and transactional ids named `prefix…` (secured brokers only)."""
        kinds = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
        prefixed = ResourcePatternType.PREFIXED
        self._allow([_allowed(user, kind, prefix, prefixed, AclOperation.ALL) for kind in kinds])

    def grant_rights(self, user: str, rights: Iterable[Right]) -> None:
        """Let `user` do exactly this (secured brokers only)."""
        self._allow(
            [
                _allowed(
                    user,
                    ResourceType[right.kind.upper().replace("-", "_")],
                    right.name,
                    ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
                    AclOperation[_in_capitals(right.operation)],
                )
                for right in rights
            ]
        )

    def _allow(self, bindings: list[AclBinding]) -> None:
        admin = AdminClient(self.client_settings())
        for future in admin.create_acls(bindings).values():
            future.result(30)

    def rights_used(self, user: str) -> set[tuple[str, str]]:
        """(operation, resource) of everything that `user` was allowed so far, as the broker spells them."""
        return set(
            re.findall(rf"Principal = User:{user} is Allowed operation = (\w+) .* on resource = (\S+)", self._logged())
        )

    def rights_missed(self, user: str) -> set[tuple[str, str]]:
        """Likewise, of everything that `user` was denied."""
        return set(
            re.findall(rf"Principal = User:{user} is Denied operation = (\w+) .* on resource = (\S+)", self._logged())
        )

    def _logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _running(self) -> ServerProcess:
        if self._process is None:
            raise ValueError("the broker was never started")
        return self._process

    def _answers(self) -> bool:
        if not accepts_connections(self._port):
            return False
        with contextlib.suppress(KafkaException):
            return self._node in AdminClient(self.client_settings()).list_topics(timeout=2).brokers
        return False

    def _prepare(self) -> None:
        if self._secured:
            self._certificates = issue_certificates(self.home)
        (self.home / "log4j2.properties").write_text(_LOG4J + (_LOG4J_OF_RIGHTS if self._secured else ""))
        unformatted = self.home / "server.properties.unformatted"
        unformatted.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        command = [
            "java",
            *_SOON_UP,
            "-cp",
            f"{self._jars}/*",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            _CLUSTER_ID,
            "-c",
            str(unformatted),
        ]
        for user, password in self.passwords.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        formatted = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_SECONDS, check=False)
        if formatted.returncode != 0:
            raise ServiceFailed(f"Kafka's storage could not be formatted:\n{formatted.stdout}{formatted.stderr}")
        unformatted.rename(self.home / "server.properties")

    def _properties(self) -> dict[str, str]:
        clients = "SASL_SSL" if self._secured else "PLAINTEXT"
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(self._node),
            "controller.quorum.voters": self.voter,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{clients}://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"{clients}://127.0.0.1:{self._port}",
            "inter.broker.listener.name": clients,
            "listener.security.protocol.map": f"{clients}:{clients},CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.home / "data"),
            "auto.create.topics.enable": "false",
            # One node: nothing to replicate to, no reason to wait for members, few internal partitions to create.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # After a crash the controller takes the broker back only when its old session has run out.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.backoff.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
        }
        if self._certificates is not None:
            module = "org.apache.kafka.common.security.scram.ScramLoginModule"
            login = f'{module} required username="{_ADMIN}" password="{self.passwords[_ADMIN]}";'
            properties |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self._certificates.server),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self._certificates.authority),
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": login,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                # ANONYMOUS is the broker talking to its own controller over the plain listener; clients cannot be it.
                "super.users": f"User:{_ADMIN};User:ANONYMOUS",
            }
        if self._front is not None:
            listens, told = self._front
            properties["listeners"] += f",FRONT://127.0.0.1:{listens}"
            properties["advertised.listeners"] += f",FRONT://127.0.0.1:{told}"
            properties["listener.security.protocol.map"] += ",FRONT:PLAINTEXT"
        return properties | self._settings
