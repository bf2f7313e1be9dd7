"""Whether ``ledger-requests`` still has what a ledger is built from: one without its head would forget asks in silence.

A partition that begins above 0 is in order as long as what was removed had lapsed. That is so unless

- the mark of the last rebuild is gone from it, although that was not long ago: a rebuild marks every partition;
- or nothing at all in the log is as old as an ask may count. (One quiet partition may have nothing so old.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from referral_stream.contracts.codec import LedgerMessage, decode_request
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import LedgerRenewed
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, MINUTE, rfc3339
from referral_stream.core.ledger.caps import counting_days
from referral_stream.core.policy import Policy
from referral_stream.runtime.topic_log import TopicReader

_APART: Final = 10 * MINUTE
"""How far the timestamps of records that follow each other may be apart: their writers have clocks of their own."""

LOST_HEAD_REMEDY: Final = "see docs/operations.md, When something is lost: ledger-requests"


@dataclass(slots=True)
class _PartitionHead:
    """How a partition begins. ``first``: its first record; ``marked``: whether it has the mark of the last rebuild."""

    begins: int
    ends: int
    first: RawRecord | None = None
    marked: bool | None = None


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """The last one that was announced: when, by the broker and by our clock (epoch ms)."""

    timestamp: int
    now: int


async def lost_head(client: dict[str, Any], topics: Topics, policy: Policy, now: int) -> str | None:
    """What a ledger that was built from the log now would forget, in one line; None: nothing that counts.

    ``client`` are aiokafka's connection settings. Raises UnreadableTopic.
    """
    async with TopicReader(client, topics.ledger_requests) as reader:
        heads = {partition: _PartitionHead(*extent) for partition, extent in (await reader.extents()).items()}
        cut = [partition for partition, head in heads.items() if head.begins > 0]
        if not cut:
            return None
        since = now - counting_days(policy) * DAY
        rebuild = await _last_rebuild(client, topics)
        if rebuild is not None and rebuild.now < since:
            rebuild = None
        await _look(reader, heads, cut, rebuild)
    for partition in cut:
        head, where = heads[partition], f"{topics.ledger_requests}-{partition}"
        if rebuild is not None and not head.marked:
            return (
                f"{where} begins at {head.begins}{_with(head)}, although the ledger was last built at "
                f"{rfc3339(rebuild.now)}: its head was removed, and asks since {rfc3339(since)} still count"
            )
    first = [_instant(head.first) for head in heads.values() if head.first is not None]
    if min(first, default=now) > since:
        head = heads[cut[0]]
        return (
            f"{topics.ledger_requests}-{cut[0]} begins at {head.begins}{_with(head)}, and no partition has a record of "
            f"{rfc3339(since)}, since when asks count: its head was removed"
        )
    return None


async def _look(
    reader: TopicReader, heads: dict[int, _PartitionHead], cut: Collection[int], rebuild: _Rebuild | None
) -> None:
    """Read as much as is needed to know how the partitions begin."""

    def is_known(partition: int) -> bool:
        head = heads[partition]
        if head.first is None:
            return head.begins == head.ends
        return rebuild is None or partition not in cut or head.marked is not None

    if all(map(is_known, heads)):
        return
    async for records in reader.present():
        for record in records:
            head = heads[record.partition]
            head.first = head.first or record
            if head.marked is None and rebuild is not None:
                head.marked = _marked(record, rebuild)
        if all(map(is_known, heads)):
            return


def _marked(record: RawRecord, rebuild: _Rebuild) -> bool | None:
    """Whether the mark of a rebuild is in the partition, as this next record of it tells; None: it does not."""
    if record.timestamp < rebuild.timestamp - _APART or isinstance(_message(record), LedgerRenewed):
        return True
    return False if record.timestamp > rebuild.timestamp + _APART else None


async def _last_rebuild(client: dict[str, Any], topics: Topics) -> _Rebuild | None:
    found: _Rebuild | None = None
    async with TopicReader(client, topics.ledger_generations) as reader:
        async for records in reader.present():
            for record in records:
                if isinstance(message := _message(record), LedgerRenewed):
                    rebuild = _Rebuild(record.timestamp, message.now)
                    found = rebuild if found is None or rebuild.timestamp >= found.timestamp else found
    return found


def _with(head: _PartitionHead) -> str:
    return " and is empty" if head.first is None else f", with a record of {rfc3339(_instant(head.first))}"


def _instant(record: RawRecord) -> int:
    """When a record was written, by our clock, or else by the broker's."""
    message = _message(record)
    if message is None:
        return record.timestamp
    return message.time if isinstance(message, Event) else message.now


def _message(record: RawRecord) -> LedgerMessage | None:
    try:
        return decode_request(record.value or b"")
    except Exception:  # noqa: BLE001 (what no ledger is built from says nothing here, either)
        return None
