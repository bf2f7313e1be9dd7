"""The ledger agent's clock beside Redis's: a request is good for 30 s, so a clock that is ahead answers none."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.instants import SECOND
from referral_stream.ledger.client import LedgerUnavailable
from referral_stream.runtime.clock import CLOCK_TOLERANCE_MS, SYNCHRONISE, Clock
from referral_stream.runtime.log_throttle import LogThrottle

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 5.0
"""How often the two are compared."""


class LedgerClock:
    """Compares this host's clock with the one that ``server_time`` reads (epoch ms), and logs what differs.

    A clock of tests and demonstrations is not compared: nobody else has it.
    """

    def __init__(self, server_time: Callable[[], Awaitable[int]]) -> None:
        self._server_time = server_time
        self._differs, self._too_late = LogThrottle(logger), LogThrottle(logger)
        self.ahead_seconds: float | None = None
        """How far this host's clock is ahead of Redis's; None: not known yet."""

    async def check(self) -> None:
        """Compare the clocks once. Without an answer from Redis, which others report, nothing changes."""
        asked = Clock().now()
        try:
            theirs = await self._server_time()
        except LedgerUnavailable:
            return
        answered = Clock().now()
        ahead, doubt = (asked + answered) / 2 - theirs, (answered - asked) / 2
        self.ahead_seconds = ahead / SECOND
        if abs(ahead) > CLOCK_TOLERANCE_MS + doubt:
            cause = f"this host's clock is {'ahead of' if ahead > 0 else 'behind'} Redis's"
            self._differs.warn("clock_skewed", cause, seconds=round(abs(ahead) / SECOND, 1), to_fix=SYNCHRONISE)
        else:
            self._differs.settled()

    def too_late(self, requests: Sequence[ReservationRequested], now: int) -> None:
        """Log that these requests were answered ``unavailable`` because they were no longer good ``now``."""
        if not requests:
            return
        if (self.ahead_seconds or 0) * SECOND > CLOCK_TOLERANCE_MS:
            cause, remedy = "this host's clock is ahead of Redis's", SYNCHRONISE
        else:
            cause = "the decide agent or the ledger is behind, or this worker's clock is ahead of the other workers'"
            remedy = f"see lag_records; {SYNCHRONISE}"
        seconds = round((now - min(each.valid_until for each in requests)) / SECOND, 1)
        self._too_late.warn("requests_too_late", cause, requests=len(requests), late_seconds=seconds, to_fix=remedy)
