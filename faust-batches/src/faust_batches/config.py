"""All settings of a worker, in one frozen value. Nothing here, or in Faust, is read from the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from typing import Literal

from faust.types.auth import CredentialsT


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How one app joins its group, where it keeps state, and what it demands of the broker.

    Durations are in seconds, sizes in bytes.
    """

    id: str
    """The consumer group; also the prefix of changelogs (``{id}-{table}-changelog``) and transactional ids."""
    brokers: tuple[str, ...]
    """``host:port`` of the brokers to begin with."""
    partitions: int
    """Partitions of the topic that a stateful app consumes; its changelogs have the same number."""
    fixed_topics: frozenset[str] = frozenset()
    """Other topics with that number of partitions, written to by key: with any other, a key would change its partition.
    The app fails with TopicsMismatch, whenever one of them gets another number."""
    positions: str | None = None
    """A compacted topic in which groups keep how far they have read their sources (see ``Positions``)."""
    outcome: str | None = None
    """A topic that holds records as soon as this group has worked: then it must not begin its sources anew."""
    store: Literal["memory", "rocksdb"] = "memory"
    datadir: Path | None = None
    """Where RocksDB lives; one folder per worker process. Needed for ``store="rocksdb"`` only."""
    fencing: Literal["transactions", "none"] = "transactions"
    """``transactions``: one fenced transaction per batch of a stateful app. ``none``: awaited sends in the same order,
    for brokers that lack transactions and for latencies below 10 ms; a crash may then repeat outputs."""
    read_committed: bool = True
    """Leave out records of open and aborted transactions. A stateful app with transactions always does so."""

    credentials: CredentialsT | None = field(default=None, repr=False)
    ssl_context: SSLContext | None = field(default=None, repr=False)
    fresh_credentials: Callable[[], CredentialsT | None] | None = field(default=None, repr=False)
    """What a worker that starts now would be given as ``credentials``. Asked when no broker lets us in: a password that
    was changed in its file meanwhile ends this worker, so that its successor uses the new one."""

    static_member: str | None = None
    """Name of this worker for static membership: a restart within the session timeout takes its partitions back without
    a rebalance, and a graceful stop does not give them away. Unique within the group."""
    session_timeout_seconds: float = 10.0
    """A worker that is silent for this long loses its partitions: the time of a failover after a crash."""
    rebalance_timeout_seconds: float = 30.0
    request_timeout_seconds: float = 20.0
    start_wait_seconds: float = 120.0
    """How long a worker that starts waits for each answer of the brokers, before it asks to be restarted."""
    transaction_timeout_seconds: float = 15.0
    """After this, the broker aborts the transaction that a dead worker left open and no other has taken over."""
    commit_interval_seconds: float = 1.0
    metadata_seconds: float = 10.0
    """How often topics are looked at: new partitions of sources are read, another number of the others ends the app."""
    stop_timeout_seconds: float = 25.0
    """A worker that has not stopped by then is ended by its watchdog. Longer than the longest batch."""

    max_batch_records: int = 1000
    """The unit of work and of durability: more only adds latency, fewer costs throughput."""
    max_queued_records: int = 8_000
    """Per partition; fetching pauses above it."""
    max_queued_bytes: int = 8 << 20
    """Likewise, for keys and values: it bounds the memory if records are large."""
    max_record_bytes: int = 900_000
    """The largest record to publish; below the broker's ``message.max.bytes`` (1,048,588 by default)."""
    max_produce_batch_bytes: int = 200_000
    max_fetch_bytes: int = 4 << 20
    """Per partition and request: recovery of large tables is fastest with megabytes."""
    fetch_wait_seconds: float = 0.25
    rocksdb_block_cache_bytes: int = 64 << 20
    """Shared by all partitions of a table."""

    def __post_init__(self) -> None:
        if not self.id or not self.brokers:
            raise ValueError("a worker needs an id and at least one broker")
        if self.partitions < 1:
            raise ValueError("partitions must be at least 1")
        if self.store == "rocksdb" and self.datadir is None:
            raise ValueError('store="rocksdb" needs a datadir')
        if self.request_timeout_seconds < self.session_timeout_seconds:
            raise ValueError("request_timeout_seconds must not be below session_timeout_seconds")
        if self.max_batch_records < 1 or self.max_queued_records < self.max_batch_records:
            raise ValueError("max_queued_records must not be below max_batch_records, nor that below 1")
