"""One customer of the live system, explained from what lies on the topics: states, and what was said of the customer.

Nothing is replayed: states are what the workers have, decisions what they decided. This is the part without Kafka; it
is given records, and puts them together (:mod:`referral_stream.ops.explain` reads them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from referral_stream.contracts.codec import arrival, decode_effect, decode_request, effect_id
from referral_stream.contracts.deadletters import original, replayed
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.left_out import notes_in
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import Stored, UnreadableState, decode_state, read_wakeup
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import LedgerRenewed, OpportunityOpened, ReservationHeld
from referral_stream.core.events import Event
from referral_stream.core.followups import FollowUp
from referral_stream.core.keys import customer_key
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger
from referral_stream.core.policy import Policy
from referral_stream.explain.background import Background, CameIn, Moment, UnusedRecord, Witnessed, kin_of
from referral_stream.explain.of_log import LookedFor
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.virtual_run import Happened


@dataclass
class States:
    """States of customers as a changelog tells them: of each key the newest; links are left out.

    ``of``: whose states are kept, besides those of whom ``like`` shares an account or an address with.
    """

    of: set[str]
    like: Customer | None = None
    stored: dict[str, Stored[Customer]] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)

    def see(self, record: RawRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        wanted = key in {customer_key(each) for each in self.of}
        if not wanted and self.like is None:
            return
        self.stored.pop(key, None)
        self.unreadable.discard(key)
        if record.value is None:
            return
        try:
            stored = decode_state(record.value)
        except UnreadableState:
            if wanted:
                self.unreadable.add(key)
            return
        customer = stored.entity
        if isinstance(customer, Customer) and (
            wanted or (self.like is not None and customer.id in kin_of(self.like, [customer]))
        ):
            self.stored[key] = Stored(stored.mark, customer)

    def get(self, name: str) -> Stored[Customer] | None:
        return self.stored.get(customer_key(name))

    def customers(self) -> dict[str, Customer]:
        return {stored.entity.id: stored.entity for stored in self.stored.values()}


def is_held(wakeups: Iterable[RawRecord], name: str) -> bool:
    """Whether a state of the customer could not be stored, by the changelog of wake-ups: nobody is asked then."""
    held = False
    for record in wakeups:
        if record.key == customer_key(name).encode():
            held = record.value is not None and read_wakeup(record.value).held
    return held


class LedgerOf:
    """What the ledger knows about some customers, from ``ledger-requests``; all switches and openings are counted."""

    def __init__(self, policy: Policy, kin: Mapping[str, Customer]) -> None:
        self.ledger = MemoryLedger(policy)
        self._customers = {name for each in kin.values() for name in (each.id, *each.ids)}
        self._accounts = {each.account_id for each in kin.values() if each.account_id is not None}
        self._emails = {found for each in kin.values() if (found := word(each.email_hmac)) is not None}
        self._commands: set[str] = set()
        self._generations: dict[int, int] = {}

    def read(self, record: RawRecord) -> tuple[int, LedgerOperation] | None:
        """The instant and the operation of a record, in the order of its partition; None if it does not concern them.

        A grant is void behind the mark of a newer ledger.
        """
        try:
            operation = decode_request(record.value or b"")
            now = operation.time if isinstance(operation, Event) else arrival(record)
        except Undecodable:
            return None
        match operation:
            case LedgerRenewed(generation=generation):
                known = self._generations.get(record.partition, 0)
                self._generations[record.partition] = max(known, generation)
                return None
            case ReservationHeld(generation=generation) if generation < self._generations.get(record.partition, 0):
                return None
            case Event() | OpportunityOpened():
                return now, operation
            case _ if self._concerns(operation):
                if (command := getattr(operation, "command_id", None)) is not None:
                    self._commands.add(command)
                return now, operation
            case _:
                return None

    def apply(self, operation: LedgerOperation) -> None:
        self.ledger.recall(operation)

    def _concerns(self, operation: LedgerOperation) -> bool:
        return (
            getattr(operation, "customer_id", None) in self._customers
            or getattr(operation, "account_id", None) in self._accounts
            or getattr(operation, "email_hmac", None) in self._emails
            or getattr(operation, "command_id", None) in self._commands
        )


@dataclass
class RecordsOf:
    """What was said of one customer under their ids: events, and what followed; by topic, each in its order."""

    ids: frozenset[str]
    events: list[RawRecord] = field(default_factory=list)
    effects: list[RawRecord] = field(default_factory=list)
    letters: dict[str, UnusedRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._keys = {customer_key(each).encode() for each in self.ids}
        self._looked_for = [LookedFor.of(each) for each in self.ids]

    def see_event(self, record: RawRecord) -> None:
        if record.key in self._keys:
            self.events.append(record)

    def see_effect(self, record: RawRecord) -> None:
        if record.value is not None and (record.key or b"").decode("utf-8", "replace") in self.ids:
            self.effects.append(record)

    def see_letter(self, record: RawRecord) -> None:
        """A dead letter whose record names the customer, and that has not been replayed since."""
        told = replayed(record)
        if told is not None:
            self.letters.pop(told.id, None)
            return
        try:
            source = original(record)
        except Undecodable:
            return
        if any(each.is_named_in(source) for each in self._looked_for):
            cause, _, detail = (record.header("error") or "").partition(": ")
            at, id_ = max(record.timestamp, 0), record.header("dead-letter-id") or ""
            self.letters[id_] = UnusedRecord(at, "dead_letter", cause, detail, record.offset, source.topic)

    def happened(self, states: States, followups: tuple[FollowUp, ...], policy: Policy) -> list[Moment]:
        """In order, up to what the states have seen.

        Events are judged (a duplicate, older than what is known) by what is on the topic: what has lapsed is not known.
        """
        marks = {key.encode(): stored.mark for key, stored in states.stored.items()}
        events = [each for each in self.events if each.offset < marks.get(each.key or b"", 0)]
        told = {each.id: each for each in followups}
        notes = Witnessed(self.ids, policy)
        exact = ExactReplay(policy, witness=notes.came_in, notes=notes_in(events))
        after: dict[str, int] = {}  # what follows from which event, where this policy would decide the same
        ordered: list[tuple[int, int, Moment]] = []
        for number, items in enumerate(exact.run(sorted(events, key=_arrived))):
            came_in = [_with_followup(each, told) for each in notes.happened if isinstance(each, CameIn)]
            ordered += [(each.now, number, each) for each in came_in]
            notes.happened.clear()
            after |= {effect_id(item.effect): number for item in items}
        latest = max((stored.entity.now for stored in states.stored.values()), default=0)
        for record in self.effects:
            try:
                happened = Happened(arrival(record), decode_effect(record.value or b""))
            except Undecodable:
                continue
            if happened.now <= latest:
                ordered.append((happened.now, after.get(effect_id(happened.effect), len(events)), happened))
        ordered.sort(key=lambda each: each[:2])
        return [*(moment for _, _, moment in ordered), *self.letters.values()]


def _with_followup(moment: CameIn, followups: Mapping[str, FollowUp]) -> CameIn:
    about: str | None = getattr(moment.event.data, "command_id", None)
    return moment if about is None else moment._replace(followup=followups.get(about, moment.followup))


def _arrived(record: RawRecord) -> int:
    try:
        return arrival(record)
    except Undecodable:
        return max(record.timestamp, 0)


def background_of(
    name: str, states: States, said: RecordsOf, ledger: MemoryLedger, policy: Policy, *, held: bool
) -> Background:
    """All of it together. ``held``: nobody may be asked, because the newest state could not be stored."""
    customers = states.customers()
    customer = customers[name]
    if held:
        customers[name] = customer.copy()
        customers[name].quarantined = True
    return Background(
        name=name,
        customers=customers,
        happened=said.happened(states, customer.followups, policy),
        ledger=ledger,
        ids=said.ids,
    )
