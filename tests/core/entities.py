"""Ids of one log, each at its own pace: what they append to each other waits until its reader comes to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from referral_stream.contracts.codec import decode_event, encode_event, event_key
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Append, AskCancelled, AskRequested, Decision, Effect, Letter, RecordChanged
from referral_stream.core.events import Event, Link
from referral_stream.core.keys import parse_key
from referral_stream.core.links import Brought, LinkState, step_link
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from tests.builders import POLICY

Choose = Callable[[list[str]], str]
"""Whose turn it is next, among those with something to read."""


@dataclass
class Entities:
    """A partition for each id: its records in order, those of different ids in any."""

    policy: Policy = POLICY
    states: dict[str, Customer] = field(default_factory=dict)
    links: dict[Link, LinkState] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    records: list[RecordChanged] = field(default_factory=list)
    letters: list[tuple[str, Letter]] = field(default_factory=list)
    read: list[tuple[str, Event]] = field(default_factory=list)
    waiting: dict[str, deque[tuple[int, Event]]] = field(default_factory=dict)

    def tell(self, *events: Event, now: int | None = None, key: str | None = None) -> None:
        """These lie on the log, and nobody has read them yet."""
        for event in events:
            arrived = event.time if now is None else now
            self.waiting.setdefault(key or event_key(event).decode(), deque()).append((arrived, event))

    def settle(self, *events: Event, choose: Choose = min) -> Entities:
        """Everybody reads on until nothing is left."""
        self.tell(*events)
        while keys := [key for key, records in self.waiting.items() if records]:
            self.read_one(choose(keys))
        return self

    def read_one(self, key: str) -> None:
        now, event = self.waiting[key].popleft()
        name = parse_key(key.encode())
        if isinstance(name, Link):
            known_link = self.links.get(name) or LinkState(name)
            link, passed_on, _ = step_link(self.policy, known_link, [Brought(event, None)], now)
            self.links[name] = link
            self._tell_others(passed_on, link.now)
            return
        self.read.append((name, event))
        known = self.states.get(name) or Customer(id=name)
        customer, effects, _, appended, letters = step(self.policy, known, [event], now)
        self.states[name] = customer
        self.records += (effect for effect in effects if isinstance(effect, RecordChanged))
        self.effects += (effect for effect in effects if not isinstance(effect, RecordChanged))
        self.letters += ((name, letter) for letter in letters)
        self._tell_others(appended, customer.now)

    def _tell_others(self, appended: list[Append], now: int) -> None:
        for each in appended:
            self.tell(decode_event(encode_event(each.event)), now=now, key=each.key)

    def again(self, key: str, records: Iterable[Event]) -> None:
        """The same records come once more."""
        for event in records:
            self.tell(event, key=key)

    @property
    def asked(self) -> list[AskRequested]:
        return [effect for effect in self.effects if isinstance(effect, AskRequested)]

    @property
    def cancelled(self) -> list[AskCancelled]:
        return [effect for effect in self.effects if isinstance(effect, AskCancelled)]

    def decisions(self, customer: str) -> list[Decision]:
        return [effect for effect in self.effects if isinstance(effect, Decision) and effect.customer_id == customer]
