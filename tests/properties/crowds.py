"""Customers about whom far too much is said: many objects of every kind, late, again, and in any order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, HOUR
from referral_stream.replay.virtual_run import Arrival

SAID: dict[str, Callable[[Random, str], ev.Data]] = {
    "ticket.opened": lambda r, x: ev.TicketOpened(ticket_id=x, priority=r.choice((None, None, "low", "urgent"))),
    "ticket.solved": lambda r, x: ev.TicketSolved(ticket_id=x, rating=r.choice((None, None, "positive", "negative"))),
    "ticket.rated": lambda r, x: ev.TicketRated(ticket_id=x, rating=r.choice(("positive", "negative"))),
    "ticket.reopened": lambda _, x: ev.TicketReopened(ticket_id=x),
    "invoice.payment_failed": lambda _, x: ev.InvoicePaymentFailed(invoice_id=x),
    "invoice.paid": lambda _, x: ev.InvoicePaid(invoice_id=x),
    "charge.disputed": lambda _, x: ev.ChargeDisputed(charge_id=x),
    "dispute.closed": lambda r, x: ev.DisputeClosed(charge_id=x, won=r.random() < 0.5),
    "cancellation.considered": lambda r, x: ev.CancellationConsidered(subscription_id=r.choice((x, None))),
    "cancellation.scheduled": lambda r, x: ev.CancellationScheduled(subscription_id=r.choice((x, None))),
    "cancellation.reverted": lambda r, x: ev.CancellationReverted(subscription_id=r.choice((x, None))),
    "trial.started": lambda _, x: ev.TrialStarted(subscription_id=x),
    "trial.ended": lambda r, x: ev.TrialEnded(subscription_id=x, converted=r.random() < 0.7),
    "subscription.started": lambda _, x: ev.SubscriptionStarted(subscription_id=x),
    "subscription.renewed": lambda r, x: ev.SubscriptionRenewed(subscription_id=x, invoice_id=f"i{r.randrange(9)}"),
    "subscription.ended": lambda _, x: ev.SubscriptionEnded(subscription_id=x),
    "task.started": lambda _, x: ev.TaskStarted(task_id=x),
    "task.ended": lambda _, x: ev.TaskEnded(task_id=x),
    "call.concern_raised": lambda _, x: ev.CallConcernRaised(call_id=x),
    "call.concern_addressed": lambda _, x: ev.CallConcernAddressed(call_id=x),
    "call.cut_short": lambda _, x: ev.CallCutShort(call_id=x),
    "milestone.reached": lambda r, x: ev.MilestoneReached(milestone=x, first_success=r.random() < 0.5),
    "usage.recorded": lambda _, __: ev.UsageRecorded(),
    "nps.responded": lambda r, x: ev.NpsResponded(response_id=x, score=r.choice((2, 6, 7, 9, 10))),
    "csat.responded": lambda r, x: ev.CsatResponded(response_id=x, score=r.choice((1, 3, 5)), scale_max=5),
    "review.posted": lambda r, x: ev.ReviewPosted(rating=r.choice((1, 3, 5)), scale_max=5, url=x),
    "advocacy.asked": lambda r, _: ev.AdvocacyAsked(kind=r.choice(("review", "survey"))),
    "ask.approved": lambda _, x: ev.AskApproved(opportunity_id=x),
    "ask.rejected": lambda _, x: ev.AskRejected(opportunity_id=x),
    "referral.given": lambda _, x: ev.ReferralGiven(referral_id=x, contact=ev.Contact(ref="c", consented=True)),
    "referral.status_changed": lambda r, x: ev.ReferralStatusChanged(
        referral_id=x, status=r.choice(("contacted", "converted", "refunded"))
    ),
}  # fmt: skip
"""Type → something of that type about an object. Every type that makes a table of a state larger is here."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("ticket.opened", "ticket.solved", "ticket.solved", "ticket.rated", "ticket.reopened"),
    ("invoice.payment_failed", "invoice.paid", "invoice.paid"),
    ("charge.disputed", "dispute.closed", "dispute.closed"),
    ("cancellation.considered", "cancellation.scheduled", "cancellation.reverted", "cancellation.reverted",
     "subscription.renewed", "subscription.started", "subscription.ended"),
    ("trial.started", "trial.ended", "subscription.started", "subscription.renewed", "subscription.ended"),
    ("nps.responded",),
    ("csat.responded", "review.posted"),
    ("referral.given", "referral.status_changed", "milestone.reached"),
    ("task.started", "task.ended", "call.concern_raised", "call.concern_addressed", "call.cut_short"),
    ("ask.approved", "ask.rejected", "advocacy.asked"),
)  # fmt: skip
"""Types that are about the same objects: a crowd is of one family, or of all."""


def crowd(random: Random, end: int, *, size: int = 60, objects: int = 6, days: int = 150) -> list[Arrival]:
    """What is said until the instant ``end``, in the order of arrival."""
    family = random.choice((*FAMILIES, tuple(SAID)))
    made: list[Arrival] = []
    for n in range(size):
        kind = random.choice(family)
        time = end - random.randrange(days * DAY)
        data = SAID[kind](random, f"x{random.randrange(objects)}")
        late = random.choice((0, 0, 0, HOUR, 20 * DAY, 100 * DAY))
        made.append(Arrival(min(time + late, end), said(data, time, n)))
    return sorted(made, key=lambda arrival: (arrival.now, arrival.event.id))


def said(data: ev.Data, time: int, number: int, **more: Any) -> Event:
    return Event(id=f"e{number}", source="tests", type=data.type, subject="ana", time=time, data=data, **more)
