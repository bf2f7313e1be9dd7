"""A log of the ledger that lacks its head is told from one of which only what counts no more has lapsed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest

from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import LedgerRenewed, ReservationConfirmed
from referral_stream.core.instants import DAY, MINUTE, SECOND
from referral_stream.core.policy import Policy
from referral_stream.runtime import ledger_head
from referral_stream.runtime.ledger_head import lost_head
from tests.ledger.builders import T0

LOG = dict[int, tuple[int, list[tuple[int, bool]]]]
"""By partition: its first offset, and its records as (how long ago, whether it is a mark)."""


class Log:
    """What a :class:`TopicReader` reads; each record has one batch of its own."""

    def __init__(self, found: LOG, rebuilds: list[int]) -> None:
        self.topics = {"ledger-requests": found, "ledger-generations": {0: (0, [(ago, True) for ago in rebuilds])}}
        self.read = 0

    def reader(self, _client: dict[str, Any], topic: str) -> LogReader:
        return LogReader(self, topic)


class LogReader:
    def __init__(self, log: Log, topic: str) -> None:
        self.log, self.topic = log, topic

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def extents(self) -> dict[int, tuple[int, int]]:
        return {
            partition: (begins, begins + len(records))
            for partition, (begins, records) in self.log.topics[self.topic].items()
        }

    async def present(self) -> AsyncIterator[list[RawRecord]]:
        for partition, (begins, records) in self.log.topics[self.topic].items():
            for offset, (ago, is_mark) in enumerate(records, begins):
                self.log.read += self.topic == "ledger-requests"
                yield [_record(self.topic, partition, offset, T0 - ago, is_mark=is_mark)]


def _record(topic: str, partition: int, offset: int, at: int, *, is_mark: bool) -> RawRecord:
    said = (
        LedgerRenewed(generation=1, now=at)
        if is_mark
        else ReservationConfirmed(command_id="c", customer_id="ana", now=at)
    )
    value = encode_effect(said, at)
    return RawRecord(topic=topic, partition=partition, offset=offset, timestamp=at, key=None, value=value)


OLD = (399 * DAY, False)
SILENT_SINCE = [(399 * DAY, False), (100 * DAY, True), (5 * DAY, False)]


@pytest.mark.parametrize(
    ("found", "rebuilds"),
    [
        pytest.param({0: (0, [(DAY, False)]), 1: (0, [])}, [2 * DAY], id="a young log"),
        pytest.param({0: (70, [OLD, (100 * DAY, True)]), 1: (9, SILENT_SINCE)}, [100 * DAY], id="what is old lapsed"),
        pytest.param({0: (70, [OLD]), 1: (9, [(DAY, False)])}, [380 * DAY], id="a quiet partition"),
        pytest.param({0: (70, [OLD]), 1: (9, [])}, [380 * DAY], id="an empty partition, which was quiet"),
        pytest.param(
            {0: (70, SILENT_SINCE), 1: (9, [(100 * DAY, True), (DAY, False)])}, [100 * DAY], id="a mark comes first"
        ),
        pytest.param(
            {0: (70, SILENT_SINCE), 1: (9, [(100 * DAY - 5 * MINUTE, False), (100 * DAY, True)])},
            [100 * DAY],
            id="in front of the mark by another clock",
        ),
        pytest.param({0: (70, SILENT_SINCE), 1: (0, [(DAY, False)])}, [200 * DAY, 100 * DAY], id="one is whole"),
    ],
)
async def test_what_has_lapsed_is_not_missing(monkeypatch: pytest.MonkeyPatch, found: LOG, rebuilds: list[int]) -> None:
    monkeypatch.setattr(ledger_head, "TopicReader", Log(found, rebuilds).reader)
    assert await lost_head({}, Topics(), Policy(), T0) is None


@pytest.mark.parametrize(
    ("found", "rebuilds", "says"),
    [
        pytest.param(
            {0: (70, SILENT_SINCE), 1: (9, [(DAY, False)])},
            [100 * DAY],
            r"^ledger-requests-1 begins at 9, with a record of \S+, although the ledger was last built at \S+: ",
            id="one was cut behind the last mark",
        ),
        pytest.param(
            {0: (70, SILENT_SINCE), 1: (9, [])},
            [100 * DAY],
            "^ledger-requests-1 begins at 9 and is empty, although",
            id="all of one was removed",
        ),
        pytest.param(
            {0: (7, []), 1: (9, [])}, [MINUTE], "^ledger-requests-0 begins at 7 and is empty", id="all of all"
        ),
        pytest.param(
            {0: (7, [(30 * SECOND, False)]), 1: (9, [(30 * SECOND, False)])},
            [MINUTE],
            "although the ledger was last built",
            id="all, a minute after it was built",
        ),
        pytest.param(
            {0: (7, [(7 * DAY, False)]), 1: (9, [(6 * DAY, False)]), 2: (0, [(DAY, False)]), 3: (0, [])},
            [],
            r"^ledger-requests-0 begins at 7, with a record of \S+, and no partition has a record of \S+, since when",
            id="kept too short, and nobody knows of a rebuild",
        ),
        pytest.param(
            {0: (7, [(7 * DAY, False), (3 * DAY, True)]), 1: (9, [(6 * DAY, False), (3 * DAY, True)])},
            [3 * DAY],
            "no partition has a record",
            id="kept too short, and built since",
        ),
    ],
)
async def test_a_head_that_was_removed_is_named(
    monkeypatch: pytest.MonkeyPatch, found: LOG, rebuilds: list[int], says: str
) -> None:
    monkeypatch.setattr(ledger_head, "TopicReader", Log(found, rebuilds).reader)
    lost = await lost_head({}, Topics(), Policy(), T0)
    assert lost is not None
    assert re.search(says, lost), lost


async def test_as_little_is_read_as_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log({0: (70, [OLD, *[(10 * DAY, False)] * 1_000]), 1: (3, [])}, [380 * DAY])
    monkeypatch.setattr(ledger_head, "TopicReader", log.reader)
    assert await lost_head({}, Topics(), Policy(), T0) is None
    assert log.read == 1
