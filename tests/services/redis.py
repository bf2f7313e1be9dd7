"""A real redis-server on a free loopback port, with its own directory.

with RedisServer() as server:
    client = redis.Redis.from_url(server.url)
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.services.certificates import issue_certificates
from tests.services.process import ServerProcess, ServiceUnavailable, accepts_connections, free_port, wait_until

_READY_SECONDS = 15


def redis_missing() -> str | None:
    """Why Redis cannot be started on this machine, with the remedy; None when it can."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed: apt-get install redis-server"
    return None


class RedisServer:
    """One redis-server. With `append_only=True` every acknowledged write survives `kill9()`; without it none does.

    `tls=True`: it speaks TLS only, and to nobody without a certificate of its authority (`tls_settings`).
    """

    def __init__(self, *, append_only: bool = False, password: str | None = None, tls: bool = False) -> None:
        if reason := redis_missing():
            raise ServiceUnavailable(reason)
        self._append_only = append_only
        self._password = password
        self._port = free_port()
        self._process: ServerProcess | None = None
        self.home = Path(tempfile.mkdtemp(prefix="redis-for-tests-"))
        self._certificates = issue_certificates(self.home) if tls else None

    @property
    def url(self) -> str:
        login = f":{self._password}@" if self._password else ""
        scheme = "redis" if self._certificates is None else "rediss"
        return f"{scheme}://{login}127.0.0.1:{self._port}/0"

    @property
    def port(self) -> int:
        return self._port

    @property
    def tls_settings(self) -> dict[str, Any]:
        """PEM files as redis-py names them; empty without TLS."""
        if self._certificates is None:
            return {}
        ours = str(self._certificates.server)
        return {"ssl_ca_certs": str(self._certificates.authority), "ssl_certfile": ours, "ssl_keyfile": ours}

    @property
    def log(self) -> Path:
        return self.home / "redis.log"

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Start on the data that is there (or on none) and return when it answers a PING."""
        settings = {
            "bind": "127.0.0.1",
            "port": self._port,
            "dir": self.home,
            "save": '""',
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "always",
            "repl-diskless-sync-delay": 0,
        }
        if self._certificates is not None:
            settings |= {
                "port": 0,
                "tls-port": self._port,
                "tls-cert-file": self._certificates.server,
                "tls-key-file": self._certificates.server,
                "tls-ca-cert-file": self._certificates.authority,
            }
        if self._password:
            settings["requirepass"] = self._password
        config = self.home / "redis.conf"
        config.touch(mode=0o600)
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self._process = ServerProcess("redis-server", ["redis-server", str(config)], self.log)
        self._process.await_ready(self._answers, seconds=_READY_SECONDS)
        return self

    def stop(self) -> None:
        """An orderly shutdown; what was appended stays."""
        if self._process is not None:
            self._process.stop()

    def kill9(self) -> None:
        """The crash: no farewell, nothing flushed."""
        self._running().kill9()

    def forget(self) -> None:
        """Remove what a server that is not running has kept: it starts with an empty memory."""
        shutil.rmtree(self.home / "appendonlydir", ignore_errors=True)

    def follow(self, master: RedisServer | None, *, seconds: float = 30.0) -> None:
        """Become a replica of that server, and return when it has all that is there; None: a master of its own."""
        with self._client() as client:
            if master is None:
                client.replicaof("NO", "ONE")
                return
            client.replicaof("127.0.0.1", str(master.port))
            wait_until(
                lambda: client.info("replication").get("master_link_status") == "up",
                "the replica follows",
                seconds=seconds,
            )

    def restart(self) -> Self:
        """Stop if running, and start again on the same port and directory."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing answers."""
        self._running().pause()

    def resume(self) -> None:
        self._running().resume()

    def close(self) -> None:
        """Stop and remove every trace."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> ServerProcess:
        if self._process is None:
            raise ValueError("the server was never started")
        return self._process

    def _answers(self) -> bool:
        if not accepts_connections(self._port):
            return False
        with contextlib.suppress(redis.RedisError), self._client() as client:
            return bool(client.ping())
        return False

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=1, **self.tls_settings)
