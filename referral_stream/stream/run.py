"""Running roles as a worker process: ``referral-stream run``."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

from faust.exceptions import FaustError
from faust_batches import NeedsOperator, TransportError, run_worker
from faust_batches.broker_wait import BrokerWait
from faust_batches.uvloop_patch import survive_closed_transports
from mode import Service
from prometheus_client.metrics_core import Metric

from referral_stream.core.instants import rfc3339
from referral_stream.ledger.client import LedgerError
from referral_stream.runtime.deployment import ROLES, Deployment
from referral_stream.runtime.email_key import keep_email_key
from referral_stream.runtime.gc_tuning import spare_values
from referral_stream.runtime.logs import configure_logging
from referral_stream.runtime.settings import PREFIX
from referral_stream.runtime.state_folder import state_folder_problem
from referral_stream.runtime.topics_admin import TopicsProblem, require_topics, require_whole_sources
from referral_stream.stream.apps import Role, decide_role, ingest_role, ledger_role
from referral_stream.stream.backlog import backlog_of
from referral_stream.stream.status import StatusPage

logger = logging.getLogger(__name__)


class Beside(AbstractAsyncContextManager[None], Protocol):
    """What runs in the event loop of the roles from entry to exit, with numbers for their page."""

    def collect(self) -> Iterable[Metric]: ...


def run_roles(deployment: Deployment, role: str, beside: Sequence[Beside] = ()) -> int:
    """Run one role, or ``all`` of them side by side in this process, until a signal; the exit code.

    ``beside``: what else runs in its event loop meanwhile. What keeps it from starting is logged as one line.
    """
    settings = deployment.settings
    configure_logging(settings.log_level, settings.log_format, harmless=(FaustError, TransportError, LedgerError))
    Service.mundane_level = "debug"  # "Starting…" and "Stopping…" of each of an app's many parts
    if not settings.kafka_security.endswith("SSL"):  # uvloop often needs 30 s to close a TLS connection
        with suppress(ImportError):
            import uvloop  # noqa: PLC0415 (optional: not on every platform)

            uvloop.install()
            survive_closed_transports()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until there is a loop to handle signals
    roles = build(deployment, ROLES if role == "all" else (role,))
    status_page = [StatusPage(deployment, roles, beside)] if settings.status_port else []
    spare_values()
    return run_worker(*(each.app for each in roles), beside=[*status_page, _life(deployment, role), *beside])


@asynccontextmanager
async def _life(deployment: Deployment, role: str) -> AsyncIterator[None]:
    """Frames a worker's life in the log; what keeps it from starting is raised before it begins."""
    settings = deployment.settings
    if (unwritable := state_folder_problem(settings)) is not None:
        raise NeedsOperator(f"{unwritable.problem}; {unwritable.remedy}")
    brokers = BrokerWait(settings.group_prefix, settings.kafka_brokers, settings.start_wait_seconds)
    try:
        await brokers.answer(lambda: require_topics(deployment))
        if role in ("all", "ingest"):
            await brokers.answer(lambda: require_whole_sources(deployment))
            await brokers.answer(lambda: keep_email_key(deployment))
    except TopicsProblem as problem:
        raise NeedsOperator(str(problem)) from None
    logger.info("starting", extra={"role": role, **deployment.described})
    if settings.leaves_data_dir_unused and role in ("all", "decide"):
        logger.warning("data_dir_unused", extra={"remedy": f"{PREFIX}STORE=rocksdb, or =memory if that is meant"})
    if settings.has_test_clock:
        shown = rfc3339(deployment.clock.now())
        logger.warning("clock_is_not_real_time", extra={"speed": settings.clock_speed, "shows": shown})
    yield
    logger.info("stopped", extra={"role": role})


def build(deployment: Deployment, names: Iterable[str]) -> list[Role]:
    """The roles of these names, not started."""
    made = {
        "ingest": ingest_role,
        "decide": lambda deployment: decide_role(deployment, backlog=backlog_of(deployment)),
        "ledger": ledger_role,
    }
    return [made[name](deployment) for name in names]
