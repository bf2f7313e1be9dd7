"""A network between a client and a server on this machine: it may lose connections, or leave them half-open.

with Proxy(server_port) as network:
    ... network.address ...
    network.silence()   # what is connected now is connected for ever, and hears nothing more
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536


class Proxy:
    """Passes bytes on between its own port and ``target``, a port of this machine, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._in_loop(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def close(self) -> None:
        """Take no more connections, and reset those that there are."""
        if self._server is not None:
            self._loop.call_soon_threadsafe(self._server.close)
        self.reset()

    def reset(self) -> None:
        """Reset every connection; new ones work."""
        self._loop.call_soon_threadsafe(self._abort)

    def silence(self) -> None:
        """From now on nothing passes through the present connections, which stay open; new ones work."""
        self._loop.call_soon_threadsafe(lambda: self._silent.update(*self._pairs))

    def _abort(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def _in_loop(self, work: object) -> asyncio.Server:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, target)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pass_on(reader, target), self._pass_on(target_reader, writer))
        finally:
            self._pairs.discard(pair)
            self._silent.difference_update(pair)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if writer not in self._silent:
                    writer.write(chunk)
                    await writer.drain()
        writer.close()
