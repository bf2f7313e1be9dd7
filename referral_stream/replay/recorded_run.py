"""Exact replay: ``customer-events`` as it was recorded, wake-ups and ledger answers included; nothing is made up.

Each record is one step at its own arrival stamp, as in the live decide agent, so the decisions are the live ones, byte
for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from referral_stream.core.customer import Customer
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.replay.virtual_run import Arrival, Happened, Witness


class ExactReplay:
    """All customers of one ``customer-events`` log; ``now`` is the latest arrival.

    ``customers``: the states that a log without its beginning builds on.
    """

    def __init__(
        self, policy: Policy, *, witness: Witness | None = None, customers: Mapping[str, Customer] | None = None
    ) -> None:
        self.policy = policy
        self.customers: dict[str, Customer] = dict(customers or {})
        self.now = 0
        self._witness = witness

    def run(self, arrivals: Iterable[Arrival], until: int | None = None) -> Iterator[list[Happened]]:
        """The effects of each record, in the log's order; records that arrived after ``until`` are left out."""
        for now, event in arrivals:
            if until is not None and now > until:
                continue
            self.now = max(self.now, now)
            known = self.customers.get(event.subject) or Customer(id=event.subject)
            if self._witness is not None:
                self._witness(known, event, now)
            customer, effects, _ = step(self.policy, known, [event], now)
            self.customers[event.subject] = customer
            yield [Happened(customer.now, effect) for effect in effects]
