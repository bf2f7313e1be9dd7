"""The proxy does to a connection what networks do."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.services.proxy import Proxy


class Named(socketserver.ThreadingTCPServer):
    """Answers every line with its own name."""

    daemon_threads = True

    def __init__(self, name: bytes) -> None:
        class Answer(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline():
                    self.wfile.write(name + b"\n")

        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """A connection that breaks is what is tested."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@pytest.fixture
def servers() -> Iterator[tuple[Named, Named]]:
    with Named(b"old") as old, Named(b"new") as new:
        yield old, new
        old.shutdown()
        new.shutdown()


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"who\n")
    return connection.recv(100)


def test_connections_stay_where_they_are_and_new_ones_go_where_it_leads(servers: tuple[Named, Named]) -> None:
    old, new = servers
    with Proxy(old.port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as first:
        assert ask(first) == b"old\n"
        proxy.lead_to(new.port)
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as second:
            assert (ask(first), ask(second)) == (b"old\n", b"new\n")


def test_a_half_open_connection_is_silent_and_a_new_one_is_not(servers: tuple[Named, Named]) -> None:
    old, _ = servers
    with Proxy(old.port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as first:
        assert ask(first) == b"old\n"
        assert proxy.silence() == 1
        first.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(first)
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as second:
            assert ask(second) == b"old\n"


def test_a_reset_connection_ends_at_once(servers: tuple[Named, Named]) -> None:
    old, _ = servers
    with Proxy(old.port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as first:
        assert ask(first) == b"old\n"
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            first.recv(100)


def test_where_nobody_listens_a_connection_ends() -> None:
    with (
        Proxy(1) as proxy,
        pytest.raises(ConnectionResetError),  # at once, or when it is read from
        socket.create_connection(("127.0.0.1", proxy.port), 10) as first,
    ):
        first.recv(100)
