"""The topics of a small deployment in memory, written by the product's own decide step; and ways to forge them."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import astuple
from typing import Any

import orjson
from faust_batches import Output
from faust_batches.partitioner import partition_of
from msgspec.structs import replace

from referral_stream.audit.context import Names
from referral_stream.audit.findings import AuditReport, Position
from referral_stream.audit.referee import look_at
from referral_stream.contracts.codec import decode_request, encode_effect, encode_event, event_headers, event_key
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.state import Stored, decode_customer, decode_state, decode_wakeup, encode_customer
from referral_stream.contracts.topics import Topics
from referral_stream.core.customer import Customer
from referral_stream.core.effects import ContactTold, GrantRequested, OpportunityOpened, ReservationRequested
from referral_stream.core.entities import Entity
from referral_stream.core.events import Contact, ControlPaused, ControlResumed, Data, Event, ReferralGiven, WakeupDue
from referral_stream.core.ids import derived_id
from referral_stream.core.keys import parse_key
from referral_stream.core.ledger.breaker import breakers_pause
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.policy import Policy
from referral_stream.stream.decide import Decide
from tests.builders import POLICY, Told, When, _arrivals, at

PARTITIONS = 3
NAMES = Names(
    events="customer-events",
    asks="referral-asks",
    decisions="referral-decisions",
    requests="ledger-requests",
    letters="dead-letters",
    customers="customers",
    wakeups="wakeups",
    followups="referral-followups",
    rewards="referral-rewards",
    records="referral-records",
    contacts="referral-contacts",
)


class MemoryLogs:
    """Topics as lists of records. ``begin`` of a partition may be moved, as retention does."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], list[RawRecord]] = {
            (topic, partition): [] for topic in astuple(NAMES) for partition in range(PARTITIONS)
        }
        self.begin: dict[tuple[str, int], int] = defaultdict(int)
        self.hidden: list[RawRecord] = []
        """What only a reader with read_uncommitted sees: records of aborted and open transactions, and behind them."""
        self.on_read: Callable[[str, int], None] = lambda _topic, _partition: None
        """Called before a partition is read: a live system moves."""

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int | None = None
    ) -> Position:
        number = partition_of(key or b"", PARTITIONS) if partition is None else partition
        log = self.logs[topic, number]
        offset = log[-1].offset + 1 if log else 0
        record = RawRecord(
            topic=topic, partition=number, offset=offset, timestamp=0, key=key, value=value, headers=headers
        )
        if topic == NAMES.requests:  # of what reached the ledger first, the broker's stamps tell
            record = replace(record, timestamp=int(record.header("now") or 0))
        log.append(record)
        return Position(topic, number, offset)

    def begins(self, topic: str) -> list[int]:
        return [self.begin[topic, partition] for partition in range(PARTITIONS)]

    def ends(self, topic: str) -> list[int]:
        logs = [self.logs[topic, partition] for partition in range(PARTITIONS)]
        return [log[-1].offset + 1 if log else 0 for log in logs]

    def read(
        self, topic: str, partition: int, start: int, end: int | None = None, *, committed: bool = True
    ) -> Iterator[RawRecord]:
        self.on_read(topic, partition)
        for record in list(self.logs[topic, partition]):
            if start <= record.offset and (end is None or record.offset < end):
                yield record
        if not committed:
            yield from (each for each in self.hidden if (each.topic, each.partition) == (topic, partition))

    # -- forging

    def find(self, topic: str, wanted: Callable[[Any], bool] = lambda _: True) -> RawRecord:
        """The first record whose JSON is wanted."""
        for partition in range(PARTITIONS):
            for record in self.logs[topic, partition]:
                if record.value is not None and wanted(orjson.loads(record.value)):
                    return record
        raise LookupError(topic)

    def rewrite(self, record: RawRecord, **changes: Any) -> Position:
        """Another record in the place of this one."""
        log = self.logs[record.topic, record.partition]
        log[log.index(record)] = replace(record, **changes)
        return Position(record.topic, record.partition, record.offset)

    def rewrite_body(self, record: RawRecord, **fields: Any) -> Position:
        """The same message with other fields in its body."""
        message = orjson.loads(record.value or b"")
        message["data"] |= fields
        return self.rewrite(record, value=orjson.dumps(message, option=orjson.OPT_SORT_KEYS))

    def remove(self, record: RawRecord) -> Position:
        self.logs[record.topic, record.partition].remove(record)
        return Position(record.topic, record.partition, record.offset)


class Deployment:
    """Workers in small: ingest without adapters, decide as it is, the ledger in memory, a timer without delay."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.logs = MemoryLogs()
        self.policy = policy
        self.entry_limit = 890_000
        """Of the changelogs, in bytes; it may be changed at any time."""
        self._decide = self._agent()
        self._caps = MemoryLedger(policy)
        self._tables: dict[tuple[str, int], dict[bytes, bytes]] = defaultdict(dict)
        self._due: list[tuple[int, str]] = []

    def switch(self, policy: Policy) -> None:
        """The workers start again under another policy."""
        self.policy, self._caps = policy, MemoryLedger(policy)
        self._decide = self._agent()

    def _agent(self) -> Decide:
        return Decide(Topics(), self.policy, lambda _: self.entry_limit)

    def tell(self, *told: Told, until: When | None = None) -> None:
        """Let these arrive in their order, and everything happen that is due by ``until`` (else by the last)."""
        for now, event, _ in sorted(_arrivals(told), key=lambda arrival: arrival.now):
            self.wake(now)
            self.take(event, now)
        if until is not None:
            self.wake(at(until))

    def take(self, event: Event, now: int) -> None:
        """A fact goes to its customer, a switch to the ledger."""
        match event.data:
            case ControlPaused() | ControlResumed():
                if self._caps.apply(event):
                    for customer in list(self._caps.told(event.data, now)):
                        self.arrive(replace(event, subject=customer), now)
            case ReferralGiven() as data:
                self.arrive(self._without_names(event, data, now), now)
            case _:
                self.arrive(event, now)

    def _without_names(self, event: Event, data: ReferralGiven, now: int) -> Event:
        """As ingest does it: a contact who has consented is named on a topic of its own, and a hash goes further."""
        contact = data.contact
        if contact.ref is None:
            return event
        if contact.consented and contact.name is not None:
            told = ContactTold(referral_id=data.referral_id, customer_id=event.subject, name=contact.name, told_at=now)
            headers = (("now", b"%d" % now),)
            self.logs.append(NAMES.contacts, data.referral_id.encode(), encode_effect(told, now), headers)
        hashed = Contact(ref_hmac=hashlib.sha256(contact.ref.encode()).hexdigest(), consented=contact.consented)
        return replace(event, data=data.model_copy(update={"contact": hashed}))

    def arrive(self, event: Event, now: int) -> Position:
        where = self.logs.append(NAMES.events, event_key(event), encode_event(event), event_headers(event, now))
        self.decide(where)
        return where

    def decide(self, where: Position) -> None:
        """The decide agent takes one record."""
        log = self.logs.logs[where.topic, where.partition]
        record = next(each for each in reversed(log) if each.offset == where.offset)
        result = self._decide(where.partition, [record], lambda name, key: self._tables[name, where.partition].get(key))
        published = [self._publish(output) for output in result.outputs]
        appended = [each for each in published if each.topic == NAMES.events]
        for name, changes in result.changes.items():
            for key, value in changes.items():
                self.logs.append(name, key, value, partition=where.partition)
                if value is None:
                    self._tables[name, where.partition].pop(key, None)
                else:
                    self._tables[name, where.partition][key] = value
        key = record.key or b""
        if (due := self._due_of(key)) is not None:
            heapq.heappush(self._due, (due, key.decode()))
        for output in result.outputs:
            if output.topic == NAMES.requests:
                self._answer(output.value or b"")
        for each in appended:
            self.decide(each)

    def _due_of(self, key: bytes) -> int | None:
        """When the key is due, as the table of wake-ups has it."""
        value = self._tables["wakeups", partition_of(key, PARTITIONS)].get(key)
        wakeup = None if value is None else decode_wakeup(value)
        return None if wakeup is None or wakeup.held else wakeup.due

    @property
    def decide_agent(self) -> Decide:
        """With its counters."""
        return self._decide

    def states(self) -> dict[str, Entity]:
        """All states that are stored, by key."""
        tables = [table for (name, _), table in self._tables.items() if name == "customers"]
        return {key.decode(): decode_state(value).entity for table in tables for key, value in table.items()}

    def held(self) -> set[str]:
        """The keys of which something could not be stored."""
        tables = [table for (name, _), table in self._tables.items() if name == "wakeups"]
        return {key.decode() for table in tables for key, value in table.items() if decode_wakeup(value).held}

    def stored(self, customer: str) -> Stored[Customer]:
        key = customer.encode()
        return decode_customer(self._tables["customers", partition_of(key, PARTITIONS)][key])

    def write_state(self, customer: str, change: Callable[[Customer], None], mark: int = 0) -> Position:
        """A state that follows from no record; ``mark`` is added to the true one."""
        stored = self.stored(customer)
        change(stored.entity)
        return self.logs.append("customers", customer.encode(), encode_customer(stored.entity, stored.mark + mark))

    def audit(self, *earlier: Policy, **more: Any) -> AuditReport:
        return look_at(self.logs, NAMES, [self.policy, *earlier], **more)

    def _publish(self, output: Output) -> Position:
        return self.logs.append(output.topic, output.key, output.value, output.headers, output.partition)

    def _answer(self, value: bytes) -> None:
        request = decode_request(value)
        result = self._caps.apply(request)
        if isinstance(request, GrantRequested) and isinstance(result, Data):
            about = f"{request.grant_id} {request.now}"
            self.arrive(_internal(result, request.customer_id, request.now, about), request.now)
        if isinstance(request, ReservationRequested) and isinstance(result, Data):
            self.arrive(_internal(result, request.customer_id, request.now, request.command_id), request.now)
        if isinstance(request, OpportunityOpened) and isinstance(result, ControlPaused):
            for customer in list(self._caps.told(result, request.now)):
                self.arrive(replace(breakers_pause(request, result), subject=customer), request.now)

    def wake(self, until: int) -> None:
        """Let everything happen that is due by then."""
        while self._due and self._due[0][0] <= until:
            due, key = heapq.heappop(self._due)
            if self._due_of(key.encode()) == due:
                name = parse_key(key.encode())
                woken = _internal(WakeupDue(due=due), name if isinstance(name, str) else "", due)
                self.arrive(woken if isinstance(name, str) else replace(woken, link=name), due)


def _internal(data: Data, customer: str, now: int, about: str = "") -> Event:
    return Event(
        id=derived_id(data.type, customer, now, about),
        source="referral-stream/test",
        type=data.type,
        subject=customer,
        time=now,
        data=data,
    )
