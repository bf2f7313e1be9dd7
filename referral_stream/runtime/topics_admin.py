"""``topics create`` and ``topics check``: create the topics that the contract requires, or say how to correct them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import (
    COMPACTED,
    COMPACTED_SOON,
    LEDGER_REQUESTS,
    TOPICS,
    Kept,
    Topic,
    changelogs,
)
from referral_stream.core.instants import DAY
from referral_stream.core.ledger.caps import rebuilt_days
from referral_stream.core.policy import Policy
from referral_stream.runtime.clients import close, started
from referral_stream.runtime.connection import no_connection, quiet_kafka, why_no_connection
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.ledger_head import LOST_HEAD_REMEDY, lost_head
from referral_stream.runtime.topic_log import TopicReader, UnreadableTopic

logger = logging.getLogger(__name__)

LEAST_RECORD_BYTES: Final = 1_000_000
"""What each of our topics has to take: a record of 900,000 bytes, with what Kafka adds."""

KAFKAS_DEFAULT_BYTES: Final = 1_048_588
_LIMIT: Final = "max.message.bytes"
_CLEANUP: Final = "cleanup.policy"
_COMPACT: Final = "compact"
_ACLS: Final = "referral-stream topics acls operator --user NAME"

REFILL: Final = "take a new REFERRAL_STREAM_TOPIC_PREFIX and REFERRAL_STREAM_GROUP_PREFIX, refilled by replay"
"""The remedy where the state may lack something."""
_TAKEN_BACK: Final = "take the right to write here away from it, and write a record of the same key without a value"
_POSITION: Final = re.compile(rb"[0-9]{1,19} ([0-9]{1,9})")
"""The value of ``faust_batches.positions.KeptPosition``."""
_AT_LEAST: Final = frozenset({"retention.ms", "max.message.bytes", "min.insync.replicas"})


class TopicsProblem(Exception):
    """The broker refused, or cannot be reached; one line that says why."""


class BrokersUnreachable(TopicsProblem, ConnectionError):
    """No broker can be asked now, and none refuses us: another try may succeed."""


class EmbeddedBrokerAsked(TopicsProblem):
    """It is the demo's broker, which cannot tell what was asked: nothing is known to be wrong."""


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
        Wanted(topics.full_name(topic.name), None if topic.source else partitions, _kept(topic, deployment.policy))
        for topic in TOPICS.values()
    ]
    found += [Wanted(name, partitions, COMPACTED) for name in changelogs(deployment.group("decide"))]
    found.append(Wanted(deployment.positions, partitions, COMPACTED_SOON))
    return tuple(found)


def _kept(topic: Topic, policy: Policy) -> Kept:
    """What the ledger is rebuilt from has to reach back as far as an ask counts, whatever the policy says."""
    needed = rebuilt_days(policy) * DAY
    return (
        topic.keep
        if topic.name != LEDGER_REQUESTS
        else replace(topic.keep, retention_ms=max(topic.keep.retention_ms, needed))
    )


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
        return [await group_seen(admin, name) for name in names]


async def group_seen(admin: AIOKafkaAdminClient, name: str) -> GroupSeen:
    """As ``groups``, asked of a client that is connected. Raises KafkaError, too."""
    try:
        (response,) = await admin.describe_consumer_groups([name])
    except GroupCoordinatorNotAvailableError:
        return GroupSeen(name, "Empty", 0, {})
    ((code, _, state, _, _, members, *_),) = response.groups
    if code:
        raise TopicsProblem(f"group {name}: {for_code(code).__name__}")
    committed = await admin.list_consumer_group_offsets(name)
    offsets = {tp: at.offset for tp, at in committed.items() if at.offset >= 0}
    told = [ConsumerProtocolMemberMetadata.decode(metadata) for _, _, _, metadata, _ in members if metadata]
    reads = [frozenset(each.subscription) for each in told]
    reads += [frozenset(tp.topic for tp in offsets)] if offsets else []
    return GroupSeen(name, state, len(members), offsets, reads)


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
        await close(admin)


async def _created(admin: AIOKafkaAdminClient, new: Sequence[NewTopic]) -> Any:
    try:
        return await admin.create_topics(list(new))
    except AttributeError:  # aiokafka's, where no broker is the controller
        raise TopicsProblem("this broker names no controller, so no topics can be created on it") from None


async def is_embedded(deployment: Deployment) -> bool:
    """Whether it is the demo's broker that answers there. Raises TopicsProblem."""
    async with _Admin(deployment) as admin:
        return await _is_embedded(admin)


async def _is_embedded(admin: AIOKafkaAdminClient) -> bool:
    return str((await admin.describe_cluster()).get("cluster_id")).startswith("mockCluster")  # as librdkafka calls it


async def check_topics(deployment: Deployment) -> list[TopicFinding]:
    """One finding per topic, in the order of the contract. Raises TopicsProblem if the broker cannot be asked."""
    async with _Admin(deployment) as admin:
        if await _is_embedded(admin):
            raise EmbeddedBrokerAsked(
                "this is the demo's own broker, which cannot tell how topics and groups are set: nothing is checked"
            )
        topics = wanted(deployment)
        described = {entry["topic"]: entry for entry in await admin.describe_topics([w.name for w in topics])}
        present = [w for w in topics if not described[w.name]["error_code"]]
        configs = await _configs(admin, [w.name for w in present])
        written, foreign = await _positions_kept(deployment)
        made_with = written or _oldest_count(present, described)
        begins = await _begins(
            deployment,
            [
                TopicPartition(w.name, partition["partition"])
                for w in present
                if w.kept.compacted
                for partition in described[w.name]["partitions"]
            ],
        )
        cut = await _lost_head(deployment)
        return [
            _not_seen(w.name, described[w.name]["error_code"])
            if w not in present
            else TopicFinding(w.name, "its settings may not be described by this user", _ACLS)
            if w.name not in configs
            else _finding(
                *(w, described[w.name]["partitions"], configs[w.name], deployment.settings.replication),
                *(made_with, begins.get(w.name, 0)),
                foreign=foreign if w.name == deployment.positions else "",
                cut=cut if w.name == deployment.topics.ledger_requests else None,
            )
            for w in topics
        ]


def _not_seen(topic: str, code: int) -> TopicFinding:
    """What is said of a topic that the brokers do not describe: it need not be missing."""
    if code == UnknownTopicOrPartitionError.errno:
        return TopicFinding(topic, "does not exist", "referral-stream topics create")
    if code == TopicAuthorizationFailedError.errno:
        return TopicFinding(topic, "may not be described by this user", _ACLS)
    return TopicFinding(topic, f"is not described: {for_code(code).__name__}", "look at the brokers, and try again")


async def require_topics(deployment: Deployment) -> None:
    """Raises TopicsProblem, in one line with the fix, unless every topic exists with its number of partitions."""
    async with _Admin(deployment) as admin:
        topics = {w.name: w for w in wanted(deployment)}
        missing, wrong, remedies = [], [], set()
        described = {entry["topic"]: entry for entry in await admin.describe_topics(list(topics))}
        made_with = _oldest_count((w for w in topics.values() if not described[w.name]["error_code"]), described)
        for name, entry in described.items():
            if entry["error_code"] == UnknownTopicOrPartitionError.errno:
                missing.append(name)
            elif not entry["error_code"]:
                for problem, remedy in _miscounted(topics[name], len(entry["partitions"]), made_with):
                    wrong.append(f"{name} {problem}")
                    remedies.add(remedy)
    if missing:
        raise TopicsProblem(f"these topics do not exist: {', '.join(sorted(missing))}; referral-stream topics create")
    if wrong:
        raise TopicsProblem(f"{', '.join(sorted(wrong))}; {'; '.join(remedies)}")


async def require_whole_sources(deployment: Deployment) -> None:
    """Raises TopicsProblem if a source is compacted: what lies there unread, an opt-out perhaps, may be gone by then.

    Where we may not ask for settings, or a broker knows none (the embedded one), that is logged, and no reason to stop.
    """
    names = list(deployment.topics.sources)
    async with _Admin(deployment) as admin:
        try:
            configs = await _configs(admin, names)
        except IncompatibleBrokerVersion:
            return
    if unknown := [name for name in names if name not in configs]:
        remedy = "referral-stream topics acls ingest"
        logger.warning("sources_not_described", extra={"topics": ", ".join(unknown), "remedy": remedy})
    found = [(name, *each) for name, config in configs.items() for each in _compaction(name, config)]
    if found:
        raise TopicsProblem("; ".join(f"{name}: {problem}. {remedy}" for name, problem, remedy in found))


def _compaction(topic: str, config: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with how a source is cleaned up, and the remedy."""
    if _COMPACT in (policy := config.get(_CLEANUP, "")):
        problem = f"{_CLEANUP} is {policy}: of several events with one key only the last is kept, "
        problem += "and an opt-out may be gone before it is read"
        remedy = f"kafka-configs --alter --topic {topic} --add-config {_CLEANUP}=delete; "
        remedy += "then send again what protects (opt-outs, withdrawn consent, complaints), or import it"
        yield problem, remedy


def _config(w: Wanted, replication: int) -> dict[str, str]:
    """A topic's settings. With three replicas every write is on two: one broker may die, and nothing is lost."""
    return w.kept.config() | ({"min.insync.replicas": str(replication - 1)} if replication > 2 else {})  # noqa: PLR2004


async def _positions_kept(deployment: Deployment) -> tuple[int | None, str]:
    """By how many partitions the workers have written, as their positions say; None if nobody has.

    And where a record stands among them that is not one of theirs; empty if there is no such record.
    """
    last: dict[bytes | None, RawRecord] = {}
    with suppress(UnreadableTopic, KafkaError, TimeoutError):
        async with TopicReader(deployment.client(), deployment.positions) as reader:
            async for records in reader.present():
                last.update((record.key, record) for record in records)
    return counts_kept(last.values())


def counts_kept(records: Iterable[RawRecord]) -> tuple[int | None, str]:
    """As ``_positions_kept``, of these records: the last one of every key."""
    found: set[int] = set()
    foreign = ""
    for record in records:
        told = _POSITION.fullmatch(record.value or b"")
        if told is not None:
            found.add(int(told[1]))
        elif record.value:
            foreign = foreign or f"{record.topic}-{record.partition}@{record.offset}"
    return min(found, default=None), foreign


def _oldest_count(present: Iterable[Wanted], described: Mapping[str, dict[str, Any]]) -> int | None:
    """By how many partitions was written, judging by the topics alone: the number only grows, so it is the smallest."""
    return min((len(described[w.name]["partitions"]) for w in present if w.partitions is not None), default=None)


async def _begins(deployment: Deployment, partitions: Sequence[TopicPartition]) -> dict[str, int]:
    """Where these topics begin, the highest of their partitions."""
    async with started(AIOKafkaConsumer(**deployment.client(), enable_auto_commit=False)) as consumer:
        found: dict[str, int] = {}
        for tp, begin in (await consumer.beginning_offsets(partitions)).items():
            found[tp.topic] = max(begin, found.get(tp.topic, 0))
        return found


async def _lost_head(deployment: Deployment) -> str | None:
    """What the next rebuild of the ledger would forget; a topic that does not exist is said elsewhere."""
    try:
        return await lost_head(deployment.client(), deployment.topics, deployment.policy, deployment.clock.now())
    except UnreadableTopic:
        return None


def _finding(
    w: Wanted,
    partitions: list[dict[str, Any]],
    config: dict[str, str],
    replication: int,
    made_with: int | None,
    begins: int,
    *,
    foreign: str = "",
    cut: str | None = None,
) -> TopicFinding:
    problems = list(_problems(w, partitions, config, replication, made_with))
    if foreign:
        problems.append((f"{foreign} is not how far a group has read: something else writes here", _TAKEN_BACK))
    if begins > 0:
        problems.insert(0, (f"begins at {begins}: older entries were deleted", REFILL))
    if cut is not None:
        problems.append((f"{cut}; the next rebuild of the ledger would forget them", LOST_HEAD_REMEDY))
    if not problems:
        return TopicFinding(w.name)
    return TopicFinding(
        w.name, "; ".join(problem for problem, _ in problems), "; ".join(remedy for _, remedy in problems)
    )


def _problems(
    w: Wanted, partitions: list[dict[str, Any]], config: dict[str, str], replication: int, made_with: int | None
) -> Iterator[tuple[str, str]]:
    yield from _miscounted(w, len(partitions), made_with)
    if w.partitions is None:
        yield from _compaction(w.name, config)
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


def _miscounted(w: Wanted, partitions: int, made_with: int | None) -> Iterator[tuple[str, str]]:
    """The number is part of the state: who follows a topic that has grown finds customers of whom nothing is known."""
    if w.partitions is None:
        return
    if made_with is not None and partitions != made_with:
        yield f"has {partitions} partitions, but was written to by {made_with}; more cannot be taken back", REFILL
    elif partitions != w.partitions:
        remedy = f"set REFERRAL_STREAM_PARTITIONS={partitions}; for another number: {REFILL}"
        yield f"has {partitions} partitions, the settings say {w.partitions}", remedy


def _at_least(found: str, value: str) -> bool:
    """Longer or larger does no harm; -1 is unlimited."""
    return found.lstrip("-").isdigit() and (int(found) == -1 or int(found) >= int(value))


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """The settings of these topics, without those whose settings we may not see."""
    if not names:
        return {}
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    found: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, _, _, name, entries in response.resources:
            if not code:
                found[name] = {entry[0]: entry[1] for entry in entries}
            elif code != TopicAuthorizationFailedError.errno:
                raise for_code(code)(name)
    return found


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


def admin_client(deployment: Deployment) -> AIOKafkaAdminClient:
    """Not connected yet."""
    return AIOKafkaAdminClient(**deployment.client(), request_timeout_ms=20_000)


class _Admin:
    """A connected admin client; its errors become TopicsProblem."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def __aenter__(self) -> Any:
        self._client = admin_client(self._deployment)
        try:
            with quiet_kafka():
                await self._client.start()
        except BaseException as error:
            await close(self._client)
            if not isinstance(error, Exception):
                raise
            raise await _unreachable(self._deployment.client(), error) from error
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close(self._client)
        if isinstance(error, KafkaConnectionError):
            raise await _unreachable(self._deployment.client(), error) from error
        if isinstance(error, (KafkaError, TimeoutError)):
            brokers = ",".join(self._deployment.settings.kafka_brokers)
            passes = isinstance(error, TimeoutError) or error.retriable
            kind = BrokersUnreachable if passes else TopicsProblem
            raise kind(f"Kafka at {brokers}: {str(error) or type(error).__name__}") from error


async def _unreachable(connection: Mapping[str, Any], error: Exception) -> TopicsProblem:
    found = await no_connection(connection, error)
    return BrokersUnreachable(found.why) if found.passes else TopicsProblem(found.why)
