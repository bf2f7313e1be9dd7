"""What a worker learns of its own clock from others: brokers that refuse its time, and records from its future."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from time import monotonic
from typing import Final

from faust_batches.batch import Record

logger = logging.getLogger(__name__)

TOLERANCE_SECONDS: Final = 2.0
_REPEAT_SECONDS: Final = 30.0
_REMEMBERED_SECONDS: Final = 60.0
_REMEDY: Final = "synchronise the clocks of all hosts (NTP)"


class ClockWatch:
    """Logs what is found out when it begins, and every 30 seconds while it lasts."""

    def __init__(self) -> None:
        self.refused = False
        """The broker took nothing of what was last published, because of its time."""
        self._behind = (0.0, -_REMEMBERED_SECONDS)  # seconds, and when that was found
        self._logged: dict[str, float] = {}

    @property
    def behind_seconds(self) -> float:
        """How far a record of the last minute was ahead of this clock; 0: none was."""
        seconds, at = self._behind
        return seconds if monotonic() - at < _REMEMBERED_SECONDS else 0.0

    def refuse(self, topic: str) -> None:
        """The broker does not take records with our time. By default, that is one an hour ahead of its own."""
        self.refused = True
        if self._is_due("clock_refused"):
            shows = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            logger.error("clock_refused", extra={"topic": topic, "clock_shows": shows, "to_fix": _REMEDY})

    def accept(self) -> None:
        if self.refused:
            self.refused = False
            logger.warning("clock_accepted")

    def see(self, records: Sequence[Record]) -> None:
        """Records that have just been fetched. One from the future: its writer's clock is ahead, or ours is behind."""
        last = records[-1]
        seconds = last.timestamp / 1_000 - time.time()
        if seconds <= TOLERANCE_SECONDS:
            return
        self._behind = (max(seconds, self.behind_seconds), monotonic())
        if self._is_due("record_from_the_future"):
            fields = {"topic": last.topic, "partition": last.partition, "offset": last.offset}
            logger.warning("record_from_the_future", extra=fields | {"seconds": round(seconds), "to_fix": _REMEDY})

    def _is_due(self, event: str) -> bool:
        """Whether an event may be logged now; then not again for a while."""
        if monotonic() - self._logged.get(event, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._logged[event] = monotonic()
        return True
