"""The ledger's rules for rewards: who named a contact first, and how many grants there may be (after §4, §5, §10).

:class:`Grants` keeps what concerns several customers. All of it may be told again, and in another order:

1. A customer names a referral and its contact by claims. Per customer, referral and name the first claim stands: one
   that comes while it counts changes nothing. It counts ``claim_days`` from its ``now``, half-open.
2. A release ends a referral's claims that are not newer than it, also those that are told after it.
3. A request for a grant claims its names at its ``now`` where no claim counts.
4. Refused is, in this order: whoever was not the first to name the contact, or the referral's id, or meets another
   grant that holds one of these names (*duplicate*); a customer, then an account, with as many grants as there may be.
   First is the smallest of (``now``, customer, referral) among the claims that count at the request's ``now``.
5. A grant that was given stays given, whatever the rules say by now. From the ``now`` of its newest request it counts
   365 days for the caps, and holds its names ``claim_days``. Both also meet requests that are older than the grant:
   what arrives in the wrong order is never given twice.
6. A release ends a grant whose newest request is not newer than it. A request that is not newer than its release is a
   redelivery that nobody awaits: ``unavailable``.
7. A confirmation says that the reward was promised, so it counts whatever the caps say, and restores a grant whose
   release is older than it.
8. A grant that stands in the log counts in the same way, if it is not released. So what a lost ledger had given is
   known again from the log alone (:meth:`Grants.recall`).

Nothing here identifies a person except opaque ids and HMACs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from referral_stream.core.after_policy import Rewards
from referral_stream.core.effects import (
    ContactClaimed,
    ContactReleased,
    GrantConfirmed,
    GrantHeld,
    GrantReleased,
    GrantRequested,
)
from referral_stream.core.events import GrantGiven, GrantRefused, GrantUnavailable
from referral_stream.core.instants import DAY

GrantAnswer: TypeAlias = GrantGiven | GrantRefused | GrantUnavailable
RewardOperation: TypeAlias = (
    ContactClaimed | ContactReleased | GrantRequested | GrantHeld | GrantConfirmed | GrantReleased
)
"""What ``ledger-requests`` carries about contacts and rewards."""

CAPPED_DAYS = 365
"""How long a grant counts for the caps."""

Name: TypeAlias = tuple[Literal["contact", "referral"], str]
"""What can be named once: a contact by one of their keys, or a referral by its id."""
_Claimant: TypeAlias = tuple[str, str]
"""Customer and referral."""
_Refusal: TypeAlias = Literal["duplicate", "customer_cap", "account_cap"]


def counted_days(rewards: Rewards) -> int:
    """How long any of it counts at most."""
    return max(CAPPED_DAYS, rewards.claim_days)


def granting_order(requests: Iterable[GrantRequested]) -> list[GrantRequested]:
    """The order in which the requests of one instant are answered."""
    return sorted(requests, key=lambda each: (each.customer_id, each.grant_id))


def names_of(referral_id: str, contact_keys: Iterable[str]) -> list[Name]:
    """What a claim or a grant is about."""
    return [("referral", referral_id), *(("contact", key) for key in dict.fromkeys(contact_keys))]


def held_for(request: GrantRequested, generation: int, now: int) -> GrantHeld:
    """The record by which the log has that a request was given."""
    return GrantHeld(
        grant_id=request.grant_id,
        referral_id=request.referral_id,
        customer_id=request.customer_id,
        account_id=request.account_id,
        contact_keys=request.contact_keys,
        requested_at=request.now,
        generation=generation,
        now=now,
    )


@dataclass(slots=True)
class _Claim:
    """``first`` counts; ``last`` is the newest that was told, which stands if only what came before it is released."""

    first: int
    last: int


@dataclass(slots=True)
class _Grant:
    """``now``: of the newest request that was given, or of its confirmation; ``counted``: for whom and what."""

    now: int = -1
    released_at: int = -1
    counted: tuple[tuple[str, str], ...] = ()

    @property
    def stands(self) -> bool:
        return self.now > self.released_at


class Grants:
    """Claims and grants in memory, under one policy. Knows no clock."""

    def __init__(self, rewards: Rewards) -> None:
        self._rewards = rewards
        self._claimed_for = rewards.claim_days * DAY
        self._claims: defaultdict[_Claimant, dict[Name, _Claim]] = defaultdict(dict)
        self._claimants: defaultdict[Name, set[_Claimant]] = defaultdict(set)
        self._released: dict[_Claimant, int] = {}
        self._grants: defaultdict[str, _Grant] = defaultdict(_Grant)
        self._counted: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def apply(self, operation: RewardOperation) -> GrantAnswer | None:
        """One record of ``ledger-requests``; the answer to a request, and to a grant that stands in the log."""
        match operation:
            case ContactClaimed(customer_id=customer, referral_id=referral, contact_keys=keys, now=now):
                self._claim((customer, referral), names_of(referral, keys), now)
            case ContactReleased():
                self._release_claims((operation.customer_id, operation.referral_id), operation.now)
            case GrantRequested():
                return self._request(operation)
            case GrantHeld():
                return self._hold(operation)
            case GrantConfirmed():
                if operation.now > self._grants[operation.grant_id].released_at:
                    self._count(operation, operation.now)
            case GrantReleased(grant_id=grant_id, now=now):
                self._release(grant_id, now)
        return None

    def recall(self, operation: RewardOperation) -> None:
        """One record of the log, when the ledger is built from it: a request gets nothing, only what was given counts.

        What it has claimed it claims again.
        """
        if isinstance(operation, GrantRequested):
            self._claim_for(operation)
        else:
            self.apply(operation)

    # ------------------------------------------------------------------------------------------------------- claims

    def _claim(self, claimant: _Claimant, names: Iterable[Name], now: int) -> None:
        if now <= self._released.get(claimant, -1):
            return
        for name in names:
            claim = self._claims[claimant].setdefault(name, _Claim(now, now))
            earlier, later = sorted((claim.first, now))
            # One that comes after the first has lapsed begins anew.
            claim.first = earlier if later < earlier + self._claimed_for else later
            claim.last = max(claim.last, now)
            self._claimants[name].add(claimant)

    def _release_claims(self, claimant: _Claimant, now: int) -> None:
        self._released[claimant] = max(now, self._released.get(claimant, -1))
        claims = self._claims[claimant]
        for name, claim in list(claims.items()):
            if claim.last <= now:
                del claims[name]
                self._claimants[name].remove(claimant)
            elif claim.first <= now:
                claim.first = claim.last

    def _first(self, name: Name, at: int) -> _Claimant | None:
        """Who named it first, of the claims that count at that instant."""
        counting = (
            (self._claims[claimant][name].first, claimant)
            for claimant in self._claimants[name]
            if self._claims[claimant][name].first <= at < self._claims[claimant][name].first + self._claimed_for
        )
        return min(counting, default=(0, None))[1]

    def _claim_for(self, request: GrantRequested) -> None:
        grant = self._grants[request.grant_id]
        if grant.stands or request.now <= grant.released_at:
            return
        claimant, at = (request.customer_id, request.referral_id), request.now
        names = names_of(request.referral_id, request.contact_keys)
        self._claim(claimant, [name for name in names if self._first(name, at) is None], at)

    # ------------------------------------------------------------------------------------------------------- grants

    def _request(self, request: GrantRequested) -> GrantAnswer:
        grant = self._grants[request.grant_id]
        if grant.stands:
            self._count(request, request.now)
            return GrantGiven(grant_id=request.grant_id)
        if request.now <= grant.released_at:
            return GrantUnavailable(grant_id=request.grant_id)
        self._claim_for(request)
        if (reason := next(self._refusals(request), None)) is not None:
            return GrantRefused(grant_id=request.grant_id, reason=reason)
        self._count(request, request.now)
        return GrantGiven(grant_id=request.grant_id)

    def _hold(self, held: GrantHeld) -> GrantAnswer:
        grant = self._grants[held.grant_id]
        if not grant.stands and held.requested_at <= grant.released_at:
            return GrantUnavailable(grant_id=held.grant_id)
        self._count(held, held.requested_at)
        return GrantGiven(grant_id=held.grant_id)

    def _refusals(self, request: GrantRequested) -> Iterator[_Refusal]:
        """Why not, in the order in which it is told."""
        claimant = (request.customer_id, request.referral_id)
        for name in names_of(request.referral_id, request.contact_keys):
            first = self._first(name, request.now)
            if (first is not None and first != claimant) or self._since(name, request.now - self._claimed_for):
                yield "duplicate"
        opened = request.now - CAPPED_DAYS * DAY
        if self._since(("customer", request.customer_id), opened) >= self._rewards.per_customer:
            yield "customer_cap"
        if request.account_id and self._since(("account", request.account_id), opened) >= self._rewards.per_account:
            yield "account_cap"

    def _since(self, whom: tuple[str, str], instant: int) -> int:
        """How many grants count for it that were asked for after this instant."""
        return sum(now > instant for now in self._counted.get(whom, {}).values())

    def _count(self, given: GrantRequested | GrantHeld | GrantConfirmed, now: int) -> None:
        grant = self._grants[given.grant_id]
        if now <= grant.now:
            return
        for whom in grant.counted:
            self._counted[whom].pop(given.grant_id, None)
        account = [("account", given.account_id)] if given.account_id else []
        names = names_of(given.referral_id, given.contact_keys)
        grant.now, grant.counted = now, (("customer", given.customer_id), *account, *names)
        for whom in grant.counted:
            self._counted[whom][given.grant_id] = now

    def _release(self, grant_id: str, now: int) -> None:
        grant = self._grants[grant_id]
        grant.released_at = max(grant.released_at, now)
        if not grant.stands:
            for whom in grant.counted:
                self._counted[whom].pop(grant_id, None)
