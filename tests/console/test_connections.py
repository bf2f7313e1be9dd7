"""Before anybody has logged in: how many connections there may be, how long a request may take, and what is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from referral_stream.console.serve import CannotServe, listening
from referral_stream.runtime.http_server import ConnectionLimits
from tests.console.world import NotingWriter, console_over
from tests.services.redis import RedisServer

LIMITS = ConnectionLimits(connections=12, per_address=6, header_seconds=2.0)
FINE = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def served(redis: RedisServer, folder: Path) -> AsyncIterator[int]:
    console = console_over(redis.url, folder, prefix="door", models="door", writer=NotingWriter())
    try:
        async with listening(console, LIMITS) as (port, _):
            yield port
    finally:
        await console.reader.aclose()


async def said(port: int, request: bytes, *, address: str = "127.0.0.1") -> bytes:
    """What is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


async def test_connections_that_say_nothing_shut_nobody_out(redis_server: RedisServer, tmp_path: Path) -> None:
    async with served(redis_server, tmp_path) as port:
        silent = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            for _ in range(LIMITS.per_address)
        ]
        assert (await said(port, FINE, address="127.0.0.2")).startswith(b"HTTP/1.1 503 ")
        assert (await said(port, FINE)).startswith(b"HTTP/1.1 200 ")
        for reader, writer in silent:
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        assert (await said(port, FINE, address="127.0.0.2")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", 408, "slow_request"),
        (b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400, "not_http"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, "not_http"),
    ],
    ids=["slow", "two lengths", "no HTTP"],
)  # fmt: skip
async def test_what_is_no_request_is_answered_in_our_words(
    request_: bytes, status: int, error: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with served(redis_server, tmp_path) as port:
        head, _, body = (await said(port, request_)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(body) == {"error": error}


async def test_a_body_that_does_not_come_ends_the_connection(redis_server: RedisServer, tmp_path: Path) -> None:
    async with served(redis_server, tmp_path) as port:
        start = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ntoken="
        assert not (await said(port, start)).startswith(b"HTTP/1.1 2")


async def test_a_connection_may_ask_again(redis_server: RedisServer, tmp_path: Path) -> None:
    async with served(redis_server, tmp_path) as port:
        again = FINE.replace(b"Connection: close\r\n", b"")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(again)
            assert (await asyncio.wait_for(reader.readuntil(b"}"), 30)).endswith(b'{"live":true}')
            await asyncio.sleep(LIMITS.header_seconds / 2)
        writer.close()


async def test_a_port_that_is_taken_is_said_in_one_line(redis_server: RedisServer, tmp_path: Path) -> None:
    async with served(redis_server, tmp_path) as port:
        console = console_over(redis_server.url, tmp_path, prefix="door", models="door", writer=NotingWriter())
        console = replace(console, settings=console.settings.model_copy(update={"console_port": port}))
        with pytest.raises(CannotServe, match=f"cannot listen on 127.0.0.1:{port} .*see REFERRAL_STREAM_CONSOLE_HOST"):
            async with listening(console):
                pass
        await console.reader.aclose()
