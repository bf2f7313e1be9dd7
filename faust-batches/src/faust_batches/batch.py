"""What goes into a step and what comes out of it: the values that a processor and the transport exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]
"""Names may occur twice, and a value may be null."""

Changes: TypeAlias = dict[str, dict[bytes, bytes | None]]
"""Table name -> key -> new value; ``None`` deletes the key."""

Read: TypeAlias = Callable[[str, bytes], bytes | None]
"""``read(table, key)``: the value as it was before this batch, of the partition that the batch came from."""

Supersedes: TypeAlias = Callable[[bytes, bytes], bool]
"""``supersedes(new, old)``: may the value ``new``, which follows ``old`` in the changelog, take its place?"""


class Record(Protocol):
    """One consumed record, as aiokafka delivers it (``aiokafka.ConsumerRecord``)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Output(msgspec.Struct, frozen=True, gc=False):
    """One record to publish. Without ``partition``, the key decides (see ``partition_of``); without a key, any."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


Rest: TypeAlias = Callable[[], Awaitable[None]]
"""What is still to be done for a batch. It is called again after a failure that can be retried."""


@dataclass(slots=True)
class BatchResult:
    """All effects of one batch: they become durable together.

    ``first``: what is durable before anybody can read any of ``outputs``: acknowledged before, or in one transaction.
    ``rest``: for a processor without tables whose batch has to wait for something, what ends the waiting. The lane goes
    on with later batches meanwhile; this one, and so every later one, is acknowledged once it has ended.
    """

    outputs: list[Output] = field(default_factory=list)
    first: list[Output] = field(default_factory=list, kw_only=True)
    changes: Changes = field(default_factory=dict)
    rest: Rest | None = None


class Processor(Protocol):
    """The step of an app: pure and deterministic, because a batch is computed again after any failure.

    It is called with records of ONE partition in offset order, and may be called with records that it has seen
    before: a stateful processor skips what lies below its own mark, a stateless one repeats its outputs. An exception
    is a bug: it stops the worker, so anything a record can provoke must become an output instead.
    """

    def __call__(self, partition: int, records: Sequence[Record], read: Read, /) -> BatchResult: ...


class AsyncProcessor(Protocol):
    """The step of an app that asks another service, and has no tables. What it awaits must have its own timeout.

    Called like a ``Processor``; its effects elsewhere must be idempotent: a batch is computed again after any failure.
    """

    async def __call__(self, partition: int, records: Sequence[Record], read: Read, /) -> BatchResult: ...


Refusal: TypeAlias = Callable[[Output, Exception], Sequence[Output]]
"""``on_refused(output, reason)``: what to publish instead of an output that no broker would accept."""

# Upper bounds of what Kafka's record format v2 adds: 61 bytes for a batch of one record, and per record and per header
# the lengths (variable-length integers of at most 5 bytes), attributes, timestamp and offset deltas.
_RECORD_OVERHEAD = 61 + 36
_HEADER_OVERHEAD = 10


def record_bytes(key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
    """The size of a record on the wire, alone in its batch: never less than what the broker measures."""
    size = _RECORD_OVERHEAD + len(key or b"") + len(value or b"")
    for name, content in headers:
        # `len(name.encode())` only where it can differ from `len(name)`
        size += _HEADER_OVERHEAD + (len(name) if name.isascii() else len(name.encode())) + len(content or b"")
    return size
