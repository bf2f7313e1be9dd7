"""What travels from the consumer to lanes and recovery: whole fetches, and whole batches as one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from faust.types import TP
from faust.types.tuples import ConsumerMessage

from faust_batches.batch import Record


class Fetched(NamedTuple):
    """Records of one partition, and the offset from which they were read (``None``: unknown)."""

    start: int | None
    records: list[Record]

    @property
    def went_back(self) -> bool:
        """Whether the log ended below the requested offset, so that aiokafka went back to its beginning."""
        return self.start is not None and self.records[0].offset < self.start


def contiguous(fetched: Fetched, wanted: int) -> list[Record] | None:
    """The records at or above ``wanted``; ``None`` if records between ``wanted`` and the fetch may have been lost."""
    start, records = fetched
    if start is None or start > wanted:
        return None
    if records[0].offset >= wanted:
        return records
    return [record for record in records if record.offset >= wanted]


class BatchMessage(ConsumerMessage):
    """A whole batch as one message at the offset of its last record: acking it commits them all."""

    def __init__(self, tp: TP, records: Sequence[Record], assignment: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000, 0, [], None, None, None, 0, 0, tp,
            generation_id=assignment,
        )  # fmt: skip
        self.records = records
        self.assignment = assignment
        self.size_bytes = sum([len(record.key or b"") + len(record.value or b"") for record in records])
