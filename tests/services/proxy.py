"""A TCP address of its own in front of a server that may change, fall silent or break its connections.

with Proxy(server_port) as proxy:
    ... proxy.port ...
    proxy.lead_to(other_port)   # new connections; those that are there stay where they are
    proxy.silence()             # half-open: nothing comes through the connections that are there any more
    proxy.reset()               # and these end with an RST
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from tests.services.process import free_port

_PIECE: Final = 1 << 16
_T = TypeVar("_T")


class _Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = client, server
        self.is_silent = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if not self.is_silent:  # as behind a firewall that has forgotten the connection: it vanishes
                    writer.write(piece)
                    await writer.drain()
        for end in self.ends:
            end.close()

    def reset(self) -> None:
        for end in self.ends:
            _reset(end)


class Proxy:
    """Listens on a loopback port from `start`, or as a context, to `close`. Any thread may call it."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._thread.start()
        self._await(self._listen())
        return self

    def close(self) -> None:
        if self._thread.is_alive():
            self._await(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def lead_to(self, target: int) -> None:
        """From now on new connections go there."""
        self._target = target

    def silence(self) -> int:
        """Of the connections that are there nothing comes through any more, in either direction; how many these are."""

        def silence() -> int:
            for each in self._open:
                each.is_silent = True
            return len(self._open)

        return self._call(silence)

    def reset(self, share: float = 1.0, rng: random.Random | None = None) -> int:
        """End this share of the connections that are there, as by a router that restarts; how many these are."""

        def reset() -> int:
            there = list(self._open)
            chosen = there if rng is None else rng.sample(there, round(share * len(there)))
            for each in chosen:
                each.reset()
            return len(chosen)

        return self._call(reset)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _end(self) -> None:
        self._server.close()
        for each in list(self._open):
            each.reset()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except (OSError, asyncio.CancelledError):  # nobody listens there, or we end: neither do we
            _reset(writer)
            return
        connection = _Connection(writer, to_server)
        self._open.add(connection)
        try:
            await asyncio.gather(connection.pump(reader, to_server), connection.pump(from_server, writer))
        finally:
            self._open.discard(connection)

    def _await(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def _call(self, function: Callable[[], _T]) -> _T:
        async def called() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(30)


def _reset(end: asyncio.StreamWriter) -> None:
    raw = end.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it has ended by itself
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()
