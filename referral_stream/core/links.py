"""A link: something that names customers without being a customer id (identity §4).

An entity of its own on ``customer-events``. It keeps whom it names, passes on what comes by it, keeps what nobody can
be given yet, and gives what is closing to whoever it comes to name later, once. ``step_link`` is pure, as the
customer's step is; what is closing says the table ``CLOSING`` of :mod:`~referral_stream.core.events`.

Everybody named has had everything closing that is kept, except for what arrived while they were not named any more: no
list of who has had what is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.effects import Append, Letter, RecordPosition, Undelivered
from referral_stream.core.events import Event, Link
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY
from referral_stream.core.keys import customer_key, link_key
from referral_stream.core.policy import Policy
from referral_stream.core.stamps import Stamp

EMAIL: Final = "email"
REFERRAL: Final = "referral"

TAUGHT_DAYS: Final = 400
"""How long a teaching holds, as long as the logs; that an address is theirs holds until they leave it."""
CLOSING_DAYS: Final = 400
"""How long what is closing is kept at least for those whom the link comes to name later."""
SPARE_DAYS: Final = 30
"""Beyond the longest wait of a policy."""
MOST_CUSTOMERS: Final = 200
MOST_KEPT: Final = 50

SOURCE: Final = "referral-stream"


class NamedCustomer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A customer whom a link names. ``at``: the newest teaching; ``until`` (epoch ms): how long it holds.

    ``theirs``: it is the customer's e-mail address now, which holds whatever ``until`` says.
    """

    at: Stamp
    until: int
    theirs: bool = False

    def is_present(self, now: int) -> bool:
        return self.theirs or now < self.until


class KeptEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that waits for a customer, or is closing and kept for later ones.

    ``sender``: the customer whose own word it is, who does not get it back; ``given``: whether anybody has had it.
    """

    event: Any  # an Event; its bytes in the table (a Struct field that names it would have msgspec decode its data)
    arrived: int
    position: RecordPosition | None = None
    sender: str | None = None
    given: bool = False

    @property
    def is_closing(self) -> bool:
        return ev.is_closing(self.event.data)

    def lapses_at(self, policy: Policy) -> int:
        return self.arrived + (closing_days(policy) if self.is_closing else policy.identity.wait_days) * DAY


def closing_days(policy: Policy) -> int:
    """How long what is closing is kept: nothing that may still hold an ask back is gone before."""
    return max(CLOSING_DAYS, policy.longest_wait_days + SPARE_DAYS)


class LinkState(msgspec.Struct, array_like=True, gc=False):
    """What a link knows. Containers are replaced, never changed in place. ``kept``: the oldest first.

    ``full_since``: the time of the first teaching that found no room, None if all did.
    """

    link: Link
    now: int = 0
    named: dict[str, NamedCustomer] = msgspec.field(default_factory=dict)
    kept: tuple[KeptEvent, ...] = ()
    full_since: int | None = None
    wake_at: int | None = None

    copy = msgspec.Struct.__copy__  # type: ignore[attr-defined]


class Brought(NamedTuple):
    """An event at a link, and the record that brought it; None if no record of a log did."""

    event: Event
    position: RecordPosition | None


class AdvancedLink(NamedTuple):
    """What a step of a link returns: the state, what it appends to customers, in order, and its dead letters."""

    link: LinkState
    appended: list[Append]
    letters: list[Letter]


def step_link(policy: Policy, link: LinkState, inputs: Iterable[Brought], now: int) -> AdvancedLink:
    """Apply what came to a link at the instant ``now`` (epoch ms); no inputs: a wake-up.

    ``now`` never goes back for a link. What has lapsed by then is gone before anything else is looked at.
    """
    turn = _LinkTurn(policy, link, now)
    for brought in inputs:
        turn.take(brought)
    return turn.finish()


class _LinkTurn:
    """One link's instant in the making, on its own copy of the state."""

    def __init__(self, policy: Policy, link: LinkState, now: int) -> None:
        self.policy = policy
        state: LinkState = link.copy()
        self.state = state
        self.now = state.now = max(state.now, now)
        self.key = link_key(link.link)
        self.appended: list[Append] = []
        self.letters: list[Letter] = []
        self._lapse()

    def take(self, brought: Brought) -> None:
        event = brought.event
        match event.data:
            case ev.LinkTaught():
                self._teach(event, event.data)
            case ev.LinkLeft(customer=customer):
                self._leave(customer)
            case ev.WakeupDue() | ev.DeadletterReplayed():
                pass  # what has lapsed is gone already
            case ev.Held():
                self._take_fact(KeptEvent(event, self.now, brought.position, sender=event.subject, given=True))
            case _:
                self._take_fact(KeptEvent(event, self.now, brought.position))

    def finish(self) -> AdvancedLink:
        state = self.state
        state.wake_at = min((each.lapses_at(self.policy) for each in state.kept), default=None)
        return AdvancedLink(state, self.appended, self.letters)

    # ------------------------------------------------------------------------------------------------------ what comes

    def _take_fact(self, new: KeptEvent) -> None:
        if any(_identity(each.event) == _identity(new.event) for each in self.state.kept):
            return  # a redelivery: whoever is to have it has had it, or it waits already
        if new.is_closing:
            self._take_closing(new)
        else:
            self._take_other(new)

    def _take_closing(self, new: KeptEvent) -> None:
        receivers = [each for each in sorted(self._reached()) if each != new.sender]
        for customer in receivers:
            self._pass_on(new, customer)
        self._keep(replace(new, given=new.given or bool(receivers)))

    def _take_other(self, new: KeptEvent) -> None:
        known = self._meant()
        several = len(known) > 1
        if several and (self._is_email or new.event.type in ev.LIFTING):
            self._letter("ambiguous_customer", f"{len(known)} customers may be meant", new, self.now)
        elif known:
            self._pass_on(new, max(known, key=lambda customer: (self.state.named[customer].at, customer)))
        else:
            self._keep(new)

    @property
    def _is_email(self) -> bool:
        return self.state.link.kind == EMAIL

    def _meant(self) -> list[str]:
        """Whom an event that is not closing can mean."""
        return [customer for customer, named in self.state.named.items() if named.is_present(self.now)]

    def _reached(self) -> list[str]:
        """Whom a closing event reaches: former holders of an address for good, too."""
        return list(self.state.named) if self._is_email else self._meant()

    def _pass_on(self, kept: KeptEvent, customer: str) -> None:
        event: Event = kept.event
        self._append(customer, replace(event, via=(*event.via, self.key)))

    def _append(self, customer: str, event: Event) -> None:
        self.appended.append(Append(customer_key(customer), event))

    # ------------------------------------------------------------------------------------------------- whom it names

    def _teach(self, event: Event, taught: ev.LinkTaught) -> None:
        if taught.instead_of is not None:
            self._put_in_place(taught.customer, taught.instead_of)
        customer, stamp = taught.customer, Stamp.of(event)
        known = self.state.named.get(customer)
        if known is None and not self._has_room():
            self._hold(customer, event)
            return
        standing = taught.standing if self._is_email else "named"
        until = self.now + TAUGHT_DAYS * DAY if standing == "named" else 0
        had = self._had_until(known)
        new = NamedCustomer(stamp, until, standing == "theirs")
        if known is not None:
            theirs = new.theirs or (known.theirs and standing != "former")
            new = NamedCustomer(max(known.at, new.at), max(known.until, new.until), theirs)
        self.state.named = {**self.state.named, customer: new}
        self._give_kept(customer, had, present=new.is_present(self.now))

    def _had_until(self, known: NamedCustomer | None) -> int:
        """Up to which arrival a customer has had all that is closing."""
        if known is None:
            return 0
        return self.now + 1 if self._is_email or known.is_present(self.now) else known.until

    def _give_kept(self, customer: str, had_until: int, *, present: bool) -> None:
        """What has waited for them: all that is closing, and, if they can be meant, what nobody has had."""
        left = []
        for kept in self.state.kept:
            if not kept.is_closing and present:
                self._pass_on(kept, customer)
                continue
            if kept.is_closing and kept.arrived >= had_until and kept.sender != customer:
                self._pass_on(kept, customer)
                kept = replace(kept, given=True)  # noqa: PLW2901
            left.append(kept)
        self.state.kept = tuple(left)

    def _put_in_place(self, customer: str, former: str) -> None:
        """``former`` has become ``customer``: one person, who has had what either has had."""
        named = dict(self.state.named)
        gone = named.pop(former, None)
        if gone is not None:
            known = named.get(customer, gone)
            named[customer] = NamedCustomer(
                max(gone.at, known.at), max(gone.until, known.until), theirs=gone.theirs or known.theirs
            )
        self.state.named = named
        self.state.kept = tuple(
            replace(kept, sender=customer) if kept.sender == former else kept for kept in self.state.kept
        )

    def _leave(self, customer: str) -> None:
        known = self.state.named.get(customer)
        if known is not None and self._is_email:
            self.state.named = {**self.state.named, customer: NamedCustomer(known.at, 0)}

    def _has_room(self) -> bool:
        named = self.state.named
        if len(named) >= MOST_CUSTOMERS and not self._is_email:
            named = {customer: each for customer, each in named.items() if each.is_present(self.now)}
            self.state.named = named
        return len(named) < MOST_CUSTOMERS

    def _hold(self, customer: str, taught: Event) -> None:
        """One too many for this link: nothing that comes by it would reach them."""
        if self.state.full_since is None:
            self.state.full_since = taught.time
        name = f"{self.key}|{customer}"
        since = Stamp(time=self.state.full_since, protective=True, source=SOURCE, id=name)
        held = held_event(since, self.key)
        self._append(customer, replace(held, via=(self.key,)))

    # -------------------------------------------------------------------------------------------------- what it keeps

    def _keep(self, new: KeptEvent) -> None:
        self.state.kept = (*self.state.kept, new)
        while len(self.state.kept) > MOST_KEPT:
            gone = next(self._dispensable())
            self.state.kept = tuple(kept for kept in self.state.kept if kept is not gone)
            if not gone.given and not ev.is_stop(gone.event.data):
                self._letter("unknown_customer", f"more than {MOST_KEPT} events wait for this link", gone, self.now)

    def _dispensable(self) -> Iterator[KeptEvent]:
        """What goes first when there is too much.

        The oldest that is not closing; then the oldest of a type that is there twice. A stop never goes, unless a newer
        one says the same: with all types and all meanings there once, there is room.
        """
        kept = self.state.kept
        yield from (each for each in kept if not each.is_closing)
        others = [each for each in kept if not ev.is_stop(each.event.data)]
        types = [each.event.type for each in others]
        yield from (each for each in others if types.count(each.event.type) > 1)
        stops = sorted((each for each in kept if ev.is_stop(each.event.data)), key=lambda each: _stamp(each.event))
        meanings = [_meaning(each.event) for each in stops]
        yield from (each for each, means in zip(stops, meanings, strict=True) if meanings.count(means) > 1)

    def _lapse(self) -> None:
        """What has waited long enough; a dead letter if nobody has had it."""
        over = [kept for kept in self.state.kept if self.now >= kept.lapses_at(self.policy)]
        if not over:
            return
        self.state.kept = tuple(kept for kept in self.state.kept if self.now < kept.lapses_at(self.policy))
        for kept in sorted(over, key=lambda each: each.lapses_at(self.policy)):
            if not kept.given:
                lapsed = kept.lapses_at(self.policy)
                days = (lapsed - kept.arrived) // DAY
                self._letter("unknown_customer", f"in {days} days its link has named nobody", kept, lapsed)

    def _letter(self, cause: str, detail: str, kept: KeptEvent, lapsed: int) -> None:
        undelivered = Undelivered(self.key, kept.event, kept.arrived, lapsed, kept.position)
        self.letters.append(Letter(cause, detail, undelivered))


def held_event(said: Stamp, customer: str) -> Event:
    """The record that holds others of an address because of a stop that was ``said`` about the ``customer``."""
    return Event(
        id=derived_id(ev.Held.type, said.source, said.id),
        source=SOURCE,
        type=ev.Held.type,
        subject=customer,
        time=said.time,
        data=ev.Held(),
    )


def taught_event(said: Event, customer: str, link: Link, taught: ev.LinkTaught | ev.LinkLeft) -> Event:
    """The record that tells a link about the customer, because of what was ``said`` about the customer."""
    return Event(
        id=derived_id(taught.type, link, customer, said.source, said.id),
        source=SOURCE,
        type=taught.type,
        subject=customer,
        time=said.time,
        data=taught,
        historical=said.historical,
    )


def _identity(event: Event) -> tuple[str, str, str, str]:
    return event.origin, event.source, event.id, ev.stop_type(event)


def _stamp(event: Event) -> tuple[int, str, str]:
    return event.time, event.source, event.id


def _meaning(event: Event) -> tuple[str, str]:
    """Two stops with the same say the same."""
    return event.type, event.data.channel if isinstance(event.data, ev.ConsentChanged) else ""
