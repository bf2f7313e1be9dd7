"""Brokers that are away while a worker starts are waited for: for so long, and not in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, TypeVar

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from faust_batches.errors import BrokersAway, NotAllowed

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 0.5
SAID_EVERY_SECONDS: Final = 10.0

_REFUSALS: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

_Answer = TypeVar("_Answer")


async def _not_here() -> None:
    """Where the questions find out themselves whether we are refused."""


@dataclass(frozen=True, slots=True)
class BrokerWait:
    """What a worker asks ``brokers`` before it runs is asked for at most ``seconds``, each question.

    ``refused`` is awaited after each failure: it raises NeedsOperator where a broker turns us away for good, which is
    not waited for. ``app`` names the worker in the log.
    """

    app: str
    brokers: Sequence[str]
    seconds: float
    refused: Callable[[], Awaitable[None]] = _not_here

    async def answer(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """What ``question`` returns; it is asked again while it fails as it does when brokers are away.

        That is with a ConnectionError, a TimeoutError or a KafkaError. Everything else is raised as it is.

        Raises:
            BrokersAway: no answer within ``seconds``. NotAllowed: a right is refused.
        """
        trouble = _Trouble()
        saying = asyncio.ensure_future(self._say(trouble))
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self._ask(question, trouble)
        except TimeoutError:
            raise BrokersAway(
                f"no answer from {', '.join(self.brokers)} within {self.seconds:g} s: {trouble.cause}. Bring the "
                "brokers back; a restart, which this exit code asks for, begins to wait again"
            ) from None
        finally:
            saying.cancel()
        if trouble.said:
            logger.warning("brokers_answer_again", extra={"app": self.app})
        return answer

    async def _ask(self, question: Callable[[], Awaitable[_Answer]], trouble: _Trouble) -> _Answer:
        while True:
            try:
                return await question()
            except _REFUSALS as exc:
                raise NotAllowed(f"the brokers refuse us a right that we need to start: {exc!r}") from exc
            except (ConnectionError, TimeoutError, KafkaError) as exc:
                trouble.cause = str(exc) or type(exc).__name__
                trouble.began.set()
            await self.refused()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _say(self, trouble: _Trouble) -> None:
        """At the first failure, or when there has been no answer for a while, and then every so often."""
        begun = monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(SAID_EVERY_SECONDS):
                await trouble.began.wait()
        while True:
            waited = {"seconds": round(monotonic() - begun), "at_most_seconds": round(self.seconds)}
            fields = {"app": self.app, "brokers": ", ".join(self.brokers), "cause": trouble.cause, **waited}
            logger.warning("brokers_awaited", extra=fields)
            trouble.said = True
            await asyncio.sleep(SAID_EVERY_SECONDS)


@dataclass(slots=True)
class _Trouble:
    """What has become of a question so far."""

    cause: str = "no answer yet"
    began: asyncio.Event = field(default_factory=asyncio.Event)
    said: bool = False
