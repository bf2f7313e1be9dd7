"""The live stream in small: one step per record, and the log of everything the decision saw.

What ``customer-events`` would hold: the facts, the wake-ups at their instants, the ledger's answers as they came.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    Effect,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import ControlPaused, ControlResumed, Data, Event, WakeupDue
from referral_stream.core.ids import derived_id
from referral_stream.core.ledger.breaker import breakers_pause
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.replay.virtual_run import Arrival, Happened


@dataclass
class Recording:
    """Feed it arrivals; ``log`` and ``happened`` grow. Wake-ups and answers arrive without delay."""

    policy: Policy
    log: list[Arrival] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)
    customers: dict[str, Customer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._caps = MemoryLedger(self.policy)
        self._due: list[tuple[int, str]] = []

    def run(self, arrivals: Iterable[Arrival]) -> Recording:
        for now, event in arrivals:
            self._wake(now)
            match event.data:
                case ControlPaused() | ControlResumed():
                    if self._caps.apply(event):
                        for customer in list(self._caps.told(event.data, now)):
                            self._append(now, replace(event, subject=customer))
                case _:
                    self._append(now, event)
        self._wake(None)
        return self

    def _wake(self, before: int | None) -> None:
        """Append the wake-ups that are due before that instant (None: all)."""
        while self._due and (before is None or self._due[0][0] < before):
            due, name = heapq.heappop(self._due)
            if self.customers[name].wake_at == due:
                self._append(due, _internal(WakeupDue(due=due), name, due))

    def _append(self, now: int, event: Event) -> None:
        self.log.append(Arrival(now, event))
        known = self.customers.get(event.subject) or Customer(id=event.subject)
        customer, effects, wake_at, _ = step(self.policy, known, [event], now)
        self.customers[event.subject] = customer
        if wake_at is not None:
            heapq.heappush(self._due, (wake_at, event.subject))
        for effect in effects:
            self.happened.append(Happened(customer.now, effect))
            self._tell_ledger(effect, now)

    def _tell_ledger(self, effect: Effect, now: int) -> None:
        match effect:
            case ReservationRequested():
                answer = self._caps.request(effect)
                self._append(now, _internal(answer, effect.customer_id, now, effect.command_id))
            case ReservationConfirmed():
                self._caps.confirm(effect)
            case ReservationReleased():
                self._caps.release(effect)
            case ReservationAmended():
                self._caps.amend(effect)
            case OpportunityOpened():
                if (pause := self._caps.opened(effect)) is not None:
                    for customer in list(self._caps.told(pause, now)):
                        self._append(now, replace(breakers_pause(effect, pause), subject=customer))
            case _:
                pass


def _internal(data: Data, customer: str, now: int, about: str = "") -> Event:
    return Event(
        id=derived_id(data.type, customer, now, about),
        source="referral-stream/test",
        type=data.type,
        subject=customer,
        time=now,
        data=data,
    )
