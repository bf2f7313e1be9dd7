"""The decide step: a batch of ``customer-events`` → states, commands, decisions and requests.

It is the first half of the order of effects (steps 1 to 3 of the decide agent; the transport does 4 to 6):

1. Decode; what cannot be decoded becomes a dead letter of this batch.
2. Group by customer and load each state once; a record below the state's own mark was applied before and is skipped.
3. Step every record in order at its own arrival stamp. If our code fails on a valid event, the event becomes a dead
   letter, the customer is quarantined, live commands are cancelled, and the batch goes on.

Everything is computed from the records and the tables alone, so a batch that is computed again gives the same bytes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.outbound import arrival, decode_event, effect_key, encode_effect
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.state import Stored, decode_customer, encode_customer, encode_wakeup
from referral_stream.core.asks import (
    AskCancelled,
    AskRequested,
    Decision,
    Effect,
    OpportunityOpened,
    ReasonAsked,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.customer import Customer, hash64
from referral_stream.core.events import DeadletterReplayed, Event
from referral_stream.core.policy import Policy
from referral_stream.core.step import Advanced, step
from referral_stream.stream.ingest import dead_letter_output, raw_record
from referral_stream.stream.names import Topics
from referral_stream.stream.transport import BatchResult, Output, Read, Record

logger = logging.getLogger(__name__)

CACHED_STATES = 50_000
"""Decoded states kept between batches; with 2 KB each about 100 MB."""


class Decide:
    """The processor of the decide agent. ``counts`` grows by outcomes and faults."""

    def __init__(self, topics: Topics, policy: Policy) -> None:
        self.topics, self.policy = topics, policy
        self.counts: Counter[str] = Counter()
        self._decoded: dict[bytes, tuple[bytes, Stored]] = {}
        self._destinations: dict[type[Effect], str] = {
            AskRequested: topics.referral_asks,
            ReasonAsked: topics.referral_asks,
            AskCancelled: topics.referral_asks,
            Decision: topics.referral_decisions,
            ReservationRequested: topics.ledger_requests,
            ReservationConfirmed: topics.ledger_requests,
            ReservationReleased: topics.ledger_requests,
            OpportunityOpened: topics.ledger_requests,
        }

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        states: dict[bytes, Stored] = {}
        woken_before: dict[bytes, int | None] = {}
        outputs: list[Output] = []
        for record in records:
            key = record.key or b""
            stored = states.get(key)
            if stored is None:
                stored = self._load(key, read)
                woken_before[key] = stored.customer.wake_at
            if record.offset < stored.mark:
                continue
            customer = self._apply(stored.customer, record, outputs)
            states[key] = Stored(record.offset + 1, customer)
        return BatchResult(outputs, self._changes(states, woken_before))

    def _load(self, key: bytes, read: Read) -> Stored:
        value = read("customers", key)
        if value is None:
            return Stored(0, Customer(id=key.decode("utf-8", "replace")))
        known = self._decoded.get(key)
        if known is not None and known[0] == value:
            return known[1]
        return decode_customer(value)

    def _apply(self, customer: Customer, record: Record, outputs: list[Output]) -> Customer:
        """One record; its outputs are appended. Always returns a state, so that the mark moves past any record."""
        raw = raw_record(record)
        try:
            now, event = _read(raw)
        except Undecodable as error:
            self.counts["undecodable"] += 1
            outputs.append(dead_letter_output(self.topics, raw, str(error), "decide", max(raw.timestamp, customer.now)))
            return customer
        if event.type == DeadletterReplayed.type and not _went_through(raw, customer):
            self.counts["still_quarantined"] += 1
            logger.error("hold_stays", extra={"partition": raw.partition, "offset": raw.offset})
            return customer
        try:
            advanced = step(self.policy, customer, [event], now)
        except Exception as error:  # a fault of ours: it must neither let an ask slip out nor stop the partition
            logger.exception(
                "step_failed", extra={"type": event.type, "partition": raw.partition, "offset": raw.offset}
            )
            return self._quarantine(customer, now, raw, error, outputs)
        self._publish(advanced, outputs)
        return advanced.customer

    def _quarantine(
        self, customer: Customer, now: int, raw: RawRecord, error: Exception, outputs: list[Output]
    ) -> Customer:
        self.counts["quarantined"] += 1
        now = max(now, customer.now)
        outputs.append(dead_letter_output(self.topics, raw, f"fault: {type(error).__name__}", "decide", now))
        held = customer.copy()
        held.quarantined, held.now = True, now
        try:
            advanced = step(self.policy, held, [], now)
        except Exception:  # the state itself is what our code fails on: hold it, ask nothing
            logger.exception("quarantine_failed", extra={"partition": raw.partition, "offset": raw.offset})
            return held
        self._publish(advanced, outputs)
        return advanced.customer

    def _publish(self, advanced: Advanced, outputs: list[Output]) -> None:
        now = advanced.customer.now
        for effect in advanced.effects:
            if isinstance(effect, Decision):
                self.counts[effect.outcome] += 1
            value = encode_effect(effect, now)
            outputs.append(Output(self._destinations[type(effect)], value, effect_key(effect), (("now", b"%d" % now),)))

    def _changes(
        self, states: dict[bytes, Stored], woken_before: dict[bytes, int | None]
    ) -> dict[str, dict[bytes, bytes | None]]:
        customers: dict[bytes, bytes | None] = {}
        wakeups: dict[bytes, bytes | None] = {}
        if len(self._decoded) > CACHED_STATES:
            self._decoded.clear()
        for key, stored in states.items():
            value = encode_customer(stored.customer, stored.mark)
            customers[key] = value
            self._decoded[key] = (value, stored)
            due = stored.customer.wake_at
            if due != woken_before[key]:
                wakeups[key] = None if due is None else encode_wakeup(due, stored.mark)
        return {"customers": customers, "wakeups": wakeups}


EVENTS_HEADER = "events"
"""On ``deadletter.replayed``: which events the customer must have taken for the hold to end."""


def events_header(events: Iterable[Event]) -> Headers:
    """The header that names these facts; none where there are none."""
    names = " ".join(f"{hash64(event.source, event.id):016x}" for event in events)
    return ((EVENTS_HEADER, names.encode()),) if names else ()


def _went_through(raw: RawRecord, customer: Customer) -> bool:
    """Whether the customer has taken every event named: one that failed again, just before, has left no trace."""
    taken = {f"{event:016x}" for event in customer.seen}
    return all(name in taken for name in (raw.header(EVENTS_HEADER) or "").split())


def _read(raw: RawRecord) -> tuple[int, Event]:
    """A record of ``customer-events`` as arrival stamp and event. Raises Undecodable."""
    now, event = arrival(raw), decode_event(raw.value or b"")
    if event.subject.encode() != raw.key:
        raise Undecodable("invalid", "subject: is not the key of its record")
    return now, event
