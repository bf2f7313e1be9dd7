"""Events in plain words: "ticket 4711 was opened", for people who read what came in about a customer.

Names of contacts and other people's words are left out: an explanation gets pasted into tickets and chats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from referral_stream.core import events as ev
from referral_stream.core.events import Event


def happened(event: Event) -> str:
    """What the event says about its customer; a type without words of its own is told by its name."""
    words = _WORDS.get(event.type)
    if words is None:
        return event.type
    return words if isinstance(words, str) else words(event.data)


def _named(words: str, name: str | None) -> str:
    return f"{words} ({name})" if name else words


def _number(value: float) -> str:
    return f"{value:g}"


def _profile(data: ev.ProfileChanged) -> str:
    told = [
        f"{name.replace('_', ' ')} {value}"
        for name in ("time_zone", "locale", "segment", "account_id")
        if (value := getattr(data, name)) is not None
    ]
    if data.channels is not None:
        reachable = [_CHANNELS[name] for name in ev.CHANNELS if getattr(data.channels, name)]
        told.append(f"reachable {' and '.join(reachable)}" if reachable else "not reachable on any channel")
    if data.champion is not None:
        told.append("a champion" if data.champion else "no champion")
    if data.requires_approval is not None:
        told.append("asks need approval" if data.requires_approval else "asks need no approval")
    return f"profile: {', '.join(told)}" if told else "profile changed"


def _consent(data: ev.ConsentChanged) -> str:
    where = "on all channels" if data.channel == "all" else _CHANNELS[data.channel]
    return f"{'gave' if data.granted else 'withdrew'} consent for {data.purpose.replace('_', ' ')}s {where}"


def _milestone(data: ev.MilestoneReached) -> str:
    return f"reached {'the first success' if data.first_success else 'the milestone'} {data.milestone!r}"


def _saving(data: ev.SavingMeasured) -> str:
    return f"saved {_number(data.amount)} {data.unit} of {data.kind}"


def _usage(data: ev.UsageRecorded) -> str:
    return _named("used the product", data.feature) + (f", {data.count} times" if data.count != 1 else "")


def _solved(data: ev.TicketSolved) -> str:
    rating = f" and rated {data.rating}" if data.rating else ", not rated"
    return f"ticket {data.ticket_id} was solved{rating}"


def _opened(data: ev.TicketOpened) -> str:
    return _named(f"ticket {data.ticket_id} was opened", data.priority)


def _interaction(data: ev.InteractionRecorded) -> str:
    mood = {True: ", it went well", False: ", it did not go well", None: ""}[data.positive]
    return f"talked with us ({data.kind}{mood})"


def _acknowledged(data: ev.AskAcknowledged) -> str:
    return f"the messaging worker reports the ask as {data.status.replace('_', ' ')}"


def _switch(data: ev.Controlled) -> str:
    what = "all asks" if data.scope == "all" else f"asks for the {data.scope} {data.name}"
    return f"{what} were {'paused' if isinstance(data, ev.ControlPaused) else 'resumed'} by {data.by}"


def _about(words: str, field: str) -> Callable[[Any], str]:
    """Words around one field of the body."""
    return lambda data: words.format(getattr(data, field))


def _perhaps(words: str, field: str) -> Callable[[Any], str]:
    """Words with one field of the body behind them, where it has a value."""
    return lambda data: _named(words, getattr(data, field))


_CHANNELS = {"email": "by e-mail", "in_app": "in the app", "phone": "on the phone"}

_WORDS: dict[str, str | Callable[[Any], str]] = {
    "customer.signed_up": lambda data: "signed up for a trial" if data.trial else "signed up",
    "customer.profile_changed": _profile,
    "customer.consent_changed": _consent,
    "customer.suppressed": _perhaps("went on the suppression list", "reason"),
    "customer.unsuppressed": _perhaps("was taken off the suppression list", "reason"),
    "customer.erasure_requested": "asked to be erased",
    "customer.aliased": _about("is also known as {}", "alias"),
    "onboarding.completed": "completed onboarding",
    "milestone.reached": _milestone,
    "goal.achieved": _about("achieved the goal {!r}", "goal"),
    "saving.measured": _saving,
    "usage.recorded": _usage,
    "usage.compared": lambda data: f"uses the product {'more' if data.above_average else 'less'} than the average",
    "workflow.completed": _perhaps("completed a workflow", "name"),
    "achievement.unlocked": _perhaps("unlocked an achievement", "name"),
    "dashboard.viewed": lambda data: f"looked at {'good' if data.metrics_positive else 'no good'} numbers",
    "task.started": _about("began the critical task {}", "task_id"),
    "task.ended": _about("ended the critical task {}", "task_id"),
    "nps.responded": _about("answered an NPS survey with {}", "score"),
    "csat.responded": lambda data: f"rated us {_number(data.score)} of {_number(data.scale_max)}",
    "trial.started": "began a trial",
    "trial.ended": lambda data: f"the trial ended {'with' if data.converted else 'without'} a purchase",
    "subscription.started": "subscribed",
    "subscription.ended": "the subscription ended",
    "subscription.renewed": "renewed the subscription",
    "subscription.expanded": "bought more",
    "contract.signed": lambda data: f"signed {'the initial' if data.initial else 'another'} contract",
    "invoice.payment_failed": _about("the payment of invoice {} failed", "invoice_id"),
    "invoice.paid": _about("invoice {} was paid", "invoice_id"),
    "charge.refunded": _about("charge {} was refunded", "charge_id"),
    "charge.disputed": _about("charge {} was disputed", "charge_id"),
    "dispute.closed": lambda data: f"the dispute of charge {data.charge_id} was {'won' if data.won else 'lost'}",
    "cancellation.considered": "considers to cancel",
    "cancellation.scheduled": "scheduled a cancellation",
    "cancellation.reverted": "took a cancellation back",
    "ticket.opened": _opened,
    "ticket.solved": _solved,
    "ticket.rated": lambda data: f"ticket {data.ticket_id} was rated {data.rating}",
    "ticket.reopened": _about("ticket {} was opened again", "ticket_id"),
    "complaint.made": _perhaps("complained", "reference"),
    "frustration.shown": _perhaps("was frustrated", "reference"),
    "interaction.recorded": _interaction,
    "advice.asked": _perhaps("asked for advice", "kind"),
    "community.engaged": _perhaps("took part in the community", "kind"),
    "feedback.shared": lambda data: f"shared {'positive' if data.positive else 'critical'} feedback",
    "compliment.given": _perhaps("paid a compliment", "reference"),
    "testimonial.given": _perhaps("gave a testimonial", "reference"),
    "case_study.joined": _perhaps("joined a case study", "reference"),
    "review.posted": lambda data: f"posted a review: {_number(data.rating)} of {_number(data.scale_max)}",
    "champion.changed": lambda data: "became a champion" if data.champion else "is no champion any more",
    "peer.mentioned": _about("mentioned the peer {}", "peer_ref"),
    "advocacy.asked": lambda data: f"was asked for a {data.kind.replace('_', ' ')} by {data.by}",
    "email.opened": "opened our e-mail",
    "email.clicked": "clicked in our e-mail",
    "call.moment": lambda data: f"a good moment on the phone ({data.kind.replace('_', ' ')})",
    "call.concern_raised": _about("raised a concern in call {}", "call_id"),
    "call.concern_addressed": _about("the concern in call {} was addressed", "call_id"),
    "call.cut_short": _about("call {} was cut short", "call_id"),
    "ask.acknowledged": _acknowledged,
    "ask.answered": _about("answered the ask: {}", "answer"),
    "ask.approved": _about("the ask was approved by {}", "by"),
    "ask.rejected": _about("the ask was rejected by {}", "by"),
    "control.paused": _switch,
    "control.resumed": _switch,
    "referral.given": _about("gave the referral {}", "referral_id"),
    "referral.status_changed": lambda data: f"the referral {data.referral_id} was {data.status}",
    "deadletter.replayed": "an event that had failed went through",
}
