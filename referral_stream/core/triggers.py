"""Triggers: which event is a reason to ask, and about what (semantics §3; subjects: §10, Ids)."""

from __future__ import annotations

from typing import NamedTuple

from referral_stream.core import events as ev
from referral_stream.core.events import Event
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


def reason_in(e: Event, policy: Policy) -> Reason | None:
    """What this event is a reason for, None for most events. A converted referral is a reason later: see the step."""
    if e.type not in _REASON_TYPES:  # nearly all events: spare them the class patterns
        return None
    match e.data:
        case ev.NpsResponded(response_id=response, score=score, theme=theme) if score >= 9:  # noqa: PLR2004 (NPS)
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
