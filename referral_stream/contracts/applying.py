"""One record of ``customer-events`` applied to a customer or a link: the rule that worker and exact replay share.

The worker turns the result into records, counters and logs (``stream.decide``), the replay into files
(``replay.recorded_run``). The auditor deliberately repeats this rule in independent code (``audit.folding``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from referral_stream.contracts.codec import arrival, decode_event, encode_event, event_headers, event_key
from referral_stream.contracts.deadletters import ATTEMPT_HEADER, DeadLetter, attempt_of, dead_letter
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.left_out import UNFIT, LeftOut
from referral_stream.contracts.records import ClientRecord, RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Append, AskCancelled, Effect, Letter, RecordPosition, Undelivered
from referral_stream.core.entities import Entity
from referral_stream.core.events import APPENDED, DeadletterReplayed, Event, is_stop
from referral_stream.core.fold import identity
from referral_stream.core.links import Brought, LinkState, step_link
from referral_stream.core.policy import Policy
from referral_stream.core.step import step

FAULT: Final = "fault"
"""The cause where our own code failed on a valid event: the customer is in quarantine until the letter is replayed."""
STILL_QUARANTINED: Final = "still_quarantined"
"""The cause where a quarantine does not end, because an event that it waits for has not been taken."""

EVENTS_HEADER: Final = "events"
"""On older records of ``deadletter.replayed``, what their data says now: which events the customer must have taken."""


class NotApplied(NamedTuple):
    """Why a record was not applied, or only in part: ``cause`` and ``detail`` quote no payload; ``at`` is epoch ms.

    ``faults``: what our own code raised, in the step and, if that failed too, while putting the customer in quarantine.
    ``earlier``: the record that it is about, where that is not the one just applied.
    """

    cause: str
    detail: str
    at: int
    faults: tuple[Exception, ...] = ()
    earlier: RawRecord | None = None

    def dead_letter(self, record: RawRecord) -> DeadLetter | None:
        """The dead letter of the record, or of the earlier one; None where it leaves none."""
        if self.cause == STILL_QUARANTINED:
            return None
        record = self.earlier or record
        error = f"{self.cause}: {self.detail}"
        return dead_letter(record, error=error, stage="decide", occurred_at=self.at, attempt=attempt_of(record))


class Applied(NamedTuple):
    """What one record leaves behind: the state, its effects, and why the record was not applied, if so.

    ``appended``: what goes back to ``customer-events``, for other entities. ``letters``: what the step itself makes a
    dead letter for, although the record was applied.

    ``event`` is the record's, None if it could not be read. A record that was not applied may have effects: a
    quarantine withdraws what is under way.
    """

    entity: Entity
    effects: list[Effect]
    appended: list[Append]
    event: Event | None
    refused: NotApplied | None
    letters: tuple[NotApplied, ...] = ()

    @property
    def complaints(self) -> tuple[NotApplied, ...]:
        """All that may become dead letters of the record, in order."""
        return self.letters if self.refused is None else (self.refused, *self.letters)


def apply(policy: Policy, entity: Entity, record: ClientRecord) -> Applied:
    """Apply a record to the state of its key. Total: whatever the record holds, and whatever the step does."""
    try:
        now, event = read_event(record)
    except Undecodable as error:
        at = max(record.timestamp, entity.now)
        return Applied(entity, [], [], None, NotApplied(error.cause, error.detail, at))
    if isinstance(entity, LinkState):
        return _apply_to_link(policy, entity, Brought(event, _position(record)), now)
    return _apply_to_customer(policy, entity, record, event, now)


def leave_out(
    policy: Policy, entity: Entity, record: ClientRecord, left_out: LeftOut, fault: Exception | None = None
) -> Applied:
    """What becomes of a record whose outcome cannot be kept: a dead letter, and nobody is asked until it is replayed.

    What protects others goes on to them all the same: a stop to those who have the same address, and whatever came to a
    link to the customers that it names. ``fault``: what our own code raised, for the log.
    """
    try:
        now, event = read_event(record)
    except Undecodable:  # it is a dead letter as it is
        return apply(policy, entity, record)
    at = max(now, entity.now)
    refused = NotApplied(left_out.cause, left_out.detail or UNFIT[left_out.how], at, () if fault is None else (fault,))
    appended = _passed_on(policy, entity, record, event, now)
    if isinstance(entity, LinkState):
        return Applied(entity, [], appended, event, refused)
    held = _held(policy, entity, at, event, refused)
    if left_out.how == "held":
        return held._replace(appended=[*held.appended, *appended])
    kept = entity.copy()
    kept.quarantined = True
    withdrawn: list[Effect] = [each for each in held.effects if isinstance(each, AskCancelled)]
    return Applied(kept, [] if entity.quarantined else withdrawn, appended, event, refused)


def _passed_on(policy: Policy, entity: Entity, record: ClientRecord, event: Event, now: int) -> list[Append]:
    try:
        if isinstance(entity, LinkState):
            return step_link(policy, entity, (Brought(event, _position(record)),), now)[1]
        return step(policy, entity, [event], now).appended if is_stop(event.data) else []
    except Exception:  # noqa: BLE001 (what our code fails on is a dead letter, and can say nothing to others)
        return []


def _apply_to_customer(policy: Policy, customer: Customer, record: ClientRecord, event: Event, now: int) -> Applied:
    if type(event.data) is DeadletterReplayed and not _went_through(RawRecord.of(record), event.data, customer):
        refused = NotApplied(STILL_QUARANTINED, "an event that it waits for was not taken", max(now, customer.now))
        return Applied(customer, [], [], event, refused)
    try:
        advanced = step(policy, customer, [event], now)
    except Exception as error:  # noqa: BLE001 (our own fault must neither let an ask slip out nor stop the partition)
        return _quarantined(policy, customer, max(now, customer.now), event, error)
    return Applied(
        advanced.customer,
        advanced.effects,
        advanced.appended,
        event,
        None,
        lettered(advanced.letters, advanced.customer.now) if advanced.letters else (),
    )


def _apply_to_link(policy: Policy, link: LinkState, brought: Brought, now: int) -> Applied:
    try:
        state, appended, letters = step_link(policy, link, (brought,), now)
    except Exception as error:  # noqa: BLE001 (as for a customer; a link asks nobody, so nothing has to be held)
        at = max(now, link.now)
        return Applied(link, [], [], brought.event, NotApplied(FAULT, type(error).__name__, at, (error,)))
    return Applied(state, [], appended, brought.event, None, lettered(letters, state.now))


def _position(record: ClientRecord) -> RecordPosition:
    raw = RawRecord.of(record)
    return RecordPosition(raw.topic, raw.partition, raw.offset, raw.timestamp, attempt_of(raw))


def lettered(letters: Iterable[Letter], now: int) -> tuple[NotApplied, ...]:
    """What a step at ``now`` makes dead letters for; what came to nobody and is of no record has none."""
    of_records = (each for each in letters if each.undelivered is None or each.undelivered.position is not None)
    return tuple(_lettered(letter, now) for letter in of_records)


def _lettered(letter: Letter, now: int) -> NotApplied:
    undelivered = letter.undelivered
    if undelivered is None:
        return NotApplied(letter.cause, letter.detail, now)
    return NotApplied(letter.cause, letter.detail, undelivered.lapsed, earlier=_earlier(undelivered))


def _earlier(undelivered: Undelivered) -> RawRecord | None:
    """The canonical event, as a record at the position of the one that brought it."""
    if (at := undelivered.position) is None:
        return None
    event = undelivered.event
    headers = event_headers(event, undelivered.arrived)
    return RawRecord(
        topic=at.topic,
        partition=at.partition,
        offset=at.offset,
        timestamp=at.timestamp,
        key=undelivered.key.encode(),
        value=encode_event(event),
        headers=headers if at.attempt == 1 else (*headers, (ATTEMPT_HEADER, b"%d" % at.attempt)),
    )


def _quarantined(policy: Policy, customer: Customer, now: int, event: Event, fault: Exception) -> Applied:
    return _held(policy, customer, now, event, NotApplied(FAULT, type(fault).__name__, now, (fault,)))


def _held(policy: Policy, customer: Customer, now: int, event: Event, refused: NotApplied) -> Applied:
    """The customer as before, in quarantine, with everything withdrawn that was under way."""
    held = customer.copy()
    held.quarantined, held.now = True, now
    try:
        advanced = step(policy, held, [], now)
    except Exception as error:  # noqa: BLE001 (the state itself is what our code fails on: quarantine it, ask nothing)
        return Applied(held, [], [], event, refused._replace(faults=(*refused.faults, error)))
    return Applied(advanced.customer, advanced.effects, advanced.appended, event, refused)


def read_event(record: ClientRecord) -> tuple[int, Event]:
    """A record of ``customer-events`` as arrival stamp and event. Raises Undecodable."""
    now, event = arrival(record), decode_event(record.value or b"")
    if not is_kept(record.key or b""):
        raise Undecodable("invalid", "subject: its key may not begin with a zero byte")
    if event_key(event) != record.key and not event.via and event.type not in APPENDED:
        raise Undecodable("invalid", "subject: is not the key of its record")
    return now, event


def is_kept(key: bytes) -> bool:
    """Whether a state may be kept under a key: a store has keys of its own, which begin with a zero byte."""
    return key[:1] != b"\x00"


def names_of(events: Iterable[Event]) -> str | None:
    """What ``deadletter.replayed`` calls these facts; None where there are none."""
    return " ".join(f"{identity(event):016x}" for event in events) or None


def _went_through(raw: RawRecord, data: DeadletterReplayed, customer: Customer) -> bool:
    """Whether the customer has taken every event named: one that failed again, just before, has left no trace.

    An id that was merged away takes none: it passes this on, after them.
    """
    if customer.merged_into is not None:
        return True
    taken = {f"{event:016x}" for event in customer.seen}
    return all(name in taken for name in (data.events or raw.header(EVENTS_HEADER) or "").split())
