"""The live stream in small: one step per record, and the log of everything the decision saw.

What ``customer-events`` would hold: the facts, the wake-ups at their instants, the ledger's answers as they came, and
what customers and links append to each other, first in first out. An arrival has a record only if its key is not its
subject's.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from referral_stream.contracts.codec import event_key
from referral_stream.contracts.records import RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    Append,
    Effect,
    GrantRequested,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import ControlPaused, ControlResumed, Data, Event, Link, WakeupDue
from referral_stream.core.ids import derived_id
from referral_stream.core.keys import parse_key
from referral_stream.core.ledger.breaker import breakers_pause
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.ledger.grants import RewardOperation
from referral_stream.core.links import Brought, LinkState, step_link
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

    links: dict[Link, LinkState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._caps = MemoryLedger(self.policy)
        self._due: list[tuple[int, str]] = []
        self._appended: deque[tuple[int, Append]] = deque()
        self._passing_on = False

    def run(self, arrivals: Iterable[Arrival]) -> Recording:
        for now, event, _ in arrivals:
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
        while self._due and (before is None or self.fires(self._due[0][0]) < before):
            due, key = heapq.heappop(self._due)
            name, now = parse_key(key.encode()), self.fires(due)
            if isinstance(name, Link):
                if self.links[name].wake_at == due:
                    self._append(now, replace(internal(WakeupDue(due=due), "", now), link=name))
            elif self.customers[name].wake_at == due:
                self._append(now, internal(WakeupDue(due=due), name, now))

    def fires(self, due: int) -> int:
        """When a wake-up that is due then comes; never before one that is due earlier."""
        return due

    def _append(self, now: int, event: Event, key: str | None = None) -> None:
        self.log.append(Arrival(now, event, None if key is None else _at(key, now)))
        key = event_key(event).decode() if key is None else key
        name = parse_key(key.encode())
        if isinstance(name, Link):
            self._append_to_link(now, event, name, key)
            return
        known = self.customers.get(name) or Customer(id=name)
        customer, effects, wake_at, appended, _ = step(self.policy, known, [event], now)
        self.customers[name] = customer
        if wake_at is not None:
            heapq.heappush(self._due, (wake_at, key))
        self._appended.extend((customer.now, each) for each in appended)
        for effect in effects:
            self.happened.append(Happened(customer.now, effect))
            self._tell_ledger(effect, now)
        self._pass_on()

    def _append_to_link(self, now: int, event: Event, link: Link, key: str) -> None:
        state, appended, _ = step_link(
            self.policy, self.links.get(link) or LinkState(link), [Brought(event, None)], now
        )
        self.links[link] = state
        if state.wake_at is not None:
            heapq.heappush(self._due, (state.wake_at, key))
        self._appended.extend((state.now, each) for each in appended)
        self._pass_on()

    def _pass_on(self) -> None:
        if self._passing_on:
            return  # by whoever has begun with it
        self._passing_on = True
        while self._appended:
            now, each = self._appended.popleft()
            self._append(now, each.event, each.key)
        self._passing_on = False

    def _tell_ledger(self, effect: Effect, now: int) -> None:
        match effect:
            case ReservationRequested():
                answer = self._caps.request(effect)
                self._append(now, internal(answer, effect.customer_id, now, effect.command_id))
            case ReservationConfirmed():
                self._caps.confirm(effect)
            case ReservationReleased():
                self._caps.release(effect)
            case ReservationAmended():
                self._caps.amend(effect)
            case GrantRequested():
                if (given := self._caps.reward(effect)) is not None:
                    self._append(now, internal(given, effect.customer_id, now, effect.grant_id))
            case _ if isinstance(effect, RewardOperation):
                self._caps.reward(effect)
            case OpportunityOpened():
                if (pause := self._caps.opened(effect)) is not None:
                    for customer in list(self._caps.told(pause, now)):
                        self._append(now, replace(breakers_pause(effect, pause), subject=customer))
            case _:
                pass


def _at(key: str, now: int) -> RawRecord:
    return RawRecord(topic="customer-events", partition=0, offset=0, timestamp=now, key=key.encode(), value=None)


def internal(data: Data, customer: str, now: int, about: str = "") -> Event:
    return Event(
        id=derived_id(data.type, customer, now, about),
        source="referral-stream/test",
        type=data.type,
        subject=customer,
        time=now,
        data=data,
    )
