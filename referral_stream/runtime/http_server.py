"""Listening for HTTP: what holds for every connection before there is a request, and the answers to what is none.

aiohttp bounds neither how many connections there are nor how long the headers of a request take, and answers broken
requests in words of its own, with its name and a quotation of them. So connections are a class of this module, which
differs from aiohttp's in that (decision 23).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import resource
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from referral_stream.runtime.log_throttle import LogThrottle

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5
_KEPT_FILES: Final = 64
"""Descriptors that are not for connections: Kafka's, log files, what libraries open for a moment."""
_RESERVED: Final = 8
"""Connections from this machine beyond the limits: a health check must not fail because there is no room."""
_MAX_HEADERS: Final = 64
_MAX_FIELD: Final = 8_190
_MAX_HEAD_BYTES: Final = 32_768
"""Of a request's line and headers together."""
_ANSWER_SECONDS: Final = 1.0  # for the last answers to leave
_LINGER_SECONDS: Final = 2.0  # to read what a refused sender is still sending, so that it sees our answer


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of all connections together, and of those from one address (an IPv6 network of 64 bits counts as one).

    ``header_seconds``: how long a request's line and headers may take, from the first byte, or from the connection on;
    a TLS handshake has as long. ``idle_seconds``: how long a connection may wait for its next request.
    """

    connections: int
    per_address: int
    header_seconds: float = 10.0
    idle_seconds: float = 75.0


class CannotListen(Exception):
    """The port is taken, or not allowed; the message is the system's."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What is being listened on. ``stop`` takes no further connections; those that there are go on."""

    host: str
    port: int
    stop: Callable[[], None]


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    limits: ConnectionLimits,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Listening]:
    """Answer with the app from entry to exit. Raises CannotListen."""
    loop = asyncio.get_running_loop()
    door = Doorkeeper(within_files(limits))
    _words.addFilter(_told_in_words)
    runner = web.AppRunner(app, access_log=None, logger=_words, shutdown_timeout=_ANSWER_SECONDS)
    await runner.setup()
    manager = runner.server
    if manager is None:
        raise RuntimeError("aiohttp's runner has made no server")
    manager.request_handler = _in_our_words(manager.request_handler)
    before = loop.get_exception_handler()
    loop.set_exception_handler(_files_watched(loop, before))
    server: asyncio.Server | None = None
    try:
        try:
            server = await loop.create_server(
                lambda: _Connection(manager, door, loop),
                host,
                port,
                ssl=tls,
                reuse_address=True,
                ssl_handshake_timeout=None if tls is None else limits.header_seconds,
            )
        except OSError as error:
            raise CannotListen(f"{error.strerror or error}") from None
        at = server.sockets[0].getsockname()
        yield Listening(at[0], at[1], server.close)
    finally:
        loop.set_exception_handler(before)
        if server is not None:
            server.close()
        await runner.cleanup()


def within_files(limits: ConnectionLimits) -> ConnectionLimits:
    """The limits that the process's open files allow: without a descriptor left, nothing works any more."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files - _KEPT_FILES >= limits.connections:
        return limits
    fewer = max(1, files - _KEPT_FILES)
    logger.warning("connections_lowered", extra={"to": fewer, "wanted": limits.connections, "open_files": files})
    return replace(limits, connections=fewer, per_address=min(fewer, limits.per_address))


def _files_watched(
    loop: asyncio.AbstractEventLoop, before: Any
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Reports of the event loop, but not a hundred a second that no connection can be accepted."""
    throttle = LogThrottle(logger)

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "out of system resource" in str(context.get("message")):
            error = context.get("exception")
            cause = error.strerror if isinstance(error, OSError) and error.strerror else "too many open files"
            throttle.warn(
                "no_connection_accepted", cause, remedy="a higher limit of open files (ulimit -n), or fewer connections"
            )
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    return report


class Doorkeeper:
    """The connections that there are, by address."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._by_address: Counter[str] = Counter()
        self._throttle = LogThrottle(logger)
        self._refused = 0

    def enter(self, address: str) -> bool:
        """Whether there is room for another connection from there; if so it is counted until it leaves."""
        more = _RESERVED if address in _LOOPBACK else 0
        full = None
        if self._by_address.total() >= self.limits.connections + more:
            full = "all"
        elif self._by_address[address] >= self.limits.per_address + more:
            full = "one address"
        if full is None:
            self._by_address[address] += 1
            return True
        self._refused += 1
        self._throttle.warn("connections_refused", f"too many of {full}", refused=self._refused)
        return False

    def leave(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


_LOOPBACK: Final = ("127.0.0.1", "::/64")


def address_of(transport: asyncio.BaseTransport) -> str:
    """Whose connection it is; of an IPv6 address its network, since whoever has one has all of them."""
    peer = transport.get_extra_info("peername")
    try:
        found = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except (TypeError, IndexError, ValueError):
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)


class _Connection(web.RequestHandler):
    """A connection that has to find room, and whose headers have to arrive in time."""

    __slots__ = ("_deadline", "_door", "_from", "_head_bytes", "_limits")

    def __init__(self, manager: web.Server, door: Doorkeeper, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # it would hold addresses and paths
            logger=_words,
            auto_decompress=False,
            keepalive_timeout=door.limits.idle_seconds,
            lingering_time=_LINGER_SECONDS,
            max_headers=_MAX_HEADERS,
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
        )
        self._door, self._limits = door, door.limits
        self._from: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = address_of(transport)
        if not self._door.enter(address):
            if isinstance(transport, asyncio.Transport):
                transport.write(page(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections"))
            transport.close()
            return
        self._from = address
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_arrived()
        if self._from is not None:
            self._door.leave(self._from)
            self._from = None
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._from is None:
            return
        if self._deadline is None and self._waiter is not None and not self._messages:
            self._await_head()  # these are the first bytes of another request
        known = self._request_count
        super().data_received(data)
        if self._request_count != known:
            self._head_arrived()
        elif self._deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large")

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._deadline = self._loop.call_later(
            self._limits.header_seconds, self._refuse, HTTPStatus.REQUEST_TIMEOUT, "slow_headers"
        )

    def _head_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus, error: str) -> None:
        """Answer what is no request yet, and hang up."""
        self._head_arrived()
        if self.transport is not None:
            if self._head_bytes:  # a connection that said nothing is told nothing
                logger.warning("refused", extra={"endpoint": "*", "status": status.value, "cause": error})
                self.transport.write(page(status, error))
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (it quotes the request)
    ) -> web.StreamResponse:
        """Our answer to a request that cannot be read, or whose handler failed: nothing of it is quoted."""
        if isinstance(exc, HttpProcessingError):
            found = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(exc, LineTooLong) else HTTPStatus(status)
            error = "headers_too_large" if isinstance(exc, LineTooLong) else "not_http"
            logger.warning("refused", extra={"endpoint": "*", "status": found.value, "cause": error})
        else:
            found = HTTPStatus(status)
            error = "failed"
            logger.error("request_failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("there is half an answer already")
        return _Page(found, error)


class _Page(web.Response):
    """An answer written as it is: aiohttp would say its name, and speak HTTP/1.0 to what it could not read."""

    def __init__(self, status: HTTPStatus, error: str, **headers: str) -> None:
        super().__init__(status=status.value)
        self._bytes = page(status, error, **headers)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.transport is not None:
            head, end, _ = self._bytes.partition(_END)
            request.transport.write(head + end if request.method == "HEAD" else self._bytes)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """It is all there."""


_END: Final = b"\r\n\r\n"


def page(status: HTTPStatus, error: str, **headers: str) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = json.dumps({"error": error}).encode()
    about = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        about["Retry-After"] = str(RETRY_SECONDS)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in (about | headers).items()),
    ]
    return "\r\n".join(lines).encode() + _END + body


def _in_our_words(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The handler, whose refusals are ours: aiohttp's own quote the request, for example what it expects."""

    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            status = HTTPStatus(error.status)
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return _Page(status, status.phrase.lower().replace(" ", "_"), **allow)

    return answered


_words = logging.getLogger(f"{__name__}.aiohttp")


def _told_in_words(record: logging.LogRecord) -> bool:
    """What aiohttp logs itself may quote a request, and perhaps a token: only that something failed is kept."""
    record.msg, record.args = "request_failed", ()
    return not isinstance(record.exc_info[1] if record.exc_info else None, HttpProcessingError)
