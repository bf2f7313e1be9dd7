"""Why there is no connection to Kafka is said in one line, each reason apart from the others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    UnknownError,
)

from referral_stream.runtime import connection
from referral_stream.runtime.connection import connection_problem, no_connection
from tests.services.certificates import issue_certificates
from tests.services.process import free_port

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def a_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Something that listens, and is no broker."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


async def says_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


def client(broker: str, security: str = "PLAINTEXT", **more: Any) -> dict[str, Any]:
    return {"bootstrap_servers": [broker], "security_protocol": security, **more}


async def test_a_port_where_nobody_listens() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    assert await connection_problem(client(nobody)) == (
        f"no connection to Kafka at {nobody}: nothing listens at {nobody}; is it running, and is "
        "REFERRAL_STREAM_KAFKA_BROKERS right?"
    )


async def test_a_host_that_nobody_knows() -> None:
    problem = await connection_problem(client("kafka.invalid:9092"))
    assert problem is not None
    assert problem.startswith("no connection to Kafka at kafka.invalid:9092: no such host: kafka.invalid; see ")


async def test_tls_to_a_plain_port() -> None:
    async with a_server(greets) as broker:
        problem = await connection_problem(client(broker, "SSL", ssl_context=ssl.create_default_context()))
    assert problem is not None
    assert problem.endswith(f"{broker} does not speak TLS; see REFERRAL_STREAM_KAFKA_SECURITY=SSL")


async def test_a_certificate_from_nobody_we_trust(tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(issue_certificates(tmp_path).server)
    async with a_server(hangs_up, tls) as broker:
        problem = await connection_problem(client(broker, "SSL", ssl_context=ssl.create_default_context()))
    assert problem is not None
    assert f"the certificate of {broker} is not trusted (" in problem
    assert problem.endswith("; see REFERRAL_STREAM_KAFKA_CA_FILE")


async def test_a_broker_that_hangs_up_at_once() -> None:
    async with a_server(hangs_up) as broker:
        problem = await connection_problem(client(broker))
    assert problem is not None
    assert problem.endswith(
        f"{broker} closed the connection; it may want another REFERRAL_STREAM_KAFKA_SECURITY than PLAINTEXT"
    )


async def test_a_broker_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TRY_SECONDS", 0.2)
    async with a_server(says_nothing) as broker:
        problem = await connection_problem(client(broker))
    assert problem is not None
    assert f"no answer from {broker} within 0 s" in problem


async def test_several_brokers_are_all_told_and_each_reason_once() -> None:
    nobody = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    problem = await connection_problem({"bootstrap_servers": ",".join(nobody)})
    assert problem is not None
    assert all(f"nothing listens at {broker}" in problem for broker in nobody)
    assert "\n" not in problem


async def test_what_is_no_matter_of_the_connection_is_told_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lets_us_in(_client: Any) -> None:
        return None

    monkeypatch.setattr(connection, "dialled", lets_us_in)
    found = await no_connection(client("kafka:9092"), KafkaConnectionError("lost it"))
    assert found == ("Kafka at kafka:9092: KafkaConnectionError: lost it", True)


@pytest.mark.parametrize(
    ("error", "passes"),
    [(KafkaTimeoutError(), True), (UnknownError(), True), (GroupAuthorizationFailedError(), False)],
)
async def test_what_a_broker_refuses_that_lets_us_in_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError, *, passes: bool
) -> None:
    async def lets_us_in(_client: Any) -> None:
        return None

    monkeypatch.setattr(connection, "dialled", lets_us_in)
    assert (await no_connection(client("kafka:9092"), error)).passes == passes


async def test_the_settings_of_a_session_timeout_that_is_refused_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lets_us_in(_client: Any) -> None:
        return None

    monkeypatch.setattr(connection, "dialled", lets_us_in)
    found = await no_connection(client("kafka:9092"), InvalidSessionTimeoutError())
    assert not found.passes
    for named in ("SESSION_TIMEOUT_SECONDS", "group.min.session.timeout.ms", "group.max.session.timeout.ms"):
        assert named in found.why
