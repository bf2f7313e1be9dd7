"""``referral-stream doctor``: is everything there that a worker needs, and if not, what mends it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from referral_stream.ledger.ledger import LedgerNotReady, LedgerUnavailable
from referral_stream.stream.admin import TopicsProblem, check_topics
from referral_stream.stream.apps import Deployment


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at; empty ``problem``: it is well. No line holds a secret."""

    what: str
    problem: str = ""
    remedy: str = ""


async def examine(deployment: Deployment) -> AsyncIterator[Line]:
    """What was looked at, one line after the other; whatever is wrong with one does not hide the next."""
    s = deployment.settings
    yield Line(f"settings: topics {s.topic_prefix or '(no prefix)'}, group {s.group_prefix}, {s.partitions} partitions")
    yield Line(f"policy: {deployment.policy.name} {deployment.policy.hash}")
    yield await asyncio.to_thread(_state_folder, deployment)
    try:
        findings = await check_topics(deployment)
    except TopicsProblem as problem:
        yield Line("Kafka", str(problem), "is it running, and may this user connect?")
    else:
        yield Line(f"Kafka: {','.join(s.kafka_brokers)}, {s.kafka_security}")
        for finding in findings:
            if finding.problem:
                yield Line(f"topic {finding.topic}", finding.problem, finding.remedy)
        if not any(finding.problem for finding in findings):
            yield Line(f"topics: {len(findings)} as they should be")
    yield await _ledger(deployment)


def _state_folder(deployment: Deployment) -> Line:
    s = deployment.settings
    if s.store == "memory" or s.data_dir is None:
        return Line("state: in memory, recovered from the changelog at every start")
    folder: Path = s.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Line("state folder", f"{s.data_dir} can not be written", "set REFERRAL_STREAM_DATA_DIR, or its owner")
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    return Line(f"state: rocksdb, {free / 1e9:.0f} GB free")


async def _ledger(deployment: Deployment) -> Line:
    async with deployment.ledger() as ledger:
        try:
            await ledger.stopped([])
        except LedgerNotReady:
            return Line(
                "ledger",
                "not built: every ask waits",
                "run the ledger role: it rebuilds the ledger from ledger-requests",
            )
        except LedgerUnavailable as problem:
            return Line("Redis", str(problem), "is it running, and is REFERRAL_STREAM_REDIS_URL right?")
    return Line("ledger: ready")
