"""Asks: what a customer's state keeps of each ask that went out, or was withheld by holdout or shadow."""

from __future__ import annotations

from typing import Literal

import msgspec

from referral_stream.core.events import Channel
from referral_stream.core.followups import SENT, UNSENT
from referral_stream.core.grants import Promise
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.sections import Mode
from referral_stream.core.stamps import Word

MOST_ASKS = 20
"""Asks that are remembered; one that a worker may still send is always among them."""


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An emitted ask (or one withheld by holdout or shadow), as caps, answers and cancellation need it.

    Kind ``reason``: the question that precedes the ask of the same opportunity. ``channels``: those that the command
    names. ``answer``: the newest answer's stamp and word. ``signal_at``: the earliest event after it that would have
    forbidden it; ``regret``: there was trouble soon after it (after §6, §9). ``arm``: of an experiment (after §8).
    """

    opportunity: Opportunity
    command_id: str
    asked_at: int
    expires_at: int
    kind: Literal["asked", "soft", "holdout", "shadow", "reason"]
    channel: Channel
    sent_at: int | None = None
    failed_at: int | None = None
    cancelled: bool = False
    answered: bool = False
    channels: tuple[Channel, ...] = ()
    mode: Mode = "direct"
    template: str = ""
    decided_at: int = 0
    offer: Promise | None = None
    answer: Word | None = None
    signal_at: int | None = None
    regret: bool = False
    arm: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it uses up the customer's cap: true unless it explicitly failed and was never sent."""
        return self.failed_at is None or self.sent_at is not None

    @property
    def reached(self) -> bool:
        """Whether a worker reported that it went out to the customer."""
        return self.sent_at is not None

    def may_be_cancelled(self, now: int) -> bool:
        """Whether a worker may still send the command, even after a failure: workers retry."""
        return (
            self.kind in ("asked", "soft", "reason")
            and not self.cancelled
            and self.sent_at is None
            and now < self.expires_at
        )

    def acknowledged(self, status: str, time: int) -> Ask:
        """With a worker's report folded in: the first that it was sent counts, and the earliest that it was not."""
        if status in SENT:
            return msgspec.structs.replace(self, sent_at=time if self.sent_at is None else self.sent_at)
        if status in UNSENT:
            return msgspec.structs.replace(
                self, failed_at=time if self.failed_at is None else min(self.failed_at, time)
            )
        return self
