"""Records of ``ledger-requests`` with everything defaulted but the point."""

from __future__ import annotations

from collections.abc import AsyncIterator

from referral_stream.core.effects import (
    ContactClaimed,
    ContactReleased,
    GrantConfirmed,
    GrantReleased,
    GrantRequested,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationHeld,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import ControlPaused, ControlResumed, Event, Scope, Segment
from referral_stream.core.instants import SECOND, parse_instant
from referral_stream.core.ledger.caps import PAGE, LedgerOperation, MemoryLedger, Result
from referral_stream.core.ledger.switches import Page
from referral_stream.ledger import RedisLedger, holds

T0 = parse_instant("2026-06-19T11:00:00Z")[0]  # a Friday, at the start of a UTC hour


def a_request(
    command_id: str = "command-1",
    *,
    customer: str = "ana",
    account: str | None = None,
    email: str | None = None,
    segment: Segment | None = None,
    trigger: str = "nps_promoter",
    priority: int = 40,
    score: int = 70,
    due: int = T0,
    now: int | None = None,
    shadow: bool = False,
    planned: int | None = None,
) -> ReservationRequested:
    now = due if now is None else now
    return ReservationRequested(
        command_id=command_id,
        opportunity_id=f"opportunity of {command_id}",
        customer_id=customer,
        account_id=account,
        email_hmac=email,
        segment=segment,
        trigger=trigger,
        priority=priority,
        raw_score=score,
        due=due,
        valid_until=max(due, now) + 30 * SECOND,
        now=now,
        shadow=shadow,
        planned=planned,
    )


def a_grant(request: ReservationRequested, generation: int = 1) -> ReservationHeld:
    """The record by which the log has the grant of a request."""
    (held,) = holds([request], generation, request.now)
    assert isinstance(held, ReservationHeld)
    return held


def granted(*requests: ReservationRequested) -> list[LedgerOperation]:
    """The records of requests that were granted."""
    return [record for request in requests for record in (request, a_grant(request))]


def a_confirmation(
    command_id: str = "command-1", *, customer: str = "ana", account: str | None = None, now: int = T0
) -> ReservationConfirmed:
    return ReservationConfirmed(command_id=command_id, customer_id=customer, account_id=account, now=now)


def a_release(
    command_id: str = "command-1", *, customer: str = "ana", account: str | None = None, now: int = T0
) -> ReservationReleased:
    return ReservationReleased(command_id=command_id, customer_id=customer, account_id=account, now=now)


def an_amendment(
    command_id: str = "command-1", *, account: str | None = None, email: str | None = None, now: int = T0
) -> ReservationAmended:
    return ReservationAmended(command_id=command_id, customer_id="ana", account_id=account, email_hmac=email, now=now)


def an_opening(
    opportunity_id: str = "opportunity-1", *, trigger: str = "nps_promoter", now: int = T0
) -> OpportunityOpened:
    return OpportunityOpened(opportunity_id=opportunity_id, customer_id="ana", trigger=trigger, now=now)


def a_claim(
    referral: str = "r-ana", *, customer: str = "ana", keys: tuple[str, ...] = ("kim",), now: int = T0
) -> ContactClaimed:
    return ContactClaimed(referral_id=referral, customer_id=customer, contact_keys=keys, now=now)


def claims_released(referral: str = "r-ana", *, customer: str = "ana", now: int = T0) -> ContactReleased:
    return ContactReleased(referral_id=referral, customer_id=customer, now=now)


def a_grant_request(
    referral: str = "r-ana",
    *,
    customer: str = "ana",
    account: str | None = None,
    keys: tuple[str, ...] = ("kim",),
    now: int = T0,
) -> GrantRequested:
    return GrantRequested(
        grant_id=f"grant of {referral} to {customer}",
        referral_id=referral,
        customer_id=customer,
        account_id=account,
        contact_keys=keys,
        now=now,
    )


def its_confirmation(request: GrantRequested) -> GrantConfirmed:
    return GrantConfirmed.model_validate(request.model_dump())


def its_release(request: GrantRequested, now: int | None = None) -> GrantReleased:
    now = request.now if now is None else now
    return GrantReleased(grant_id=request.grant_id, customer_id=request.customer_id, now=now)


def a_pause(scope: Scope = "all", name: str | None = None, *, now: int = T0) -> Event:
    return _thrown(ControlPaused(scope=scope, name=name, by="ops", why="test"), now)


def a_resumption(scope: Scope = "all", name: str | None = None, *, now: int = T0) -> Event:
    return _thrown(ControlResumed(scope=scope, name=name, by="ops", why="test"), now)


def _thrown(data: ControlPaused | ControlResumed, now: int) -> Event:
    return Event(id=f"{data.type} {now}", source="ops", type=data.type, subject="", time=now, data=data)


async def answer(ledger: RedisLedger, request: ReservationRequested) -> Result:
    """The ledger's answer to one request. Raises LedgerUnavailable."""
    return (await ledger.apply([request]))[0]


async def told(ledger: RedisLedger | MemoryLedger, switch: Event, now: int, size: int = PAGE) -> list[str]:
    """The customers to tell of a switch, page by page; how many have to be looked at for them may differ."""
    customers, page = list[str](), Page((), "")
    while page.after is not None:
        found = ledger.page(switch.data, now, page.after, size)
        page = found if isinstance(found, Page) else await found
        customers += page.customers
    return list(dict.fromkeys(customers))


async def history(*records: LedgerOperation) -> AsyncIterator[LedgerOperation]:
    """The records of ``ledger-requests``, as a rebuild reads them."""
    for record in records:
        yield record
