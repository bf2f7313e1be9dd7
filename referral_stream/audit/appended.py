"""What ids append to each other on ``customer-events``, against what the folds make: across partitions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from referral_stream.audit.findings import Position
from referral_stream.audit.records import digest, position
from referral_stream.contracts.records import RawRecord
from referral_stream.core.events import (
    APPENDED,
    Event,
    LinkLeft,
    LinkTaught,
    MergeDelivered,
    MergeMoved,
    MergeRequested,
)
from referral_stream.core.keys import customer_key

_AGAIN = "attempt"
"""On a record that an operator has appended once more: it follows from no record."""


class AppendedThere(NamedTuple):
    """One record on the log that one id has appended to another; ``source``: the key of the one that did."""

    position: Position
    source: bytes


@dataclass
class Appended:
    """By key and digest of the value. ``made``: by the folds, with their causes; ``there``: on the log.

    ``read``: how far each partition was read while it was judged.
    """

    made: dict[tuple[bytes, bytes], list[Position]] = field(default_factory=lambda: defaultdict(list))
    there: dict[tuple[bytes, bytes], list[AppendedThere]] = field(default_factory=lambda: defaultdict(list))
    read: dict[int, int] = field(default_factory=dict)

    def take(self, record: RawRecord, event: Event) -> None:
        """A record of the log, whether or not one id has appended it to another."""
        self.read[record.partition] = record.offset + 1
        if (event.via or event.type in APPENDED) and record.header(_AGAIN) is None:
            key = record.key or b""
            self.there[key, digest(record.value)].append(AppendedThere(position(record), _source(event)))


def _source(event: Event) -> bytes:
    """The key of the entity that appended it; empty where the record does not say so."""
    if event.via:
        return event.via[-1].encode()
    match event.data:
        case LinkTaught(customer=customer) | LinkLeft(customer=customer):
            return customer_key(customer).encode()
        case MergeRequested(into=customer) | MergeMoved(into=customer) | MergeDelivered(of=customer):
            return customer_key(customer).encode()
        case _:
            return b""
