"""One gate's answer about one customer at one instant, as short text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from referral_stream.core.customer import Customer
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, MINUTE
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.policy import Policy
from referral_stream.core.rules import gates, moments, propensity, windows
from referral_stream.core.rules.gates import Verdict, View
from tests.builders import POLICY, When, at, opportunity_of, shown, state


def an_opportunity(now: int, **but: Any) -> Opportunity:
    """An NPS promoter's, opened and settled long enough ago."""
    opportunity = Opportunity(
        id=opportunity_of(),
        trigger="nps_promoter",
        subject="r1",
        t0=now - 20 * MINUTE,
        deadline=now - 20 * MINUTE + DAY,
        settled=now,
        opened_at=now - 20 * MINUTE,
        ready=now,
        survey=True,
        response="r1",
    )
    return replace(opportunity, **but)


def view(customer: Customer, now: int, policy: Policy = POLICY, **but: Any) -> View:
    return View(
        policy=policy,
        customer=customer,
        now=now,
        zone=windows.zone_of(customer, policy),
        score=propensity.score(customer, now, policy),
        usable=moments.usable_channels(customer, policy),
        opportunity=an_opportunity(now, **but),
    )


def verdict(
    gate: str,
    *events: Event | Iterable[Event],
    now: When,
    policy: Policy = POLICY,
    customer: Customer | None = None,
    **but: Any,
) -> Verdict:
    """Of the state after these events (or of that ``customer``); ``but``: fields of the opportunity."""
    row = next(row for row in gates.GATES if row.name == gate)
    return gates.verdict(row, view(customer or state(*events), at(now), policy, **but))


def answer(gate: str, *events: Event | Iterable[Event], now: When, **more: Any) -> str:
    """``pass``, ``never``, ``until <wall time>`` or ``until <event type>``."""
    said = verdict(gate, *events, now=now, **more)
    if said.until is not None:
        return f"until {shown(said.until)}"
    return f"until {said.until_event}" if said.until_event else said.answer
