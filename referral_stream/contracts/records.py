"""One Kafka record as the boundary sees it, whatever client read it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

CLOUD_EVENT = "application/cloudevents+json"
CONTENT_TYPE_HEADER = "content-type"
NOW_HEADER = "now"
HISTORICAL_HEADER = "historical"
SOURCE_HEADER = "referral-source"


class RawRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record as it was read: position, the record's own time (epoch ms; negative = the broker knows none), bytes."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def header(self, name: str) -> str | None:
        """The last header of that name (any case) as text; None without one. Bytes that are not UTF-8 are replaced."""
        wanted = name.lower()
        for found, value in reversed(self.headers):
            if found.lower() == wanted:
                return value.decode("utf-8", "replace")
        return None

    @property
    def historical(self) -> bool:
        """Whether the record says of itself that it is a backfill."""
        return bool(self.headers) and (self.header(HISTORICAL_HEADER) or "").strip().lower() in {"true", "1"}
