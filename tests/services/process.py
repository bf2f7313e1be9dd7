"""One server process of a test: its ports, its log, its life and its death."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_LOG_LINES_SHOWN = 40
# Below the range from which the kernel takes ports for outgoing connections (32768 and up): a client that keeps
# dialling the port of a stopped server would otherwise, one day, be given that very port and connect to itself.
_PORTS = range(20_000, 32_000)


class ServiceUnavailable(Exception):
    """A program that the service needs is not on this machine; the message says which, and how to get it."""


class ServiceFailed(Exception):
    """The service was there but did not come up, or died; the message ends with the last lines of its log."""


def wait_until(
    condition: Callable[[], object], description: str, *, seconds: float = 90.0, every: float = 0.05
) -> None:
    """Return as soon as `condition()` is true; raise `TimeoutError`, naming `description`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain until {description}")
        time.sleep(every)


def free_port() -> int:
    """A loopback port that nobody listens on. Chosen at random, so that test runs side by side rarely meet."""
    candidates = random.SystemRandom().sample(_PORTS, 200)
    for port in candidates:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServiceFailed("no free loopback port found in 200 attempts")


def accepts_connections(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class ServerProcess:
    """A child process with its output in a file. It dies with the process that started it, however that ends."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops its services in order
            )
        # A shell that waits for the end of our pipe: a test run that is killed leaves no broker behind.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _ || kill -9 "$1"', "guard", str(self.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int:
        """Of a process that has ended; negative: the signal that ended it."""
        if self._process.returncode is None:
            raise ValueError(f"{self.name} is running")
        return self._process.returncode

    def stop(self, seconds: float = 30.0) -> None:
        """SIGTERM, and SIGKILL when it has not ended after `seconds`."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._end()

    def kill9(self) -> None:
        """The crash: SIGKILL, no farewell to clients, nothing flushed."""
        self._process.kill()
        self._end()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): its sockets stay open and silent."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def await_ready(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when `ready()`; raise `ServiceFailed`, with the end of the log, if it dies first or is too slow."""
        try:
            wait_until(lambda: not self.running or ready(), f"{self.name} is ready", seconds=seconds)
        except TimeoutError as late:
            self.kill9()
            raise ServiceFailed(f"{late}\n{self.last_lines()}") from late
        if not self.running:
            self._end()
            raise ServiceFailed(f"{self.name} ended with exit code {self._process.returncode}\n{self.last_lines()}")

    def last_lines(self) -> str:
        """The end of what it has said."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_SHOWN:])

    def _end(self) -> None:
        self._guard.kill()
        self._guard.communicate()
        self._process.wait()
