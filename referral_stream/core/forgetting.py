"""Forgetting: what a state drops once a day, since nothing that this policy allows can depend on it any more.

How long something is kept is computed from the policy in force; no number here shortens a wait that a policy may set.
"""

from __future__ import annotations

from referral_stream.core import counting
from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer, SubscriptionEvent
from referral_stream.core.followups import FollowUp
from referral_stream.core.instants import DAY, SECOND
from referral_stream.core.policy import Policy

SPARE_DAYS = 90
"""Beyond the wait itself: the longest window, whose gates are judged as of its deadline, and a month of standstill."""

ANSWERED_DAYS = 400
"""An answer may name an ask this old (after.md §1)."""


def forget(c: Customer, now: int, policy: Policy) -> None:
    """Drop from the working copy ``c`` what is over at ``now`` (epoch ms), whatever may still arrive."""
    if c.asks:
        kept = remembered(c.asks, now - asks_kept_days(policy) * DAY)
        if kept is not c.asks:
            ids = {ask.command_id for ask in kept}
            c.past_asks = counting.past(c.past_asks, (ask for ask in c.asks if ask.command_id not in ids))
            c.asks = kept
    if c.followups:
        c.followups = _answerable(c, now)
    if c.months:
        first = counting.first_month(now)
        if min(c.months) < first:
            c.months = {key: month for key, month in c.months.items() if key >= first}
    if c.advocacy and min(c.advocacy)[0] < now - (policy.caps.advocacy_days + SPARE_DAYS) * DAY:
        c.advocacy = tuple(ask for ask in c.advocacy if ask[0] >= now - advocacy_kept_days(policy, ask[1]) * DAY)
    if c.tasks:
        oldest = now - policy.moments.critical_task_seconds * SECOND - SPARE_DAYS * DAY
        if any(task.at.time < oldest for task in c.tasks.values()):
            c.tasks = {name: task for name, task in c.tasks.items() if task.at.time >= oldest}
    if c.subscriptions:
        c.subscriptions = _without_old_renewals(c.subscriptions, now - renewals_kept_days(policy) * DAY)


def _answerable(c: Customer, now: int) -> tuple[FollowUp, ...]:
    """Without follow-ups that are over, and whose ask and referral nothing can name any more."""
    oldest = now - ANSWERED_DAYS * DAY
    if c.followups[0].requested_at >= oldest:
        return c.followups
    asks = {ask.command_id for ask in c.asks}
    return tuple(f for f in c.followups if f.requested_at >= oldest or f.command_id in asks or f.subject in c.referrals)


def asks_kept_days(policy: Policy) -> int:
    """How long an ask can hold back another one, be answered, or be met with silence."""
    answers = policy.answers
    waits = (policy.caps.customer_days, answers.two_silences_days, answers.silence_after_days, ANSWERED_DAYS)
    return max(waits) + SPARE_DAYS


def remembered(asks: tuple[Ask, ...], oldest: int) -> tuple[Ask, ...]:
    """The asks made at ``oldest`` or later; of the older ones the newest, and the newest that reached the customer.

    ``asks`` is not empty, and in the order in which they went out. Two silences in a row are held by the time of the
    second: the first may be of any age.
    """
    if asks[0].asked_at >= oldest:
        return asks
    past = [ask for ask in asks if ask.asked_at < oldest and ask.counts and ask.kind != "reason"]
    kept = {ask.command_id for ask in (*past[-1:], *[ask for ask in past if ask.reached][-1:])}
    return tuple(ask for ask in asks if ask.asked_at >= oldest or ask.command_id in kept)


def advocacy_kept_days(policy: Policy, kind: str) -> int:
    """How long somebody else's ask of this kind can hold back ours."""
    caps = policy.caps
    return (max(caps.advocacy_days, caps.customer_days) if kind == "referral" else caps.advocacy_days) + SPARE_DAYS


def renewals_kept_days(policy: Policy) -> int:
    """How long a renewal can hold an ask back: as a new start, or as the end of a scheduled cancellation."""
    return max(policy.trouble.resubscribed_days, policy.trouble.cancellation_reverted_days) + SPARE_DAYS


def _without_old_renewals(known: tuple[SubscriptionEvent, ...], oldest: int) -> tuple[SubscriptionEvent, ...]:
    """Without renewals before ``oldest``, except the newest of them per subscription.

    What such a renewal ends or begins is over by ``oldest``, whichever of them did it: so is it if a late event
    finds its place before them.
    """
    if known[0].at.time >= oldest:  # they are in the order of time
        return known
    newest = {life.subscription: life for life in known if life.kind == "renewed" and life.at.time < oldest}
    kept = tuple(
        life for life in known if life.kind != "renewed" or life.at.time >= oldest or life is newest[life.subscription]
    )
    return known if len(kept) == len(known) else kept
