"""What ids append to each other on ``customer-events``, against what the folds make: across partitions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from referral_stream.audit.findings import Position
from referral_stream.audit.placement import partition_of
from referral_stream.audit.records import digest, position
from referral_stream.contracts.codec import decode_event
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import RawRecord
from referral_stream.core.events import APPENDED, Event, MergeDelivered, MergeMoved, MergeRequested
from referral_stream.core.keys import customer_key

if TYPE_CHECKING:
    from referral_stream.audit.context import Scene

_AGAIN = "attempt"
"""On a record that an operator has appended once more: it follows from no record."""


class _There(NamedTuple):
    position: Position
    source: bytes


@dataclass
class Appended:
    """By key and digest of the value. ``made``: by the folds, with their causes; ``there``: on the log.

    ``read``: how far each partition was read while it was judged.
    """

    made: dict[tuple[bytes, bytes], list[Position]] = field(default_factory=lambda: defaultdict(list))
    there: dict[tuple[bytes, bytes], list[_There]] = field(default_factory=lambda: defaultdict(list))
    read: dict[int, int] = field(default_factory=dict)

    def take(self, record: RawRecord, event: Event) -> None:
        """A record of the log, whether or not one id has appended it to another."""
        self.read[record.partition] = record.offset + 1
        if (event.via or event.type in APPENDED) and record.header(_AGAIN) is None:
            key = record.key or b""
            self.there[key, digest(record.value)].append(_There(position(record), _source(event)))

    def read_behind(self, scene: Scene) -> None:
        """What was appended to a partition after it was read: it may match what a later one makes."""
        for partition in range(scene.partitions):
            for record in scene.records(scene.names.events, partition, self.read.get(partition)):
                try:
                    self.take(record, decode_event(record.value or b""))
                except Undecodable:
                    continue  # whoever reads it next will say so

    def compare(self, scene: Scene) -> None:
        """What is missing, and what is too much among the records that were there when the pass began."""
        events, findings = scene.names.events, scene.tally.findings
        for what, causes in self.made.items():
            missing = len(causes) - len(self.there[what])
            lapsed = partition_of(what[0], scene.partitions) in scene.unfoldable
            if missing > 0 and not lapsed and (events, what[0]) not in scene.oversized:
                findings.add("appends_follow", "a record that one id appends to another is missing", *causes[-missing:])
        for what, found in self.there.items():
            count = len(found) - len(self.made.get(what, ()))
            judged = [each for each in found if self._is_judged(each, scene)]
            for each in judged[len(judged) - count :] if count > 0 else ():
                findings.add("appends_follow", "a record of another id follows from no record", each.position)

    def _is_judged(self, each: _There, scene: Scene) -> bool:
        where, source = each.position, each.source
        began_before = where.offset < scene.out[where.topic][where.partition]
        return began_before and scene.is_judged(source, partition_of(source, scene.partitions))


def _source(event: Event) -> bytes:
    """The key of the entity that appended it."""
    if event.via:
        return event.via[-1].encode()
    match event.data:
        case MergeRequested(into=customer) | MergeMoved(into=customer) | MergeDelivered(of=customer):
            return customer_key(customer).encode()
        case _:
            return b""
