"""Warnings about something that lasts: logged when it begins or changes, now and again, and when it is over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Final

REPEAT_SECONDS: Final = 30.0


class LogThrottle:
    """The current complaints, by event name."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._told: dict[str, tuple[int, str, float]] = {}

    def warn(self, event: str, cause: str, **fields: object) -> None:
        """Log the event, unless that was done for the same cause less than 30 seconds ago."""
        self._tell(logging.WARNING, event, cause, fields)

    def note(self, event: str, cause: str, **fields: object) -> None:
        """The same as INFO: for what is no complaint yet."""
        self._tell(logging.INFO, event, cause, fields)

    def _tell(self, level: int, event: str, cause: str, fields: Mapping[str, object]) -> None:
        told = self._told.get(event)
        if told is None or told[:2] != (level, cause) or monotonic() - told[2] >= REPEAT_SECONDS:
            self._told[event] = (level, cause, monotonic())
            self._logger.log(level, event, extra={"cause": cause, **fields})

    def settled(self) -> None:
        """All is well again, which is logged if it was not; the next complaint is new."""
        for event in self._told:
            self._logger.info("recovered", extra={"was": event})
        self._told.clear()
