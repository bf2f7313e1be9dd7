"""What an answer of the payer means, and how long to wait before asking again. Pure.

| answer | meaning |
|---|---|
| 2xx | the payer has it; whether the reward has arrived is another message, ``reward.settled`` |
| 422 | refused for good |
| 410 | there is no payer here any more: the role stops |
| everything else, or none | not now: again later, without end |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Literal, TypeAlias

from referral_stream.core.instants import SECOND

LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
"""What a payer may ask for at most: a mistake in a date must not keep a reward back for years."""

_MOST_DIGITS: Final = 9

TroubleKind: TypeAlias = Literal["unreachable", "failing", "refusing"]
"""Why it is not now: nobody answers; the payer says that it cannot; the payer does not want our requests."""

_CANNOT_NOW: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY}
    | {HTTPStatus.TOO_MANY_REQUESTS}
)
"""Of 4xx, what says that the same request may do later."""


@dataclass(frozen=True, slots=True)
class PayerAnswer:
    """What came back: ``status`` and what else counts of it. No ``status``: nothing came, and ``cause`` says why."""

    status: int | None
    retry_after: str | None = None
    reference: str | None = None
    cause: str = ""


class TellingOutcome(StrEnum):
    """What becomes of an order after an attempt."""

    DONE = "done"
    REFUSED = "refused"
    GONE = "gone"
    LATER = "later"


def outcome_of(answer: PayerAnswer) -> TellingOutcome:
    """As in the table above."""
    match answer.status:
        case int(status) if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return TellingOutcome.DONE
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return TellingOutcome.REFUSED
        case HTTPStatus.GONE:
            return TellingOutcome.GONE
        case _:
            return TellingOutcome.LATER


def trouble_of(answer: PayerAnswer) -> TroubleKind:
    """Whose fault it is that an answer means ``LATER``; of a redirection, ours: the address is another one."""
    if answer.status is None:
        return "unreachable"
    if answer.status in _CANNOT_NOW or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failing"
    return "refusing"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th attempt: twice as long each time, up to ``most_seconds``, less a random part.

    ``draw`` gives numbers from 0 to 1: what failed together is not tried again together.
    """

    draw: Callable[[], float]
    first_seconds: float = 1.0
    most_seconds: float = 300.0

    def seconds(self, attempts: int) -> float:
        """Between half of the interval and all of it; ``attempts`` is 1 after the first."""
        whole = min(self.most_seconds, self.first_seconds * 2.0 ** min(attempts - 1, 32))
        return whole * (1 - self.draw() / 2)

    def wait(self, answer: PayerAnswer, attempts: int, now: int) -> float:
        """Seconds until the next attempt: what the payer asks for counts, where it asks; ``now`` in epoch ms."""
        asked = retry_after_seconds(answer.retry_after, now)
        if asked is None:
            return self.seconds(attempts)
        # Never earlier than asked for; and a payer that says "at once" again and again is not asked in a tight loop.
        return min(LONGEST_RETRY_AFTER_SECONDS, max(asked, self.first_seconds)) + self.draw() * self.first_seconds / 2


def retry_after_seconds(text: str | None, now: int) -> float | None:
    """``Retry-After`` in seconds or as an HTTP date (RFC 9110, 10.2.3) → seconds from now; None: it says nothing."""
    if text is None or not (text := text.strip()):
        return None
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else LONGEST_RETRY_AFTER_SECONDS
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:  # "-0000": UTC, whose place is not said
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.fromtimestamp(now / SECOND, UTC)).total_seconds())
