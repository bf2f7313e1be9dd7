"""Grants: what a customer's state keeps of the reward for one referral (after §4)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from referral_stream.core.after_policy import RewardKind
from referral_stream.core.effects import DeniedFor, Hint, Offer
from referral_stream.core.stamps import Flag, Word

GrantState: TypeAlias = Literal["held", "due", "granted", "denied", "reversed"]


class Promise(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an ask offered, or a reward is worth: of which programme, and how much of what."""

    programme: str
    kind: RewardKind
    amount_minor: int | None = None
    currency: str | None = None
    benefit: str | None = None

    def offer(self) -> Offer:
        """As a message has it."""
        return Offer(**msgspec.structs.asdict(self))


class Grant(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The one reward of a referral, from the conversion on.

    ``converted``: the conversion's event time. ``verdict``: the newest of a person's, ``heard_at`` its arrival.
    ``requested_at``: ``now`` of the newest request to the ledger; ``give_up``: when its silence counts as an answer,
    None while none is awaited; ``again_at``: when it is asked once more, after ``tries`` silences. ``settled``: the
    payer's newest word. ``told``: the customer was told of it, or cannot be. ``quiet``: it ended by something
    historical, of which nobody is told. ``owner``: the id under which it was made, where that was merged away since.
    ``traceparent``: of the event because of which the ledger is asked; none where a timer asks.
    """

    id: str
    state: GrantState
    promise: Promise
    converted: int
    hints: tuple[Hint, ...] = ()
    held_at: int | None = None
    lapses_at: int | None = None
    verdict: Flag | None = None
    heard_at: int | None = None
    requested_at: int | None = None
    give_up: int | None = None
    again_at: int | None = None
    tries: int = 0
    granted_at: int | None = None
    account: str | None = None
    reason: DeniedFor | None = None
    settled: Word | None = None
    failure_told: bool = False
    told: bool = False
    owner: str = ""
    traceparent: str | None = None

    @property
    def awaited(self) -> bool:
        """Whether an answer of the ledger is awaited."""
        return self.give_up is not None
