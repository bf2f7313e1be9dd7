"""uvloop refuses to write to a transport that is closed; aiokafka knows only of connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest
from faust_batches.uvloop_patch import survive_closed_transports

uvloop = pytest.importorskip("uvloop")


@pytest.fixture
def surviving() -> Iterator[None]:
    before = AIOKafkaConnection.send
    survive_closed_transports()
    yield
    AIOKafkaConnection.send = before


async def a_connection_whose_transport_is_closed() -> AIOKafkaConnection:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        connection = AIOKafkaConnection("127.0.0.1", 9092)
        connection._versions = {MetadataRequest.API_KEY: (0, 5)}
        connection._reader, connection._writer = reader, writer
        connection._read_task = asyncio.create_task(reader.read())
        writer.transport.abort()
        await connection._read_task
        return connection


async def ask_for_metadata() -> None:
    connection = await a_connection_whose_transport_is_closed()
    await connection.send(MetadataRequest([]))


def test_aiokafka_still_lets_the_refusal_through() -> None:
    with pytest.raises(RuntimeError, match="closed"):
        uvloop.run(ask_for_metadata())


@pytest.mark.usefixtures("surviving")
def test_a_write_to_a_closed_transport_is_a_broken_connection() -> None:
    with pytest.raises(KafkaConnectionError, match="closed"):
        uvloop.run(ask_for_metadata())
