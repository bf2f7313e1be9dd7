"""How far the state of a partition has read its source: kept with the state, and compared with the log at every start.

Marks in the state skip whatever lies below them. If the log is not the one the state was made from (recreated,
restored, cut short), they would skip unseen records; if records in between are gone, nothing would
reveal it. Neither may go unnoticed, so the state itself records its position. The group's committed offset does not
count: resetting it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zlib import crc32

from faust_batches.batch import Headers, Record

_HEADER: Final = "source"


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """The last record that a state includes: the offset after it, and what identifies it."""

    next_offset: int
    timestamp: int
    checksum: int

    @classmethod
    def after(cls, record: Record) -> SourcePosition:
        return cls(record.offset + 1, record.timestamp, crc32(record.value or b""))

    def follows(self, record: Record) -> bool:
        """Whether ``record`` is the last one that the state has seen."""
        return self == SourcePosition.after(record)

    def encode(self) -> bytes:
        return b"%d %d %d" % (self.next_offset, self.timestamp, self.checksum)

    @classmethod
    def decode(cls, content: bytes) -> SourcePosition:
        next_offset, timestamp, checksum = map(int, content.split())
        return cls(next_offset, timestamp, checksum)

    def headers(self) -> Headers:
        """For the last changelog record of a batch; compaction keeps the last record of a log."""
        return ((_HEADER, self.encode()),)


def source_position(record: Record) -> SourcePosition | None:
    """The source position that a changelog record carries, if any; one that cannot be read is none.

    Then an older one counts, from which more is read again than necessary.
    """
    for name, content in record.headers:
        if name == _HEADER and content is not None:
            try:
                return SourcePosition.decode(content)
            except ValueError:
                continue
    return None
