"""Running the receiver as a process: ``referral-stream ingest-http``."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from referral_stream import __version__
from referral_stream.receiver.app import Receiver, RequestLimits
from referral_stream.receiver.endpoints import Endpoint
from referral_stream.receiver.writer import SourceWriter, WriterProblem
from referral_stream.runtime.settings import PREFIX, ReceiverSettings, kafka_password_now

logger = logging.getLogger(__name__)
_protocol_logger = logging.getLogger(f"{__name__}.http")

_KEEPALIVE_SECONDS = 75.0
_ANSWER_SECONDS = 1.0  # for the last answers to leave
_LINGER_SECONDS = 2.0  # to read what a refused sender is still sending, so that it sees our answer


def serve(settings: ReceiverSettings, endpoints: Mapping[str, Endpoint]) -> int:
    """Receive until SIGTERM or SIGINT; the exit code: 0 after a graceful stop, 1 if it could not start.

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
        await writer.start({endpoint.topic for endpoint in endpoints.values()})
        async with _listening(receiver, settings, tls):
            await stop.wait()
            logger.info("draining")
    except (WriterProblem, _NotListening) as problem:
        logger.error("receiver_not_started", extra={"cause": str(problem)})  # noqa: TRY400 (for an operator: no traceback)
        return 1
    finally:
        await writer.stop()
    logger.info("stopped")
    return 0


class _NotListening(Exception):
    """The port is taken, or not allowed."""


@asynccontextmanager
async def _listening(receiver: Receiver, settings: ReceiverSettings, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Take requests until the context ends, which refuses new connections and lets requests in progress finish.

    That wait is here and not left to aiohttp, which reads no further bodies once it shuts down.
    """
    _protocol_logger.addFilter(_told_in_words)
    runner = web.AppRunner(
        receiver.app(),
        access_log=None,  # it would hold addresses and paths; refusals are logged by the app, without either
        logger=_protocol_logger,
        auto_decompress=False,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        lingering_time=_LINGER_SECONDS,
        shutdown_timeout=_ANSWER_SECONDS,
    )
    await runner.setup()
    site = web.TCPSite(runner, settings.http_host, settings.http_port, ssl_context=tls)
    try:
        try:
            await site.start()
        except OSError as error:
            place = f"{settings.http_host}:{settings.http_port}"
            raise _NotListening(
                f"cannot listen on {place} ({error.strerror or error}): see {PREFIX}HTTP_HOST and {PREFIX}HTTP_PORT"
            ) from None
        host, port = runner.addresses[0][:2]
        what = {"version": __version__, "brokers": ",".join(settings.kafka_brokers)}
        logger.info("listening", extra={"host": host, "port": port, "tls": tls is not None, **what})
        if tls is None and not _is_loopback(host):
            logger.warning("plain_http", extra={"remedy": f"end TLS in front of it, or set {PREFIX}HTTP_CERT_FILE"})
        yield
        await site.stop()
        await receiver.drain(settings.http_drain_seconds)
    finally:
        await runner.cleanup()


def _told_in_words(record: logging.LogRecord) -> bool:
    """What aiohttp logs about broken requests quotes them, and perhaps a token: leave that out."""
    error = record.exc_info[1] if record.exc_info else None
    record.msg, record.args = "request_failed", ()
    return not isinstance(error, HttpProcessingError)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
