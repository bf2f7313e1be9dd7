"""Exact replay: ``customer-events`` as it was recorded, wake-ups and ledger answers included; nothing is generated.

Each record is applied as the live decide agent applies it, at its own arrival stamp, so decisions and refusals are the
live ones, byte for byte. What entities appended to each other is taken as recorded too, and compared with what the
steps would append (identity §7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeAlias

from referral_stream.contracts.applying import NotApplied, apply, leave_out
from referral_stream.contracts.codec import arrival, encode_event
from referral_stream.contracts.deadletters import attempt_of
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.left_out import Notes, note_of
from referral_stream.contracts.records import RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.entities import Entity, new_entity
from referral_stream.core.events import APPENDED, Link
from referral_stream.core.instants import rfc3339
from referral_stream.core.keys import customer_key, link_key, parse_key
from referral_stream.core.links import LinkState
from referral_stream.core.policy import Policy
from referral_stream.replay.virtual_run import Happened, Witness

_Appended: TypeAlias = tuple[str, int, bytes]
"""What an entity appended: key, arrival stamp, value."""


class Diverged(Exception):
    """The log does not hold what this program, under this policy, would have appended to it, or holds more."""


RefusedRecord: TypeAlias = Callable[[RawRecord, NotApplied], None]
"""Is given each record that was not applied, and why."""


class ExactReplay:
    """All customers and links of one ``customer-events`` log; ``now`` is the latest arrival.

    ``events``: how many were applied. ``entities``: the states that a log without its
    beginning builds on. ``witness`` sees the events of customers that are applied. ``notes``: which records the worker
    left out; they come later in the log than those records.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        witness: Witness | None = None,
        refused: RefusedRecord | None = None,
        entities: Collection[Entity] = (),
        notes: Notes | None = None,
    ) -> None:
        self.policy = policy
        self.customers: dict[str, Customer] = {}
        self.links: dict[Link, LinkState] = {}
        for entity in entities:
            self._keep(entity)
        self.now = self.events = 0
        self._witness, self._refused = witness, refused
        self._starts_late = bool(entities)
        self._notes: Notes = notes or {}
        self._appended: Counter[_Appended] = Counter()

    def run(self, records: Iterable[RawRecord], until: int | None = None) -> Iterator[list[Happened]]:
        """The effects of each record, in the log's order; records that arrived after ``until`` are left out."""
        for record in records:
            now = _arrived(record)
            if until is not None and now > until:
                continue
            if (note := note_of(record)) is not None:
                if (record.partition, note.offset) not in self._notes:
                    raise Diverged(
                        f"the record at {record.partition}:{note.offset} had been left out, which this note at "
                        f"{record.offset} says too late: give the log as a file, which can be read twice"
                    )
                continue
            name = parse_key(record.key or b"")
            found = self.links.get(name) if isinstance(name, Link) else self.customers.get(name)
            known = found or new_entity(record.key or b"")
            left_out = self._notes.get((record.partition, record.offset)) if self._notes else None
            if left_out is None:
                applied = apply(self.policy, known, record)
            else:
                applied = leave_out(self.policy, known, record, left_out)
            entity, effects, event = applied.entity, applied.effects, applied.event
            for each in applied.appended:
                self._count((each.key, entity.now, encode_event(each.event)), 1)
            # What the operator has replayed from dead letters was appended a second time, and not by an entity.
            if event is not None and (event.via or event.type in APPENDED) and attempt_of(record) == 1:
                self._count(((record.key or b"").decode("utf-8", "replace"), now, record.value or b""), -1)
            if self._refused is not None:
                for complaint in applied.complaints:
                    self._refused(record, complaint)
            if applied.refused is None and event is not None:
                self.events += 1
                if self._witness is not None and isinstance(known, Customer):
                    self._witness(known, event, now)
            if event is not None:
                self.now = max(self.now, now)
            if entity is not known:
                self._keep(entity)
            yield [Happened(entity.now, effect) for effect in effects]

    @property
    def by_key(self) -> dict[str, Entity]:
        """All states by their keys on ``customer-events``."""
        customers = {customer_key(name): customer for name, customer in self.customers.items()}
        return {**customers, **{link_key(link): state for link, state in self.links.items()}}

    def _keep(self, entity: Entity) -> None:
        if isinstance(entity, LinkState):
            self.links[entity.link] = entity
        else:
            self.customers[entity.id] = entity

    def _count(self, appended: _Appended, by: int) -> None:
        self._appended[appended] += by
        if not self._appended[appended]:
            del self._appended[appended]

    def compare(self) -> None:
        """Once all is read: partitions may lie one after the other in a log, causes after what they led to.

        Raises Diverged.
        """
        # What a log without its beginning holds may have been appended by records from before it.
        wrong = [at for (_, at, _), surplus in self._appended.items() if surplus > 0 or not self._starts_late]
        if wrong:
            raise Diverged(
                f"{len(wrong)} records that customers append to each other differ between the log and this replay, "
                f"the first at {rfc3339(min(wrong))}: another version of the program or of the policy wrote them, or "
                "the log is not whole"
            )


def _arrived(record: RawRecord) -> int:
    """The arrival stamp; the record's own time if it has no valid one."""
    try:
        return arrival(record)
    except Undecodable:
        return record.timestamp
