"""What ``export`` takes of the topics, and in which order; the file is there whole or not at all."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError, TopicAuthorizationFailedError

from referral_stream.cli.export import _told
from referral_stream.contracts.log import parse_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import LAST_ARRIVAL, LATEST
from referral_stream.core.policy import Policy
from referral_stream.ops import export as module
from referral_stream.ops.export import Exported, ExportProblem, Interval, export
from referral_stream.replay.whole_files import whole_file
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import read_settings

DEPLOYMENT = Deployment(
    read_settings({}, email_key_needed=False, kafka_brokers="nowhere:9092", topic_prefix="shop."), Policy(), Clock()
)


class Offset(NamedTuple):
    offset: int


class Consumer:
    """Some partitions of a broker: what lies there, and what has lapsed before ``begin``."""

    def __init__(self, records: Iterable[RawRecord], begin: Mapping[TopicPartition, int], fails: Exception | None):
        self.lying: dict[TopicPartition, list[RawRecord]] = {}
        for record in records:
            self.lying.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
        self.begin, self.fails, self.stopped = begin, fails, False
        self.at: dict[TopicPartition, int] = {}
        self._client = self

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    async def _wait_on_metadata(self, topic: str) -> None: ...

    async def topics(self) -> set[str]:
        return {tp.topic for tp in self.lying}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {tp.partition for tp in self.lying if tp.topic == topic}

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.lying[tp][-1].offset + 1 for tp in tps}

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.begin.get(tp, 0) for tp in tps}

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Offset | None]:
        found = {tp: [r.offset for r in self.lying[tp] if r.timestamp >= at] for tp, at in times.items()}
        return {tp: Offset(offsets[0]) if offsets else None for tp, offsets in found.items()}

    def assign(self, tps: list[TopicPartition]) -> None: ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.at[tp]

    async def getmany(self, *tps: TopicPartition, **_: Any) -> dict[TopicPartition, list[RawRecord]]:
        if self.fails is not None:
            raise self.fails
        found = {tp: [r for r in self.lying[tp] if r.offset >= self.at[tp]][:2] for tp in tps}
        self.at |= {tp: records[-1].offset + 1 for tp, records in found.items() if records}
        return found


def record(topic: str, partition: int, offset: int, timestamp: int) -> RawRecord:
    return RawRecord(
        topic=f"shop.{topic}", partition=partition, offset=offset, timestamp=timestamp, key=b"ana", value=b"{}"
    )


NPS = [record("nps", 0, 0, 10), record("nps", 0, 1, 40), record("nps", 0, 2, 20), record("nps", 1, 0, 15)]
BILLING = [record("billing", 0, 0, 12), record("billing", 0, 1, 30)]
OURS = [record("customer-events", 0, n, at) for n, at in enumerate((10, 20, 40, 30, 50))]


def exported(
    monkeypatch: pytest.MonkeyPatch,
    names: Iterable[str],
    interval: Interval = Interval(),  # noqa: B008 (frozen)
    *,
    begin: Mapping[TopicPartition, int] | None = None,
    fails: Exception | None = None,
    lying: Iterable[RawRecord] = (),
) -> tuple[list[RawRecord], list[Exported]]:
    """The records of the log that was written, and what was said of it."""
    consumer, lines = Consumer([*NPS, *BILLING, *OURS, *lying], begin or {}, fails), list[bytes]()
    monkeypatch.setattr(module, "AIOKafkaConsumer", lambda **_: consumer)
    try:
        found = asyncio.run(export(DEPLOYMENT, list(names), interval, lines.append))
    finally:
        assert consumer.stopped
    return [parse_line(line, file="f", number=n) for n, line in enumerate(lines, 1)], found


def test_topics_are_merged_by_time_and_partitions_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    records, found = exported(monkeypatch, ["nps", "billing", "shop.nps"])
    assert [(r.topic, r.timestamp) for r in records] == [
        ("shop.nps", 10), ("shop.billing", 12), ("shop.nps", 15), ("shop.billing", 30), ("shop.nps", 40),
        ("shop.nps", 20),
    ]  # fmt: skip
    assert [(each.topic, each.records, each.earliest, each.latest) for each in found] == [
        ("shop.nps", 4, 10, 40),
        ("shop.billing", 2, 12, 30),
    ]


def test_a_record_of_a_source_topic_counts_by_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes late is not lost behind one that is ahead; it may be a no."""
    records, _ = exported(monkeypatch, ["nps"], Interval(first=12, last=20))
    assert [r.timestamp for r in records] == [15, 20]


def test_our_own_log_ends_before_its_first_record_after_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    records, (told,) = exported(monkeypatch, ["customer-events"], Interval(first=15, last=30))
    assert [r.offset for r in records] == [1]
    assert told.late_starts == {0: 1}


@pytest.mark.parametrize("timestamp", [LAST_ARRIVAL + 1, LATEST, LATEST + 1, 2**63 - 1])
@pytest.mark.parametrize("interval", [Interval(), Interval(first=12, last=30)])
def test_a_record_with_a_time_that_is_none_is_kept_without_it_and_told(
    monkeypatch: pytest.MonkeyPatch, timestamp: int, interval: Interval
) -> None:
    lying = [record("odd", 0, 0, timestamp), record("odd", 0, 1, 20)]
    records, (told, _) = exported(monkeypatch, ["odd", "nps"], interval, lying=lying)
    assert [r.timestamp for r in records if r.topic == "shop.odd"] == [-1, 20]
    assert (told.records, told.latest, told.timeless) == (2, 20, [(0, 0)])
    assert "1 with a time that can be none, the first at offset 0 of partition 0" in " ".join(_told([told]))


def test_such_a_time_does_not_end_our_own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lying = [record("customer-events", 1, 0, 2**63 - 1), record("customer-events", 1, 1, 20)]
    records, _ = exported(monkeypatch, ["customer-events"], Interval(last=30), lying=lying)
    assert [r.timestamp for r in records if r.partition == 1] == [-1, 20]


def test_a_whole_log_of_ours_has_no_late_start(monkeypatch: pytest.MonkeyPatch) -> None:
    records, (told,) = exported(monkeypatch, ["customer-events"])
    assert ([r.offset for r in records], told.late_starts) == ([0, 1, 2, 3, 4], {})


def test_from_an_offset_and_from_what_has_not_lapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    lapsed = {TopicPartition("shop.nps", 0): 1}
    records, _ = exported(monkeypatch, ["nps"], begin=lapsed)
    assert [(r.partition, r.offset) for r in records] == [(1, 0), (0, 1), (0, 2)]
    records, _ = exported(monkeypatch, ["nps"], Interval(offset=2), begin=lapsed)
    assert [(r.partition, r.offset) for r in records] == [(0, 2)]


@pytest.mark.parametrize(
    ("names", "interval", "problem"),
    [
        (["nsp"], Interval(), "no topic nsp, or no right to see it .*; did you mean 'nps'"),
        (["support"], Interval(), "no topic support, .*; `referral-stream topics create` creates it"),
        (["nps"], Interval(first=99), r"nothing on shop.nps from 1970-01-01T00:00:00.099Z to the end"),
        (["nps"], Interval(offset=3), "nothing on shop.nps from offset 3 to the end"),
    ],
)
def test_what_there_is_not_is_said(
    monkeypatch: pytest.MonkeyPatch, names: list[str], interval: Interval, problem: str
) -> None:
    with pytest.raises(ExportProblem, match=problem):
        exported(monkeypatch, names, interval)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (TopicAuthorizationFailedError("shop.nps"), "no right to read nps; `referral-stream topics acls operator`"),
        (OffsetOutOfRangeError({}), "nps: records lapsed, or the topic was made anew"),
        (TimeoutError(), "nps cannot be read: nothing came for 30 s"),
    ],
)
def test_a_read_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str) -> None:
    with pytest.raises(ExportProblem, match=problem):
        exported(monkeypatch, ["nps"], fails=error)


def test_a_file_is_for_its_owner_alone_and_gzip_if_it_says_so(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for name in ("log.jsonl", "log.jsonl.gz"):
            with whole_file(tmp_path / name) as file:
                file.write(b"a line\n")
    finally:
        os.umask(before)
    assert (tmp_path / "log.jsonl").read_bytes() == b"a line\n"
    assert gzip.decompress((tmp_path / "log.jsonl.gz").read_bytes()) == b"a line\n"
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@pytest.mark.parametrize("end", [KeyboardInterrupt, ExportProblem, OSError])
def test_what_ends_early_leaves_the_file_as_it_was(tmp_path: Path, name: str, end: type[BaseException]) -> None:
    (tmp_path / name).write_bytes(b"an earlier one")

    def interrupted() -> None:
        with whole_file(tmp_path / name) as file:
            file.write(b"half a li")
            raise end

    with pytest.raises(end):
        interrupted()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(name, b"an earlier one")]
