"""A console over the demo's week, on a real Redis, without and with a port."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar
from litestar.stores.registry import StoreRegistry
from redis.asyncio import Redis

from referral_stream.console.app import make_app
from referral_stream.console.parts import Console
from referral_stream.console.security import digest_of
from referral_stream.console.serve import listening
from tests.console.world import OPERATORS, VIEWERS, WEDNESDAY_NOON, NotingWriter, console_over, seed_demo
from tests.read_models.seeding import a_held_reward, a_switch
from tests.services.redis import RedisServer

HERE = "http://127.0.0.1:8090"


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"console-{digest_of(request.node.nodeid)[:12]}"


@pytest.fixture
def writer() -> NotingWriter:
    return NotingWriter()


@pytest.fixture(scope="session")
def week(redis_server: RedisServer) -> str:
    """The prefix of read models that nobody changes: the demo's week, up to Wednesday noon."""

    async def seeded() -> None:
        async with Redis.from_url(redis_server.url) as client:
            await seed_demo(client, "console-week")

    asyncio.run(seeded())
    return "console-week"


@pytest.fixture
async def console(
    redis_server: RedisServer, tmp_path: Path, prefix: str, week: str, writer: NotingWriter
) -> AsyncIterator[Console]:
    found = console_over(redis_server.url, tmp_path, prefix=prefix, models=week, writer=writer)
    yield found
    await found.reader.aclose()


@pytest.fixture
async def stranger(console: Console) -> AsyncIterator[AsyncClient]:
    """A browser of somebody who has not logged in."""
    async with browser(console) as client:
        yield client


@pytest.fixture
async def operator(stranger: AsyncClient) -> AsyncClient:
    return await logged_in(stranger, OPERATORS)


@pytest.fixture
async def viewer(stranger: AsyncClient) -> AsyncClient:
    return await logged_in(stranger, VIEWERS)


@cache
def _app() -> Litestar:
    """Making one takes longer than most tests: it is lent from one to the next, each with a console of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return make_app(console_over("redis://127.0.0.1:1/0", Path(folder), prefix="none"))


@asynccontextmanager
async def browser(
    console: Console, *, base_url: str = HERE, address: str = "127.0.0.1", fresh: bool = False
) -> AsyncIterator[AsyncClient]:
    """Calls the application without a socket, as from an address."""
    app = make_app(console) if fresh else _app()
    app.state.console = console
    app.stores = StoreRegistry(default_factory=lambda _: console.store)
    called: Any = app  # ASGI's types and Litestar's are narrower than each other
    transport = ASGITransport(called, client=(address, 4_711))
    async with AsyncClient(transport=transport, base_url=base_url) as client:
        yield client


async def logged_in(client: AsyncClient, token: str) -> AsyncClient:
    """The browser, with a session; its forms repeat what the pages say."""
    answer = await client.post("/login", data={"token": token})
    assert answer.status_code == 303, answer.text
    page = (await client.get("/controls")).text
    client.headers["X-CSRF-Token"] = page.partition('name="csrf" value="')[2].partition('"')[0]
    return client


class Site(NamedTuple):
    """A console that is being served, and what its test may change."""

    url: str
    console: Console
    writer: NotingWriter
    redis: RedisServer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with RedisServer() as server:
        writer = NotingWriter()
        ready, stop = threading.Event(), threading.Event()
        found: list[Site] = []

        async def serve() -> None:
            async with Redis.from_url(server.url) as client:
                world = await seed_demo(client, "site")
                await world.rewards(a_held_reward("cus-ana", WEDNESDAY_NOON))
                await world.controls(a_switch(WEDNESDAY_NOON, scope="segment", name="enterprise"))
            folder = tmp_path_factory.mktemp("site")
            console = console_over(server.url, folder, prefix="site", writer=writer)
            async with listening(console) as (port, _):
                found.append(Site(f"http://127.0.0.1:{port}", console, writer, server))
                ready.set()
                await asyncio.to_thread(stop.wait)
            await console.reader.aclose()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(60)
        yield found[0]
        stop.set()
        thread.join(30)
