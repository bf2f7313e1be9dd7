"""Connections of aiokafka under uvloop: a write to a closed transport counts as a broken connection.

asyncio's own transport drops what is written after it was closed; uvloop's raises RuntimeError, which aiokafka does not
expect. It would end aiokafka's background tasks permanently and silently: without the one that refreshes the metadata,
a consumer that lost its coordinator with a crashed broker would wait for it forever.
"""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def survive_closed_transports() -> None:
    """From now on, every client in this process treats such a write as a lost connection, and reconnects."""
    AIOKafkaConnection.send = _sent


def _sent(connection: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return _send(connection, *args, **kwargs)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"connection to {connection.host}:{connection.port} broken: {error}") from error
