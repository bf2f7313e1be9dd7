"""What the processes that are no workers have in common: how they end, and how they wait for brokers that are away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from time import monotonic
from typing import Any, Final

from aiokafka.errors import KafkaError

from referral_stream.runtime.connection import connection_problem, dialled
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.runtime.settings import KafkaSettings, MemberSettings, kafka_password_now

logger = logging.getLogger(__name__)

ASK_SECONDS: Final = 5.0
"""How long a broker may take to answer the question whether it is there."""
AGAIN_SECONDS: Final = 1.0
DIAL_AFTER_SESSIONS: Final = 3.0
"""Of silence, as for every worker: by then a client that could find its way back has found it."""


class ExitCode(IntEnum):
    """As of every worker: what a supervisor, and who reads its log, may make of the end."""

    STOPPED = 0
    FAILED = 1
    RESTART = 75


class NotStarted(Exception):
    """What keeps a role from starting, in one line for an operator."""


class BrokersAwayAtStart(Exception):
    """No broker answered for as long as a start waits."""


async def await_brokers(settings: KafkaSettings) -> None:
    """Return when a broker lets us in; while all are away, a line says so now and then.

    Raises NotStarted where they turn us away for good, BrokersAwayAtStart after ``start_wait_seconds``.
    """
    deadline, throttle = monotonic() + settings.start_wait_seconds, LogThrottle(logger)
    while (found := await dialled(_client_now(settings))) is not None:
        if not found.passes:
            raise NotStarted(found.why)
        if monotonic() > deadline:
            raise BrokersAwayAtStart(found.why)
        throttle.warn("no_broker_answers", found.why)
        await asyncio.sleep(AGAIN_SECONDS)
    throttle.settled()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether ``work`` came to its end; it is cancelled when ``stop`` is set. Raises what it raises."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def _client_now(settings: KafkaSettings) -> dict[str, Any]:
    """The connection settings, with the password as its file has it now."""
    return settings.model_copy(update={"kafka_password": kafka_password_now(settings)}).kafka_client()


class BrokersElsewhere(Exception):
    """No broker that we know answers, but a new process would be answered."""


class BrokersWatch:
    """Waits for brokers that are away. ``ask`` asks one of them anything; ``tell`` hears whether it was answered."""

    def __init__(
        self, settings: MemberSettings, ask: Callable[[], Awaitable[object]], tell: Callable[[bool], None]
    ) -> None:
        self._settings, self._ask, self._tell = settings, ask, tell

    async def watch(self) -> None:
        """Until it is cancelled. Raises BrokersElsewhere if a new process would be answered meanwhile."""
        session = self._settings.session_timeout_seconds
        throttle, answered_at, elsewhere = LogThrottle(logger), monotonic(), 0
        while True:
            await asyncio.sleep(session / 2)
            answered = await self._is_answered()
            self._tell(answered)
            if answered:
                answered_at, elsewhere = monotonic(), 0
                throttle.settled()
                continue
            silent = monotonic() - answered_at
            throttle.warn("no_broker_answers", "everything waits", seconds=round(silent))
            if silent <= DIAL_AFTER_SESSIONS * session:
                continue
            # Twice in a row: brokers that have just come back answer a new connection before they answer ours.
            elsewhere = elsewhere + 1 if await self._would_be_answered_anew() else 0
            if elsewhere > 1:
                brokers = ",".join(self._settings.kafka_brokers)
                raise BrokersElsewhere(f"{brokers} answers, but not this process: other addresses, or another password")

    async def _is_answered(self) -> bool:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await self._ask()
        except (KafkaError, TimeoutError, OSError):
            return False
        return True

    async def _would_be_answered_anew(self) -> bool:
        return await connection_problem(_client_now(self._settings)) is None and not await self._is_answered()
