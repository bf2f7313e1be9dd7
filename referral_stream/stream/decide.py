"""The decide step: a batch of ``customer-events`` → states, commands, decisions and requests.

It is the first half of the order of effects (steps 1 to 3 of the decide agent; the transport does 4 to 6):

1. Decode; what cannot be decoded becomes a dead letter of this batch.
2. Group by key (a customer, or a link that says who is meant) and load each state once; a record below the state's
   own mark was applied before and is skipped.
3. Step every record in order at its own arrival stamp. If our code fails on a valid event, the event becomes a dead
   letter, the customer is quarantined, live commands are cancelled, and the batch goes on.

What one record does to one state is ``contracts.applying``: an exact replay does the same.
Everything is computed from the records and the tables alone, so a batch that is computed again gives the same bytes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from faust_batches import BatchResult, NeedsOperator, Output, Read, Record

from referral_stream.contracts.applying import Applied, NotApplied, apply
from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import effect_key, encode_effect, encode_event, event_headers
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import (
    OtherVersion,
    Stored,
    UnreadableState,
    decode_state,
    encode_state,
    encode_wakeup,
    wakeup_due,
)
from referral_stream.contracts.topics import Topics
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Decision
from referral_stream.core.entities import Entity, new_entity
from referral_stream.core.policy import Policy
from referral_stream.stream.ingest import dead_letter_output
from referral_stream.stream.state_cache import DecodedStates

logger = logging.getLogger(__name__)

DECODED_BYTES = 16 << 20
"""Encoded size of the states that a worker keeps decoded: some 220 MB as values, 11,000 customers of 1,500 bytes."""


class Decide:
    """The processor of the decide agent.

    It counts (outcome, trigger) of decisions in ``decided``, the gates that blocked an ask in ``held``, and
    ``refused_<cause>`` of dead letters and ``still_quarantined`` in ``counts``.
    """

    def __init__(self, topics: Topics, policy: Policy) -> None:
        self.topics, self.policy = topics, policy
        self.decided: Counter[tuple[str, str]] = Counter()
        self.held: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._decoded = DecodedStates(DECODED_BYTES)
        self._destinations = {model: topics.full_name(message.topic) for model, message in EFFECT_MESSAGES.items()}

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        states: dict[bytes, Stored[Entity]] = {}
        woken_before: dict[bytes, int | None] = {}
        outputs: list[Output] = []
        unreadable: set[bytes] = set()
        customers: dict[bytes, bytes | None] = {}
        wakeups: dict[bytes, bytes | None] = {}
        last_of = {record.key or b"": record.offset for record in records}
        for record in records:
            key = record.key or b""
            stored = states.get(key)
            if stored is None:
                # From the table, not the state: without fencing, a crash between the two may have left them different.
                wakeup = read("wakeups", key)
                woken_before[key] = None if wakeup is None else wakeup_due(wakeup)
                try:
                    stored = self._load(key, read)
                except UnreadableState as error:
                    unreadable.add(key)
                    self._hold_back(record, error, outputs)
                    continue
            if record.offset < stored.mark:
                continue
            stored = Stored(record.offset + 1, self._apply(stored.entity, record, outputs))
            if record.offset < last_of[key]:
                states[key] = stored
            else:  # not at the end of the batch: while the processor still has it cached, encoding costs half
                customers[key] = self._written(key, stored)
                due = stored.entity.wake_at
                if due != woken_before[key]:
                    wakeups[key] = None if due is None else encode_wakeup(due, stored.mark)
        wakeups |= {key: None for key in unreadable if woken_before[key] is not None}
        return BatchResult(outputs, {"customers": customers, "wakeups": wakeups})

    def _hold_back(self, record: Record, error: UnreadableState, outputs: list[Output]) -> None:
        """A damaged state stays as it is, and nothing is asked: nobody can know what it lacks (an opt-out?).

        Raises NeedsOperator for the state of another version: going on would hold everyone back.
        """
        if isinstance(error, OtherVersion):
            raise NeedsOperator(f"{error}. Run the newer version again: its states must not be touched") from error
        self.counts["refused_unreadable_state"] += 1
        logger.error("state_unreadable", extra={"partition": record.partition, "offset": record.offset})
        raw = RawRecord.of(record)
        outputs.append(dead_letter_output(self.topics, raw, f"unreadable_state: {error}", "decide", raw.timestamp))

    def _load(self, key: bytes, read: Read) -> Stored[Entity]:
        value = read("customers", key)
        if value is None:
            return Stored(0, new_entity(key))
        return self._decoded.find(key, value) or decode_state(value)

    def _written(self, key: bytes, stored: Stored[Entity]) -> bytes:
        value = encode_state(stored.entity, stored.mark)
        self._decoded.keep(key, value, stored)
        return value

    def _apply(self, entity: Entity, record: Record, outputs: list[Output]) -> Entity:
        """One record; its outputs are appended. Always returns a state, so that the mark moves past any record."""
        applied = apply(self.policy, entity, record)
        for complaint in applied.complaints:
            self._refuse(applied, complaint, record, outputs)
        if isinstance(applied.entity, Customer) and applied.entity.overfull:
            _tell_overfull(entity, applied.entity, record)
        if applied.effects:
            self._publish(applied, outputs)
        now = applied.entity.now
        for each in applied.appended:  # into the topic that this agent reads, in its own transaction
            value, headers = encode_event(each.event), event_headers(each.event, now)
            outputs.append(Output(self.topics.customer_events, value, each.key.encode(), headers))
        return applied.entity

    def _refuse(self, applied: Applied, refused: NotApplied, record: Record, outputs: list[Output]) -> None:
        position: dict[str, object] = {"partition": record.partition, "offset": record.offset}
        letter = refused.dead_letter(RawRecord.of(record))
        if letter is None:
            self.counts[refused.cause] += 1
            logger.error("hold_stays", extra=position)
            return
        self.counts[f"refused_{refused.cause}"] += 1
        outputs.append(Output(self.topics.dead_letters, letter.value, letter.key, letter.headers))
        for name, fault in zip(("step_failed", "quarantine_failed"), refused.faults, strict=False):
            kind = {"type": applied.event.type} if applied.event is not None else {}
            logger.error(name, exc_info=fault, extra=kind | position)

    def _publish(self, applied: Applied, outputs: list[Output]) -> None:
        now = applied.entity.now
        for effect in applied.effects:
            if isinstance(effect, Decision):
                self.decided[effect.outcome, effect.trigger] += 1
                self.held.update(reason.gate for reason in effect.reasons if reason.answer != "pass")
            value = encode_effect(effect, now)
            outputs.append(Output(self._destinations[type(effect)], value, effect_key(effect), (("now", b"%d" % now),)))


def _tell_overfull(before: Entity, after: Customer, record: Record) -> None:
    """Once for each kind of which a customer has more than is kept, until an operator clears it."""
    known = before.overfull if isinstance(before, Customer) else {}
    for kind in after.overfull.keys() - known.keys():
        extra = {"kind": kind, "partition": record.partition, "offset": record.offset}
        logger.warning("customer_overfull", extra=extra)
