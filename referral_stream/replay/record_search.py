"""Finding one customer's record among records: by their id, or by an id that was merged into theirs (identity §3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import orjson

RecordData: TypeAlias = Mapping[str, Any]
"""The ``data`` of a ``referral.record.changed``, as parsed JSON."""


class NoRecord(Exception):
    """Nothing is recorded about the customer; the message says what that may mean."""

    def __init__(self, customer: str, *, forgotten: bool = False) -> None:
        if forgotten:
            why = "the record was deleted: they were erased, or the id was merged into one that was"
        else:
            why = "nobody of that id was ever considered for an ask, or they were erased"
        super().__init__(f"no record of {customer!r}: {why}")


class RecordSearch:
    """Sees records in the order of their partitions, and keeps the newest of whom one id belongs to."""

    def __init__(self, customer: str) -> None:
        self.customer = customer
        self._kept: dict[str, RecordData] = {}
        self._forgotten = False

    def see(self, key: str, record: RecordData | None) -> None:
        """One record of ``referral-records``; None: it was deleted."""
        if record is not None and (key == self.customer or self.customer in record.get("ids", ())):
            self._kept[key] = record
            return
        self._kept.pop(key, None)
        self._forgotten |= key == self.customer

    def found(self) -> RecordData:
        """The record, of the customer into whom the id was merged if it was. Raises NoRecord."""
        others = [record for key, record in self._kept.items() if key != self.customer]
        if others:
            return max(others, key=lambda record: str(record["recorded_at"]))
        own = self._kept.get(self.customer)
        if own is None:
            raise NoRecord(self.customer, forgotten=self._forgotten)
        return own


def record_in(folder: Path, customer: str) -> RecordData:
    """The customer's record in the output folder of a replay. Raises NoRecord, OSError."""
    search = RecordSearch(customer)
    for key, record in records_in(folder):
        search.see(key, record)
    return search.found()


def records_in(folder: Path) -> Iterator[tuple[str, RecordData]]:
    """Customer id and record of everyone in the output folder of a replay. Raises OSError."""
    with (folder / "records.jsonl").open("rb") as lines:
        for line in lines:
            event = orjson.loads(line)
            yield event["subject"], event["data"]
