"""One record of ``customer-events`` applied to one customer: the rule that the worker and an exact replay share.

The worker turns the result into records, counters and logs (``stream.decide``), the replay into files
(``replay.recorded_run``). The auditor deliberately repeats this rule in independent code (``audit.folding``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from referral_stream.contracts.codec import arrival, decode_event, event_key
from referral_stream.contracts.deadletters import DeadLetter, attempt_of, dead_letter
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import ClientRecord, Headers, RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Append, Effect
from referral_stream.core.events import APPENDED, DeadletterReplayed, Event
from referral_stream.core.fold import identity
from referral_stream.core.policy import Policy
from referral_stream.core.step import step

FAULT: Final = "fault"
"""The cause where our own code failed on a valid event: the customer is in quarantine until the letter is replayed."""
STILL_QUARANTINED: Final = "still_quarantined"
"""The cause where a quarantine does not end, because an event that it waits for has not been taken."""

EVENTS_HEADER: Final = "events"
"""On ``deadletter.replayed``: which events the customer must have taken for the quarantine to end."""


class NotApplied(NamedTuple):
    """Why a record was not applied: ``cause`` and ``detail`` quote no payload; ``at`` is the instant (epoch ms).

    ``faults``: what our own code raised, in the step and, if that failed too, while putting the customer in quarantine.
    """

    cause: str
    detail: str
    at: int
    faults: tuple[Exception, ...] = ()

    def dead_letter(self, record: RawRecord) -> DeadLetter | None:
        """The dead letter of the record; None where it leaves none."""
        if self.cause == STILL_QUARANTINED:
            return None
        error = f"{self.cause}: {self.detail}"
        return dead_letter(record, error=error, stage="decide", occurred_at=self.at, attempt=attempt_of(record))


class Applied(NamedTuple):
    """What one record leaves behind: the state, its effects, and why the record was not applied, if so.

    ``appended``: what goes back to ``customer-events``, for other entities.

    ``event`` is the record's, None if it could not be read. A record that was not applied may have effects: a
    quarantine withdraws what is under way.
    """

    customer: Customer
    effects: list[Effect]
    appended: list[Append]
    event: Event | None
    refused: NotApplied | None


def apply(policy: Policy, customer: Customer, record: ClientRecord) -> Applied:
    """Apply a record to the state of its key. Total: whatever the record holds, and whatever the step does."""
    try:
        now, event = read_event(record)
    except Undecodable as error:
        at = max(record.timestamp, customer.now)
        return Applied(customer, [], [], None, NotApplied(error.cause, error.detail, at))
    if event.type == DeadletterReplayed.type and not _went_through(RawRecord.of(record), customer):
        refused = NotApplied(STILL_QUARANTINED, "an event that it waits for was not taken", max(now, customer.now))
        return Applied(customer, [], [], event, refused)
    try:
        advanced = step(policy, customer, [event], now)
    except Exception as error:  # noqa: BLE001 (our own fault must neither let an ask slip out nor stop the partition)
        return _quarantined(policy, customer, max(now, customer.now), event, error)
    return Applied(advanced.customer, advanced.effects, advanced.appended, event, None)


def _quarantined(policy: Policy, customer: Customer, now: int, event: Event, fault: Exception) -> Applied:
    held = customer.copy()
    held.quarantined, held.now = True, now
    refused = NotApplied(FAULT, type(fault).__name__, now, (fault,))
    try:
        advanced = step(policy, held, [], now)
    except Exception as error:  # noqa: BLE001 (the state itself is what our code fails on: quarantine it, ask nothing)
        return Applied(held, [], [], event, refused._replace(faults=(fault, error)))
    return Applied(advanced.customer, advanced.effects, advanced.appended, event, refused)


def read_event(record: ClientRecord) -> tuple[int, Event]:
    """A record of ``customer-events`` as arrival stamp and event. Raises Undecodable."""
    now, event = arrival(record), decode_event(record.value or b"")
    if event_key(event) != record.key and not event.via and event.type not in APPENDED:
        raise Undecodable("invalid", "subject: is not the key of its record")
    return now, event


def events_header(events: Iterable[Event]) -> Headers:
    """The header that names these facts; none where there are none."""
    names = " ".join(f"{identity(event):016x}" for event in events)
    return ((EVENTS_HEADER, names.encode()),) if names else ()


def _went_through(raw: RawRecord, customer: Customer) -> bool:
    """Whether the customer has taken every event named: one that failed again, just before, has left no trace."""
    taken = {f"{event:016x}" for event in customer.seen}
    return all(name in taken for name in (raw.header(EVENTS_HEADER) or "").split())
