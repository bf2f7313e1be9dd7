"""``referral-stream doctor``: is everything there that a worker needs, and if not, how to fix it."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import metadata
from time import monotonic
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from referral_stream.contracts.topics import Topics
from referral_stream.core.instants import SECOND, rfc3339
from referral_stream.ledger.client import LedgerNotReady, LedgerUnavailable, RedisLedger
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import ROLES, Deployment
from referral_stream.runtime.state_folder import REMEDY, free_bytes, state_folder_problem
from referral_stream.runtime.topic_log import partitions_of
from referral_stream.runtime.topics_admin import GroupSeen, TopicsProblem, check_topics, groups

CLOCK_TOLERANCE_MS: Final = 2 * SECOND
"""A difference that does not matter: windows are hours, and a reservation is valid for 30 s."""

LEAST_FREE_BYTES: Final = 1_000_000_000
"""For state and RocksDB's log: less than this soon fills up."""

LAG_SECONDS: Final = 3.0
"""How long to check whether anything lies between a committed offset and the end."""

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
    if s.has_test_clock:
        now = rfc3339(deployment.clock.now())
        remedy = "unset REFERRAL_STREAM_CLOCK_START, _STARTED_AT and _SPEED on a real deployment"
        problem = f"not the real time: it shows {now} and runs at {s.clock_speed:g} times the speed"
        yield CheckResult("clock", problem, remedy, severity="warning")
    yield await asyncio.to_thread(_state_folder, deployment)
    try:
        findings = await check_topics(deployment)
    except TopicsProblem as problem:
        yield CheckResult("Kafka", str(problem))
    else:
        yield CheckResult(f"Kafka: {','.join(s.kafka_brokers)}, {s.kafka_security}")
        for finding in findings:
            if finding.problem:
                yield CheckResult(f"topic {finding.topic}", finding.problem, finding.remedy)
        if not any(finding.problem for finding in findings):
            yield CheckResult(f"topics: {len(findings)} as they should be")
            for line in await _clocks_and_groups(deployment):
                yield line
    async for line in _ledger(deployment):
        yield line


def _versions(requirements: list[str], installed: Callable[[str], str]) -> CheckResult:
    """The releases whose private names the transport relies on have to be the ones that it was tested with."""
    wanted = dict(line.split(";")[0].strip().split("==") for line in requirements if line.startswith(_PINNED))
    found = {name: installed(name) for name in _PINNED}
    what = f"referral-stream {installed('referral-stream')}, Python {platform.python_version()}, "
    what += ", ".join(f"{name} {version}" for name, version in found.items())
    wrong = [f"{name}=={wanted[name]}" for name in _PINNED if found[name] != wanted.get(name, found[name])]
    if wrong:
        return CheckResult(what, "the transport is made for others", f"pip install {' '.join(wrong)}")
    return CheckResult(f"versions: {what}")


def _state_folder(deployment: Deployment) -> CheckResult:
    s = deployment.settings
    if s.store == "memory" or s.data_dir is None:
        return CheckResult("state: in memory, recovered from the changelog at every start")
    if (problem := state_folder_problem(s)) is not None:
        return CheckResult("state folder", problem, REMEDY)
    free = free_bytes(s) or 0
    if free < LEAST_FREE_BYTES:
        return CheckResult(
            "state folder", f"{free / 1e6:.0f} MB free in {s.data_dir}", "free some space, or use another folder"
        )
    return CheckResult(f"state: rocksdb in {s.data_dir}, {free / 1e9:.0f} GB free")


async def _clocks_and_groups(deployment: Deployment) -> list[CheckResult]:
    try:
        seen = await groups(deployment, [deployment.group(role) for role in ROLES])
        async with _consumer(deployment) as consumer:
            lines = [await _clock_of_writers(consumer, deployment.topics)]
            lines += [CheckResult(_told(group, await _lag(consumer, group))) for group in seen]
    except (KafkaError, TopicsProblem, TimeoutError) as problem:
        return [CheckResult("consumer groups", str(problem) or type(problem).__name__, "may this user describe them?")]
    return lines


def _told(group: GroupSeen, lag: int) -> str:
    if not group.members:
        return f"group {group.name}: no worker" + (f", {lag} records behind" if group.offsets else "")
    workers = f"{group.members} worker" + ("s" if group.members > 1 else "")
    return f"group {group.name}: {workers}, {group.state.lower()}, {lag} records behind"


def _consumer(deployment: Deployment) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(**deployment.client(), enable_auto_commit=False, isolation_level="read_committed")


async def _lag(consumer: AIOKafkaConsumer, group: GroupSeen) -> int:
    """Records that the group has still to read. A log ends in transaction markers, which nobody is shown."""
    ends = await consumer.end_offsets(list(group.offsets)) if group.offsets else {}
    behind = {tp: end for tp, end in ends.items() if end > group.offsets[tp]}
    if not behind:
        return 0
    consumer.assign(list(behind))
    for tp in behind:
        consumer.seek(tp, group.offsets[tp])
    first: dict[TopicPartition, int] = {}
    deadline = monotonic() + LAG_SECONDS
    while unknown := [tp for tp in behind if tp not in first and await consumer.position(tp) < behind[tp]]:
        for tp, records in (await consumer.getmany(*unknown, timeout_ms=200, max_records=len(unknown))).items():
            first.setdefault(tp, records[0].offset)
        if monotonic() > deadline:
            first |= {tp: group.offsets[tp] for tp in unknown if tp not in first}
    return sum(behind[tp] - offset for tp, offset in first.items())


async def _clock_of_writers(consumer: AIOKafkaConsumer, topics: Topics) -> CheckResult:
    """A record from the future: some worker's clock is ahead, or this one is behind."""
    topic = topics.customer_events
    later = Clock().now() + CLOCK_TOLERANCE_MS
    partitions = [TopicPartition(topic, p) for p in sorted(await partitions_of(consumer, topic))]
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, later))
    ahead = [f"{tp.topic}-{tp.partition}@{at.offset}" for tp, at in found.items() if at is not None]
    if ahead:
        return CheckResult(
            "clocks", f"records of {ahead[0]} are from the future", "synchronise the clocks (NTP) of all hosts"
        )
    return CheckResult("clocks: no record is from the future")


async def _ledger(deployment: Deployment) -> AsyncIterator[CheckResult]:
    async with deployment.ledger() as ledger:
        try:
            async for line in _redis(ledger):
                yield line
            await ledger.stopped([])
        except LedgerNotReady:
            yield CheckResult(
                "ledger",
                "not built: every ask waits for it",
                "run the ledger role: it builds the ledger from ledger-requests",
                severity="not yet",
            )
        except LedgerUnavailable as problem:
            yield CheckResult("Redis", str(problem))  # which says what helps
        else:
            yield CheckResult("ledger: ready")


async def _redis(ledger: RedisLedger) -> AsyncIterator[CheckResult]:
    server = await ledger.server()
    keeps = (
        "keeps its data on disk" if server.durable else "in memory only: rebuilt from ledger-requests if it restarts"
    )
    yield CheckResult(f"Redis: {server.version}, {keeps}")
    if server.maxmemory_policy != "noeviction":
        yield CheckResult(
            "Redis",
            f"maxmemory-policy is {server.maxmemory_policy}: an evicted ask would be an ask forgotten",
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        )
    ahead = server.now - Clock().now()
    if abs(ahead) > CLOCK_TOLERANCE_MS:
        yield CheckResult(
            "clocks",
            f"Redis is {abs(ahead) / SECOND:.1f} s {'ahead of' if ahead > 0 else 'behind'} this host",
            "synchronise the clocks (NTP) of all hosts",
        )
