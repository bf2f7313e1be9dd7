"""The ledger's rules: who may be asked across customers, addresses and accounts.

:class:`MemoryLedger` is the whole ledger in memory, switches and breaker included. A replay asks it instead of Redis,
and the tests hold the Lua script of :mod:`referral_stream.ledger` against it, answer for answer. The rules (semantics
§4 gates 2, 8 and 9, §9, §11):

1. A request past its own ``valid_until`` is ``unavailable``.
2. A request is denied by a switch (*paused*), whatever is reserved under its command.
3. One command id holds one reservation. As long as it holds, the same request is granted again; an unconfirmed
   reservation moves to the later ``due`` of a repeated request. A request that is not newer than the release of its own
   command is a redelivery that nobody awaits: ``unavailable``.
4. A request is denied, in this order, by an ask to the same customer or the same e-mail address (*overasking*), by the
   asks to the same account (*account*). Waits are half-open: they end at from + N × 86 400 s. Asks of shadow mode count
   for requests of shadow mode alone.
5. A reservation counts from ``due`` until it is released. A release is void against a confirmed reservation and against
   one that was requested after it.
6. A confirmation says that a person has been asked, so it always counts: it restores a released reservation, and one of
   an unknown command counts from its own instant, by customer and account.
7. An account or an address that is learned later is counted too; what was counted before goes on counting.
8. A pause is told to every customer with an unconfirmed reservation that it concerns, due less than 8 days ago; its end
   to those who were told of it, or refused for it.
9. A grant that stands in the log counts, whatever the caps say by now; one that is not newer than the release of its
   command is ``unavailable``. So what a lost ledger had granted is known again from the log alone (:meth:`recall`).
10. Claims of contacts and grants of rewards have rules of their own: :mod:`~referral_stream.core.ledger.grants`.
11. Time comes from the records only and moves forward: what lies a full period behind a newly counted ask is forgotten.

Nothing here identifies a person except opaque ids and HMACs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from referral_stream.core.effects import (
    GrantRequested,
    LedgerRenewed,
    LedgerRequest,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationHeld,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import (
    ControlPaused,
    ControlResumed,
    Event,
    ReservationDenied,
    ReservationGranted,
    ReservationUnavailable,
    Scope,
)
from referral_stream.core.instants import DAY, HOUR, rfc3339
from referral_stream.core.ledger.breaker import BurstBreaker
from referral_stream.core.ledger.grants import ClaimsAndGrants, GrantAnswer, RewardOperation, counted_days
from referral_stream.core.ledger.switches import Page, Switch, Switches
from referral_stream.core.policy import CapLimits as Limits
from referral_stream.core.policy import Policy

LedgerAnswer: TypeAlias = ReservationGranted | ReservationDenied | ReservationUnavailable
LedgerOperation: TypeAlias = LedgerRequest | Event
"""What ``ledger-requests`` carries; the events are ``control.paused`` and ``control.resumed``."""
Result: TypeAlias = LedgerAnswer | GrantAnswer | ControlPaused | bool | None
"""An answer to a request; the automatic pause an opening caused; whether customers are to be told of a switch; else
None."""
Thrown: TypeAlias = ControlPaused | ControlResumed

PAGE = 500
"""How many customers are looked at in one go when a switch is passed on: no call may hold the ledger for long."""
REBUILT_SPARE_DAYS = 30
"""Beyond what still counts: how far back a ledger is rebuilt from the log of requests."""


def rebuilt_days(policy: Policy) -> int:
    """How far back the log of requests has to reach for a rebuilt ledger to know all that counts."""
    return counting_days(policy) + REBUILT_SPARE_DAYS


def counting_days(policy: Policy) -> int:
    """How long anything of the ledger counts at most, except for the switches."""
    return max(policy.caps.longest_days, counted_days(policy.rewards))


def arbitrated(requests: Iterable[ReservationRequested]) -> list[ReservationRequested]:
    """The order in which the requests of one instant are answered: raw score, then priority, then customer id."""
    return sorted(requests, key=lambda each: (-each.raw_score, -each.priority, each.customer_id, each.command_id))


def denied_overasking(command_id: str, asked_at: int, limits: Limits) -> ReservationDenied:
    """Gate 8's answer; ``asked_at`` is the newest ask to the customer or the address."""
    until = asked_at + limits.customer_days * DAY
    return ReservationDenied(command_id=command_id, gate="overasking", until=until, saw=f"asked {rfc3339(asked_at)}")


def denied_account(command_id: str, asked: tuple[int | None, int | None], limits: Limits) -> ReservationDenied:
    """Gate 9's answer; ``asked`` holds the newest ask if it is too near, and the oldest of a quota that is full."""
    newest, quota = asked
    opens, saw = [], []
    if newest is not None:
        opens.append(newest + limits.account_gap_days * DAY)
        saw.append(f"account asked {rfc3339(newest)}")
    if quota is not None:
        opens.append(quota + limits.account_days * DAY)
        saw.append(f"{limits.account_asks} asks to the account since {rfc3339(quota)}")
    return ReservationDenied(command_id=command_id, gate="account", until=max(opens), saw="; ".join(saw))


@dataclass(slots=True)
class _Reservation:
    customer_id: str
    account_id: str | None
    email_hmac: str | None
    asked_at: int
    requested_at: int
    trigger: str = ""
    segment: str | None = None
    shadow: bool = False
    also: tuple[tuple[str, str], ...] = ()
    state: Literal["reserved", "confirmed", "released"] = "reserved"
    released_at: int = -1

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """Who the ask is counted for."""
        whom = (("customer", self.customer_id), ("email", self.email_hmac), ("account", self.account_id), *self.also)
        return tuple((_SHADOW + kind if self.shadow else kind, name) for kind, name in whom if name)


_SHADOW = "shadow "


def _reserved(request: ReservationRequested | ReservationHeld, requested_at: int) -> _Reservation:
    return _Reservation(
        request.customer_id,
        request.account_id,
        request.email_hmac,
        request.due,
        requested_at,
        request.trigger,
        request.segment,
        request.shadow,
    )


class MemoryLedger:
    """The ledger in memory, under one policy. Not shared between threads, never blocks, knows no clock."""

    def __init__(self, policy: Policy) -> None:
        self._limits = policy.caps
        self._told = policy.longest_window_days * DAY  # one due longer ago has no command that could still be sent
        self._switches = Switches(policy.breaker.pause_hours * HOUR)
        self._breaker = BurstBreaker(policy.breaker)
        self._grants = ClaimsAndGrants(policy.rewards)
        self._reservations: dict[str, _Reservation] = {}
        self._asks: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def apply(self, operation: LedgerOperation) -> Result:
        """One record of ``ledger-requests``. Raises TypeError for an event other than a switch."""
        if isinstance(operation, RewardOperation):
            return self.reward(operation)
        match operation:
            case ReservationRequested():
                return self.request(operation)
            case ReservationConfirmed():
                self.confirm(operation)
                return None
            case ReservationReleased():
                self.release(operation)
                return None
            case ReservationAmended():
                self.amend(operation)
                return None
            case OpportunityOpened():
                return self.opened(operation)
            case ReservationHeld():
                return self.hold(operation)
            case LedgerRenewed():
                return None
            case Event(data=ControlPaused(scope=scope, name=name), time=time):
                return self.pause(scope, name, time)
            case Event(data=ControlResumed(scope=scope, name=name), time=time):
                return self.resume(scope, name, time)
            case _:
                raise TypeError(f"not for the ledger: {operation.type}")

    def recall(self, operation: LedgerOperation) -> None:
        """One record of the log, when the ledger is built from it: a request gets nothing, only its grant counts.

        Whom a switch stopped then is still to be told of its end.
        """
        if isinstance(operation, ReservationRequested):
            self._switches.denial(operation)
        elif not isinstance(operation, GrantRequested):
            self.apply(operation)

    def reward(self, operation: RewardOperation) -> GrantAnswer | None:
        """A record about contacts and rewards; the answer to a request for a grant."""
        return self._grants.apply(operation)

    def hold(self, held: ReservationHeld) -> LedgerAnswer:
        """What was granted holds, unless it has been released since."""
        command = held.command_id
        known = self._reservations.get(command)
        if known is not None and known.state != "released":
            self._renew(command, known, held.requested_at, held.due)
        elif known is not None and held.requested_at <= known.released_at:
            return ReservationUnavailable(command_id=command)
        else:
            self._count(command, _reserved(held, held.requested_at))
        return ReservationGranted(command_id=command)

    def request(self, request: ReservationRequested) -> LedgerAnswer:
        """Reserve an ask, or say why not."""
        command = request.command_id
        if request.now > request.valid_until:
            return ReservationUnavailable(command_id=command)
        if (denial := self._switches.denial(request)) is not None:
            return denial
        held = self._reservations.get(command)
        if held is not None and held.state != "released":
            self._renew(command, held, request.now, request.due)
            return ReservationGranted(command_id=command)
        if held is not None and request.now <= held.released_at:
            return ReservationUnavailable(command_id=command)
        denial = self._overasked(request) or self._account_full(request)
        if denial is not None:
            return denial
        self._count(command, _reserved(request, request.now))
        return ReservationGranted(command_id=command)

    def answer_round(self, requests: Iterable[ReservationRequested]) -> list[tuple[ReservationRequested, LedgerAnswer]]:
        """Answer the requests of one instant, best contact first; the result is in that order."""
        return [(request, self.request(request)) for request in arbitrated(requests)]

    def confirm(self, confirmed: ReservationConfirmed) -> None:
        """The ask was sent: it counts for good."""
        held = self._reservations.get(confirmed.command_id)
        if held is None:
            held = _Reservation(confirmed.customer_id, confirmed.account_id, None, confirmed.now, confirmed.now)
        if held.state != "confirmed":
            held.state = "confirmed"
            self._count(confirmed.command_id, held)

    def release(self, released: ReservationReleased) -> None:
        """The ask was not and will not be sent: it never counted."""
        held = self._reservations.get(released.command_id)
        if held is None or held.state != "reserved" or held.requested_at > released.now:
            return
        held.state, held.released_at = "released", released.now
        for whom in held.asked:
            self._asks[whom].pop(released.command_id, None)

    def amend(self, amended: ReservationAmended) -> None:
        """An account or an address that was learned after the ask: it counts for them too."""
        held = self._reservations.get(amended.command_id)
        if held is None:
            return
        learned = (("account", amended.account_id), ("email", amended.email_hmac))
        held.also = (*held.also, *((kind, name) for kind, name in learned if name and (kind, name) not in held.also))
        if held.state != "released":
            self._count(amended.command_id, held)

    def opened(self, opened: OpportunityOpened) -> ControlPaused | None:
        """Count an opening; returns the pause if its hour now has too many and the trigger was not paused before.

        The opening that has set a pause gives it again when it is told again.
        """
        trigger, name = opened.trigger, opened.opportunity_id
        if self._switches.was_set_by(trigger, name):
            return self._switches.tripped_by(trigger, name)
        pause = self._breaker.opened(opened)
        return pause if pause is not None and self.trip(trigger, name, opened.now, pause) else None

    def trip(self, trigger: str, opening: str, now: int, pause: ControlPaused) -> bool:
        """The breaker pauses a trigger because of an opening; whether that changed anything."""
        return self._switches.trip(trigger, opening, now, pause)

    def pause(self, scope: Scope, name: str | None, stamp: int) -> bool:
        """Throw a switch; returns whether customers are to be told."""
        return self._switches.pause(Switch(scope, name or ""), stamp)

    def resume(self, scope: Scope, name: str | None, stamp: int) -> bool:
        """Throw a switch back; returns whether customers are to be told."""
        switch = Switch(scope, name or "")
        counts, ended = self._switches.resume(switch, stamp)
        if ended and scope == "trigger":
            self._breaker.forgive(switch.name, stamp)
        return counts

    def page(self, thrown: Thrown, now: int, after: str = "", size: int = PAGE) -> Page:
        """Some of the customers to tell of a switch; the next page is asked for when these have been told."""
        switch = Switch(thrown.scope, thrown.name or "")
        if isinstance(thrown, ControlResumed):
            return self._switches.waiting(switch, now, after, size)
        if not self._switches.stands(switch, now):
            return Page((), None)
        unconfirmed = {
            f"{held.customer_id}\0{command}": held
            for command, held in self._reservations.items()
            if held.state == "reserved"
        }
        looked_at = sorted(name for name in unconfirmed if name > after)[:size]
        concerned = [
            unconfirmed[name].customer_id
            for name in looked_at
            if unconfirmed[name].asked_at > now - self._told
            and switch.concerns(unconfirmed[name].trigger, unconfirmed[name].segment)
        ]
        for customer in concerned:
            self._switches.wait(switch, customer)
        return Page(tuple(dict.fromkeys(concerned)), looked_at[-1] if len(looked_at) == size else None)

    def told(self, thrown: Thrown, now: int) -> Iterator[str]:
        """All customers to tell of a switch, page by page."""
        page = self.page(thrown, now)
        while True:
            yield from page.customers
            if page.after is None:
                return
            page = self.page(thrown, now, page.after)

    def stopped(self, request: ReservationRequested) -> bool:
        """Whether a switch would stop this request now."""
        return bool(self._switches.stopping(request))

    def _overasked(self, request: ReservationRequested) -> ReservationDenied | None:
        asked = [
            *self._asked("customer", request.customer_id, shadow=request.shadow),
            *self._asked("email", request.email_hmac, shadow=request.shadow),
        ]
        newest = max(asked, default=None)
        if newest is None or request.due >= newest + self._limits.customer_days * DAY:
            return None
        return denied_overasking(request.command_id, newest, self._limits)

    def _account_full(self, request: ReservationRequested) -> ReservationDenied | None:
        limits = self._limits
        asked = sorted(self._asked("account", request.account_id, shadow=request.shadow), reverse=True)
        newest = asked[0] if asked else None
        quota = asked[limits.account_asks - 1] if len(asked) >= limits.account_asks else None
        if newest is not None and request.due >= newest + limits.account_gap_days * DAY:
            newest = None
        if quota is not None and request.due >= quota + limits.account_days * DAY:
            quota = None
        if newest is None and quota is None:
            return None
        return denied_account(request.command_id, (newest, quota), limits)

    def _asked(self, kind: str, name: str | None, *, shadow: bool) -> list[int]:
        kinds = (kind, _SHADOW + kind) if shadow else (kind,)
        return [at for each in kinds for at in self._asks.get((each, name), {}).values()] if name else []

    def _renew(self, command: str, held: _Reservation, requested_at: int, due: int) -> None:
        if held.state != "reserved":
            return
        held.requested_at = max(held.requested_at, requested_at)
        if due > held.asked_at:
            held.asked_at = due
            self._count(command, held)

    def _count(self, command: str, held: _Reservation) -> None:
        self._reservations[command] = held
        for whom in held.asked:
            asks = self._asks[whom]
            period = self._period(whom[0].removeprefix(_SHADOW))
            for other in [each for each, asked_at in asks.items() if asked_at <= held.asked_at - period]:
                del asks[other]
            asks[command] = held.asked_at

    def _period(self, kind: str) -> int:
        limits = self._limits
        return DAY * (max(limits.account_gap_days, limits.account_days) if kind == "account" else limits.customer_days)
