"""A ledger that remembers what made it what it is, so that a small part of it can be told again.

To try what would become of one customer, a ledger is needed that knows what the real one knows about this customer,
this address and this account, and that may be spoilt; copying the whole of it for each try would cost too much.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple, TypeAlias

from referral_stream.core.effects import (
    Effect,
    GrantRequested,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import (
    ControlPaused,
    ControlResumed,
    Event,
    GrantGiven,
    GrantRefused,
    ReservationDenied,
    ReservationGranted,
    Scope,
)
from referral_stream.core.instants import HOUR
from referral_stream.core.ledger.breaker import BREAKER
from referral_stream.core.ledger.caps import LedgerAnswer, MemoryLedger
from referral_stream.core.ledger.grants import GrantAnswer, RewardOperation, held_for
from referral_stream.core.policy import Policy

LedgerCall: TypeAlias = Callable[[MemoryLedger], object]


class Whom(NamedTuple):
    """Customers, addresses and accounts that share caps."""

    customers: Collection[str]
    emails: Collection[str]
    accounts: Collection[str]


class _About(NamedTuple):
    command_id: str
    customer_id: str


class RecordingLedger(MemoryLedger):
    """The ledger of a fact replay: the rules of :class:`Caps`, and a memory of what changed its state."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._policy = policy
        self._requests: list[ReservationRequested] = []
        self._amended: list[ReservationAmended] = []
        self._operations: list[tuple[_About | None, LedgerCall]] = []
        self._rewards: list[RewardOperation] = []

    def request(self, request: ReservationRequested) -> LedgerAnswer:
        answer = super().request(request)
        match answer:
            case ReservationGranted() | ReservationDenied(gate="paused"):
                self._requests.append(request)
                self._remember(request, lambda caps: caps.request(request))
            case _:
                pass  # a refusal for a cap leaves no trace
        return answer

    def confirm(self, confirmed: ReservationConfirmed) -> None:
        super().confirm(confirmed)
        self._remember(confirmed, lambda caps: caps.confirm(confirmed))

    def release(self, released: ReservationReleased) -> None:
        super().release(released)
        self._remember(released, lambda caps: caps.release(released))

    def amend(self, amended: ReservationAmended) -> None:
        super().amend(amended)
        self._amended.append(amended)
        self._remember(amended, lambda caps: caps.amend(amended))

    def reward(self, operation: RewardOperation) -> GrantAnswer | None:
        self._rewards.append(operation)
        return super().reward(operation)

    def trip(self, trigger: str, opening: str, now: int, pause: ControlPaused) -> bool:
        changed = super().trip(trigger, opening, now, pause)
        if changed:
            self._operations.append((None, lambda caps: caps.trip(trigger, opening, now, pause)))
        return changed

    def pause(self, scope: Scope, name: str | None, stamp: int) -> bool:
        counts = super().pause(scope, name, stamp)
        self._operations.append((None, partial(MemoryLedger.pause, scope=scope, name=name, stamp=stamp)))
        return counts

    def resume(self, scope: Scope, name: str | None, stamp: int) -> bool:
        counts = super().resume(scope, name, stamp)
        self._operations.append((None, partial(MemoryLedger.resume, scope=scope, name=name, stamp=stamp)))
        return counts

    def about(self, whom: Whom) -> MemoryLedger:
        """A ledger of its own with all switches and rewards, and with the asks that count for these customers."""
        commands = {
            request.command_id
            for request in self._requests
            if request.customer_id in whom.customers
            or request.email_hmac in whom.emails
            or request.account_id in whom.accounts
        } | {
            amended.command_id
            for amended in self._amended
            if amended.email_hmac in whom.emails or amended.account_id in whom.accounts
        }
        told = MemoryLedger(self._policy)
        for about, operation in self._operations:
            if about is None or about.command_id in commands or about.customer_id in whom.customers:
                operation(told)
        for reward in self._rewards:
            told.reward(reward)
        return told

    def _remember(
        self,
        record: ReservationRequested | ReservationConfirmed | ReservationReleased | ReservationAmended,
        operation: LedgerCall,
    ) -> None:
        self._operations.append((_About(record.command_id, record.customer_id), operation))


class RecordedLedger:
    """What the ledger behind a log of ``customer-events`` must have known, pieced together from recorded answers."""

    def __init__(self, policy: Policy) -> None:
        self.caps = RecordingLedger(policy)
        self._triggers = tuple(policy.triggers)
        self._pause = policy.breaker.pause_hours * HOUR
        self._pending: dict[str, ReservationRequested] = {}
        self._grants: dict[str, GrantRequested] = {}

    def asked(self, effect: Effect) -> None:
        """A step's requests to the ledger."""
        match effect:
            case ReservationRequested():
                self._pending[effect.command_id] = effect
            case ReservationConfirmed():
                self.caps.confirm(effect)
            case ReservationReleased():
                self.caps.release(effect)
            case ReservationAmended():
                self.caps.amend(effect)
            case OpportunityOpened():
                self.caps.opened(effect)
            case GrantRequested():
                self._grants[effect.grant_id] = effect
            case _ if isinstance(effect, RewardOperation):
                self.caps.reward(effect)
            case _:
                pass

    def answered(self, event: Event, now: int) -> None:
        """A recorded answer: what the ledger knew by then, from whatever source."""
        match event.data:
            case ReservationGranted(command_id=command) if command in self._pending:
                self.caps.request(self._pending.pop(command))
            case ReservationDenied(command_id=command, gate="paused", until=until) if command in self._pending:
                # Which switch it was is not recorded; that of the trigger does for whoever was refused.
                request = self._pending.pop(command)
                if until is None:
                    self.caps.pause("trigger", request.trigger, now)
                elif not self.caps.stopped(request):
                    self._trip(request.trigger, until, event.data.saw)
                self.caps.request(request)
            case ReservationDenied(command_id=command):
                self._pending.pop(command, None)
            case GrantGiven(grant_id=grant) if grant in self._grants:
                self.caps.reward(held_for(self._grants.pop(grant), 0, now))
            case GrantRefused(grant_id=grant):
                self._grants.pop(grant, None)
            case ControlPaused(scope=scope, name=name, by=by) if by != BREAKER:
                self.caps.pause(scope, name, event.time)
            case ControlResumed(scope=scope, name=name):
                self.caps.resume(scope, name, now)
                for trigger in self._triggers:
                    self.caps.resume("trigger", trigger, now)
            case _:
                pass

    def _trip(self, trigger: str, until: int, saw: str) -> None:
        """A pause of the breaker, whose openings the log does not hold."""
        pause = ControlPaused(scope="trigger", name=trigger, by=BREAKER, why=saw)
        self.caps.trip(trigger, "", until - self._pause, pause)
