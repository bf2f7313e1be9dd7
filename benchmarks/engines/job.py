"""What every engine is given: the product's own decide step, and the names of what it reads and writes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faust_batches import BatchResult, Record

from referral_stream.contracts.topics import TABLES, Topics
from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import parse_policy
from referral_stream.runtime.gc_tuning import spare_values
from referral_stream.runtime.settings import Settings, read_settings
from referral_stream.stream.decide import Decide

MAX_RECORDS = 1_000
"""In one batch, as ours."""
LINGER_SECONDS = 0.005
PRODUCE_BATCH_BYTES = 200_000
SESSION_SECONDS = 60
COMMIT_SECONDS = 1.0


@dataclass(slots=True)
class Job:
    """The decide step with states in memory, and where its changelogs go."""

    settings: Settings
    topics: Topics
    decide: Decide
    states: dict[tuple[int, str], dict[bytes, bytes]] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return f"{self.settings.group_prefix}-decide"

    @property
    def brokers(self) -> str:
        return ",".join(self.settings.kafka_brokers)

    def changelog(self, table: str) -> str:
        return f"{self.group}-{table}-changelog"

    def step(self, partition: int, records: Sequence[Record]) -> BatchResult:
        """Decide on records of one partition and keep what changes; the caller writes it to the changelogs."""
        tables = {table: self.states.setdefault((partition, table), {}) for table in TABLES}
        result = self.decide(partition, records, lambda table, key: tables[table].get(key))
        for table, changes in result.changes.items():
            for key, value in changes.items():
                if value is None:
                    tables[table].pop(key, None)
                else:
                    tables[table][key] = value
        return result


def read_job() -> Job:
    """From the environment, as `referral-stream run` reads it; and the process made ready for it."""
    logging.basicConfig(level=logging.WARNING)
    logging.disable(logging.DEBUG)  # aiokafka and Faust build records for every message before they drop them
    settings = read_settings()
    topics = Topics(settings.topic_prefix)
    policy = parse_policy(settings.policy_file.read_bytes()) if settings.policy_file else Policy()
    spare_values()
    return Job(settings, topics, Decide(topics, policy))


def aiokafka_settings(job: Job) -> dict[str, dict[str, Any]]:
    """Of the consumer and of the producer."""
    return {
        "consumer": {
            "bootstrap_servers": job.brokers,
            "group_id": job.group,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "session_timeout_ms": SESSION_SECONDS * 1000,
            "max_partition_fetch_bytes": 4 << 20,
        },
        "producer": {
            "bootstrap_servers": job.brokers,
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": int(LINGER_SECONDS * 1000),
            "max_batch_size": PRODUCE_BATCH_BYTES,
        },
    }
