"""Signals as a state remembers them, to be drawn where the events themselves are not at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from referral_stream.core.customer import Customer, SubscriptionEvent
from referral_stream.explain.tracks import TrackItem
from referral_stream.words.phrases import phrases

_LIVES: Final = {
    "trial": ("trial.started", {}), "converted": ("trial.ended", {"converted": True}),
    "unconverted": ("trial.ended", {"converted": False}), "started": ("subscription.started", {}),
    "renewed": ("subscription.renewed", {}), "ended": ("subscription.ended", {}),
}  # fmt: skip


def signals_of(customer: Customer) -> tuple[TrackItem, ...]:
    """Those of which the state keeps the time, the oldest first; of many of a kind it keeps the newest."""
    return tuple(sorted(_signals(customer), key=lambda item: item.at))


def _signals(c: Customer) -> Iterator[TrackItem]:
    if c.signed_up is not None:
        yield _item(c.signed_up, "customer.signed_up", trial=None)
    if c.initial_contract_at is not None:
        yield _item(c.initial_contract_at, "contract.signed", initial=True)
    for survey in c.responses.values():
        yield _item(survey.at.time, "nps.responded", "good" if survey.promoter else "bad" if survey.low else "",
                    score=f"{survey.score:g}")  # fmt: skip
    for survey in c.csats.values():
        yield _item(survey.at.time, "feedback.shared", positive=survey.promoter)
    for survey in c.reviews.values():
        yield _item(survey.at.time, "feedback.shared", positive=survey.promoter)
    if c.testimonial_at is not None:
        yield _item(c.testimonial_at, "testimonial.given", reference=None)
    if c.feedback_at is not None:
        yield _item(c.feedback_at, "feedback.shared", positive=True)
    if c.complained_at is not None:
        yield _item(c.complained_at, "complaint.made", reference=None)
    if c.refunded_at is not None:
        yield _item(c.refunded_at, "charge.refunded", charge_id="")
    for event in c.subscriptions:
        yield _of_life(event)
    for at, by in c.advocacy:
        yield _item(at, "advocacy.asked", kind="review", by=by)


def _of_life(event: SubscriptionEvent) -> TrackItem:
    kind, fields = _LIVES[event.kind]
    return _item(event.at.time, kind, **fields)


def _item(at: int, type_: str, kind: str = "", /, **fields: Any) -> TrackItem:
    return TrackItem(at, kind or type_, phrases().say("events", type_, **fields))
