"""The newest record of every customer: what all figures are sums over (after §7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from referral_stream.core.instants import parse_instant

RecordBody: TypeAlias = Mapping[str, Any]
"""The ``data`` of a ``referral.record.changed``, as parsed JSON."""


class Records:
    """Keeps the newest record of every customer. A record that comes again, in any order, changes nothing."""

    def __init__(self, newest: Iterable[tuple[str, RecordBody | None]] = ()) -> None:
        self._newest: dict[str, RecordBody] = {}
        for customer, record in newest:
            self.take(customer, record)

    def take(self, customer: str, record: RecordBody | None) -> None:
        """One record of ``referral-records``: its key, and its data; None, a tombstone, forgets the customer."""
        if record is None:
            self._newest.pop(customer, None)
        elif (known := self._newest.get(customer)) is None or known["recorded_at"] <= record["recorded_at"]:
            self._newest[customer] = record

    def __len__(self) -> int:
        return len(self._newest)

    def __iter__(self) -> Iterator[RecordBody]:
        """The records, by customer id. Of a person with several ids only the record that has them all (identity §3)."""
        merged = {id_: record for record in self._newest.values() for id_ in record.get("ids", ())}
        for customer in sorted(self._newest):
            record, other = self._newest[customer], merged.get(customer)
            if other is None or (customer in other.get("ids", ()) and _is_newer(record, other)):
                yield record

    @property
    def as_of(self) -> int | None:
        """T: the newest ``recorded_at`` (epoch ms); None without any record."""
        newest = max((record["recorded_at"] for record in self._newest.values()), default=None)
        return None if newest is None else parse_instant(newest)[0]


def _is_newer(record: RecordBody, other: RecordBody) -> bool:
    """Whether, of two that claim each other's id, this one is the later word."""
    claims = other["customer_id"] in record.get("ids", ())
    mine, theirs = ((each["recorded_at"], each["customer_id"]) for each in (record, other))
    return bool(claims and mine > theirs)
