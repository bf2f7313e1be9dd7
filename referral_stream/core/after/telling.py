"""Requesting and withdrawing follow-ups: what is said to the customer, and what is left to their owner (after §2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from msgspec.structs import replace

from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer
from referral_stream.core.effects import FollowupKind, FollowupReason
from referral_stream.core.events import CHANNELS, Channel, Event
from referral_stream.core.followups import REPLIES, TO_CUSTOMER, FollowUp, Tally, TallyField
from referral_stream.core.ids import followup_id
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.rules import gates, moments
from referral_stream.core.turn import Turn

MOST_FOLLOWUPS = 1_000
"""Follow-ups that are remembered. Beyond, what is over is forgotten; while all are open, no more is requested."""

WITHIN_DAYS = 7
"""How far the first instant outside quiet hours may lie ahead."""


class Need(NamedTuple):
    """A follow-up that is due.

    ``about``: what its id is made of; ``at``: the instant of what it follows; ``due``: by when; it ends ``lasts`` ms
    after it may be said, or at ``ends``. ``ask``: the one that it is about; ``subject``: the referral's name in the
    state.
    """

    kind: FollowupKind
    about: str
    at: int
    due: int
    variables: dict[str, str]
    lasts: int = 0
    ends: int | None = None
    ask: Ask | None = None
    subject: str = ""


def is_quarantined(c: Customer) -> bool:
    """Whether an event of the customer could not be applied: then nothing is said to them."""
    return c.quarantined or bool(c.holds)


Requested: TypeAlias = Literal["yes", "no", "unreachable"]


def is_history(turn: Turn, event: Event) -> bool:
    """Whether an event is history: no follow-up comes of it (after §0)."""
    return event.historical or event.time < (turn.policy.followups.active_since or event.time)


def request(turn: Turn, need: Need) -> Requested:
    """Request a follow-up, unless nothing may be said, or it was said before."""
    c = turn.customer
    if turn.policy.shadow or c.erased_at is not None:
        return "no"
    if need.ends is not None and need.ends <= turn.now:
        return "no"
    earlier = [f for f in c.followups if f.kind == need.kind and f.about == need.about]
    to_customer = need.kind in TO_CUSTOMER
    channels: tuple[Channel, ...] = ()
    not_before: int | None = turn.now
    if to_customer:
        if any(not f.cancelled for f in earlier) or is_quarantined(c) or "stop" in c.answers:
            return "no"
        channels = _channels(turn, need.ask)
        not_before = _not_before(turn, need) if channels else None
        if not_before is None:
            count(c, need.kind, "unreachable")
            return "unreachable"
    if not _has_room(turn):
        count(c, need.kind, "unreachable")
        return "unreachable"
    ends = (not_before or 0) + need.lasts if need.ends is None else need.ends
    n = 1 + len(earlier)
    followup = FollowUp(
        id=followup_id(c.id, need.about, need.kind, n),
        kind=need.kind,
        about=need.about,
        n=n,
        at=need.at,
        due=need.due,
        due_by=max(need.due, not_before or 0),
        expires_at=ends,
        requested_at=turn.now,
        channels=channels,
        command_id=None if need.ask is None or need.subject else need.ask.command_id,
        subject=need.subject,
        lasts=need.lasts,
        carries_reward="reward_kind" in need.variables,
        account=c.account_id,
    )
    c.followups = (*c.followups, followup)
    count(c, need.kind, "requested")
    if turn.now >= need.due:
        count(c, need.kind, "late")
    turn.effects.append(turn.builder.followup(followup, not_before or 0, need.variables, turn.traceparent))
    return "yes"


def _has_room(turn: Turn) -> bool:
    """Whether one more can be remembered; the oldest that is over goes for it, last what a customer may answer."""
    c = turn.customer
    if len(c.followups) < MOST_FOLLOWUPS:
        return True
    over = [f for f in c.followups if not f.is_open(turn.now)]
    if not over:
        return False
    oldest = min(over, key=lambda f: (f.to_customer and f.sent, f.requested_at))
    c.followups = tuple(f for f in c.followups if f is not oldest)
    return True


def cancel(turn: Turn, followups: Iterable[FollowUp], reason: FollowupReason) -> tuple[FollowUp, ...]:
    """Withdraw those of them that are open, in the order of their ids; returns them."""
    return cancel_each(turn, ((followup, reason) for followup in followups))


def cancel_each(turn: Turn, followups: Iterable[tuple[FollowUp, FollowupReason]]) -> tuple[FollowUp, ...]:
    """The same, each for a reason of its own: the first that is given."""
    c, found = turn.customer, dict[str, tuple[FollowUp, FollowupReason]]()
    for followup, reason in followups:
        if followup.is_open(turn.now):
            found.setdefault(followup.id, (followup, reason))
    for _, (followup, reason) in sorted(found.items()):
        count(c, followup.kind, "cancelled")
        turn.effects.append(turn.builder.followup_cancellation(followup, reason, turn.traceparent))
    if found:
        c.followups = tuple(replace(f, cancelled=found[f.id][1]) if f.id in found else f for f in c.followups)
    return tuple(followup for _, (followup, _) in sorted(found.items()))


def open_ones(turn: Turn, *, to_customer: bool | None = None) -> list[FollowUp]:
    """The open follow-ups, of one audience or of both."""
    return [
        f
        for f in turn.customer.followups
        if f.is_open(turn.now) and (to_customer is None or f.to_customer == to_customer)
    ]


def count(c: Customer, kind: FollowupKind, what: TallyField, more: int = 1) -> None:
    """One more of that kind."""
    known = c.tallies.get(kind, Tally())
    c.tallies = {**c.tallies, kind: replace(known, **{what: getattr(known, what) + more})}


def no_longer(turn: Turn) -> FollowupReason | None:
    """Why nothing may be said to the customer any more, if that is so; erasure apart."""
    c, policy = turn.customer, turn.policy
    if "stop" in c.answers:
        return "stop"
    if c.on_hold or (c.suppressed is not None and c.suppressed.value):
        return "suppressed"
    withdrawn = any(not flag.value for flag in c.consent.values())
    if withdrawn and not any(moments.is_consented(c, channel, policy) for channel in CHANNELS):
        return "consent"
    return "quarantined" if is_quarantined(c) else None


def is_troubled(turn: Turn) -> bool:
    """Whether gate 5 blocks now."""
    return gates.is_troubled(turn.customer, turn.now, turn.policy)


def _channels(turn: Turn, ask: Ask | None) -> tuple[Channel, ...]:
    """The ask's channel if it was e-mail or in-app and is usable, then the other usable ones."""
    usable = moments.usable_channels(turn.customer, turn.policy)
    first = ask.channel if ask is not None and ask.channel in ("email", "in_app") else None
    return tuple(sorted(usable, key=lambda channel: channel != first))


def _not_before(turn: Turn, need: Need) -> int | None:
    """The first instant at which it may be said; None if there is none within days."""
    now = turn.now
    if need.kind in REPLIES and now < need.at + HOUR:
        return now
    return moments.first_open_instant(now, now + WITHIN_DAYS * DAY, turn.zone, turn.policy.moments)
