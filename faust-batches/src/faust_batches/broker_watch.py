"""Whether the brokers still answer: everything waits while they do not, unless only this process is not answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from faust.transport.drivers import aiokafka as driver

from faust_batches.config import WorkerConfig
from faust_batches.consumer import BatchConsumer
from faust_batches.errors import BrokersMoved
from faust_batches.membership import Membership
from faust_batches.reach import reach

logger = logging.getLogger(__name__)

_DIAL_AFTER_SESSIONS: Final = 3  # of silence: by then, a client that could find its way back has found it


class BrokerWatch:
    """``client_settings``: aiokafka's, as the app's clients have them; ``has_partitions``: some are assigned to us."""

    def __init__(
        self,
        config: WorkerConfig,
        membership: Membership,
        *,
        consumer: Callable[[], BatchConsumer],
        client_settings: Callable[[], Mapping[str, Any]],
        has_partitions: Callable[[], bool],
    ) -> None:
        self._config = config
        self._membership = membership
        self._consumer = consumer
        self._client_settings = client_settings
        self._has_partitions = has_partitions
        self._refused_since: float | None = None

    @property
    def refused_seconds(self) -> float:
        """For how long the brokers have been refusing our credentials; 0: they do not."""
        return monotonic() - self._refused_since if self._refused_since is not None else 0.0

    async def run(self) -> None:
        """Log at intervals that no broker answers: meanwhile everything waits, and nothing fails.

        Unless a new process would be answered: then this one ends.
        """
        config, membership, silent = self._config, self._membership, False
        session = config.session_timeout_seconds
        while not membership.stopping:
            await asyncio.sleep(session)
            seconds = self._consumer().silence_seconds()
            settled = self._has_partitions() and not membership.rebalancing  # a rebalance may be silent while it lasts
            if seconds <= (session if settled else session + config.rebalance_timeout_seconds):
                self._refused_since = None
                if silent:
                    silent = False
                    logger.warning("brokers_answer_again", extra={"app": config.id})
                continue
            silent = True
            fields = {"app": config.id, "brokers": ", ".join(config.brokers), "seconds": round(seconds)}
            logger.error("brokers_silent", extra=fields)
            if seconds > _DIAL_AFTER_SESSIONS * session:
                await self._dial(fields)

    async def _dial(self, fields: Mapping[str, Any]) -> None:
        config, held = self._config, dict(self._client_settings())
        credentials = config.credentials
        if config.fresh_credentials is not None:
            try:
                credentials = config.fresh_credentials()
            except Exception as exc:  # noqa: BLE001  (a certificate that is being replaced just now)
                logger.debug("credentials_not_read", extra={"cause": repr(exc)})
        fresh = {**held, **driver.credentials_to_aiokafka_auth(credentials, config.ssl_context)}
        found = await reach(self._consumer().known_brokers(), held, fresh)
        if found.anew:
            brokers = fields["brokers"]
            why = "they have other addresses, or take other credentials, than those that this process knows"
            self._membership.fail(
                BrokersMoved(f"{brokers} answers, but not this process: {why}. A restart is all that it needs")
            )
        if not found.refused:
            self._refused_since = None
            return
        self._refused_since = self._refused_since or monotonic()
        logger.error("authentication_failed", extra={"app": config.id, "cause": found.refused})
