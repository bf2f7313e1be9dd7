"""A client of aiokafka is closed whatever its own closing does, and its trouble is not ours."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import ModuleType

import pytest
from aiokafka.errors import KafkaConnectionError
from faust_batches import clients
from faust_batches.clients import close, started

from referral_stream.runtime import clients as clients_of_the_product


class Connections:
    """What is inside a client."""

    closed = False

    async def close(self) -> None:
        self.closed = True


class Client:
    """As aiokafka's: it stops as it is told to."""

    def __init__(self, stop: Callable[[], Awaitable[None]], *, starts: bool = True) -> None:
        self._client = Connections()
        self._stop, self._starts = stop, starts
        self.stopped = False

    async def start(self) -> None:
        if not self._starts:
            raise ConnectionError("nobody listens")

    async def stop(self) -> None:
        await self._stop()
        self.stopped = True


async def well() -> None:
    await asyncio.sleep(0)


async def broken() -> None:
    raise RuntimeError("Set changed size during iteration")


async def cancelled_inside() -> None:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


async def for_ever() -> None:
    await asyncio.sleep(3600)


async def test_a_client_that_stops_well_is_left_alone() -> None:
    async with started(Client(well)) as client:
        assert not client.stopped
    assert (client.stopped, client._client.closed) == (True, False)


@pytest.mark.parametrize("stop", [broken, cancelled_inside, for_ever])
async def test_what_a_closing_raises_is_told_and_the_connections_are_closed(
    stop: Callable[[], Awaitable[None]],
) -> None:
    client = Client(stop)
    assert await close(client, seconds=0.05) is not None
    assert client._client.closed
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_a_client_that_could_not_start_is_closed_and_the_reason_is_the_one_that_is_raised() -> None:
    client = Client(cancelled_inside, starts=False)
    with pytest.raises(ConnectionError, match="nobody listens"):
        async with started(client):
            pytest.fail("it did not start")
    assert client._client.closed


@pytest.mark.parametrize("module", [clients, clients_of_the_product], ids=["the transport", "the product"])
async def test_a_broker_that_names_no_brokers_is_as_one_that_is_away(module: ModuleType) -> None:
    """Aiokafka asserts that it knows one, where a machine was frozen in the middle of its start."""
    client = Client(well)

    async def asserting() -> None:
        raise AssertionError("Did we not perform bootstrap?")

    client.start = asserting  # type: ignore[method-assign]
    with pytest.raises(KafkaConnectionError, match="no broker is known: Did we not perform bootstrap"):
        async with module.started(client):
            pytest.fail("it did not start")
    assert client.stopped


async def test_who_is_cancelled_while_a_client_closes_is_cancelled_when_it_is_closed() -> None:
    async def slowly() -> None:
        await asyncio.sleep(0.05)

    client = Client(slowly)
    closing = asyncio.ensure_future(close(client))
    await asyncio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert client.stopped


def test_the_transport_and_the_product_close_alike() -> None:
    """Two copies: the transport knows nothing of the product, and what all its processes share loads no Faust."""
    ours, theirs = (inspect.getsource(module).partition("\n")[2] for module in (clients_of_the_product, clients))
    assert ours == theirs
