"""Consumed records with only the fields that are read: aiokafka's own have eleven, kept in a dict per record.

Those cost twice as much to make, and thousands wait in the lanes, where the garbage collector visits them.

And whatever the name of a header is: Kafka takes any bytes, aiokafka none that are not UTF-8, and would give up the
partition for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import msgspec
from aiokafka.consumer import fetcher as fetching
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.structs import TopicPartition

from faust_batches.batch import Headers


class Consumed(msgspec.Struct, frozen=True, gc=False):
    """One consumed record: a ``Record``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def unpack_slim(fetcher: Fetcher) -> None:
    """Have ``fetcher`` make each record that it fetches from now on a ``Consumed``."""
    fetching.MemoryRecords = _Kept
    receive: Final[Callable[..., Coroutine[Any, Any, bool]]] = fetcher._proc_fetch_request

    async def receive_slim(*args: Any) -> bool:
        needs_wakeup = await receive(*args)
        # Records are unpacked later, when they are asked for, and one by one through this name.
        for result in fetcher._records.values():
            if type(result) is FetchResult and result.has_more():
                records = result._partition_records
                if records._consumer_record is not _consumed:
                    records._consumer_record = _consumed
                    aborted = list(records._aborted_transactions)
                    records._records_iterator = _readable(records, records._records_iterator, aborted)
        return needs_wakeup

    fetcher._proc_fetch_request = receive_slim


def _consumed(tp: TopicPartition, record: Any) -> Consumed:
    return Consumed(
        tp.topic,
        tp.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )


_MAGIC_AT: Final = 16
_WITH_HEADERS: Final = 2
"""The version of Kafka's record format, and where in a batch it stands."""


class _Kept:
    """Fetched records, with the bytes that they are read from."""

    __slots__ = ("data", "has_next", "next_batch", "size_in_bytes")

    def __init__(self, data: bytes) -> None:
        records = MemoryRecords(data)
        self.data = data
        self.has_next, self.next_batch, self.size_in_bytes = (
            records.has_next, records.next_batch, records.size_in_bytes,
        )  # fmt: skip


class _Lenient:
    """The same records, read by aiokafka's code without extensions; header names that are not UTF-8 are replaced."""

    def __init__(self, data: bytes) -> None:
        self._records = _MemoryRecordsPy(data)
        self.has_next = self._records.has_next

    def next_batch(self) -> Any:
        content, batch = self._records._next_slice, self._records.next_batch()
        if content is None or content[_MAGIC_AT] < _WITH_HEADERS:
            return batch
        lenient: Any = _DefaultRecordBatchPy(content)
        uncompress = lenient._maybe_uncompress

        def uncompress_leniently() -> None:
            uncompress()
            lenient._buffer = _Text(lenient._buffer)

        lenient._maybe_uncompress = uncompress_leniently
        return lenient


class _Text(bytearray):
    """Bytes whose parts can always be decoded."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def _readable(records: Any, iterator: Iterator[Consumed], aborted: list[Any]) -> Iterator[Consumed]:
    """What ``iterator`` gives, and once it cannot read a header's name the rest, leniently."""
    try:
        yield from iterator
    except UnicodeDecodeError:
        if not isinstance(records._records, _Kept):
            raise
        records._records = _Lenient(records._records.data)
        records._aborted_transactions, records._aborted_producers = aborted, set()
        yield from records._unpack_records()  # skips what has been read
