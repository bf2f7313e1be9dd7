"""Fetched records as our consumer makes them, against aiokafka's own."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer import fetcher as fetching
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust_batches.slim_records import Consumed, unpack_slim
from test_faust_contract import parameters

TP = TopicPartition("topic", 3)
WRITTEN = [
    (b"key", b"value", [("now", b"1"), ("more", None)]),
    (None, b"", []),
    (b"gone", None, [("now", b"2")]),
]


def written(compression: int = 0) -> bytes:
    """A batch with the records that were `WRITTEN`, as a broker sends it."""
    builder = BatchBuilder(10_000, compression)
    for key, value, headers in WRITTEN:
        builder.append(timestamp=1_781_596_800_000, key=key, value=value, headers=headers)
    return bytes(builder._build())


def a_result(*batches: bytes) -> FetchResult:
    """What aiokafka's fetcher keeps of a fetch with these batches; without any, of what was `WRITTEN`."""
    made = getattr(fetching, "MemoryRecords")(b"".join(batches or (written(),)))  # noqa: B009 (it is not declared there)
    fetched = PartitionRecords(TP, made, [], 0, None, None, True, 1)
    position = SimpleNamespace(has_valid_position=True, position=0, consumed_to=lambda _offset: None, paused=False)
    assignment: Any = SimpleNamespace(active=True, tps={TP}, state_value=lambda _tp: position)
    return FetchResult(TP, assignment=assignment, partition_records=fetched, backoff=0)


class FetcherOfOne:
    """Takes one answer from the broker: as much of aiokafka's fetcher as is replaced."""

    def __init__(self, *batches: bytes) -> None:
        self._records: dict[TopicPartition, Any] = {}
        self._batches = batches

    async def _proc_fetch_request(self, *_: Any) -> bool:
        self._records[TP] = a_result(*self._batches)
        return True


async def fetched(*batches: bytes) -> Sequence[Consumed]:
    fetcher: Any = FetcherOfOne(*batches)
    unpack_slim(fetcher)
    assert await fetcher._proc_fetch_request("assignment", 1, "request")
    records: Sequence[Consumed] = fetcher._records[TP].getall()
    return records


async def test_a_record_says_what_aiokafkas_own_says() -> None:
    own: list[ConsumerRecord[bytes, bytes]] = a_result().getall()
    assert [
        Consumed(of.topic, of.partition, of.offset, of.timestamp, of.key, of.value, tuple(of.headers)) for of in own
    ] == await fetched()


async def test_a_record_says_what_was_written() -> None:
    assert [(record.key, record.value, list(record.headers)) for record in await fetched()] == WRITTEN
    assert [(record.topic, record.partition, record.offset) for record in await fetched()] == [
        ("topic", 3, 0),
        ("topic", 3, 1),
        ("topic", 3, 2),
    ]


def misnamed(batch: bytes, base_offset: int) -> bytes:
    """The batch at this offset, a header of its first record with a name that is not UTF-8."""
    found = bytearray(batch)
    found[found.index(b"more")] = 0xFF
    struct.pack_into(">q", found, 0, base_offset)
    struct.pack_into(">I", found, 17, calc_crc32c(found[21:]))
    return bytes(found)


def later(batch: bytes, base_offset: int) -> bytes:
    return struct.pack(">q", base_offset) + batch[8:]


async def test_a_headers_name_that_is_not_utf8_is_replaced_and_every_record_comes_once() -> None:
    batches = (written(), misnamed(written(), 3), later(written(3), 6), later(written(), 9))
    records = await fetched(*batches)
    assert [record.offset for record in records] == list(range(12))
    assert records[3].headers == (("now", b"1"), ("\ufffdore", None))
    assert [(record.key, record.value, list(record.headers)) for record in records[6:]] == WRITTEN * 2


async def test_a_misnamed_header_in_a_compressed_batch_is_read_too() -> None:
    lz4 = pytest.importorskip("lz4.frame")
    plain = misnamed(written(), 0)
    packed = bytearray(plain[:61]) + lz4.compress(plain[61:])
    struct.pack_into(">i", packed, 8, len(packed) - 12)
    packed[22] |= 3  # attributes: compressed by LZ4
    struct.pack_into(">I", packed, 17, calc_crc32c(packed[21:]))
    assert [record.offset for record in await fetched(bytes(packed))] == [0, 1, 2]


def test_aiokafkas_fetcher_still_unpacks_through_the_names_that_we_replace() -> None:
    assert parameters(Fetcher._proc_fetch_request) == ["assignment", "node_id", "request"]
    assert parameters(PartitionRecords._consumer_record) == ["tp", "record"]
    assert "self._consumer_record(tp, record)" in inspect.getsource(PartitionRecords._unpack_records)
    assert "self._records[tp] = FetchResult(" in inspect.getsource(Fetcher._proc_fetch_request)


def test_aiokafkas_batches_still_have_the_builder_that_records_go_to() -> None:
    builder = BatchBuilder(1000, 0)
    assert builder._builder.append(0, None, b"key", b"value", [("now", b"1")]) is not None
    builder._relative_offset = 1
    assert builder.record_count() == 1
    (record,) = MemoryRecords(bytes(builder._build())).next_batch()
    assert (record.key, record.value, record.headers) == (b"key", b"value", [("now", b"1")])
