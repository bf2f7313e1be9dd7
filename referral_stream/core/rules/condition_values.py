"""What the condition of a custom trigger sees of the event and of the customer (docs/policy.md)."""

from __future__ import annotations

from typing import Any

from referral_stream.core.customer import Customer, word
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, to_datetime
from referral_stream.core.policy import Policy
from referral_stream.core.rules import propensity


def event_values(e: Event, fields: tuple[str, ...]) -> dict[str, Any]:
    """What a condition sees of the event; a field that its type does not have is null."""
    data = {f"event.data.{field}": getattr(e.data, field, None) for field in fields}
    return {"event.id": e.id, "event.source": e.source, "event.type": e.type, "event.time": to_datetime(e.time), **data}


def customer_values(c: Customer, now: int, policy: Policy) -> dict[str, Any]:
    """What a condition sees of the customer."""
    nps = propensity.newest_nps(c)
    asked = [ask.asked_at for ask in c.asks if ask.counts and ask.kind in ("asked", "soft")]
    return {
        "customer.score": propensity.score(c, now, policy).value,
        "customer.tenure_days": None if c.signed_up is None else (now - c.signed_up) // DAY,
        "customer.onboarded": c.onboarded,
        "customer.first_success": c.first_success,
        "customer.usage_above_average": c.above_average is not None and c.above_average.value,
        "customer.nps": None if nps is None else int(nps),
        "customer.testimonial": c.testimonial,
        "customer.positive_feedback": c.positive_feedback,
        "customer.interactions": c.interactions,
        "customer.champion": c.champion is not None and c.champion.value,
        "customer.segment": word(c.segment),
        "customer.locale": word(c.locale),
        "customer.open_tickets": sum(ticket.at is not None and ticket.open for ticket in c.tickets.values()),
        "customer.times_asked": len(asked),
        "customer.days_since_asked": (now - max(asked)) // DAY if asked else None,
        "customer.referrals": len(c.referrals),
    }
