"""Before there is a request: how many connections there may be, how slow they may be, and what nobody is told."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web

from referral_stream.receiver.app import Receiver, RequestLimits
from referral_stream.receiver.endpoints import endpoints
from referral_stream.runtime import http_server
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.http_server import ConnectionLimits, Listening, listening
from referral_stream.runtime.settings import PREFIX, read_receiver_settings
from tests.receiver.running import MAX_BODY, OPEN, TOKEN, until
from tests.receiver.signing import BODY, NOW, signed_headers
from tests.rules import rule

GET = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
SECRET = b"ana-who-must-not-be-quoted"


class Written:
    """A writer that has written everything at once."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def write(self, records: Any) -> None:
        self.records += records

    async def answers(self) -> bool:
        return True


class Connection:
    """A client that sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """All that comes until the other side hangs up; nothing where it does so without a word."""
        async with asyncio.timeout(30):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def head(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def open_to(
    limits: ConnectionLimits | None = None, **of_requests: Any
) -> AsyncIterator[tuple[Listening, Receiver]]:
    given = {f"{PREFIX}{name}": value for name, value in (OPEN | {"KAFKA_BROKERS": "nowhere:9"}).items()}
    settings = read_receiver_settings(given)
    requests = RequestLimits(**{"body_bytes": MAX_BODY, "requests": 2} | of_requests)
    receiver = Receiver(endpoints(settings), Written(), requests, clock=Clock(NOW, time.time_ns() // 1_000_000))  # type: ignore[arg-type]
    async with listening(receiver.app(), "127.0.0.1", 0, limits or ConnectionLimits(64, 64)) as here:
        yield here, receiver


@asynccontextmanager
async def connected(here: Listening) -> AsyncIterator[Connection]:
    connection = Connection(*await asyncio.open_connection(here.host, here.port))
    try:
        yield connection
    finally:
        connection.writer.close()


def webhook(body: bytes = BODY, length: int | None = None) -> bytes:
    headers = signed_headers("stripe", body, NOW) | {
        "Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body) if length is None else length),
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /webhooks/stripe HTTP/1.1\r\n{lines}\r\n".encode()


async def test_no_more_connections_are_held_than_are_allowed_in_all_and_from_one_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_server, "_RESERVED", 0)
    for limits, cause in ((ConnectionLimits(2, 64), "all"), (ConnectionLimits(64, 2), "one address")):
        async with open_to(limits) as (here, _), connected(here) as first, connected(here) as second:
            for each in (first, second):
                await each.send(GET)
                assert b" 200 " in await each.head()
            async with connected(here) as third:
                answer = await third.answer()
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert answer.endswith(b'{"error": "too_many_connections"}')
            assert b"Retry-After: 5" in answer
            refused = [vars(record)["cause"] for record in caplog.records if record.msg == "connections_refused"]
            assert f"too many of {cause}" in refused
            first.writer.close()

            async def room(here: Listening = here) -> bool:
                async with connected(here) as another:
                    await another.send(GET)
                    return b" 200 " in await another.head()

            await until(room, "whoever leaves makes room")


def test_a_health_check_finds_room_where_nobody_else_does() -> None:
    for limits in (ConnectionLimits(4, 64), ConnectionLimits(64, 4)):
        door = http_server.Doorkeeper(limits)
        assert [door.enter("203.0.113.7") for _ in range(5)] == [True] * 4 + [False]
        assert all(door.enter("127.0.0.1") for _ in range(4))


async def test_headers_have_to_arrive_in_time_also_those_of_a_second_request() -> None:
    async with (
        open_to(ConnectionLimits(64, 64, header_seconds=0.3)) as (here, _),
        connected(here) as silent,
        connected(here) as slow,
        connected(here) as second,
    ):
        await slow.send(GET[:20])
        await second.send(GET)
        assert b" 200 " in await second.head()
        await second.reader.readexactly(len(b'{"live": true}'))
        assert await silent.answer() == b""
        assert b" 408 " in (await slow.answer()).splitlines()[0]
        # A connection may be idle for longer between two requests; what it begins it has to finish.
        assert not second.reader.at_eof()
        await second.send(GET[:20])
        assert (await second.answer()).endswith(b'{"error": "slow_headers"}')


async def test_a_body_has_to_come_at_some_speed_and_takes_no_place_meanwhile() -> None:
    async with (
        open_to(requests=1, body_seconds=30.0, grace_seconds=0.5) as (here, receiver),
        connected(here) as slow,
        connected(here) as quick,
    ):
        await slow.send(webhook() + BODY[:5])
        await until(lambda: receiver._in_hand == 1, "the slow one is in hand")
        await quick.send(webhook() + BODY)
        assert b" 202 " in await quick.head()
        assert b" 408 " in await slow.head()
        assert (receiver._in_hand, receiver._places) == (0, 0)


async def in_hand(receiver: Receiver, requests: int) -> None:
    async def holds() -> bool:
        return receiver._in_hand == requests

    await until(holds, f"{requests} requests are in hand")


async def test_a_sender_who_hangs_up_within_a_body_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async with open_to() as (here, receiver):
        for _ in range(5):
            async with connected(here) as connection:
                await connection.send(webhook(length=len(BODY) + 10)[:-2] + b"\r\n" + BODY)
                await in_hand(receiver, 1)
                linger = struct.pack("ii", 1, 0)  # a reset instead of an end
                connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await in_hand(receiver, 0)
        assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []
        async with connected(here) as connection:
            await connection.send(GET)
            assert b" 200 " in await connection.head()


async def test_a_body_that_comes_steadily_may_take_its_time() -> None:
    body = b'{"a": "' + b"x" * 3_000 + b'"}'
    async with open_to(body_seconds=30.0, grace_seconds=0.5) as (here, _), connected(here) as steady:
        await steady.send(webhook(body))
        for start in range(0, len(body), 1_000):
            await steady.send(body[start : start + 1_000])
            await asyncio.sleep(0.25)  # 0.75 s in all: more than the grace, less than the pace asks for
        assert b" 202 " in await steady.head()


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (b"\x16\x03\x01\x02\x00" + SECRET + b"\r\n\r\n", 400, b"not_http"),
        (b"GET /" + SECRET + b" HTTP/9.9\r\n\r\n", 400, b"not_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBroken " + SECRET + b"\r\n\r\n", 400, b"not_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + SECRET * 400 + b"\r\n\r\n", 431, b"headers_too_large"),
        (b"GET /" + SECRET * 400 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, b"headers_too_large"),
        (
            b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %b\r\n" % (n, SECRET) for n in range(70)) + b"\r\n",
            400,
            b"not_http",
        ),
        (
            b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %b\r\n" % (n, SECRET * 100) for n in range(15)),
            431,
            b"headers_too_large",
        ),
        (b"POST /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + SECRET + b"\r\n\r\n", 400, b"not_http"),
        (b"GET /live HTTP/1.1\r\nHost: x\r\nExpect: " + SECRET + b"\r\n\r\n", 417, b"expectation_failed"),
        (b"GET /%b HTTP/1.1\r\nHost: x\r\nExpect: %b\r\n\r\n" % (SECRET, SECRET), 417, b"expectation_failed"),
        (b"GET /%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % SECRET, 404, b"not_found"),
        (b"PUT /live?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % SECRET, 405, b"method_not_allowed"),
    ],
)
async def test_what_is_wrong_is_answered_in_our_words_alone(
    request_: bytes, status: int, error: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_to() as (here, _), connected(here) as connection:
        await connection.send(request_)
        answer = await connection.answer()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'{"error": "%b"' % error in answer
    assert b"Content-Type: application/json" in answer
    assert b"Server:" not in answer
    told = answer.decode() + "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert SECRET.decode() not in told.lower()


async def test_a_handler_that_fails_says_so_and_no_more() -> None:
    async def failing(_: web.Request) -> web.Response:
        raise RuntimeError(SECRET.decode())

    app = web.Application()
    app.router.add_get("/live", failing)
    async with listening(app, "127.0.0.1", 0, ConnectionLimits(8, 8)) as here, connected(here) as connection:
        await connection.send(GET)
        assert (await connection.answer()).endswith(b'\r\n\r\n{"error": "failed"}')


async def test_a_process_without_file_descriptors_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with open_to():
        loop = asyncio.get_running_loop()
        for _ in range(100):
            error = OSError(24, "Too many open files")
            loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": error})
        loop.call_exception_handler({"message": "something else"})
    (told,) = [record for record in caplog.records if record.msg == "no_connection_accepted"]
    assert (told.cause, "ulimit" in told.remedy) == ("Too many open files", True)  # type: ignore[attr-defined]
    assert "something else" in caplog.text
    assert "Traceback" not in caplog.text


async def test_connections_never_take_the_last_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert http_server.within_files(ConnectionLimits(100, 50)) == ConnectionLimits(100, 50)
    assert http_server.within_files(ConnectionLimits(512, 250)) == ConnectionLimits(192, 192)
    assert [record.msg for record in caplog.records] == ["connections_lowered"]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("203.0.113.7", 1), "203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("::ffff:203.0.113.7", 1, 0, 0), "203.0.113.7"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_network_is_one_address(peer: Any, address: str) -> None:
    class Transport(asyncio.BaseTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return peer if name == "peername" else default

    assert http_server.address_of(Transport()) == address


@rule("I1.3")
@pytest.mark.parametrize("depth", [200, 300, 1_000, 100_000])
async def test_however_deep_a_body_is_nested_the_answer_is_one_of_ours(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    event = (
        b'{"specversion":"1.0","id":"e","source":"s","type":"customer.suppressed","subject":"ana","data":{"x":%b}}'
        % deep
    )
    batch = b"[%b,{}]" % event
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents-batch+json"}
    async with open_to(body_bytes=1_000_000) as (here, _), ClientSession(f"http://{here.host}:{here.port}") as client:
        async with client.post("/events", data=batch, headers=headers) as answer:
            assert (answer.status, await answer.json()) == (202, {"accepted": 1, "dead_letters": 1})
        async with client.post(
            "/events", data=event, headers=headers | {"Content-Type": "application/cloudevents+json"}
        ) as answer:
            assert (answer.status, await answer.json()) == (202, {"accepted": 1})
