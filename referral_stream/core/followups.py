"""Follow-ups: what a customer's state keeps of what was said, or is to be said, after an answer or a referral."""

from __future__ import annotations

from typing import Literal

import msgspec

from referral_stream.core.effects import FollowupKind, FollowupReason
from referral_stream.core.events import Channel

UNSENT = frozenset({"failed", "dropped_expired", "cancelled"})
"""What a worker reports of a message that it does not send."""
FAILED = frozenset({"failed", "dropped_expired"})
"""Of these, what nobody had asked for."""
SENT = frozenset({"sent", "delivered", "opened"})
"""What it reports of one that went out."""


class FollowUp(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One follow-up that was requested (after §2).

    ``about``: what its id is made of: a command, a referral, or ``REFERRAL/STATUS``; ``n``: its number there.
    ``subject`` is the referral's name in the state, empty for the follow-up to an answer. ``at``: the instant of what
    it follows, ``due``: by when it was due before that was raised to ``not_before``. ``owner``: the id under which it
    was requested, where that was merged away since. ``cancelled``: why it was taken back. ``heard``: a worker reported
    more than ``accepted``. ``lasts``: how long it is open from ``not_before`` on. ``carries_reward``: it tells of one.
    ``account``: the customer's, when it was requested.
    """

    id: str
    kind: FollowupKind
    about: str
    n: int
    at: int
    due: int
    due_by: int
    expires_at: int
    requested_at: int
    channels: tuple[Channel, ...] = ()
    command_id: str | None = None
    subject: str = ""
    heard: bool = False
    sent: bool = False
    failed: bool = False
    cancelled: FollowupReason | Literal[""] = ""
    owner: str = ""
    lasts: int = 0
    carries_reward: bool = False
    account: str | None = None

    @property
    def to_customer(self) -> bool:
        return self.kind in TO_CUSTOMER

    def is_open(self, now: int) -> bool:
        """Whether it may still be said, or done."""
        return not self.cancelled and not self.heard and now < self.expires_at


TO_CUSTOMER: frozenset[FollowupKind] = frozenset(
    {"intro_offer", "easy_forward", "graceful_no", "thank", "report_back", "reward_told"}
)
"""The kinds that are said to the customer; the others are for their owner."""

REPLIES: frozenset[FollowupKind] = frozenset({"intro_offer", "easy_forward", "graceful_no", "thank"})
"""What may be said at once while the customer is there, whatever the hour."""


class Tally(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many follow-ups of one kind there ever were, and what became of them (after §6)."""

    requested: int = 0
    late: int = 0
    sent: int = 0
    failed: int = 0
    cancelled: int = 0
    unreachable: int = 0


TallyField = Literal["requested", "late", "sent", "failed", "cancelled", "unreachable"]
