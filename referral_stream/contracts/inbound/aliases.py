"""Aliases: one customer under several ids. ``customer.aliased`` redirects later records; states are never merged."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core.events import Aliased, Event


class Aliases:
    """Which ids stand for which customer, as far as known. Grows with every ``customer.aliased`` it sees."""

    def __init__(self) -> None:
        self._customers: dict[str, str] = {}

    def redirect(self, event: Event) -> Event:
        """The event under the customer it is about; an alias that it announces counts from the next event on."""
        customer = self.customer(event.subject)
        if type(event.data) is Aliased:  # isinstance is slow on pydantic models
            self.learn(event.data.alias, customer)
        return event if customer == event.subject else replace(event, subject=customer)

    def learn(self, alias: str, customer: str) -> None:
        """From now on ``alias`` is ``customer``; an alias that would make a customer its own alias is ignored."""
        customer = self.customer(customer)
        if customer != alias:
            self._customers[alias] = customer

    def customer(self, name: str) -> str:
        """Whom the id stands for: aliases of aliases are followed to their end."""
        while (known := self._customers.get(name)) is not None:
            name = known
        return name
