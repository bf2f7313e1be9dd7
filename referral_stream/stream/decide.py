"""The decide step: a batch of ``customer-events`` → states, commands, decisions and requests.

It is the first half of the order of effects (steps 1 to 3 of the decide agent; the transport does 4 to 6):

1. Decode; what cannot be decoded becomes a dead letter of this batch.
2. Group by key (a customer, or a link that says who is meant) and load each state once; a record below the state's
   own mark was applied before and is skipped.
3. Step every record in order at its own arrival stamp. If our code fails on a valid event, the event becomes a dead
   letter, the customer is quarantined, live commands are cancelled, and the batch goes on. So it is where a state would
   not fit a record of its changelog.

What one record does to one state is ``contracts.applying``: an exact replay does the same.
Everything is computed from the records, the tables and the limit of the changelog, so a batch that is computed again
gives the same bytes; what the limit had a part in is noted in the log (``contracts.left_out``).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from faust_batches import BatchResult, NeedsOperator, Output, Read, Record

from referral_stream.contracts.applying import FAULT, Applied, NotApplied, apply, is_kept, leave_out
from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import effect_key, encode_effect, encode_event, event_headers
from referral_stream.contracts.left_out import STATE_TOO_LARGE, LeftOut, note_headers, note_of
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import (
    OtherVersion,
    Stored,
    UnreadableState,
    Wakeup,
    decode_state,
    encode_hold,
    encode_state,
    encode_wakeup,
    read_wakeup,
)
from referral_stream.contracts.topics import Topics
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Decision, Effect
from referral_stream.core.entities import Entity, new_entity
from referral_stream.core.ids import hash64
from referral_stream.core.policy import Policy
from referral_stream.stream.followed import Followed
from referral_stream.stream.ingest import dead_letter_output
from referral_stream.stream.state_cache import DecodedStates

logger = logging.getLogger(__name__)

DECODED_BYTES = 16 << 20
"""Encoded size of the states that a worker keeps decoded: some 220 MB as values, 11,000 customers of 1,500 bytes."""

KEPT_FREE_BYTES: Final = 1_000
"""Of a changelog's record, for what a state in quarantine and its mark may need more; of small ones a tenth."""


class Decide:
    """The processor of the decide agent.

    ``entry_limit`` says how many bytes key and value of a table's entry may have. It counts (outcome, trigger) of
    decisions in ``decided``, the gates that blocked an ask in ``held``, and ``refused_<cause>`` of dead letters and
    ``still_quarantined`` in ``counts``; what follows asks is in ``followed``.
    """

    def __init__(self, topics: Topics, policy: Policy, entry_limit: Callable[[str], int] = lambda _: 890_000) -> None:
        self.topics, self.policy, self.entry_limit = topics, policy, entry_limit
        self.decided: Counter[tuple[str, str]] = Counter()
        self.held: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.followed = Followed(policy)
        self.decoded = DecodedStates(DECODED_BYTES)
        self.destinations = {model: topics.full_name(message.topic) for model, message in EFFECT_MESSAGES.items()}

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        batch = _Batch(self, read)
        batch.take(records)
        careful: frozenset[bytes] = frozenset()
        while batch.troubled:  # in few batches: once more, with a look at every record of these customers
            careful |= batch.troubled
            batch = _Batch(self, read, careful)
            batch.take(records)
        for tell in batch.news:
            tell()
        self.decided += batch.decided
        self.held += batch.held
        self.counts += batch.counts
        self.followed.count(batch.followed)
        return BatchResult(batch.outputs, {"customers": batch.customers, "wakeups": batch.wakeups})


class _Batch:
    """One computation of a batch.

    ``troubled``: keys whose outcome cannot be kept, or on which our code fails outside of the step; they are left out
    here, and the batch is computed again with them as ``careful``: each of their records is then kept or left out by
    itself.
    """

    def __init__(self, agent: Decide, read: Read, careful: AbstractSet[bytes] = frozenset()) -> None:
        self._agent, self._read, self._careful = agent, read, careful
        self.troubled: set[bytes] = set()
        self.outputs: list[Output] = []
        self.customers: dict[bytes, bytes | None] = {}
        self.wakeups: dict[bytes, bytes | None] = {}
        self.decided: Counter[tuple[str, str]] = Counter()
        self.held: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.followed: list[Effect] = []
        self.news: list[Callable[[], None]] = []
        """What is to be logged once the batch is computed."""
        self._states: dict[bytes, Stored[Entity]] = {}
        self._woken_before: dict[bytes, int | None] = {}
        self._unreadable: set[bytes] = set()
        self._kept: dict[bytes, tuple[bytes, Stored[Entity]]] = {}
        self._holding: dict[bytes, int] = {}
        limit = agent.entry_limit("customers")
        self._hard_limit, self._limit = limit, limit - min(KEPT_FREE_BYTES, limit // 10)

    def take(self, records: Sequence[Record]) -> None:
        ours = [record for record in records if record.value is not None or note_of(record) is None]
        last_of = {record.key or b"": record.offset for record in ours}
        for record in ours:
            key = record.key or b""
            stored = self._states.get(key) or self._loaded(key, record)
            if stored is None or record.offset < stored.mark or key in self.troubled:
                continue
            if key in self._careful:
                self._states[key] = self._taken_carefully(key, stored, record)
                continue
            try:
                stored = Stored(record.offset + 1, self._apply(stored.entity, record))
                if record.offset < last_of[key]:
                    self._states[key] = stored
                else:  # not at the end of the batch: while the processor still has it cached, encoding costs half
                    self._write(key, stored)
            except Exception:  # noqa: BLE001 (whatever a record provokes concerns its customer alone)
                self.troubled.add(key)
        self._write_careful()
        self.wakeups |= {key: None for key in self._unreadable if self._woken_before[key] is not None}

    # ------------------------------------------------------------------------------------------------------- the states

    def _loaded(self, key: bytes, record: Record) -> Stored[Entity] | None:
        """The state of a key, as the table has it; None if it cannot be read."""
        # From the table, not the state: without fencing, a crash between the two may have left them different.
        value = self._read("wakeups", key)
        wakeup = None if value is None else read_wakeup(value)
        self._woken_before[key] = None if wakeup is None else wakeup.due
        try:
            stored = self._stored(key)
        except UnreadableState as error:
            self._unreadable.add(key)
            self._hold_back(record, error)
            return None
        return _on_hold(stored, wakeup) if wakeup is not None and wakeup.held else stored

    def _stored(self, key: bytes) -> Stored[Entity]:
        value = self._read("customers", key)
        if value is None:
            return Stored(0, new_entity(key))
        return self._agent.decoded.find(key, value) or decode_state(value)

    def _hold_back(self, record: Record, error: UnreadableState) -> None:
        """A damaged state stays as it is, and nothing is asked: nobody can know what it lacks (an opt-out?).

        Raises NeedsOperator for the state of another version: going on would hold everyone back.
        """
        if isinstance(error, OtherVersion):
            raise NeedsOperator(f"{error}. Run the newer version again: its states must not be touched") from error
        self.counts["refused_unreadable_state"] += 1
        position = _position(record)
        self.news.append(lambda: logger.error("state_unreadable", extra=position))
        raw = RawRecord.of(record)
        letter = dead_letter_output(self._agent.topics, raw, f"unreadable_state: {error}", "decide", raw.timestamp)
        self.outputs.append(letter)

    def _write(self, key: bytes, stored: Stored[Entity]) -> None:
        value = encode_state(stored.entity, stored.mark)
        if len(key) + len(value) > self._limit:
            self.troubled.add(key)
            return
        self._keep(key, value, stored)

    def _keep(self, key: bytes, value: bytes, stored: Stored[Entity]) -> None:
        if not is_kept(key):
            return
        self._agent.decoded.keep(key, value, stored)
        self.customers[key] = value
        due = stored.entity.wake_at
        if due != self._woken_before[key]:
            self.wakeups[key] = None if due is None else encode_wakeup(due, stored.mark)

    # ------------------------------------------------------------------------------------------------------- one record

    def _apply(self, entity: Entity, record: Record) -> Entity:
        """One record; its outputs are appended. Always returns a state, so that the mark moves past any record."""
        applied = apply(self._agent.policy, entity, record)
        self._say(entity, applied, record)
        return applied.entity

    def _say(self, before: Entity, applied: Applied, record: Record) -> None:
        for complaint in applied.complaints:
            self._refuse(applied, complaint, record)
        if isinstance(applied.entity, Customer) and applied.entity.overfull:
            self._tell_overfull(before, applied.entity, record)
        if applied.effects:
            self._publish(applied)
        now = applied.entity.now
        for each in applied.appended:  # into the topic that this agent reads, in its own transaction
            value, headers = encode_event(each.event), event_headers(each.event, now)
            self.outputs.append(Output(self._agent.topics.customer_events, value, each.key.encode(), headers))

    def _refuse(self, applied: Applied, refused: NotApplied, record: Record) -> None:
        position = _position(record)
        letter = refused.dead_letter(RawRecord.of(record))
        if letter is None:
            self.counts[refused.cause] += 1
            self.news.append(lambda: logger.error("hold_stays", extra=position))
            return
        self.counts[f"refused_{refused.cause}"] += 1
        self.outputs.append(Output(self._agent.topics.dead_letters, letter.value, letter.key, letter.headers))
        said = ({"type": applied.event.type} if applied.event is not None else {}) | position

        def tell() -> None:
            for fault in refused.faults[:1]:
                logger.error("step_failed", exc_info=fault, extra=said)
            for fault in refused.faults[1:]:
                logger.error("quarantine_failed", exc_info=fault, extra=said)

        self.news.append(tell)

    def _publish(self, applied: Applied) -> None:
        now = applied.entity.now
        for effect in applied.effects:
            if isinstance(effect, Decision):
                self.decided[effect.outcome, effect.trigger] += 1
                self.held.update(reason.gate for reason in effect.reasons if reason.answer != "pass")
            elif Followed.is_counted(effect):
                self.followed.append(effect)
            message = EFFECT_MESSAGES[type(effect)]
            value = None if message.tombstone else encode_effect(effect, now)
            headers = (("now", b"%d" % now),)
            self.outputs.append(Output(self._agent.destinations[type(effect)], value, effect_key(effect), headers))

    # ---------------------------------------------------------------------------------------------- what cannot be kept

    def _taken_carefully(self, key: bytes, before: Stored[Entity], record: Record) -> Stored[Entity]:
        """One record of a customer in trouble: applied if the outcome can be kept, else left out, with a note."""
        said, mark = len(self.outputs), record.offset + 1
        counted = self.decided.copy(), self.held.copy(), self.counts.copy(), len(self.followed), len(self.news)
        try:
            applied = apply(self._agent.policy, before.entity, record)
            self._say(before.entity, applied, record)
            unchanged = applied.entity is before.entity
            value = encode_state(applied.entity, mark)
            if len(key) + len(value) <= (self._hard_limit if unchanged else self._limit):
                return self._taken(key, value, Stored(mark, applied.entity))
            if unchanged:  # it was a dead letter anyway; its mark is all that cannot be stored
                return Stored(mark, before.entity)
            cause, fault = STATE_TOO_LARGE, None
        except Exception as error:  # noqa: BLE001 (as above; it concerns this record alone)
            cause, fault = FAULT, error
        del self.outputs[said:]
        self.decided, self.held, self.counts, followed, news = counted
        del self.followed[followed:]
        del self.news[news:]
        return self._left_out(key, before, record, cause, fault)

    def _taken(self, key: bytes, value: bytes, stored: Stored[Entity]) -> Stored[Entity]:
        self._kept[key] = value, stored
        self._holding.pop(key, None)
        return stored

    def _left_out(
        self, key: bytes, before: Stored[Entity], record: Record, cause: str, fault: Exception | None
    ) -> Stored[Entity]:
        mark, said = record.offset + 1, len(self.outputs)
        detail = "" if fault is None else type(fault).__name__
        left_out = LeftOut(record.offset, "held", cause, detail)
        try:
            applied = leave_out(self._agent.policy, before.entity, record, left_out, fault)
            value = encode_state(applied.entity, mark)
            if len(key) + len(value) <= self._hard_limit:
                self._say(before.entity, applied, record)
                self._note(left_out, record, applied)
                self._tell(before.entity, record, cause)
                return self._taken(key, value, Stored(mark, applied.entity))
        except Exception as error:  # noqa: BLE001 (then the state stays as it is)
            fault = fault or error
            del self.outputs[said:]
        return self._kept_as_it_is(key, before, record, left_out._replace(how="kept"), fault)

    def _kept_as_it_is(
        self, key: bytes, before: Stored[Entity], record: Record, left_out: LeftOut, fault: Exception | None
    ) -> Stored[Entity]:
        """Nothing of the customer can be stored but that nobody may be asked."""
        said = len(self.outputs)
        try:
            applied = leave_out(self._agent.policy, before.entity, record, left_out, fault)
            self._say(before.entity, applied, record)
        except Exception as error:  # noqa: BLE001 (then the letter is all that is said)
            del self.outputs[said:]
            refused = NotApplied(left_out.cause, left_out.detail, before.entity.now, (fault or error,))
            applied = Applied(_quarantined(before.entity), [], [], None, refused)
            self._say(before.entity, applied, record)
        self._note(left_out, record, applied)
        self._tell(before.entity, record, left_out.cause)
        self._holding[key] = record.offset + 1
        return Stored(record.offset + 1, applied.entity)

    def _note(self, left_out: LeftOut, record: Record, applied: Applied) -> None:
        headers = note_headers(left_out, applied.entity.now)
        self.outputs.append(
            Output(self._agent.topics.customer_events, None, record.key, headers, partition=record.partition)
        )

    def _tell(self, before: Entity, record: Record, cause: str) -> None:
        """One line for each customer, when it begins."""
        if cause != STATE_TOO_LARGE or (isinstance(before, Customer) and before.quarantined):
            return
        whom = f"{hash64((record.key or b'').decode('utf-8', 'replace')):016x}"
        extra = {"customer_hash": whom, "limit": self._hard_limit} | _position(record)
        self.news.append(lambda: logger.error("state_too_large", extra=extra))

    def _tell_overfull(self, before: Entity, after: Customer, record: Record) -> None:
        """Once for each kind of which a customer has more than is kept, until an operator clears it."""
        known = before.overfull if isinstance(before, Customer) else {}
        said = [{"kind": kind} | _position(record) for kind in after.overfull.keys() - known.keys()]

        def tell() -> None:
            for extra in said:
                logger.warning("customer_overfull", extra=extra)

        if said:
            self.news.append(tell)

    def _write_careful(self) -> None:
        for key, (value, stored) in self._kept.items():
            self._keep(key, value, stored)
        for key, mark in self._holding.items():
            hold = encode_hold(mark)
            if len(key) + len(hold) <= self._agent.entry_limit("wakeups"):
                self.wakeups[key] = hold


def _on_hold(stored: Stored[Entity], wakeup: Wakeup) -> Stored[Entity]:
    """The state of somebody of whom something could not be stored."""
    return Stored(max(stored.mark, wakeup.mark), _quarantined(stored.entity))


def _quarantined(entity: Entity) -> Entity:
    """The customer in quarantine, else as it was; a link asks nobody."""
    if not isinstance(entity, Customer):
        return entity
    held: Customer = entity.copy()
    held.quarantined = True
    return held


def _position(record: Record) -> dict[str, object]:
    return {"partition": record.partition, "offset": record.offset}
