"""Triggers: which event is a reason to ask, and about what (semantics §3; subjects: §10, Ids)."""

from __future__ import annotations

from typing import Any, NamedTuple

from referral_stream.core import events as ev
from referral_stream.core import propensity
from referral_stream.core.customer import Customer, word
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, to_datetime
from referral_stream.core.policy import Policy


class Reason(NamedTuple):
    """A reason to ask: its trigger, its subject (business key), and what the wording may use.

    ``survey``: the answer to a survey is itself the trigger; ``response``: its response id, for corrections.
    """

    trigger: str
    subject: str
    variables: dict[str, str]
    survey: bool = False
    response: str | None = None
    theme: str | None = None


_REASON_TYPES = frozenset(
    data.type
    for data in (
        ev.NpsResponded, ev.CsatResponded, ev.ComplimentGiven, ev.TestimonialGiven, ev.ReviewPosted, ev.TicketSolved,
        ev.TicketRated, ev.MilestoneReached, ev.SubscriptionRenewed, ev.SubscriptionExpanded, ev.PeerMentioned,
    )
)  # fmt: skip


def reasons_in(e: Event, c: Customer, now: int, policy: Policy) -> tuple[Reason, ...]:
    """All that this event is a reason for: a built-in trigger first, then those the policy adds, by name.

    The state ``c`` has the event folded in.
    """
    if e.type not in _REASON_TYPES and e.type not in policy.conditions:
        return ()  # nearly all events: spare them the class patterns
    built_in = reason_in(e, policy)
    found = () if built_in is None else (built_in,)
    return found if e.type not in policy.conditions else (*found, *_own_reasons(e, c, now, policy))


def may_open(type_: str, policy: Policy) -> frozenset[str]:
    """The triggers that a survey answer of this type may open."""
    built_in = {"nps.responded": "nps_promoter", "csat.responded": "positive_feedback"}
    return frozenset((built_in[type_], *(name for name, _ in policy.conditions.get(type_, ()))))


def _own_reasons(e: Event, c: Customer, now: int, policy: Policy) -> list[Reason]:
    customer, found = customer_values(c, now, policy), []
    for name, condition in policy.conditions[e.type]:
        subject = condition.subject_of({**event_values(e, condition.fields), **customer})
        if subject is not None:
            survey = isinstance(e.data, ev.NpsResponded | ev.CsatResponded)
            response = e.data.response_id if survey else None
            theme = getattr(e.data, "theme", None)
            found.append(Reason(name, subject, {}, survey=survey, response=response, theme=theme))
    return found


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


def reason_in(e: Event, policy: Policy) -> Reason | None:
    """What this event is a reason for by a built-in trigger, None for most events.

    A converted referral is a reason later: see the step.
    """
    match e.data:
        case ev.NpsResponded(response_id=response, score=score, theme=theme) if score >= ev.PROMOTER:
            return Reason("nps_promoter", response, {}, survey=True, response=response, theme=theme)
        case ev.CsatResponded(top_box=True, response_id=response, ticket_id=ticket, theme=theme):
            return Reason(
                "positive_feedback", ticket or response, {"kind": "csat"}, survey=True, response=response, theme=theme
            )
        case ev.ComplimentGiven(reference=reference, theme=theme):
            return Reason("positive_feedback", reference or e.id, {"kind": "compliment"}, theme=theme)
        case ev.TestimonialGiven(reference=reference, theme=theme):
            return Reason("positive_feedback", reference or e.id, {"kind": "testimonial"}, theme=theme)
        case ev.ReviewPosted(top_box=True, url=url, theme=theme):
            return Reason("positive_feedback", url or e.id, {"kind": "review"}, theme=theme)
        case ev.TicketSolved(rating="positive", ticket_id=ticket) | ev.TicketRated(rating="positive", ticket_id=ticket):
            return Reason("positive_feedback", ticket, {"kind": "ticket"}, theme="support")
        case ev.MilestoneReached(milestone=key, first_success=first) if first or key in policy.milestones:
            return Reason("milestone", key, {"milestone": key})
        case ev.SubscriptionRenewed(invoice_id=invoice, contract_id=contract):
            return Reason("renewal", invoice or contract or e.id, {})
        case ev.SubscriptionExpanded(deal_id=deal):
            return Reason("expansion", deal, {"deal_id": deal})
        case ev.PeerMentioned(peer_ref=peer, company=company, challenge=challenge):
            said = {"peer_ref": peer, "company": company, "challenge": challenge}
            return Reason("peer_mentioned", peer, {name: text for name, text in said.items() if text})
        case _:
            return None
