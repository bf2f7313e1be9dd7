"""The one clock seam: ingest, the wake-up timer and the ledger agent read time here, and nothing else does.

Real time by default. A demo or a test may let time start elsewhere, run faster or jump; the broker's timestamps on
source records are then mapped the same way.
"""

from __future__ import annotations

import time
from typing import Final

CLOCK_TOLERANCE_MS: Final = 2_000
"""A difference between clocks that does not matter: windows are hours, and a reservation is valid for 30 s."""

SYNCHRONISE: Final = "synchronise the clocks of all hosts (NTP)"


class Clock:
    """Shows ``start`` when real time is ``started_at`` (both epoch ms), and runs ``speed`` times as fast as that."""

    def __init__(self, start: int = 0, started_at: int = 0, speed: float = 1.0) -> None:
        self._start, self._started_at, self._speed = start, started_at, speed

    @property
    def is_real(self) -> bool:
        """Whether it shows real time."""
        return self._start == self._started_at and self._speed == 1

    @property
    def speed(self) -> float:
        """How many times as fast as real time it runs."""
        return self._speed

    def now(self) -> int:
        """Epoch milliseconds."""
        return self.at(_real_now())

    def at(self, real: int) -> int:
        """What this clock shows when real time is ``real``, epoch ms."""
        passed = real - self._started_at
        return self._start + (passed if self._speed == 1 else round(passed * self._speed))

    def seconds_until(self, instant: int) -> float:
        """How long, in real seconds, until this clock shows ``instant``; 0 or less if it has."""
        return (instant - self.now()) / 1_000 / self._speed

    def jump_to(self, instant: int) -> None:
        """Show ``instant`` now and go on from there; never back. For the demo, which skips the hours without news."""
        real = _real_now()
        self._start, self._started_at = max(instant, self.at(real)), real


def _real_now() -> int:
    return time.time_ns() // 1_000_000
