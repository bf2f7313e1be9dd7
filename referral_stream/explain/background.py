"""What an explanation is made of, as data: states, what came in and what followed from it, and what the ledger knows.

A log, the topics, or read models produce it; :func:`~referral_stream.explain.explaining.explain` tells it. Nothing in
here is worded yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import ReservationConfirmed, ReservationHeld
from referral_stream.core.events import INTERNAL, ControlPaused, Event, Held
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.followups import FollowUp
from referral_stream.core.ids import command_id
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.links import LinkState
from referral_stream.core.policy import Policy
from referral_stream.core.rules.windows import zone_of
from referral_stream.replay.recording_ledger import RecordingLedger, Whom
from referral_stream.replay.virtual_run import Happened

UNTOLD = frozenset(data.type for data in INTERNAL) - {Held.type}
"""Events that only our own roles exchange."""

Ignored: TypeAlias = Literal["erased", "duplicate", "older"]
"""Why an event changed nothing."""


class CameIn(NamedTuple):
    """An event of the customer, and its arrival (epoch ms).

    ``ignored`` and ``followup`` (about which it is a report or an answer) are left empty where the state before it is
    not at hand; ``zone`` is then the customer's present one.
    """

    now: int
    event: Event
    ignored: Ignored | None = None
    followup: FollowUp | None = None
    zone: str | None = None


class UnusedRecord(NamedTuple):
    """A record that names the customer and became no event: why, in the words of who refused it, and where it lies.

    ``place``: the line of a log; the offset where it is ``not_applied`` or a ``dead_letter``.
    """

    now: int
    how: Literal["refused", "not_applied", "skipped", "dead_letter"]
    cause: str
    detail: str
    place: int
    topic: str = ""
    near: str | None = None


class Waits(NamedTuple):
    """An event that waits at a link of this kind until ``until``, since nobody can be meant."""

    now: int
    event: Event
    link: str
    until: int


class Paused(NamedTuple):
    """The burst breaker paused a trigger."""

    now: int
    pause: ControlPaused


class OtherIds(NamedTuple):
    """Ids of the customer whose records have not been read."""

    now: int
    ids: tuple[str, ...]


Moment: TypeAlias = CameIn | Happened | UnusedRecord | Waits | Paused | OtherIds


@dataclass(frozen=True)
class Background:
    """A customer at an instant, and the way there.

    ``customers``: by id the state of the customer, and as far as they are at hand of those who share an account or an
    address with them, whose asks count too. ``happened``: in order, as far back as the story is to go; a customer's
    effects come after the events they follow from. ``ledger``: what it knows about these customers; without it, that is
    pieced together from the states and the ``switches`` thrown. ``ids``: the customer's, by default those in the state.
    """

    name: str
    customers: Mapping[str, Customer]
    happened: Sequence[Moment] = ()
    ledger: MemoryLedger | None = None
    switches: Sequence[Event] = ()
    ids: AbstractSet[str] = frozenset()

    @property
    def customer(self) -> Customer:
        return self.customers[self.name]

    def kin(self) -> dict[str, Customer]:
        """The customer, and those who share caps with them."""
        return kin_of(self.customer, self.customers.values())


def kin_of(customer: Customer, others: Iterable[Customer]) -> dict[str, Customer]:
    """The customer and those of the same account or address, by id."""
    account, email = customer.account_id, word(customer.email_hmac)
    return {
        other.id: other
        for other in others
        if other.id == customer.id
        or (account is not None and other.account_id == account)
        or (email is not None and word(other.email_hmac) == email)
    }


def ledger_about(ledger: MemoryLedger, kin: Mapping[str, Customer]) -> MemoryLedger:
    """What concerns these customers of a replay's ledger; any other is taken to know no more than that."""
    if not isinstance(ledger, RecordingLedger):
        return ledger
    emails = {found for each in kin.values() if (found := word(each.email_hmac)) is not None}
    accounts = {each.account_id for each in kin.values() if each.account_id is not None}
    return ledger.about(Whom(kin.keys(), emails, accounts))


def ledger_of(policy: Policy, customers: Iterable[Customer], switches: Iterable[Event] = ()) -> MemoryLedger:
    """What a ledger knows of these customers by their states: their asks that count, by present account and address.

    The automatic pauses of the burst breaker are in no state before they have stopped an ask.
    """
    ledger = MemoryLedger(policy)
    for switch in switches:
        ledger.apply(switch)
    for customer in customers:
        for ask in customer.asks:
            if ask.counts:
                _hold(ledger, customer, ask)
    return ledger


def _hold(ledger: MemoryLedger, customer: Customer, ask: Ask) -> None:
    about = ask.opportunity
    owner = about.owner or customer.id
    command = command_id(owner, about.trigger, about.subject)  # also of a question for the reason
    held = ReservationHeld(
        command_id=command,
        customer_id=owner,
        account_id=customer.account_id,
        email_hmac=word(customer.email_hmac),
        segment=word(customer.segment),
        trigger=about.trigger,
        due=ask.asked_at,
        requested_at=ask.asked_at,
        shadow=ask.kind == "shadow",
        generation=0,
        now=ask.asked_at,
    )
    ledger.hold(held)
    if ask.reached:
        ledger.confirm(
            ReservationConfirmed(
                command_id=command, customer_id=owner, account_id=customer.account_id, now=ask.asked_at
            )
        )


@dataclass
class Witnessed:
    """Takes down what passes by about some ids; a replay's witness."""

    ids: AbstractSet[str]
    policy: Policy
    happened: list[Moment] = field(default_factory=list)

    def came_in(self, known: Customer, event: Event, now: int) -> None:
        """An event, before it is applied to the state ``known``."""
        away = known.merged_into is not None and known.erased_at is None
        if known.id not in self.ids or event.type in UNTOLD or away:
            return
        about = getattr(event.data, "command_id", None)
        followup = next((f for f in known.followups if f.id == about), None)
        zone = zone_of(known, self.policy).name
        self.happened.append(CameIn(now, event, self._ignored(known, event, now), followup, zone))

    def _ignored(self, known: Customer, event: Event, now: int) -> Ignored | None:
        """Why the event changes nothing, by the core's own tests on a copy of the state."""
        state = known.copy()
        if state.erased_at is not None:
            return "erased"
        if seen_before(state, event, now, self.policy):
            return "duplicate"
        return None if fold(state, event) else "older"

    def followed(self, items: Iterable[Happened]) -> None:
        """The effects of one instant's steps."""
        self.happened += [item for item in items if item.effect.customer_id in self.ids]

    def paused(self, now: int, pause: ControlPaused) -> None:
        """The burst breaker paused a trigger at ``now``."""
        self.happened.append(Paused(now, pause))

    def waiting(self, links: Iterable[LinkState]) -> None:
        """What waits at links that once named the customer, and now name nobody who can be meant."""
        self.happened += [
            Waits(kept.arrived, kept.event, state.link.kind, kept.lapses_at(self.policy))
            for state in links
            if not self.ids.isdisjoint(state.named)
            for kept in state.kept
            if not kept.given
        ]
