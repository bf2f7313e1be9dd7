"""Signals as a state remembers them, to be drawn where the events themselves are not at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from referral_stream.core.customer import Customer, SubscriptionEvent
from referral_stream.explain.lanes import Mark
from referral_stream.words.phrases import phrases

_LIVES: Final = {
    "trial": ("trial.started", {}), "converted": ("trial.ended", {"converted": True}),
    "unconverted": ("trial.ended", {"converted": False}), "started": ("subscription.started", {}),
    "renewed": ("subscription.renewed", {}), "ended": ("subscription.ended", {}),
}  # fmt: skip


def signals_of(customer: Customer) -> tuple[Mark, ...]:
    """Those of which the state keeps the time, the oldest first; of many of a kind it keeps the newest."""
    return tuple(sorted(_signals(customer), key=lambda mark: mark.at))


def _signals(c: Customer) -> Iterator[Mark]:
    if c.signed_up is not None:
        yield _mark(c.signed_up, "customer.signed_up", trial=None)
    if c.initial_contract_at is not None:
        yield _mark(c.initial_contract_at, "contract.signed", initial=True)
    for survey in c.responses.values():
        yield _mark(survey.at.time, "nps.responded", "good" if survey.promoter else "bad" if survey.low else "",
                    score=f"{survey.score:g}")  # fmt: skip
    for survey in c.csats.values():
        yield _mark(survey.at.time, "feedback.shared", positive=survey.promoter)
    for survey in c.reviews.values():
        yield _mark(survey.at.time, "feedback.shared", positive=survey.promoter)
    if c.testimonial_at is not None:
        yield _mark(c.testimonial_at, "testimonial.given", reference=None)
    if c.feedback_at is not None:
        yield _mark(c.feedback_at, "feedback.shared", positive=True)
    if c.complained_at is not None:
        yield _mark(c.complained_at, "complaint.made", reference=None)
    if c.refunded_at is not None:
        yield _mark(c.refunded_at, "charge.refunded", charge_id="")
    for event in c.subscriptions:
        yield _of_life(event)
    for at, by in c.advocacy:
        yield _mark(at, "advocacy.asked", kind="review", by=by)


def _of_life(event: SubscriptionEvent) -> Mark:
    kind, fields = _LIVES[event.kind]
    return _mark(event.at.time, kind, **fields)


def _mark(at: int, type_: str, kind: str = "", /, **fields: Any) -> Mark:
    return Mark(at, kind or type_, phrases().say("events", type_, **fields))
