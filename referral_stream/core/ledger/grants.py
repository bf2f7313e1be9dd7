"""The ledger's rules for rewards: who named a contact first, and how many grants there may be (after §4, §5, §10).

:class:`ClaimsAndGrants` keeps what concerns several customers. All of it may be told again, and in another order:

1. A customer names the contact of a referral by a claim on each of the contact's keys. Per customer, referral and key
   the first claim stands: one that comes while it counts changes nothing. It counts ``claim_days`` from its ``now``,
   half-open.
2. A release ends a referral's claims that are not newer than it, also older ones that are told after it.
3. A request is a claim too, at its ``now``, on keys that its referral has not claimed before. It lasts as long as the
   request: what is given holds its keys itself, what is refused is released by whoever asked.
4. Refused is, in this order: whoever was not the first to name the contact by one of the keys, or the referral by its
   id, or meets another grant that holds one of these (*duplicate*); a customer, then an account, with as many grants as
   there may be. First is the smallest of (``now``, customer, referral) among the claims that count at the request's
   ``now``.
5. A grant that was given stays given, whatever the rules say by now. From the ``now`` of its newest request it counts
   365 days for the caps, and holds its keys and its referral ``claim_days``. Both also meet requests that are older
   than the grant: what arrives in the wrong order is never given twice.
6. A release ends a grant whose newest request is not newer than it. A request that is not newer than its release is a
   redelivery that nobody awaits: ``unavailable``.
7. A confirmation says that the reward was promised, so it counts whatever the caps say, and restores a grant whose
   release is older than it.
8. A grant that stands in the log counts in the same way, if it is not released. So what a lost ledger had given is
   known again from the log alone (:meth:`~referral_stream.core.ledger.caps.MemoryLedger.recall`).

Nothing here identifies a person except opaque ids and HMACs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
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

_Claimant: TypeAlias = tuple[str, str]
"""Customer and referral."""
_Refusal: TypeAlias = Literal["duplicate", "customer_cap", "account_cap"]


def counted_days(rewards: Rewards) -> int:
    """How long any of it counts at most."""
    return max(CAPPED_DAYS, rewards.claim_days)


def granting_order(requests: Iterable[GrantRequested]) -> list[GrantRequested]:
    """The order in which the requests of one instant are answered."""
    return sorted(requests, key=lambda each: (each.customer_id, each.grant_id))


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
    """``now``: of the newest request that was given, or confirmed; ``counted``: for whom, and what it holds."""

    now: int = -1
    released_at: int = -1
    counted: tuple[tuple[str, str], ...] = ()

    @property
    def stands(self) -> bool:
        return self.now > self.released_at


class ClaimsAndGrants:
    """All claims and grants, in memory, under one policy. Knows no clock."""

    def __init__(self, rewards: Rewards) -> None:
        self._rewards = rewards
        self._claimed_for = rewards.claim_days * DAY
        self._claims: defaultdict[_Claimant, dict[str, _Claim]] = defaultdict(dict)
        self._claimants: defaultdict[str, set[_Claimant]] = defaultdict(set)
        self._namesakes: defaultdict[str, set[_Claimant]] = defaultdict(set)
        self._released: dict[_Claimant, int] = {}
        self._grants: defaultdict[str, _Grant] = defaultdict(_Grant)
        self._counted: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def apply(self, operation: RewardOperation) -> GrantAnswer | None:
        """One record of ``ledger-requests``; the answer to a request, and to a grant that stands in the log."""
        match operation:
            case ContactClaimed():
                self._claim(operation)
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

    # ------------------------------------------------------------------------------------------------------- claims

    def _claim(self, claimed: ContactClaimed) -> None:
        claimant, now = (claimed.customer_id, claimed.referral_id), claimed.now
        if now < self._released.get(claimant, -1):
            return
        for key in claimed.contact_keys:
            claim = self._claims[claimant].setdefault(key, _Claim(now, now))
            earlier, later = sorted((claim.first, now))
            # One that comes after the first has lapsed begins anew.
            claim.first = earlier if later < earlier + self._claimed_for else later
            claim.last = max(claim.last, now)
            self._claimants[key].add(claimant)
            self._namesakes[claimed.referral_id].add(claimant)

    def _release_claims(self, claimant: _Claimant, now: int) -> None:
        self._released[claimant] = max(now, self._released.get(claimant, -1))
        claims = self._claims[claimant]
        for key, claim in list(claims.items()):
            if claim.last <= now:
                del claims[key]
                self._claimants[key].remove(claimant)
            elif claim.first <= now:
                claim.first = claim.last

    def _is_first(self, request: GrantRequested) -> bool:
        """Whether nobody else has named one of the keys, or the referral, before."""
        own = (request.now, request.customer_id, request.referral_id)
        on_keys = [
            [(self._claims[who][key].first, *who) for who in self._claimants[key]] for key in request.contact_keys
        ]
        on_referral = [
            (claim.first, *who) for who in self._namesakes[request.referral_id] for claim in self._claims[who].values()
        ]
        opened = request.now - self._claimed_for
        return all(
            min([own, *(claim for claim in claims if opened < claim[0] <= request.now)])[1:] == own[1:]
            for claims in (*on_keys, on_referral)
        )

    # ------------------------------------------------------------------------------------------------------- grants

    def _request(self, request: GrantRequested) -> GrantAnswer:
        grant = self._grants[request.grant_id]
        if not grant.stands:
            if request.now <= grant.released_at:
                return GrantUnavailable(grant_id=request.grant_id)
            if (reason := self._refusal(request)) is not None:
                return GrantRefused(grant_id=request.grant_id, reason=reason)
        self._count(request, request.now)
        return GrantGiven(grant_id=request.grant_id)

    def _hold(self, held: GrantHeld) -> GrantAnswer:
        grant = self._grants[held.grant_id]
        if not grant.stands and held.requested_at <= grant.released_at:
            return GrantUnavailable(grant_id=held.grant_id)
        self._count(held, held.requested_at)
        return GrantGiven(grant_id=held.grant_id)

    def _refusal(self, request: GrantRequested) -> _Refusal | None:
        rewards, claimed, counted = self._rewards, request.now - self._claimed_for, request.now - CAPPED_DAYS * DAY
        if not self._is_first(request) or any(self._since(each, claimed) for each in _held_by(request)):
            return "duplicate"
        if self._since(("customer", request.customer_id), counted) >= rewards.per_customer:
            return "customer_cap"
        if request.account_id and self._since(("account", request.account_id), counted) >= rewards.per_account:
            return "account_cap"
        return None

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
        grant.now, grant.counted = now, (("customer", given.customer_id), *account, *_held_by(given))
        for whom in grant.counted:
            self._counted[whom][given.grant_id] = now

    def _release(self, grant_id: str, now: int) -> None:
        grant = self._grants[grant_id]
        grant.released_at = max(grant.released_at, now)
        if not grant.stands:
            for whom in grant.counted:
                self._counted[whom].pop(grant_id, None)


def _held_by(grant: GrantRequested | GrantHeld | GrantConfirmed) -> list[tuple[str, str]]:
    """What a grant holds, so that no other one is given for it."""
    return [("referral", grant.referral_id), *(("contact", key) for key in grant.contact_keys)]
