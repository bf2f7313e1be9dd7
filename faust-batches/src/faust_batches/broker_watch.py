"""Whether the brokers still answer: everything waits while they do not, unless only this process is not answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from faust.transport.drivers import aiokafka as driver

from faust_batches.errors import BrokersMoved
from faust_batches.reach import reach

if TYPE_CHECKING:
    from faust_batches.app import BatchApp

logger = logging.getLogger(__name__)

_DIAL_AFTER_SESSIONS: Final = 3  # of silence: by then, a client that could find its way back has found it


class BrokerWatch:
    """See the module's docstring."""

    def __init__(self, app: BatchApp) -> None:
        self._app = app
        self._refused_since: float | None = None

    @property
    def refused_seconds(self) -> float:
        """For how long the brokers have been refusing our credentials; 0: they do not."""
        return monotonic() - self._refused_since if self._refused_since is not None else 0.0

    async def run(self) -> None:
        """Log at intervals that no broker answers: meanwhile everything waits, and nothing fails.

        Unless a new process would be answered: then this one ends.
        """
        app, config, silent = self._app, self._app.config, False
        session = config.session_timeout_seconds
        while not app.should_stop:
            await app.sleep(session)
            seconds = app.batch_consumer.silence_seconds()
            settled = app._assignment and not app.rebalancing  # a rebalance may be silent for as long as it may last
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
        app, config = self._app, self._app.config
        held, credentials = app._client_settings(), config.credentials
        if config.fresh_credentials is not None:
            try:
                credentials = config.fresh_credentials()
            except Exception as exc:  # noqa: BLE001  (a certificate that is being replaced just now)
                logger.debug("credentials_not_read", extra={"cause": repr(exc)})
        fresh = {**held, **driver.credentials_to_aiokafka_auth(credentials, config.ssl_context)}
        found = await reach(app.batch_consumer.known_brokers(), held, fresh)
        if found.anew:
            brokers = fields["brokers"]
            why = "they have other addresses, or take other credentials, than those that this process knows"
            app.fail(BrokersMoved(f"{brokers} answers, but not this process: {why}. A restart is all that it needs"))
        if not found.refused:
            self._refused_since = None
            return
        self._refused_since = self._refused_since or monotonic()
        logger.error("authentication_failed", extra={"app": config.id, "cause": found.refused})
