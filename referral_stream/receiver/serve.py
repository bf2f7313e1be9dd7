"""Running the receiver as a process: ``referral-stream ingest-http``."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from referral_stream import __version__
from referral_stream.receiver.app import Receiver, RequestLimits
from referral_stream.receiver.endpoints import Endpoint
from referral_stream.receiver.writer import BrokersUnavailable, SourceWriter, WriterProblem
from referral_stream.runtime.addresses import is_loopback
from referral_stream.runtime.consumer_roles import (
    BrokersAwayAtStart,
    ExitCode,
    NotStarted,
    await_brokers,
    unless_stopped,
)
from referral_stream.runtime.http_server import CannotListen, ConnectionLimits, listening
from referral_stream.runtime.settings import PREFIX, ReceiverSettings, kafka_password_now

logger = logging.getLogger(__name__)


def serve(settings: ReceiverSettings, endpoints: Mapping[str, Endpoint]) -> int:
    """Receive until SIGTERM or SIGINT; the exit code: 0 after a stop, 1 if it cannot start, 75 if brokers stay away.

    What keeps it from starting is logged as one line. Raises SettingsProblem for unusable TLS files.
    """
    return asyncio.run(_serve(settings, endpoints))


async def _serve(settings: ReceiverSettings, endpoints: Mapping[str, Endpoint]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own events say the same
    tls = settings.http_ssl_context()
    writer = SourceWriter(
        settings.kafka_client(),
        max_record_bytes=settings.http_max_body_bytes,
        ack_seconds=settings.http_ack_seconds,
        client_now=lambda: settings.model_copy(update={"kafka_password": kafka_password_now(settings)}).kafka_client(),
    )
    limits = RequestLimits(body_bytes=settings.http_max_body_bytes, requests=settings.http_max_requests)
    receiver = Receiver(endpoints, writer, limits, public_url=settings.http_public_url)
    try:
        if not await unless_stopped(stop, await_brokers(settings)):
            return ExitCode.STOPPED
        await writer.start({endpoint.topic for endpoint in endpoints.values()})
        async with _listening(receiver, settings, tls):
            await stop.wait()
            logger.info("draining")
    except (NotStarted, BrokersAwayAtStart, WriterProblem, CannotListen) as problem:
        logger.error("receiver_not_started", extra={"cause": str(problem)})  # noqa: TRY400 (for an operator: no traceback)
        away = isinstance(problem, (BrokersAwayAtStart, BrokersUnavailable))
        return ExitCode.RESTART if away else ExitCode.FAILED
    finally:
        await writer.stop()
    logger.info("stopped")
    return 0


@asynccontextmanager
async def _listening(receiver: Receiver, settings: ReceiverSettings, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Take requests until the context ends, which refuses new connections and lets requests in progress finish.

    That wait is here and not left to aiohttp, which reads no further bodies once it shuts down.
    """
    connections = ConnectionLimits(settings.http_max_connections, settings.http_max_connections_per_address)
    at = (settings.http_host, settings.http_port)
    try:
        async with listening(receiver.app(), *at, connections, tls=tls) as here:
            what = {"version": __version__, "brokers": ",".join(settings.kafka_brokers)}
            logger.info("listening", extra={"host": here.host, "port": here.port, "tls": tls is not None, **what})
            if tls is None and not is_loopback(here.host):
                logger.warning("plain_http", extra={"remedy": f"end TLS in front of it, or set {PREFIX}HTTP_CERT_FILE"})
            yield
            here.stop()
            await receiver.drain(settings.http_drain_seconds)
    except CannotListen as problem:
        raise CannotListen(
            f"cannot listen on {at[0]}:{at[1]} ({problem}): see {PREFIX}HTTP_HOST and {PREFIX}HTTP_PORT"
        ) from None
