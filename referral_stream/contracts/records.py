"""One Kafka record as the boundary sees it, whatever client read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]
"""Names may occur twice. A value may be null: such a header is kept as it came, and read as absent."""

CLOUD_EVENT = "application/cloudevents+json"
CONTENT_TYPE_HEADER = "content-type"
NOW_HEADER = "now"
HISTORICAL_HEADER = "historical"
SOURCE_HEADER = "referral-source"
EVENT_HEADER = "referral-event"
"""What a vendor calls the event, if it says so in an HTTP header and not in the body."""
ENDPOINT_HEADER = "referral-endpoint"
"""Through which of the receiver's own endpoints a record came: ``events`` (facts alone) or ``control``."""
ELEMENT_HEADER = "element"
"""On the dead letter of an element of a batch: its number, from 0 on."""


_DIGITS = 6
"""Of an element's number: no record holds more elements."""


class ClientRecord(Protocol):
    """A consumed record as Kafka clients hand it out; a protocol, so that this room knows no client."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class RawRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record as it was read: position, the record's own time (epoch ms; negative = the broker knows none), bytes."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @classmethod
    def of(cls, record: ClientRecord, timestamp: int | None = None) -> Self:
        """The record that a client consumed; ``timestamp`` takes the place of its own."""
        return cls(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp if timestamp is None else timestamp,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
        )

    def header(self, name: str) -> str | None:
        """The last header of that name (any case) that has a value, as text; None without one.

        Bytes that are not UTF-8 are replaced.
        """
        wanted, size = name.lower(), len(name)
        for found, value in reversed(self.headers):
            if len(found) == size and value is not None and found.lower() == wanted:
                return value.decode("utf-8", "replace")
        return None

    def element(self, number: int, value: bytes) -> Self:
        """One element of this record's body, as a record of its own."""
        headers = tuple(header for header in self.headers if header[0].lower() != ELEMENT_HEADER)
        return msgspec.structs.replace(self, value=value, headers=(*headers, (ELEMENT_HEADER, b"%d" % number)))

    @property
    def element_number(self) -> int | None:
        """Which element of a body this record is; None for a whole body."""
        text = self.header(ELEMENT_HEADER) if self.headers else None
        return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= _DIGITS else None

    @property
    def historical(self) -> bool:
        """Whether the record is marked as a backfill."""
        return bool(self.headers) and (self.header(HISTORICAL_HEADER) or "").strip().lower() in {"true", "1"}
