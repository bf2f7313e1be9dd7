"""Would a worker that starts now reach the brokers, while this one does not?

aiokafka asks for the brokers' addresses once, and later only those that it knows: if all come back elsewhere, it dials
the old ones for ever. Nor does it learn of a new password. A new process would; this one can only end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ssl import SSLEOFError, SSLError, SSLZeroReturnError
from typing import Any, Final

from aiokafka.client import collect_hosts
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from faust_batches.errors import NotAllowed

_SECONDS: Final = 5.0
"""For each broker. A name that resolves, and a port that answers, take milliseconds."""

_CONNECTION: Final = frozenset({"client_id", "ssl_context", "security_protocol"})


@dataclass(frozen=True, slots=True)
class Reach:
    """What came of dialling the brokers."""

    known: bool = False
    """One of the addresses that this process has answers it: it will find its way back by itself."""
    anew: bool = False
    """The configured brokers answer somebody who begins with them, and so does one that they name."""
    refused: str = ""
    """What a broker says that does not take our credentials; empty: none of them says so."""


async def reach(known: Iterable[tuple[str, int]], held: Mapping[str, Any], fresh: Mapping[str, Any]) -> Reach:
    """Dial the addresses that are ``known`` as this process would, and the configured brokers as a new one would.

    ``held`` and ``fresh`` are connection settings, as aiokafka names them: those in use, and those of now.
    """
    if any(await asyncio.gather(*(_answers(address, held) for address in known))):
        return Reach(known=True)
    refused = ""
    for host, port, _ in collect_hosts(fresh["bootstrap_servers"]):
        try:
            named = await _brokers_named_by((host, port), fresh)
        except (AuthenticationFailedError, SaslAuthenticationFailed) as exc:
            refused = refused or f"{host}:{port}: {str(exc) or type(exc).__name__}"
        except (OSError, KafkaError, TimeoutError):
            continue
        else:
            if any(await asyncio.gather(*(_answers(address, fresh) for address in named))):
                return Reach(anew=True)
    return Reach(refused=refused)


async def require_let_in(settings: Mapping[str, Any]) -> None:
    """Raises NotAllowed if a broker turns us away for good, and none of those that are configured lets us in."""
    hosts = [(host, port) for host, port, _ in collect_hosts(settings["bootstrap_servers"])]
    told = await asyncio.gather(*(_refused_by(address, settings) for address in hosts))
    if None not in told and (refused := next(filter(None, told), "")):
        raise NotAllowed(f"the brokers do not take our credentials, or we not their certificate: {refused}")


async def _refused_by(address: tuple[str, int], settings: Mapping[str, Any]) -> str | None:
    """None: it lets us in. Empty: it cannot be asked now."""
    try:
        (await _connected(address, settings)).close()
    except (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError, SSLError) as exc:
        if isinstance(exc, SSLEOFError | SSLZeroReturnError):  # it ended in the middle of the handshake
            return ""
        host, port = address
        return f"{host}:{port}: {str(exc) or type(exc).__name__}"
    except (OSError, KafkaError, TimeoutError):
        return ""
    return None


async def _answers(address: tuple[str, int], settings: Mapping[str, Any]) -> bool:
    try:
        (await _connected(address, settings)).close()
    except (OSError, KafkaError, TimeoutError):
        return False
    return True


async def _brokers_named_by(address: tuple[str, int], settings: Mapping[str, Any]) -> list[tuple[str, int]]:
    connection = await _connected(address, settings)
    try:
        metadata = await connection.send(MetadataRequest([]))
    finally:
        connection.close()
    return [(broker[1], broker[2]) for broker in metadata.brokers]


async def _connected(address: tuple[str, int], settings: Mapping[str, Any]) -> AIOKafkaConnection:
    wanted = {name: value for name, value in settings.items() if name in _CONNECTION or name.startswith("sasl_")}
    async with asyncio.timeout(_SECONDS):
        return await create_conn(*address, request_timeout_ms=int(_SECONDS * 1000), **wanted)
