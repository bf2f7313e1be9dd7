"""Subscriptions' lives, from their events in order: what is on trial, and whether all have ended."""

from __future__ import annotations

from typing import NamedTuple

from referral_stream.core.customer import SubscriptionEvent

ENDS = frozenset({"ended", "unconverted"})
"""The kinds of events after which a subscription is not active."""


class Lives(NamedTuple):
    """Whether all subscriptions have ended, and when one was last active again after that."""

    ended: bool
    back: int | None


def lives(events: tuple[SubscriptionEvent, ...]) -> Lives:
    """Replays the subscriptions' lives in order: ended while no other is active, until one is again."""
    active: set[str] = set()
    ended, back = False, None
    for event in events:
        if event.kind in ENDS:
            active.discard(event.subscription)
            ended = not active
        elif event.kind != "trial":
            active.add(event.subscription)
            if ended:
                ended, back = False, event.at.time
    return Lives(ended, back)


def trials(events: tuple[SubscriptionEvent, ...]) -> list[str]:
    """The subscriptions that are on trial: nothing has ended it."""
    newest = {event.subscription: event.kind for event in events if event.kind not in ("renewed", "ended")}
    return [subscription for subscription, kind in newest.items() if kind == "trial"]
