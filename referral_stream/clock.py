"""The one clock seam: ingest, the wake-up timer and the ledger agent read time here, and nothing else does.

Real time by default. A demo or a test may let time start elsewhere and run faster; then the timestamps that the broker
put on source records are mapped the same way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from referral_stream.core.instants import SECOND


@dataclass(frozen=True, slots=True)
class Clock:
    """Shows ``start`` when real time is ``started_at`` (both epoch ms), and runs ``speed`` times as fast."""

    start: int = 0
    started_at: int = 0
    speed: float = 1.0

    def now(self) -> int:
        """Epoch milliseconds."""
        return self.at(time.time_ns() // 1_000_000)

    def at(self, real: int) -> int:
        """What this clock shows when real time is ``real``, epoch ms."""
        return self.start + round((real - self.started_at) * self.speed)

    def real_seconds(self, virtual_seconds: float) -> float:
        """How long the clock takes for so many of its seconds."""
        return virtual_seconds / self.speed


REAL = Clock()


def starting_now(start: int, speed: float) -> Clock:
    """A clock that shows ``start`` at this moment."""
    return Clock(start, time.time_ns() // (SECOND * 1_000), speed)
