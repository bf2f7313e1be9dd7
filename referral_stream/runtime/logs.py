"""What a process writes to stderr: events with fields, one line or one JSON object each, and nothing personal.

An exception may quote what it failed on, and with it a name or a comment. So a traceback shows where and what kind; an
exception's message is shown only if its kind never sees a record.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any, Final

from aiokafka.errors import KafkaError

from referral_stream.core.instants import rfc3339
from referral_stream.runtime.log_throttle import REPEAT_SECONDS

_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_MOST_REMEMBERED: Final = 1_000
TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_SEEN_NO_RECORD: Final = (OSError, KafkaError)
"""Exceptions of every process whose messages quote no record; a process adds those of its own libraries."""


def configure_logging(level: str, form: str, *, harmless: tuple[type[BaseException], ...] = ()) -> None:
    """Events with fields on stderr. Faust's and aiokafka's chatter below WARNING is left out.

    ``harmless``: kinds of exceptions whose messages may be logged, because they never see a record.
    """
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(
        JsonFormatter(harmless=harmless) if form == "json" else TextFormatter(TEXT_FORMAT, harmless=harmless)
    )
    sink.addFilter(Unrepeated("aiokafka"))
    sink.addFilter(_is_news)
    logging.basicConfig(level=level, handlers=[sink], force=True)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    if level != "DEBUG":
        # Faust logs every step of every service under the module name of our subclasses.
        for name in ("faust", "mode", "faust_batches"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.disable(logging.DEBUG)  # Faust builds debug records for every message before it drops them


class Unrepeated(logging.Filter):
    """Lets through a logger's repeated message once in some seconds, with the number suppressed before.

    While a broker is down, aiokafka logs it some hundred times a second.
    """

    def __init__(self, chatty: str) -> None:
        super().__init__()
        self._chatty = chatty
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; ``kept_back`` is added to a repeated one."""
        if not record.name.startswith(self._chatty):
            return True
        said = record.name, record.getMessage()
        since, kept_back = self._told.get(said, (-REPEAT_SECONDS, 0))
        if record.created - since < REPEAT_SECONDS:
            self._told[said] = since, kept_back + 1
            return False
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told[said] = record.created, 0
        if kept_back:
            record.kept_back = kept_back
        return True


def _is_news(record: logging.LogRecord) -> bool:
    """Aiokafka never retrieves some of its futures when a producer is fenced or refused; the lane logs the outcome."""
    if record.name != "asyncio" or not record.exc_info:
        return True
    return not (isinstance(record.exc_info[1], KafkaError) and record.getMessage().startswith("Future exception"))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}


class _Discreet(logging.Formatter):
    """Times are RFC 3339, in UTC, as everywhere else."""

    def __init__(self, form: str | None = None, *, harmless: tuple[type[BaseException], ...] = ()) -> None:
        super().__init__(form)
        self._harmless = (*_SEEN_NO_RECORD, *harmless)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 (logging's)
        return rfc3339(int(record.created * 1_000))

    def formatException(  # noqa: N802 (logging's name)
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        error = ei[1]
        lines: list[str] = []
        while error is not None:
            words = f": {error}" if isinstance(error, self._harmless) else ""
            lines[:0] = [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__}{words}\n"]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(lines).rstrip()


class TextFormatter(_Discreet):
    """For people: the event, then ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # which a less careful handler before us may have left there
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{super().formatMessage(record)} {fields}".rstrip()


class JsonFormatter(_Discreet):
    """For machines: one object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {"at": self.formatTime(record), "level": record.levelname, "logger": record.name}
        entry |= {"event": record.getMessage()} | _fields(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
