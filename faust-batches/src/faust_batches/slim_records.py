"""Consumed records with only the fields that are read: aiokafka's own have eleven, kept in a dict per record.

Those cost twice as much to make, and thousands wait in the lanes, where the garbage collector visits them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.structs import TopicPartition


class Consumed(msgspec.Struct, frozen=True, gc=False):
    """One consumed record: a ``Record``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def unpack_slim(fetcher: Fetcher) -> None:
    """Have ``fetcher`` make each record that it fetches from now on a ``Consumed``."""
    receive: Final[Callable[..., Coroutine[Any, Any, bool]]] = fetcher._proc_fetch_request

    async def receive_slim(*args: Any) -> bool:
        needs_wakeup = await receive(*args)
        # Records are unpacked later, when they are asked for, and one by one through this name.
        for result in fetcher._records.values():
            if type(result) is FetchResult and result.has_more():
                result._partition_records._consumer_record = _consumed
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
