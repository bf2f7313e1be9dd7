"""``topics create`` and ``topics check``: create the topics that the contract requires, or say how to correct them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, UnknownTopicOrPartitionError, for_code

from referral_stream.contracts.topics import COMPACTED, TOPICS, Kept, changelogs
from referral_stream.runtime.connection import quiet_kafka, why_no_connection
from referral_stream.runtime.deployment import Deployment

LEAST_RECORD_BYTES: Final = 1_000_000
"""What every topic of ours has to take: a record of 900,000 bytes, with what Kafka adds."""

KAFKAS_DEFAULT_BYTES: Final = 1_048_588
_LIMIT: Final = "max.message.bytes"

_AT_LEAST: Final = frozenset({"retention.ms", "max.message.bytes", "min.insync.replicas"})


class TopicsProblem(Exception):
    """The broker refused, or cannot be reached; one line that says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One topic as it should be; ``partitions`` None: any number (source topics belong to their producers)."""

    name: str
    partitions: int | None
    kept: Kept


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """One line of ``topics check``: what is wrong with a topic, and the remedy. Empty ``problem``: nothing is wrong."""

    topic: str
    problem: str = ""
    remedy: str = ""


def wanted(deployment: Deployment) -> tuple[Wanted, ...]:
    """Every topic of the deployment, changelogs included."""
    partitions, topics = deployment.settings.partitions, deployment.topics
    found = [
        Wanted(topics.full_name(topic.name), None if topic.source else partitions, topic.keep)
        for topic in TOPICS.values()
    ]
    found += [Wanted(name, partitions, COMPACTED) for name in changelogs(deployment.group("decide"))]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A consumer group as the broker knows it; ``offsets`` are the committed ones.

    ``reads``: the topics of each member that says so, and of the committed offsets.
    """

    name: str
    state: str
    members: int
    offsets: Mapping[TopicPartition, int]
    reads: Sequence[frozenset[str]] = ()


async def groups(deployment: Deployment, names: Sequence[str]) -> list[GroupSeen]:
    """The consumer groups of these names. Raises TopicsProblem, also where one may not be described.

    On a cluster where no group was ever formed there is no coordinator yet: there all of them are without members.
    """
    async with _Admin(deployment) as admin:
        found = []
        for name in names:
            try:
                (response,) = await admin.describe_consumer_groups([name])
            except GroupCoordinatorNotAvailableError:
                found.append(GroupSeen(name, "Empty", 0, {}))
                continue
            ((code, _, state, _, _, members, *_),) = response.groups
            if code:
                raise TopicsProblem(f"group {name}: {for_code(code).__name__}")
            committed = await admin.list_consumer_group_offsets(name)
            offsets = {tp: at.offset for tp, at in committed.items() if at.offset >= 0}
            told = [ConsumerProtocolMemberMetadata.decode(metadata) for _, _, _, metadata, _ in members if metadata]
            reads = [frozenset(each.subscription) for each in told]
            reads += [frozenset(tp.topic for tp in offsets)] if offsets else []
            found.append(GroupSeen(name, state, len(members), offsets, reads))
        return found


async def create_topics(deployment: Deployment) -> list[str]:
    """Create what is missing; returns the names created. Existing topics stay as they are. Raises TopicsProblem."""
    async with _Admin(deployment) as admin:
        existing = set(await admin.list_topics())
        s = deployment.settings
        new = [
            NewTopic(w.name, w.partitions or s.partitions, s.replication, topic_configs=_config(w, s.replication))
            for w in wanted(deployment)
            if w.name not in existing
        ]
        if not new:
            return []
        response = await _created(admin, new)
        for name, code, *message in response.topic_errors:
            if code:
                raise TopicsProblem(f"{name}: {message[0] if message and message[0] else for_code(code).__name__}")
        await _until_led(admin, {topic.name for topic in new})
        return [topic.name for topic in new]


async def create_sandbox(client: Mapping[str, Any], names: Sequence[str]) -> None:
    """Create those of these topics that are missing, with one partition and no replicas. Raises TopicsProblem.

    ``client`` are aiokafka's connection settings.
    """
    admin = AIOKafkaAdminClient(**client, request_timeout_ms=20_000)
    try:
        with quiet_kafka():
            await admin.start()
        existing = set(await admin.list_topics())
        new = [NewTopic(name, 1, 1) for name in names if name not in existing]
        response = await _created(admin, new) if new else None
        for name, code, *_ in response.topic_errors if response else ():
            if code:
                raise TopicsProblem(f"{name}: {for_code(code).__name__}")
        await _until_led(admin, set(names))
    except (KafkaError, TimeoutError) as error:
        raise TopicsProblem(await why_no_connection(client, error)) from error
    finally:
        await admin.close()


async def _created(admin: AIOKafkaAdminClient, new: Sequence[NewTopic]) -> Any:
    try:
        return await admin.create_topics(list(new))
    except AttributeError:  # aiokafka's, where no broker is the controller
        raise TopicsProblem("this broker names no controller, so no topics can be created on it") from None


async def check_topics(deployment: Deployment) -> list[TopicFinding]:
    """One finding per topic, in the order of the contract. Raises TopicsProblem if the broker cannot be asked."""
    async with _Admin(deployment) as admin:
        topics = wanted(deployment)
        described = {entry["topic"]: entry for entry in await admin.describe_topics([w.name for w in topics])}
        present = [w for w in topics if not described[w.name]["error_code"]]
        configs = await _configs(admin, [w.name for w in present])
        return [
            _finding(w, described[w.name]["partitions"], configs[w.name], deployment.settings.replication)
            if w in present
            else TopicFinding(w.name, "does not exist", "referral-stream topics create")
            for w in topics
        ]


async def require_topics(deployment: Deployment) -> None:
    """Raises TopicsProblem, in one line with the fix, unless every topic exists with its number of partitions."""
    async with _Admin(deployment) as admin:
        topics = {w.name: w for w in wanted(deployment)}
        missing, wrong, remedies = [], [], set()
        for entry in await admin.describe_topics(list(topics)):
            name = entry["topic"]
            if entry["error_code"] == UnknownTopicOrPartitionError.errno:
                missing.append(name)
            elif not entry["error_code"]:
                for problem, remedy in _miscounted(topics[name], len(entry["partitions"])):
                    wrong.append(f"{name} {problem}")
                    remedies.add(remedy)
    if missing:
        raise TopicsProblem(f"these topics do not exist: {', '.join(sorted(missing))}; referral-stream topics create")
    if wrong:
        raise TopicsProblem(f"{', '.join(sorted(wrong))}; {'; '.join(remedies)}")


def _config(w: Wanted, replication: int) -> dict[str, str]:
    """A topic's settings. With three replicas every write is on two: one broker may die, and nothing is lost."""
    return w.kept.config() | ({"min.insync.replicas": str(replication - 1)} if replication > 2 else {})  # noqa: PLR2004


def _finding(w: Wanted, partitions: list[dict[str, Any]], config: dict[str, str], replication: int) -> TopicFinding:
    problems = list(_problems(w, partitions, config, replication))
    if not problems:
        return TopicFinding(w.name)
    return TopicFinding(
        w.name, "; ".join(problem for problem, _ in problems), "; ".join(remedy for _, remedy in problems)
    )


def _problems(
    w: Wanted, partitions: list[dict[str, Any]], config: dict[str, str], replication: int
) -> Iterator[tuple[str, str]]:
    yield from _miscounted(w, len(partitions))
    if w.partitions is None:
        return
    replicas = min(len(partition["replicas"]) for partition in partitions)
    if replicas < replication:
        yield (
            f"has {replicas} replicas, the settings say {replication}",
            f"kafka-reassign-partitions for {w.name}, or REFERRAL_STREAM_REPLICATION={replicas}",
        )
    for name, value in _config(w, replication).items():
        found = config.get(name)
        if found != value and not (name in _AT_LEAST and found is not None and _at_least(found, value)):
            yield (
                f"{name} is {found}, should be {value}",
                f"kafka-configs --alter --topic {w.name} --add-config {name}={value}",
            )
    limit = config.get(_LIMIT)
    if w.kept.max_message_bytes is None and limit is not None and not _at_least(limit, str(LEAST_RECORD_BYTES)):
        yield (
            f"{_LIMIT} is {limit}, should be at least {LEAST_RECORD_BYTES}",
            f"kafka-configs --alter --topic {w.name} --add-config {_LIMIT}={KAFKAS_DEFAULT_BYTES}",
        )


def _miscounted(w: Wanted, partitions: int) -> Iterator[tuple[str, str]]:
    if w.partitions is not None and partitions != w.partitions:
        remedy = f"set REFERRAL_STREAM_PARTITIONS={partitions}; for another number take a new "
        remedy += "REFERRAL_STREAM_TOPIC_PREFIX and refill it by replay"
        yield f"has {partitions} partitions, the settings say {w.partitions}", remedy


def _at_least(found: str, value: str) -> bool:
    """Longer or larger does no harm; -1 is unlimited."""
    return found.lstrip("-").isdigit() and (int(found) == -1 or int(found) >= int(value))


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }


async def _until_led(admin: AIOKafkaAdminClient, names: set[str], seconds: float = 20.0) -> None:
    """Wait until every partition has a leader: otherwise the first write to a new topic would fail."""
    async with asyncio.timeout(seconds):
        while True:
            described = await admin.describe_topics(sorted(names))
            if all(
                not entry["error_code"] and all(p["leader"] >= 0 for p in entry["partitions"]) for entry in described
            ):
                return
            await asyncio.sleep(0.1)


class _Admin:
    """A connected admin client; its errors become TopicsProblem."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def __aenter__(self) -> Any:
        connection = self._deployment.client()
        self._client = AIOKafkaAdminClient(**connection, request_timeout_ms=20_000)
        try:
            with quiet_kafka():
                await self._client.start()
        except Exception as error:
            raise TopicsProblem(await why_no_connection(connection, error)) from error
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        if isinstance(error, (KafkaError, TimeoutError)):
            brokers = ",".join(self._deployment.settings.kafka_brokers)
            raise TopicsProblem(f"Kafka at {brokers}: {str(error) or type(error).__name__}") from error
