"""Fact replay: a log of facts under a virtual clock, with an in-memory ledger that answers at once.

Time is the highest arrival instant so far; wake-ups fire at their exact instants. At one instant: records in their
order, each with what entities (customers, and links: identity §4) append to each other because of it, first in first
out (identity §7), then the deadlines and dispatches by customer id, then the ledger's answers in rounds: all requests
of a round are collected, the best contact is answered first, and the next candidates of those refused form the next
round (semantics §10). Of rewards the ledger learns all claims, confirmations and releases of a round before it answers
the requests for grants, after those for reservations, by customer and grant id (after §0).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from referral_stream.contracts.applying import NotApplied, lettered
from referral_stream.contracts.deadletters import attempt_of
from referral_stream.contracts.records import RawRecord
from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    Append,
    Effect,
    GrantRequested,
    Letter,
    OpportunityOpened,
    RecordPosition,
    ReservationAmended,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import Event, Link
from referral_stream.core.keys import parse_key
from referral_stream.core.ledger.breaker import breakers_pause
from referral_stream.core.ledger.caps import LedgerAnswer, MemoryLedger
from referral_stream.core.ledger.grants import GrantAnswer, RewardOperation, granting_order
from referral_stream.core.links import Brought, LinkState, step_link
from referral_stream.core.policy import Policy
from referral_stream.core.step import finish, take
from referral_stream.core.turn import Turn


class Arrival(NamedTuple):
    """One event and the instant at which it arrived (epoch ms, never going back along a log).

    ``record``: the log's record that brought it, for dead letters; None if no log did.
    """

    now: int
    event: Event
    record: RawRecord | None = None


class Happened(NamedTuple):
    """One effect and the instant of the step that made it."""

    now: int
    effect: Effect


Lettered: TypeAlias = Callable[[RawRecord, NotApplied], None]
"""Is given what a step makes a dead letter for, with the record of the log from which it followed."""

Changed: TypeAlias = Callable[[Customer], None]
"""Is shown a customer's state whenever their asks or referrals have changed; must leave it alone."""

Witness: TypeAlias = Callable[[Customer, Event, int], None]
"""Is shown each event of a customer, with the state before it and the instant; must leave the state alone."""


class _ForTheLedger(NamedTuple):
    """What is asked of the ledger in one go, and the pauses that the breaker makes."""

    requests: list[ReservationRequested]
    pauses: list[Event]
    grants: list[GrantRequested]


class FactReplay:
    """All customers and links of one log, from nothing or from ``customers``, ``links`` and a ledger (``caps``).

    ``customers`` and ``links`` may be looked at between two instants, ``now`` is the latest one; ``pauses`` are those
    of the burst breaker, each with its instant. ``recorded``: whether records are made (after §6), which takes time.
    ``regrets_by``: by whose gate 5 regrets are judged, where that is not ``policy``.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        caps: MemoryLedger | None = None,
        customers: Mapping[str, Customer] | None = None,
        links: Mapping[Link, LinkState] | None = None,
        witness: Witness | None = None,
        lettered: Lettered | None = None,
        changed: Changed | None = None,
        recorded: bool = True,
        regrets_by: Policy | None = None,
    ) -> None:
        self.policy = policy
        self.caps = caps or MemoryLedger(policy)
        self.customers: dict[str, Customer] = dict(customers or {})
        self.links: dict[Link, LinkState] = dict(links or {})
        self.now = 0
        self.pauses: list[tuple[int, ev.ControlPaused]] = []
        self._witness = witness
        self._lettered = lettered
        self._changed, self._recorded, self._regrets_by = changed, recorded, regrets_by
        self._record: RawRecord | None = None
        self._appended: deque[Append] = deque()
        self._due = [(c.wake_at, name) for name, c in self.customers.items() if c.wake_at is not None]
        heapq.heapify(self._due)
        self._links_due = [(each.wake_at, link) for link, each in self.links.items() if each.wake_at is not None]
        heapq.heapify(self._links_due)

    def run(self, arrivals: Iterable[Arrival], until: int | None = None) -> Iterator[list[Happened]]:
        """The effects of each instant, in the order in which outputs are written.

        Reads arrivals up to and including ``until``, then lets time go on to ``until``; without it, until nothing is
        pending.
        """
        yield from self.read(arrivals, until)
        yield from self.wait(until)

    def read(self, arrivals: Iterable[Arrival], until: int | None = None) -> Iterator[list[Happened]]:
        """As :meth:`run`, without letting time go on after the last arrival."""
        batch: list[Arrival] = []
        instant = 0
        for arrival in arrivals:
            if until is not None and arrival.now > until:
                break
            if batch and arrival.now != instant:
                yield from self.wait(instant - 1)
                yield self._at(instant, batch)
                batch = []
            instant = arrival.now
            batch.append(arrival)
        if batch:
            yield from self.wait(instant - 1)
            yield self._at(instant, batch)

    def wait(self, until: int | None = None) -> Iterator[list[Happened]]:
        """Let time go on up to and including ``until`` (None: until nothing is pending); no record arrives."""
        while (due := self._next_due()) is not None and (until is None or due <= until):
            yield self._at(due, [])

    def _next_due(self) -> int | None:
        customer, link = self._next_customer_due(), self._next_link_due()
        if customer is None or link is None:
            return link if customer is None else customer
        return min(customer, link)

    def _next_link_due(self) -> int | None:
        while self._links_due:
            due, link = self._links_due[0]
            if self.links[link].wake_at == due:
                return due
            heapq.heappop(self._links_due)
        return None

    def _next_customer_due(self) -> int | None:
        while self._due:
            due, name = self._due[0]
            if self.customers[name].wake_at == due:
                return due
            heapq.heappop(self._due)
        return None

    def _at(self, now: int, arrivals: list[Arrival]) -> list[Happened]:
        """One instant: these records, the wake-ups due, and the ledger's rounds."""
        self.now = now
        turns: dict[str, Turn] = {}
        for arrival in arrivals:
            self._record = arrival.record
            self._take(arrival.event, now, turns)
        self._record = None
        while self._next_link_due() == now:
            self._advance_link(heapq.heappop(self._links_due)[1], now)
        while self._next_customer_due() == now:
            name = heapq.heappop(self._due)[1]
            if name not in turns:
                turns[name] = self._begin(self.customers[name], now)
        happened: list[Happened] = []
        while turns:
            turns = self._answer(self._finish(turns, now, happened), now)
        if happened:
            happened.sort(key=lambda item: item.effect.customer_id)  # stable: an ask comes before what it supersedes
        return happened

    def _take(self, event: Event, now: int, turns: dict[str, Turn]) -> None:
        match event.data:
            case ev.ControlPaused() | ev.ControlResumed():
                if self.caps.apply(event):
                    self._tell(event, now, turns)
            case _:
                self._give(event, event.subject or event.link or "", now, turns)
        self._pass_on(now, turns)

    def _tell(self, switch: Event, now: int, turns: dict[str, Turn]) -> None:
        for customer in self.caps.told(switch.data, now):
            self._give(switch, customer, now, turns)

    def _give(self, event: Event, name: str | Link, now: int, turns: dict[str, Turn]) -> None:
        if isinstance(name, Link):
            self._advance_link(name, now, Brought(event, _position(self._record)))
            return
        turn = self._turn(name, now, turns)
        if self._witness is not None:
            self._witness(turn.customer, event, now)
        self._apply(turn, event)

    def _apply(self, turn: Turn, event: Event) -> None:
        take(turn, event)
        self._appended.extend(turn.appended)
        turn.appended.clear()
        self._complain(turn.letters, turn.now)
        turn.letters.clear()

    def _advance_link(self, link: Link, now: int, *brought: Brought) -> None:
        """At once: a link speaks to nobody, so nothing of it waits for the end of the instant."""
        state, appended, letters = step_link(self.policy, self.links.get(link) or LinkState(link), brought, now)
        known = self.links.get(link)
        self.links[link] = state
        if state.wake_at is not None and (known is None or state.wake_at != known.wake_at):
            heapq.heappush(self._links_due, (state.wake_at, link))
        self._appended.extend(appended)
        self._complain(letters, now)

    def _complain(self, letters: list[Letter], now: int) -> None:
        if self._lettered is None:
            return
        for each in lettered(letters, now):
            if (record := each.earlier or self._record) is not None:
                self._lettered(record, each)

    def _pass_on(self, now: int, turns: dict[str, Turn]) -> None:
        """What entities have appended to each other, and what follows from it, until nothing is left."""
        while self._appended:
            appended = self._appended.popleft()
            self._give(appended.event, parse_key(appended.key.encode()), now, turns)

    def _turn(self, name: str, now: int, turns: dict[str, Turn]) -> Turn:
        turn = turns.get(name)
        if turn is None:
            customer = self.customers.get(name) or Customer(id=name)
            turn = turns[name] = self._begin(customer, now)
        return turn

    def _begin(self, customer: Customer, now: int) -> Turn:
        return Turn(self.policy, customer, now, recorded=self._recorded, regrets_by=self._regrets_by)

    def _finish(self, turns: dict[str, Turn], now: int, happened: list[Happened]) -> _ForTheLedger:
        """What they request, and the pauses that the breaker makes of what they open."""
        round_ = _ForTheLedger([], [], [])
        for name in sorted(turns):
            customer, effects, wake_at, appended, _ = finish(turns[name])
            self._appended.extend(appended)
            known = self.customers.get(name)
            self.customers[name] = customer
            if self._changed is not None and (
                known is None or customer.asks is not known.asks or customer.referrals is not known.referrals
            ):
                self._changed(customer)
            if wake_at is not None and (known is None or wake_at != known.wake_at):
                heapq.heappush(self._due, (wake_at, name))
            for effect in effects:
                match effect:
                    case ReservationRequested():
                        round_.requests.append(effect)
                    case ReservationConfirmed():
                        self.caps.confirm(effect)
                    case ReservationReleased():
                        self.caps.release(effect)
                    case ReservationAmended():
                        self.caps.amend(effect)
                    case OpportunityOpened():
                        if (pause := self.caps.opened(effect)) is not None:
                            self.pauses.append((now, pause))
                            round_.pauses.append(breakers_pause(effect, pause))
                    case GrantRequested():
                        round_.grants.append(effect)
                    case _ if isinstance(effect, RewardOperation):
                        self.caps.reward(effect)
                    case _:
                        happened.append(Happened(now, effect))
        return round_

    def _answer(self, round_: _ForTheLedger, now: int) -> dict[str, Turn]:
        """The turns of those told of a pause, and of those answered: what they request next is the next round."""
        turns: dict[str, Turn] = {}
        for pause in round_.pauses:
            self._tell(pause, now, turns)
        for request, answer in self.caps.answer_round(round_.requests) if round_.requests else ():
            event = _answer_event(answer, request.command_id, request.customer_id, now)
            self._apply(self._turn(request.customer_id, now, turns), event)
        for asked in granting_order(round_.grants) if round_.grants else ():
            if (given := self.caps.reward(asked)) is not None:
                event = _answer_event(given, asked.grant_id, asked.customer_id, now)
                self._apply(self._turn(asked.customer_id, now, turns), event)
        self._pass_on(now, turns)
        return turns


def _answer_event(answer: LedgerAnswer | GrantAnswer, asked: str, customer: str, now: int) -> Event:
    """What the ledger tells a customer; ``asked``: the id of what was asked for."""
    return Event(
        id=f"{answer.type}|{asked}|{now}",
        source="referral-stream/ledger",
        type=answer.type,
        subject=customer,
        time=now,
        data=answer,
    )


def _position(record: RawRecord | None) -> RecordPosition | None:
    """Where the record of the log lies that brings what is taken now."""
    if record is None:
        return None
    return RecordPosition(record.topic, record.partition, record.offset, record.timestamp, attempt_of(record))
