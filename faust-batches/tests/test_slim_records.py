"""Fetched records as our consumer makes them, against aiokafka's own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust_batches.slim_records import Consumed, unpack_slim
from test_faust_contract import parameters

TP = TopicPartition("topic", 3)
WRITTEN = [
    (b"key", b"value", [("now", b"1"), ("more", None)]),
    (None, b"", []),
    (b"gone", None, [("now", b"2")]),
]


def a_result() -> FetchResult:
    """What aiokafka's fetcher keeps of a fetch with the records that were `WRITTEN`."""
    builder = BatchBuilder(10_000, 0)
    for key, value, headers in WRITTEN:
        builder.append(timestamp=1_781_596_800_000, key=key, value=value, headers=headers)
    fetched = PartitionRecords(TP, MemoryRecords(bytes(builder._build())), [], 0, None, None, True, 1)
    position = SimpleNamespace(has_valid_position=True, position=0, consumed_to=lambda _offset: None, paused=False)
    assignment: Any = SimpleNamespace(active=True, tps={TP}, state_value=lambda _tp: position)
    return FetchResult(TP, assignment=assignment, partition_records=fetched, backoff=0)


class FetcherOfOne:
    """Takes one answer from the broker: as much of aiokafka's fetcher as is replaced."""

    def __init__(self) -> None:
        self._records: dict[TopicPartition, Any] = {}

    async def _proc_fetch_request(self, *_: Any) -> bool:
        self._records[TP] = a_result()
        return True


async def fetched() -> Sequence[Consumed]:
    fetcher: Any = FetcherOfOne()
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
