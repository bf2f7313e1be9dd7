"""Warnings about something that lasts: logged when it begins or changes, now and again, and when it is over."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

REPEAT_SECONDS: Final = 30.0


class LogThrottle:
    """The current complaints, by event name."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: dict[str, tuple[str, float]] = {}

    def warn(self, event: str, cause: str, **fields: object) -> None:
        """Log the event, unless that was done for the same cause less than 30 seconds ago."""
        told = self._told.get(event)
        if told is None or told[0] != cause or monotonic() - told[1] >= REPEAT_SECONDS:
            self._told[event] = (cause, monotonic())
            self._logger.warning(event, extra={"cause": cause, **fields})

    def settled(self) -> None:
        """All is well again, which is logged if it was not; the next complaint is new."""
        for event in self._told:
            self._logger.info("recovered", extra={"was": event})
        self._told.clear()
