"""The console's connections: how many there are, how long a request may take to arrive, and what is none.

uvicorn bounds neither: a few hundred that say nothing would shut everybody out, before anybody has logged in. So
connections are a class of this module, which differs from uvicorn's in that, with the limits of the receiver
(:mod:`~referral_stream.runtime.http_server`).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from referral_stream.runtime.http_server import ConnectionLimits, Doorkeeper, address_of, page, within_files

LIMITS: Final = ConnectionLimits(512, per_address=128, header_seconds=20.0)
"""Behind a proxy all have one address. The seconds are those of a whole request: a page's form is small."""


def limited(limits: ConnectionLimits) -> type[H11Protocol]:
    """The class of connections of one server."""
    return type("Connection", (_ConsoleConnection,), {"limits": limits, "door": Doorkeeper(within_files(limits))})


class _ConsoleConnection(H11Protocol):
    """A connection that has to find room, and whose requests have to arrive in time."""

    limits: ConnectionLimits
    door: Doorkeeper
    _from: str | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        address = address_of(transport)
        if not self.door.enter(address):
            transport.write(page(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections"))
            transport.close()
            return
        self._from = address
        self.app = _unambiguous(self.app)
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_arrived()
        if self._from is not None:
            self.door.leave(self._from)
            self._from = None
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._from is not None:
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        state = self.conn.their_state
        if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            self._await_request()
        elif state is not h11.IDLE:
            self._request_arrived()

    def _await_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.header_seconds, self._give_up)

    def _request_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Hang up; who has said something is told why."""
        has_begun = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        self._refuse(HTTPStatus.REQUEST_TIMEOUT if has_begun else None, "slow_request")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (in our words)
        self._refuse(HTTPStatus.BAD_REQUEST, "not_http")

    def _refuse(self, status: HTTPStatus | None, error: str) -> None:
        """Hang up, with an answer unless one is under way."""
        if status is not None and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(page(status, error))
        self.transport.close()


def _unambiguous(app: ASGI3Application) -> ASGI3Application:
    """The app, which sees no request whose length is said twice: a proxy in front might have read another one."""

    async def answered(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        names = [name for name, _ in scope.get("headers", ())] if scope["type"] == "http" else []
        if b"content-length" in names and b"transfer-encoding" in names:
            body = page(HTTPStatus.BAD_REQUEST, "not_http").rpartition(b"\r\n")[2]
            headers: list[tuple[bytes, bytes]] = [
                (b"content-type", b"application/json; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            start: Any = {"type": "http.response.start", "status": HTTPStatus.BAD_REQUEST.value, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        await app(scope, receive, send)

    return answered
