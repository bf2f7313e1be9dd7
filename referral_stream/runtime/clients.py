"""Clients of aiokafka, closed on every path; as ``faust_batches.clients``, which would load Faust."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaConnectionError

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 5.0
"""How long a client that is only asked may take to say goodbye; a broker that is away never hears it."""

_Client = TypeVar("_Client")


@contextmanager
def broker_known() -> Iterator[None]:
    """Where aiokafka asserts that it knows a broker: of one that answers, but names none, it is as of one that is away.

    Raises:
        KafkaConnectionError: it knows none.
    """
    try:
        yield
    except AssertionError as exc:
        raise KafkaConnectionError(f"no broker is known: {exc}") from exc


@asynccontextmanager
async def started(client: _Client) -> AsyncIterator[_Client]:
    """A consumer, producer or plain client: connected on entry, closed on exit, also where connecting failed."""
    connecting: Any = client
    try:
        with broker_known():
            await (connecting.start() if hasattr(connecting, "start") else connecting.bootstrap())
        yield client
    finally:
        await close(client)


async def close(client: Any, seconds: float | None = CLOSE_SECONDS) -> BaseException | None:
    """Close a client for good; returns what its own closing raised, if anything.

    While a broker is away, aiokafka's fetcher lets the CancelledError of its own tasks through. Taken for a
    cancellation of the caller, it would end the caller in silence, and leave the connections open. So the client closes
    in a task of its own. A real cancellation waits for that task. ``seconds``: at most so long.
    """
    closing = asyncio.ensure_future(client.stop() if hasattr(client, "stop") else client.close())
    try:
        await asyncio.wait({closing}, timeout=seconds)
    except asyncio.CancelledError:
        await asyncio.wait({closing}, timeout=seconds)
        raise
    finally:
        problem = await _ended(closing)
        if problem is not None:
            logger.debug("client_closed_by_force", extra={"cause": repr(problem)})
            await _cut(client)
    return problem


async def _cut(client: Any) -> None:
    """Close the connections of a client whose own closing failed."""
    inner = getattr(client, "_client", None) or getattr(client, "client", None)
    if inner is not None:
        closing = asyncio.ensure_future(inner.close())
        await asyncio.wait({closing}, timeout=1.0)
        await _ended(closing)


async def _ended(closing: asyncio.Future[Any]) -> BaseException | None:
    """What a closing has come to; one that lasts too long is cancelled, and left behind if that does not help."""
    if not closing.done():
        closing.cancel()
        await asyncio.wait({closing}, timeout=1.0)
    if not closing.done() or closing.cancelled():
        return asyncio.CancelledError()
    return closing.exception()
