"""Running roles as a worker process: `referral-stream run`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from typing import Any, Final

from mode import Service

from referral_stream.collector import spare_values
from referral_stream.stream.admin import TopicsProblem, require_topics
from referral_stream.stream.apps import ROLES, Deployment, decide_app, ingest_app, ledger_app
from referral_stream.stream.transport import BatchApp, run_worker

logger = logging.getLogger(__name__)

EXIT_FAILED: Final = 1

_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def run_roles(deployment: Deployment, role: str) -> int:
    """Run one role, or ``all`` of them side by side in this process, until a signal; the exit code.

    What keeps it from starting is logged as one line.
    """
    configure_logging(deployment.settings.log_level, deployment.settings.log_format)
    if not deployment.settings.kafka_security.endswith("SSL"):  # uvloop often needs 30 s to close a TLS connection
        with suppress(ImportError):
            import uvloop  # noqa: PLC0415 (optional: not on every platform)

            uvloop.install()
    try:
        asyncio.run(require_topics(deployment))
    except TopicsProblem as problem:
        logger.error("the worker cannot start: %s", problem)  # noqa: TRY400 (for an operator: no traceback)
        return EXIT_FAILED
    apps = build(deployment, ROLES if role == "all" else (role,))
    spare_values()
    return run_worker(*apps)


def build(deployment: Deployment, roles: tuple[str, ...]) -> list[BatchApp]:
    """The apps of these roles, not started."""
    apps = []
    for role in roles:
        match role:
            case "ingest":
                apps.append(ingest_app(deployment))
            case "decide":
                apps.append(decide_app(deployment))
            case "ledger":
                apps.append(ledger_app(deployment, deployment.ledger()))
            case _:
                raise ValueError(f"no role {role!r}")
    return apps


def configure_logging(level: str, form: str) -> None:
    """Events with fields on stderr. Faust's and aiokafka's chatter is left out below WARNING."""
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(_Json() if form == "json" else _Text("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[sink], force=True)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    Service.mundane_level = "debug"  # "Starting…" and "Stopping…" of each of an app's many parts
    if level != "DEBUG":
        # Faust tells every step of every service under the module name of our subclasses.
        for name in ("faust", "mode", "referral_stream.stream.transport"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.disable(logging.DEBUG)  # Faust builds debug records for every message before it drops them


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{super().formatMessage(record)} {fields}".rstrip()


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {"at": self.formatTime(record), "level": record.levelname, "logger": record.name}
        entry |= {"event": record.getMessage()} | _fields(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
