"""An app's place in its group: which assignment this is, whether a rebalance is under way, and why the app stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, cast

from faust.types import AppT

from faust_batches.config import WorkerConfig
from faust_batches.errors import NeedsOperator, NeedsRestart, TransportError
from faust_batches.meter import Meter

logger = logging.getLogger(__name__)

_NEVER: Final = -1


class Membership:
    """Counts assignments and rebalances, asks for a new assignment, and keeps the first failure.

    The two counts live in Faust's app, which stamps its messages with the first one. It is a count of our own that
    takes the place of Kafka's generation: a member that rejoins may be given the same generation again.
    """

    def __init__(self, app: AppT, config: WorkerConfig, meter: Meter, request_rejoin: Callable[[], None]) -> None:
        self._app = app
        self._config = config
        self._meter = meter
        self._request_rejoin = request_rejoin
        self._rebalances_at_assignment = 0
        self._settled_rebalances = 0
        self._rejoined_after = _NEVER
        self.recovered = _NEVER
        """The assignment whose recovery ended last."""
        self.failure: BaseException | None = None
        """What makes the app stop; ``None`` while nothing does."""
        self._failed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def assignment(self) -> int:
        """The number of the present assignment."""
        return self._app.consumer_generation_id

    @property
    def rebalancing(self) -> bool:
        """Counted instead of flagged: the end of one rebalance cannot hide the beginning of the next one."""
        return self._app.rebalancing_count != self._settled_rebalances

    @property
    def stopping(self) -> bool:
        return bool(self._app.should_stop)

    def begin(self) -> None:
        """A new assignment begins. Called in the consumer's thread, before anything learns of the assignment."""
        self._rebalances_at_assignment = self._app.rebalancing_count
        self._app.consumer_generation_id += 1
        self._meter.assignments += 1

    @property
    def is_recovered(self) -> bool:
        """False while the recovery that has just ended belongs to an assignment that another one has overtaken."""
        return self.recovered == self.assignment

    @property
    def is_undisturbed(self) -> bool:
        """Whether no other rebalance has begun since the assignment."""
        return self._app.rebalancing_count == self._rebalances_at_assignment

    def settle(self) -> None:
        """The rebalance that led to this assignment is over."""
        self._settled_rebalances = self._rebalances_at_assignment

    def rejoin(self, assignment: int) -> None:
        """Ask for a new assignment, once in each: we were fenced, or no longer count as owner.

        Either we have been expelled already, or a zombie fenced us by mistake. A new assignment settles both: new
        producers, state from the changelog, source from the committed offset. If none begins within the session
        timeout, the app fails.
        """
        if assignment != self.assignment or assignment == self._rejoined_after or self.rebalancing:
            return
        self._rejoined_after = assignment
        self._request_rejoin()

        def check() -> None:
            if assignment == self.assignment and not self.rebalancing and not self.stopping:
                self.fail(TransportError("no new assignment within the session timeout"))

        asyncio.get_running_loop().call_later(self._config.session_timeout_seconds, check)

    @property
    def started(self) -> bool:
        return self._loop is not None

    def start(self) -> None:
        """From now on, failures are reported to the running loop."""
        self._loop = asyncio.get_running_loop()

    def fail(self, exc: BaseException, where: str = "") -> None:
        """Stop this app, and with it the worker: the first failure is kept and logged. Safe from any thread."""
        if self.failure is not None:
            return
        self.failure = exc
        fields = {"app": self._config.id, "reason": type(exc).__name__}
        if isinstance(exc, NeedsOperator | NeedsRestart):
            logger.error("app_failed", extra=fields | {"cause": str(exc)})
        else:
            cause = {"cause": type(exc).__name__} | ({"where": where} if where else {})
            logger.error("app_failed", extra=fields | cause, exc_info=exc)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._failed.set)

    async def wait_failed(self) -> BaseException:
        """Return the failure, once there is one."""
        await self._failed.wait()
        return cast("BaseException", self.failure)
