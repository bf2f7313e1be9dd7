"""Events that might come and change what becomes of an occasion to ask: only proposed, trials sort them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import Decision
from referral_stream.core.events import Data
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.rules.gates import on_trial

SOURCE = "referral-stream/explain"


class Change(NamedTuple):
    """An event that might come about a customer; ``subject`` is empty for a switch."""

    subject: str
    data: Data


def likely(customer: Customer, opportunity: Opportunity, decision: Decision) -> Iterator[Change]:
    """What might lift all that still blocks at the end, the likeliest first; a good moment comes last, or is lost."""
    for reason in sorted(decision.reasons, key=lambda reason: reason.gate == "moment"):
        match reason.gate:
            case _ if reason.answer == "pass":
                pass
            case "paused":
                yield from _resumed(opportunity.trigger, word(customer.segment))
            case "consent":
                yield from _about(customer, *_CONSENT)
            case "too_early":
                yield from _about(customer, *_early(customer))
            case "trouble":
                yield from _about(customer, *_trouble(customer, reason.until))
            case "propensity":
                yield from _about(customer, *_SIGNALS)
            case "channel":
                yield from _about(customer, ev.ProfileChanged(channels=ev.ReachableChannels(email=True)))
            case "moment":
                yield from _about(customer, *_MOMENTS)
            case "approval":
                yield from _about(customer, ev.AskApproved(opportunity_id=opportunity.id, by=SOURCE))
            case _:
                pass  # a cap, an answer, another ask: time lifts these, or a report


def every(customers: Mapping[str, Customer], name: str, opportunity: Opportunity) -> Iterator[Change]:
    """Every single event that could help, of each kind and about each thing that is known, the likeliest first.

    ``customers``: the customer of that name, and those who share an account or an address with them.
    """
    customer = customers[name]
    yield from _resumed(opportunity.trigger, word(customer.segment))
    yield from _about(customer, *_CONSENT, *_early(customer), *_trouble(customer, None), *_SIGNALS, *_MOMENTS)
    yield from _about(customer, *_reachable(), ev.AskApproved(opportunity_id=opportunity.id, by=SOURCE))
    yield from _about(customer, *_about_what_is_known(customer), *_GOOD_NEWS)
    for other in customers.values():
        for ask in other.asks:
            if ask.counts:
                yield Change(other.id, ev.AskAcknowledged(command_id=ask.command_id, status="failed"))


def _about(customer: Customer, *changes: Data) -> Iterator[Change]:
    return (Change(customer.id, data) for data in changes)


def _resumed(trigger: str, segment: str | None) -> Iterator[Change]:
    switches: list[tuple[ev.Scope, str | None]] = [("all", None), ("trigger", trigger), ("segment", segment)]
    for scope, name in switches:
        if scope == "all" or name is not None:
            yield Change("", ev.ControlResumed(scope=scope, name=name, by=SOURCE, why="a trial"))


def _trouble(customer: Customer, awaited: str | None) -> Iterator[Data]:
    """``awaited`` is the event the gate names: what would start its own wait is proposed only if it is that event."""
    for kind in sorted(customer.overfull):
        yield ev.OverfullCleared(kind=kind)  # type: ignore[arg-type]  # the state holds these kinds alone
    for name, ticket in sorted(customer.tickets.items()):
        if ticket.open:
            yield ev.TicketSolved(ticket_id=name, rating="positive")
        elif ticket.rating is None:
            yield ev.TicketRated(ticket_id=name, rating="positive")
    for name, invoice in sorted(customer.invoices.items()):
        if invoice.failed:
            yield ev.InvoicePaid(invoice_id=name)
    for name, dispute in sorted(customer.disputes.items()):
        if dispute.status == "open":
            yield ev.DisputeClosed(charge_id=name, won=True)
    if customer.quarantined:
        yield ev.DeadletterReplayed()
    if awaited in (None, ev.CancellationReverted.type):
        for name, cancellation in sorted(customer.cancellations.items()):
            if cancellation.scheduled is not None:
                yield ev.CancellationReverted(subscription_id=name or None)


def _early(customer: Customer) -> Iterator[Data]:
    if not customer.onboarded:
        yield ev.OnboardingCompleted()
    if customer.signed_up is None:
        yield ev.SignedUp()
    if on_trial(customer):
        subscriptions = {event.subscription for event in customer.subscriptions if event.kind == "trial"}
        for name in sorted(subscriptions) or ["trial"]:
            yield ev.TrialEnded(subscription_id=name, converted=True)
    yield ev.GoalAchieved(goal=SOURCE)
    yield ev.UsageRecorded()


def _reachable() -> Iterator[Data]:
    for channel in ev.CHANNELS:
        yield ev.ProfileChanged(channels=ev.ReachableChannels(**{channel: True}))
    yield ev.ProfileChanged(requires_approval=False)


def _about_what_is_known(customer: Customer) -> Iterator[Data]:
    for name, task in sorted(customer.tasks.items()):
        if task.value:
            yield ev.TaskEnded(task_id=name)
    for name, concern in sorted(customer.concerns.items()):
        if concern.value:
            yield ev.CallConcernAddressed(call_id=name)
    for name in sorted({life.subscription for life in customer.subscriptions}):
        yield ev.SubscriptionStarted(subscription_id=name)
        yield ev.SubscriptionRenewed(subscription_id=name)
    for name in sorted(customer.tickets):
        yield ev.TicketSolved(ticket_id=name)
    for name in sorted(customer.responses):
        yield ev.NpsResponded(response_id=name, score=10, theme="other")
    for name, answer in sorted(customer.csats.items()):
        if not answer.promoter:
            yield ev.CsatResponded(response_id=name, score=10, scale_max=10)
    for name, review in sorted(customer.reviews.items()):
        if not review.promoter:
            yield ev.ReviewPosted(rating=10, scale_max=10, url=name)
    for ask in customer.asks:
        if not ask.answered:
            yield ev.AskAnswered(command_id=ask.command_id, answer="yes")


_CONSENT = (
    ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True),
    ev.Unsuppressed(),
)

_SIGNALS = (
    ev.InteractionRecorded(kind="call", positive=True),
    ev.FeedbackShared(positive=True),
    ev.UsageCompared(above_average=True),
    ev.ChampionChanged(champion=True),
)
"""What lifts the score without being an occasion to ask itself, the likeliest first."""

_MOMENTS = (
    ev.WorkflowCompleted(),
    ev.CallMoment(kind="satisfaction_expressed"),
    ev.EmailClicked(),
)

_GOOD_NEWS = (
    ev.NpsResponded(response_id="explain", score=10, theme="other"),
    ev.ComplimentGiven(reference="explain"),
    ev.TestimonialGiven(reference="explain"),
    ev.MilestoneReached(milestone="explain", first_success=True),
    ev.SubscriptionStarted(subscription_id="explain"),
    ev.SubscriptionExpanded(deal_id="explain"),
    ev.PeerMentioned(peer_ref="explain"),
)
"""Other occasions to ask, and a subscription after one that ended."""
