"""``referral-stream doctor``: is everything there that a worker needs, and if not, how to fix it."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from time import monotonic
from typing import Any, Final, Literal

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from referral_stream.contracts.topics import Topics
from referral_stream.core.events import ReservationDenied, ReservationGranted, ReservationUnavailable
from referral_stream.core.instants import SECOND, rfc3339
from referral_stream.ledger.client import LedgerEvicting, LedgerNotReady, LedgerUnavailable, RedisLedger
from referral_stream.ledger.eviction import KEEPS_ALL, NOT_TOLD
from referral_stream.read_models import NotReadable
from referral_stream.runtime.clients import started
from referral_stream.runtime.clock import CLOCK_TOLERANCE_MS, SYNCHRONISE, Clock
from referral_stream.runtime.deployment import ROLES, Deployment
from referral_stream.runtime.email_key import noted_fingerprint, require_same_email_key
from referral_stream.runtime.settings import PREFIX, SettingsProblem, payer_is_named, read_rewards_settings
from referral_stream.runtime.state_folder import free_bytes, state_folder_problem
from referral_stream.runtime.topic_log import cluster_id, partitions_of
from referral_stream.runtime.topics_admin import EmbeddedBrokerAsked, GroupSeen, TopicsProblem, check_topics, groups
from referral_stream.runtime.transactions import (
    HeldBack,
    Holder,
    asking,
    held_back,
    holders_of,
    limits_of,
)

LEAST_FREE_BYTES: Final = 1_000_000_000
"""For state and RocksDB's log: less than this soon fills up."""

NEWEST: Final = 100
"""Records at the end of each partition that are looked at."""

RETRIES_MS: Final = 45 * SECOND
"""How long a producer may try to write a record with one timestamp."""

_ANSWERS: Final = (ReservationGranted.type, ReservationDenied.type, ReservationUnavailable.type)

LAG_SECONDS: Final = 3.0
"""How long to check whether anything lies between a committed offset and the end."""

_READERS: Final = (*ROLES, "projector", "rewards")
"""Who reads in one of our groups."""

_PINNED: Final = ("faust-streaming", "aiokafka")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check; empty ``problem``: nothing is wrong. No line contains a secret.

    ``severity`` of a problem: ``not yet`` is what a running worker brings about, ``warning`` may be meant.
    """

    what: str
    problem: str = ""
    remedy: str = ""
    severity: Literal["WRONG", "warning", "not yet"] = "WRONG"

    @property
    def verdict(self) -> str:
        return self.severity if self.problem else "ok"


async def examine(deployment: Deployment) -> AsyncIterator[CheckResult]:
    """The checks, line by line; a failed one does not hide the next."""
    s = deployment.settings
    yield _versions(metadata.requires("referral-stream") or [], metadata.version)
    yield CheckResult(
        f"settings: topics {s.topic_prefix or '(no prefix)'}, group {s.group_prefix}, {s.partitions} partitions"
    )
    yield CheckResult(f"policy: {deployment.policy.name} {deployment.policy.hash}")
    if s.email_key is None:
        yield CheckResult("e-mail key: not set here; needed where the ingest role runs")
    for line in _payer(deployment):
        yield line
    if s.has_test_clock:
        now = rfc3339(deployment.clock.now())
        remedy = "unset REFERRAL_STREAM_CLOCK_START, _STARTED_AT and _SPEED on a real deployment"
        problem = f"not the real time: it shows {now} and runs at {s.clock_speed:g} times the speed"
        yield CheckResult("clock", problem, remedy, severity="warning")
    yield await asyncio.to_thread(_state_folder, deployment)
    try:
        findings = await check_topics(deployment)
    except EmbeddedBrokerAsked as problem:
        yield CheckResult("Kafka", str(problem), severity="warning")
    except TopicsProblem as problem:
        yield CheckResult("Kafka", str(problem))
    else:
        yield CheckResult(f"Kafka: {','.join(s.kafka_brokers)}, {s.kafka_security}")
        for finding in findings:
            if finding.problem:
                yield CheckResult(f"topic {finding.topic}", finding.problem, finding.remedy)
        if not any(finding.problem for finding in findings):
            yield CheckResult(f"topics: {len(findings)} as they should be")
            if s.email_key is not None:
                yield await _email_key(deployment)
            for line in await _clocks_and_groups(deployment):
                yield line
    async for line in _ledger(deployment):
        yield line
    yield await _read_models(deployment)


def _payer(deployment: Deployment) -> Iterator[CheckResult]:
    """What is set about the payer; nothing where rewards are off and nothing is set."""
    if not payer_is_named():
        if deployment.policy.rewards.enabled:
            yield CheckResult("payer: not set here; needed where the rewards role runs")
        return
    try:
        settings = read_rewards_settings()
        settings.payer_ssl_context()
    except SettingsProblem as problem:
        yield CheckResult("payer", "; ".join(str(problem).splitlines()), "docs/rewards.md lists the settings")
    else:
        how = "with two secrets" if settings.rewards_previous_secret else "with one secret"
        yield CheckResult(f"payer: an address is set, requests are signed {how}")


def _versions(requirements: list[str], installed: Callable[[str], str]) -> CheckResult:
    """The releases whose private names the transport relies on have to be the ones that it was tested with."""
    wanted = dict(line.split(";")[0].strip().split("==") for line in requirements if line.startswith(_PINNED))
    found = {name: installed(name) for name in _PINNED}
    what = f"referral-stream {installed('referral-stream')}, Python {platform.python_version()}, "
    what += ", ".join(f"{name} {version}" for name, version in found.items())
    wrong = [f"{name}=={wanted[name]}" for name in _PINNED if found[name] != wanted.get(name, found[name])]
    if wrong:
        return CheckResult(what, "the transport requires other versions", f"pip install {' '.join(wrong)}")
    return CheckResult(f"versions: {what}")


def _state_folder(deployment: Deployment) -> CheckResult:
    s = deployment.settings
    if s.leaves_data_dir_unused:
        unused = f"in memory, although {PREFIX}DATA_DIR is set: that folder is not used"
        return CheckResult("state", unused, f"{PREFIX}STORE=rocksdb, or =memory if that is meant", severity="warning")
    if s.store == "memory" or s.data_dir is None:
        return CheckResult("state: in memory, recovered from the changelog at every start")
    if (problem := state_folder_problem(s)) is not None:
        return CheckResult("state folder", *problem)
    free = free_bytes(s) or 0
    if free < LEAST_FREE_BYTES:
        return CheckResult(
            "state folder", f"{free / 1e6:.0f} MB free in {s.data_dir}", "free some space, or use another folder"
        )
    return CheckResult(f"state: rocksdb in {s.data_dir}, {free / 1e9:.0f} GB free")


async def _email_key(deployment: Deployment) -> CheckResult:
    """Whether addresses are hashed here with the key that ingest has noted."""
    try:
        await require_same_email_key(deployment)
        noted = await noted_fingerprint(deployment)
    except TopicsProblem as problem:
        what, _, remedy = str(problem).partition(". ")
        return CheckResult("e-mail key", what, remedy)
    return CheckResult("e-mail key: " + (f"the one of ingest ({noted})" if noted else "ingest has noted none yet"))


async def _clocks_and_groups(deployment: Deployment) -> list[CheckResult]:
    try:
        seen = await groups(deployment, [deployment.group(role) for role in _READERS])
        async with started(_consumer(deployment, "read_committed")) as consumer:
            lines = [await _clock_of_writers(consumer, deployment)]
            lines += await _newest_answers(consumer, deployment.topics)
            held = await _held_back(deployment, consumer)
            for role, group in zip(_READERS, seen, strict=True):
                if role == "rewards" and not _pays(deployment, group):
                    continue
                if role == "projector" and not (group.offsets or group.members):
                    continue
                others = _read_by_others(group, deployment.topics) or _nobody_pays(role, group)
                behind = await _lag(consumer, await _positions(consumer, role, group, deployment.topics))
                behind += sum(each.records for each in held if each.topic in _read_by(role, deployment.topics))
                lines.append(others or CheckResult(_told(group, behind)))
        async with asking(deployment) as client:
            lines += [_open_transaction(each, await holders_of(client, each)) for each in held]
            longest = await limits_of(client, "transaction.max.timeout.ms")
            lines += _transactions(deployment, min(longest, default=None))
            least, most = [await limits_of(client, f"group.{end}.session.timeout.ms") for end in ("min", "max")]
            lines += _sessions(deployment, max(least, default=None), min(most, default=None))
    except (KafkaError, TopicsProblem, TimeoutError) as problem:
        return [
            CheckResult(
                "consumer groups", str(problem) or type(problem).__name__, "check that this user may describe them"
            )
        ]
    return lines


def _read_by_others(group: GroupSeen, topics: Topics) -> CheckResult | None:
    """Whether another deployment uses our group: a worker would not start."""
    for read in group.reads:
        if read.isdisjoint(topics.every):
            problem = f"another deployment's: it reads {', '.join(sorted(read))}"
            remedy = (
                f"give each deployment its own {PREFIX}GROUP_PREFIX; without one it is made of {PREFIX}TOPIC_PREFIX"
            )
            return CheckResult(f"group {group.name}", problem, remedy)
    return None


def _pays(deployment: Deployment, group: GroupSeen) -> bool:
    """Whether the rewards role has anything to do here, or has ever done anything."""
    return deployment.policy.rewards.enabled or bool(group.offsets or group.members)


def _nobody_pays(role: str, group: GroupSeen) -> CheckResult | None:
    if role != "rewards" or group.members:
        return None
    remedy = "run: referral-stream rewards (docs/rewards.md)"
    return CheckResult(f"group {group.name}", "no worker: the payer is told of no reward", remedy, severity="warning")


def _told(group: GroupSeen, lag: int) -> str:
    if not group.members:
        return f"group {group.name}: no worker" + (f", {lag} records behind" if group.offsets else "")
    workers = f"{group.members} worker" + ("s" if group.members > 1 else "")
    return f"group {group.name}: {workers}, {group.state.lower()}, {lag} records behind"


def _consumer(deployment: Deployment, isolation: str) -> AIOKafkaConsumer:
    """Its questions would queue up behind a fetch: each fetch returns soon."""
    return AIOKafkaConsumer(
        **deployment.client(), enable_auto_commit=False, isolation_level=isolation, fetch_max_wait_ms=20
    )


def _read_by(role: str, topics: Topics) -> tuple[str, ...]:
    return {
        "ingest": topics.sources,
        "decide": (topics.customer_events,),
        "ledger": (topics.ledger_requests,),
        "projector": (
            topics.referral_decisions,
            topics.referral_records,
            topics.referral_followups,
            topics.referral_rewards,
        ),
        "rewards": (topics.referral_rewards,),
    }[role]


async def _held_back(deployment: Deployment, consumer: AIOKafkaConsumer) -> list[HeldBack]:
    """What of the topics that our roles read an open transaction holds back."""
    read = [topic for role in _READERS for topic in _read_by(role, deployment.topics)]
    partitions = [TopicPartition(topic, p) for topic in read for p in sorted(await partitions_of(consumer, topic))]
    async with started(_consumer(deployment, "read_uncommitted")) as uncommitted:
        return await held_back(consumer, uncommitted, partitions)


def _open_transaction(held: HeldBack, holders: Sequence[Holder]) -> CheckResult:
    place = f"{held.topic}-{held.partition}"
    whose = " and ".join(
        f"producer {each.producer_id}"
        + (f" ({each.transactional_id})" if each.transactional_id else "")
        + f", which wrote last at {rfc3339(each.last_write)}"
        for each in holders
    )
    problem = f"an open transaction holds back {held.records} records from offset {held.offset} on"
    problem += f": of {whose}" if whose else "; the brokers do not report whose"
    remedy = (
        "restart that producer, or wait for its transaction.timeout.ms; if it is gone for good: kafka-transactions.sh"
    )
    remedy += f" abort --topic {held.topic} --partition {held.partition} --start-offset {held.offset}"
    return CheckResult(f"source {place}", problem, remedy)


def _transactions(deployment: Deployment, longest_ms: int | None) -> Iterator[CheckResult]:
    """Whether the brokers take transactions as long as ours may be."""
    ours = deployment.settings.transaction_timeout_seconds
    if deployment.settings.fencing == "transactions" and longest_ms is not None and longest_ms < ours * SECOND:
        problem = f"the brokers end them after {longest_ms / SECOND:g} s, ours may last {ours:g} s: no worker starts"
        remedy = f"{PREFIX}TRANSACTION_TIMEOUT_SECONDS={longest_ms / SECOND:g}, or a higher transaction.max.timeout.ms"
        yield CheckResult("transactions", problem, remedy)


def _sessions(deployment: Deployment, least_ms: int | None, most_ms: int | None) -> Iterator[CheckResult]:
    """Whether the brokers allow our session timeout."""
    ours = deployment.settings.session_timeout_seconds
    if least_ms is None or most_ms is None or least_ms <= ours * SECOND <= most_ms:
        return
    problem = f"the brokers allow {least_ms / SECOND:g} to {most_ms / SECOND:g} s, ours is {ours:g} s: no worker starts"
    remedy = f"{PREFIX}SESSION_TIMEOUT_SECONDS within these, or others for group.min.session.timeout.ms and group.max.…"
    yield CheckResult("session timeout", problem, remedy)


async def _positions(
    consumer: AIOKafkaConsumer, role: str, group: GroupSeen, topics: Topics
) -> dict[TopicPartition, int]:
    """Where the group reads on: where nothing is committed, or what was committed has lapsed, at the beginning."""
    if not group.offsets:
        return {}  # it has never run, or forgotten all: its workers say more when they start
    if role == "projector":
        return dict(group.offsets)  # committed for onlookers alone: how far it is, the read models say
    read = [TopicPartition(topic, p) for topic in _read_by(role, topics) for p in await partitions_of(consumer, topic)]
    begins = await consumer.beginning_offsets(read)
    return {tp: max(begins[tp], group.offsets.get(tp, 0)) for tp in read}


async def _lag(consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]) -> int:
    """Records that the group may read and has not. A log ends in transaction markers, which nobody is shown."""
    ends = await consumer.end_offsets(list(positions)) if positions else {}
    behind = {tp: end for tp, end in ends.items() if end > positions[tp]}
    if not behind:
        return 0
    consumer.assign(list(behind))
    for tp in behind:
        consumer.seek(tp, positions[tp])
    first: dict[TopicPartition, int] = {}
    deadline = monotonic() + LAG_SECONDS
    while unknown := [tp for tp in behind if tp not in first and await consumer.position(tp) < behind[tp]]:
        for tp, records in (await consumer.getmany(*unknown, timeout_ms=200, max_records=len(unknown))).items():
            first.setdefault(tp, records[0].offset)
        if monotonic() > deadline:
            first |= {tp: positions[tp] for tp in unknown if tp not in first}
    return sum(behind[tp] - offset for tp, offset in first.items())


async def _clock_of_writers(consumer: AIOKafkaConsumer, deployment: Deployment) -> CheckResult:
    """A record from the future: some worker's clock is ahead, or this one is behind.

    Records that were written earlier say so too: stamped later than they were written, or written after one that is
    later. That may also be a producer's retry during an outage, so it is a warning.
    """
    topic = deployment.topics.customer_events
    later = Clock().now() + CLOCK_TOLERANCE_MS
    partitions = [TopicPartition(topic, p) for p in sorted(await partitions_of(consumer, topic))]
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, later))
    ahead = [f"{tp.topic}-{tp.partition}@{at.offset}" for tp, at in found.items() if at is not None]
    if ahead:
        return CheckResult("clocks", f"records of {ahead[0]} are from the future", SYNCHRONISE)
    for partition in partitions:
        latest = 0
        for record in await _newest(consumer, partition):
            where, latest = f"{partition.topic}-{partition.partition}@{record.offset}", max(latest, record.timestamp)
            if (ahead_ms := _stamp(record) - deployment.clock.at(record.timestamp)) > CLOCK_TOLERANCE_MS:
                problem = f"{where} says that it is {ahead_ms / SECOND:.0f} s later than it was: {_writer(record)}"
                return CheckResult("clocks", problem, SYNCHRONISE)
            if (behind_ms := latest - record.timestamp) > RETRIES_MS:
                problem = f"{where} was written {behind_ms / SECOND:.0f} s before the record before it"
                return CheckResult("clocks", problem, SYNCHRONISE, severity="warning")
    return CheckResult("clocks: no record is from the future")


async def _newest(consumer: AIOKafkaConsumer, tp: TopicPartition) -> list[ConsumerRecord]:
    """Some of the last records of a partition, in order."""
    (begin,), (end,) = [
        found.values() for found in (await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp]))
    ]
    consumer.assign([tp])
    consumer.seek(tp, max(begin, end - NEWEST))
    found: list[ConsumerRecord] = []
    deadline = monotonic() + LAG_SECONDS
    while await consumer.position(tp) < end and monotonic() < deadline:
        found += (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
    return found


def _stamp(record: ConsumerRecord) -> int:
    """When its writer thought that it arrived, epoch ms; 0: unknown."""
    now = dict(record.headers).get("now") or b""
    return int(now) if now.isdigit() else 0


def _body(record: ConsumerRecord) -> dict[str, Any]:
    with suppress(orjson.JSONDecodeError):
        if isinstance(body := orjson.loads(record.value or b""), dict):
            return body
    return {}


def _writer(record: ConsumerRecord) -> str:
    """Whose clock stamped the record."""
    source = str(_body(record).get("source"))
    return f"the clock of {source}" if source.startswith("referral-stream/") else "the clock of an ingest worker"


async def _newest_answers(consumer: AIOKafkaConsumer, topics: Topics) -> list[CheckResult]:
    """Whether the ledger could answer what it was asked last. Nobody is asked for whom it could not."""
    topic, answers = topics.customer_events, Counter[str]()
    for partition in sorted(await partitions_of(consumer, topic)):
        for record in await _newest(consumer, TopicPartition(topic, partition)):
            if (kind := str(_body(record).get("type"))) in _ANSWERS:
                answers[kind] += 1
    if not (failed := answers[ReservationUnavailable.type]):
        return []
    problem = f"{failed} of its last {answers.total()} answers were that it could not answer in time"
    remedy = "the log of the ledger's workers says why: Redis, their clocks, or more work than they can do"
    return [CheckResult("ledger", problem, remedy, severity="warning")]


async def _ledger(deployment: Deployment) -> AsyncIterator[CheckResult]:
    async with deployment.ledger() as ledger:
        try:
            async for line in _redis(ledger):
                yield line
            ledger.cluster = await cluster_id(deployment.client())
            await ledger.stopped([])
        except KafkaError:
            return  # said where Kafka is looked at; which ledger is ours cannot be known
        except LedgerNotReady:
            yield CheckResult(
                "ledger",
                "not built: every ask waits for it",
                "run the ledger role: it builds the ledger from ledger-requests",
                severity="not yet",
            )
        except LedgerEvicting:
            pass  # said where the server is looked at
        except LedgerUnavailable as problem:
            yield CheckResult("Redis", str(problem))  # which says what helps
        else:
            yield CheckResult("ledger: ready")


async def _read_models(deployment: Deployment) -> CheckResult:
    reader = deployment.reader()
    try:
        progress = await reader.progress()
    except NotReadable as problem:
        return CheckResult("read models", str(problem), "the console shows nothing; asks go on", severity="warning")
    finally:
        await reader.aclose()
    where = "a Redis of their own" if deployment.settings.read_redis_url else "the ledger's Redis"
    if not progress.positions:
        return CheckResult(
            "read models", f"none in {where}", "run the projector, if there is a console", severity="not yet"
        )
    return CheckResult(f"read models: in {where}, last applied at {rfc3339(progress.applied_at)}")


async def _redis(ledger: RedisLedger) -> AsyncIterator[CheckResult]:
    server = await ledger.server()
    keeps = (
        "keeps its data on disk" if server.durable else "in memory only: rebuilt from ledger-requests if it restarts"
    )
    yield CheckResult(f"Redis: {server.version}, {keeps}")
    if server.maxmemory_policy == NOT_TOLD:
        remedy = f"find out from who runs it that it is {KEEPS_ALL}"
        yield CheckResult("Redis", "does not tell its maxmemory-policy", remedy, severity="warning")
    elif server.maxmemory_policy != KEEPS_ALL:
        meanwhile = "nobody is asked" if server.evicts else "nobody would be asked once it has a maxmemory"
        yield CheckResult(
            "Redis",
            f"maxmemory-policy is {server.maxmemory_policy}: an evicted ask would be an ask forgotten, so {meanwhile}",
            f"CONFIG SET maxmemory-policy {KEEPS_ALL}, and in redis.conf",
        )
    ahead = server.now - Clock().now()
    if abs(ahead) > CLOCK_TOLERANCE_MS:
        yield CheckResult(
            "clocks",
            f"Redis is {abs(ahead) / SECOND:.1f} s {'ahead of' if ahead > 0 else 'behind'} this host",
            SYNCHRONISE,
        )
