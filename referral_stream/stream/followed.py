"""What the decide agent has said after asks, counted: follow-ups, rewards, records; and which grants wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from referral_stream.core.effects import (
    Effect,
    FollowupCancelled,
    FollowupRequested,
    GrantConfirmed,
    GrantReleased,
    GrantRequested,
    RecordChanged,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.instants import SECOND
from referral_stream.core.policy import Policy

_REWARDS: Final = {RewardHeld: "held", RewardGranted: "granted", RewardDenied: "denied", RewardReversed: "reversed"}
_COUNTED: Final = (
    FollowupRequested, FollowupCancelled, *_REWARDS, RecordChanged, GrantRequested, GrantConfirmed, GrantReleased,
)  # fmt: skip


class Waiting(NamedTuple):
    """Of the grants that wait: how many, and since when (epoch ms) the first of them; None if none does."""

    grants: int
    since: int | None


class _Asked(NamedTuple):
    """When a grant was asked for, the first and the last time (epoch ms)."""

    first: int
    last: int


class Followed:
    """Counters since the start: ``followups`` by kind, ``cancelled`` by reason, ``rewards`` by outcome, ``records``.

    Whether a grant waits is known from what this worker has asked of the ledger. What is asked in vain is asked again,
    so a worker that starts, or takes over a partition, knows it soon, and one that has lost it forgets it.
    """

    def __init__(self, policy: Policy) -> None:
        rules = policy.ledger
        self._remembered = 2 * (rules.retry_limit_seconds + rules.answer_seconds) * SECOND
        self.followups: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.rewards: Counter[str] = Counter()
        self.records = 0
        self._asked: dict[str, _Asked] = {}

    @staticmethod
    def is_counted(effect: Effect) -> bool:
        return isinstance(effect, _COUNTED)

    def count(self, effects: Iterable[Effect]) -> None:
        """Effects of a batch, in their order; a batch that is computed again counts again, as decisions do."""
        for effect in effects:
            match effect:
                case FollowupRequested(kind=kind):
                    self.followups[kind] += 1
                case FollowupCancelled(reason=reason):
                    self.cancelled[reason] += 1
                case RewardHeld() | RewardGranted() | RewardDenied() | RewardReversed():
                    self.rewards[_REWARDS[type(effect)]] += 1
                case RecordChanged():
                    self.records += 1
                case GrantRequested(grant_id=grant, now=now):
                    known = self._asked.get(grant)
                    self._asked[grant] = _Asked(now if known is None else known.first, now)
                case GrantConfirmed(grant_id=grant) | GrantReleased(grant_id=grant):
                    self._asked.pop(grant, None)
                case _:
                    pass

    def waiting(self, now: int) -> Waiting:
        """The grants that were asked for and not answered by now (epoch ms)."""
        forgotten = [grant for grant, asked in self._asked.items() if asked.last < now - self._remembered]
        for grant in forgotten:
            del self._asked[grant]
        return Waiting(len(self._asked), min((asked.first for asked in self._asked.values()), default=None))
