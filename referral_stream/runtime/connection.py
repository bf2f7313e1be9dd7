"""Why a broker does not let us in: name, port, TLS or password. One sentence, with the setting to look at."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import (
    BrokerResponseError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnknownError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

TRY_SECONDS: Final = 5.0
_NOT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_S: Final = "REFERRAL_STREAM_KAFKA_"


class NoConnection(NamedTuple):
    """``why`` is one line for an operator; ``passes``: no broker turns us away for good, it may be better soon."""

    why: str
    passes: bool


async def no_connection(client: Mapping[str, Any], error: BaseException) -> NoConnection:
    """Why a client with these connection settings (as aiokafka names them) failed with ``error``.

    Every broker is tried once more, since aiokafka gives no reasons; ``error`` counts where one of them lets us in. No
    secret is in the answer.
    """
    problem = await dialled(client)
    told = f"Kafka at {','.join(_brokers(client))}: {kafka_words(error)}"
    for_good = isinstance(error, BrokerResponseError) and not error.retriable and not isinstance(error, UnknownError)
    return problem or NoConnection(told, passes=not for_good)


def kafka_words(error: BaseException) -> str:
    """What an error of aiokafka's says, for an operator."""
    if isinstance(error, InvalidSessionTimeoutError):
        return (
            "the brokers do not allow our session timeout; set REFERRAL_STREAM_SESSION_TIMEOUT_SECONDS within their "
            "group.min.session.timeout.ms and group.max.session.timeout.ms, or change those"
        )
    return str(error) or type(error).__name__


async def why_no_connection(client: Mapping[str, Any], error: BaseException) -> str:
    """The line of ``no_connection``."""
    return (await no_connection(client, error)).why


async def connection_problem(client: Mapping[str, Any]) -> str | None:
    """What keeps us from every broker of these connection settings, in one line; None if one of them lets us in."""
    problem = await dialled(client)
    return problem and problem.why


async def dialled(client: Mapping[str, Any]) -> NoConnection | None:
    """As ``connection_problem``, and whether it may pass."""
    brokers = _brokers(client)
    with quiet_kafka():
        tried = await asyncio.gather(*(_why_not(broker, client) for broker in brokers))
    if None in tried:
        return None
    found = [each for each in tried if each is not None]
    whys = dict.fromkeys(each.why for each in found)
    line = f"no connection to Kafka at {','.join(brokers)}: {'; '.join(whys)}"
    return NoConnection(line, passes=all(each.passes for each in found))


def _brokers(client: Mapping[str, Any]) -> list[str]:
    given = client["bootstrap_servers"]
    return [broker.strip() for broker in (given.split(",") if isinstance(given, str) else given)]


async def _why_not(broker: str, client: Mapping[str, Any]) -> NoConnection | None:
    try:
        why = await _tried(broker, client)
    except _Refused as refused:
        return NoConnection(str(refused), passes=False)
    return None if why is None else NoConnection(why, passes=True)


class _Refused(Exception):
    """What waiting does not change, in one line."""


async def _tried(broker: str, client: Mapping[str, Any]) -> str | None:
    host, _, port = broker.rpartition(":")
    security = client.get("security_protocol", "PLAINTEXT")
    user, mechanism = client.get("sasl_plain_username"), client.get("sasl_mechanism")
    wanted = {name: value for name, value in client.items() if name.startswith("sasl_") or name == "ssl_context"}
    try:
        async with asyncio.timeout(TRY_SECONDS):
            connection = await create_conn(
                host.strip("[]"),
                int(port),
                security_protocol=security,
                request_timeout_ms=int(TRY_SECONDS * 1000),
                **wanted,
            )
            try:
                if not security.startswith("SASL"):  # who wants a password lets us connect, and asks for it now
                    await connection.send(MetadataRequest([], allow_auto_topic_creation=False))
            finally:
                connection.close()
    except SaslAuthenticationFailed:
        raise _Refused(
            f"{broker} refused the password of user {user!r} ({mechanism}); see {_S}USERNAME and {_S}PASSWORD"
        ) from None
    except UnsupportedSaslMechanismError:
        raise _Refused(f"{broker} does not offer {mechanism}; see {_S}SASL_MECHANISM") from None
    except socket.gaierror:
        return f"no such host: {host}; see {_S}BROKERS"
    except ssl.SSLCertVerificationError as problem:
        told = f"the certificate of {broker} is not trusted ({problem.verify_message})"
        raise _Refused(f"{told}; see {_S}CA_FILE") from None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return f"{broker} ended in the middle of the TLS handshake; is it starting, or stopping?"
    except ssl.SSLError as problem:
        if problem.reason in _NOT_TLS:
            raise _Refused(f"{broker} does not speak TLS; see {_S}SECURITY={security}") from None
        told = f"{broker} ended the TLS handshake ({problem.reason})"
        raise _Refused(f"{told}; see {_S}CERT_FILE and {_S}KEY_FILE") from None
    except ConnectionRefusedError:
        return f"nothing listens at {broker}; is it running, and is {_S}BROKERS right?"
    except TimeoutError:
        return f"no answer from {broker} within {TRY_SECONDS:.0f} s; is {_S}BROKERS right, and does {_S}SECURITY fit?"
    except (ConnectionError, KafkaConnectionError):
        told = f"{broker} closed the connection; it may want another {_S}SECURITY than {security}"
        return f"{told}, or a client certificate ({_S}CERT_FILE)" if security == "SSL" else told
    except (OSError, KafkaError) as problem:
        return f"{broker}: {str(problem) or type(problem).__name__}"
    return None


@contextmanager
def quiet_kafka() -> Iterator[None]:
    """Silence aiokafka, which logs every attempt at every broker: the one-line problem covers it.

    Several may overlap: the last one to end gives it back the level that it had before the first.
    """
    chatter = logging.getLogger("aiokafka")
    if not _silenced:
        _silenced.append(chatter.level)
        chatter.setLevel(logging.CRITICAL)
    else:
        _silenced.append(_silenced[0])
    try:
        yield
    finally:
        level = _silenced.pop()
        if not _silenced:
            chatter.setLevel(level)


_silenced: Final[list[int]] = []
"""The level before, once for each that silences it now."""
