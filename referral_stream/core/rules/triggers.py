"""Triggers: which event is an occasion to ask, and about what (semantics §3; subjects: §10, Ids)."""

from __future__ import annotations

from typing import NamedTuple

from referral_stream.core import events as ev
from referral_stream.core.customer import LONGEST_NAME, LONGEST_SUBJECT, Customer
from referral_stream.core.events import Event
from referral_stream.core.ids import short
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.rules.condition_values import customer_values, event_values


class Occasion(NamedTuple):
    """An occasion to ask: its trigger, its subject (business key), and what the wording may use.

    ``survey``: the answer to a survey is itself the trigger; ``response``: its response id, for corrections.
    ``spent``: it uses up the subject for its trigger, and opens nothing.
    """

    trigger: str
    subject: str
    variables: dict[str, str]
    survey: bool = False
    response: str | None = None
    theme: str | None = None
    spent: bool = False


_OCCASION_TYPES = frozenset(
    data.type
    for data in (
        ev.NpsResponded, ev.CsatResponded, ev.ComplimentGiven, ev.TestimonialGiven, ev.ReviewPosted, ev.TicketSolved,
        ev.TicketRated, ev.MilestoneReached, ev.SubscriptionRenewed, ev.SubscriptionExpanded, ev.PeerMentioned,
    )
)  # fmt: skip


def occasions_in(e: Event, c: Customer, now: int, policy: Policy) -> tuple[Occasion, ...]:
    """All that this event is an occasion for: a built-in trigger first, then those the policy adds, by name.

    The state ``c`` has the event folded in.
    """
    if e.type not in _OCCASION_TYPES and e.type not in policy.conditions:
        return ()  # nearly all events: this spares them the class patterns
    settled = _is_settlement(e, c)
    if settled and not c.forgotten:
        return ()
    built_in = occasion_in(e, policy)
    found = () if built_in is None else (_within_bounds(built_in),)
    if e.type in policy.conditions:
        found = (*found, *_own_occasions(e, c, now, policy))
    spent = settled or _is_first_payment(e, c)  # a ticket that may be a forgotten one is no occasion later either
    return tuple(occasion._replace(spent=True) for occasion in found) if spent else found


def _within_bounds(o: Occasion) -> Occasion:
    response = None if o.response is None else short(o.response, LONGEST_SUBJECT)
    return o._replace(subject=short(o.subject, LONGEST_SUBJECT), response=response)


FIRST_PAYMENT_DAYS = 21
"""A renewal sooner than this after the subscription began is its first payment."""


def _is_settlement(e: Event, c: Customer) -> bool:
    """Whether it is a rating of a ticket about which they were angry before: it is settled, and no praise."""
    if not isinstance(e.data, ev.TicketSolved | ev.TicketRated):
        return False
    known = c.tickets.get(short(e.data.ticket_id, LONGEST_NAME))
    return known is not None and known.turned


def _is_first_payment(e: Event, c: Customer) -> bool:
    """Whether it is a renewal of a subscription that is known to have begun shortly before."""
    if not isinstance(e.data, ev.SubscriptionRenewed):
        return False
    shortly, name = e.time - FIRST_PAYMENT_DAYS * DAY, short(e.data.subscription_id, LONGEST_NAME)
    if c.forgotten.get("subscriptions", shortly) > shortly:
        return True  # its beginning may be among what was forgotten
    return any(
        life.subscription == name and life.kind in ("started", "converted") and shortly < life.at.time <= e.time
        for life in c.subscriptions
    )


def may_open(type_: str, policy: Policy) -> frozenset[str]:
    """The triggers that a survey answer of this type may open."""
    built_in = {"nps.responded": "nps_promoter", "csat.responded": "positive_feedback"}
    return frozenset((built_in[type_], *(name for name, _ in policy.conditions.get(type_, ()))))


def _own_occasions(e: Event, c: Customer, now: int, policy: Policy) -> list[Occasion]:
    customer, found = customer_values(c, now, policy), []
    for name, condition in policy.conditions[e.type]:
        subject = condition.subject_of({**event_values(e, condition.fields), **customer})
        if subject is not None:
            survey = isinstance(e.data, ev.NpsResponded | ev.CsatResponded)
            response = short(e.data.response_id, LONGEST_SUBJECT) if survey else None
            theme = getattr(e.data, "theme", None)
            found.append(
                Occasion(name, short(subject, LONGEST_SUBJECT), {}, survey=survey, response=response, theme=theme)
            )
    return found


def occasion_in(e: Event, policy: Policy) -> Occasion | None:
    """What this event is an occasion for by a built-in trigger, None for most events.

    A converted referral becomes an occasion later: see the step.
    """
    match e.data:
        case ev.NpsResponded(response_id=response, score=score, theme=theme) if score >= ev.PROMOTER:
            return Occasion("nps_promoter", response, {}, survey=True, response=response, theme=theme)
        case ev.CsatResponded(top_box=True, response_id=response, ticket_id=ticket, theme=theme):
            return Occasion(
                "positive_feedback", ticket or response, {"kind": "csat"}, survey=True, response=response, theme=theme
            )
        case ev.ComplimentGiven(reference=reference, theme=theme):
            return Occasion("positive_feedback", reference or e.id, {"kind": "compliment"}, theme=theme)
        case ev.TestimonialGiven(reference=reference, theme=theme):
            return Occasion("positive_feedback", reference or e.id, {"kind": "testimonial"}, theme=theme)
        case ev.ReviewPosted(top_box=True, url=url, theme=theme):
            return Occasion("positive_feedback", url or e.id, {"kind": "review"}, theme=theme)
        case ev.TicketSolved(rating="positive", ticket_id=ticket) | ev.TicketRated(rating="positive", ticket_id=ticket):
            return Occasion("positive_feedback", ticket, {"kind": "ticket"}, theme="support")
        case ev.MilestoneReached(milestone=key, first_success=first) if first or key in policy.milestones:
            return Occasion("milestone", key, {"milestone": key})
        case ev.SubscriptionRenewed(invoice_id=invoice, contract_id=contract):
            return Occasion("renewal", invoice or contract or e.id, {})
        case ev.SubscriptionExpanded(deal_id=deal):
            return Occasion("expansion", deal, {"deal_id": deal})
        case ev.PeerMentioned(peer_ref=peer):  # the worker knows who that is: names stay where they are known
            return Occasion("peer_mentioned", peer, {"peer_ref": peer})
        case _:
            return None
