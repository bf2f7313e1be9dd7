"""Exact replay: ``customer-events`` as it was recorded, wake-ups and ledger answers included; nothing is generated.

Each record is applied as the live decide agent applies it, at its own arrival stamp, so decisions and refusals are the
live ones, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from referral_stream.contracts.applying import NotApplied, apply
from referral_stream.contracts.codec import arrival
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.policy import Policy
from referral_stream.replay.virtual_run import Happened, Witness

RefusedRecord: TypeAlias = Callable[[RawRecord, NotApplied], None]
"""Is given each record that was not applied, and why."""


class ExactReplay:
    """All customers of one ``customer-events`` log; ``now`` is the latest arrival, ``events`` how many were applied.

    ``customers``: the states that a log without its beginning builds on. ``witness`` sees the events that are applied.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        witness: Witness | None = None,
        refused: RefusedRecord | None = None,
        customers: Mapping[str, Customer] | None = None,
    ) -> None:
        self.policy = policy
        self.customers: dict[str, Customer] = dict(customers or {})
        self.now = self.events = 0
        self._witness, self._refused = witness, refused

    def run(self, records: Iterable[RawRecord], until: int | None = None) -> Iterator[list[Happened]]:
        """The effects of each record, in the log's order; records that arrived after ``until`` are left out."""
        for record in records:
            now = _arrived(record)
            if until is not None and now > until:
                continue
            name = (record.key or b"").decode("utf-8", "replace")
            known = self.customers.get(name) or Customer(id=name)
            customer, effects, event, refused = apply(self.policy, known, record)
            if refused is not None:
                if self._refused is not None:
                    self._refused(record, refused)
            elif event is not None:
                self.events += 1
                if self._witness is not None:
                    self._witness(known, event, now)
            if event is not None:
                self.now = max(self.now, now)
            if customer is not known:
                self.customers[name] = customer
            yield [Happened(customer.now, effect) for effect in effects]


def _arrived(record: RawRecord) -> int:
    """The arrival stamp; the record's own time if it has no valid one."""
    try:
        return arrival(record)
    except Undecodable:
        return record.timestamp
