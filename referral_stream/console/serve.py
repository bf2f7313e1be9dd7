"""Running the console: ``referral-stream console``."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import uvicorn

from referral_stream import __version__
from referral_stream.console.app import make_app
from referral_stream.console.comparing import Comparer
from referral_stream.console.connections import LIMITS, limited
from referral_stream.console.parts import Console, Letters
from referral_stream.console.policies import keep
from referral_stream.console.security import Tokens
from referral_stream.console.store import SharedStore
from referral_stream.ledger.servers import client_of
from referral_stream.read_models import NotReadable
from referral_stream.receiver.writer import BrokersUnavailable, SourceWriter, WriterProblem
from referral_stream.runtime.consumer_roles import (
    BrokersAwayAtStart,
    ExitCode,
    NotStarted,
    await_brokers,
    unless_stopped,
)
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.http_server import ConnectionLimits
from referral_stream.runtime.settings import PREFIX, ConsoleSettings, kafka_password_now, redis_url_now

if TYPE_CHECKING:
    from referral_stream.console.provider import Provider
    from referral_stream.ops.deadletters import DeadLetters, ListedLetter, ReplayOutcome

logger = logging.getLogger(__name__)

_REDIS_SECONDS: Final = 2.0
_ACK_SECONDS: Final = 4.0
_RECORD_BYTES: Final = 16_384
_LEAVE_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Served:
    """Where the console listens. ``ended`` is done when its server has ended, whatever for."""

    url: str
    console: Console
    ended: asyncio.Task[None]


class CannotServe(Exception):
    """Why the console cannot be started; one line."""


def run_console(settings: ConsoleSettings, deployment: Deployment) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0 after a stop, 1 if it cannot start, 75 if brokers stay away.

    What keeps it from starting is logged as one line. Raises SettingsProblem for a tokens file that cannot be used.
    """
    return asyncio.run(_run(settings, deployment))


async def _run(settings: ConsoleSettings, deployment: Deployment) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own events say the same
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # where it listens, we say
    try:
        if not await unless_stopped(stop, await_brokers(settings)):
            return ExitCode.STOPPED
        async with serving(settings, deployment) as served:
            logger.info("listening", extra={"url": served.url, "version": __version__})
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, served.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                stopping.cancel()
                cause = served.ended.exception()
                logger.error(
                    "console_ended", extra={"cause": type(cause).__name__ if cause else "it ended"}, exc_info=cause
                )
                return 1
            logger.info("draining")
    except (NotStarted, BrokersAwayAtStart, CannotServe, WriterProblem) as problem:
        logger.error("console_not_started", extra={"cause": str(problem)})  # noqa: TRY400 (for an operator: no traceback)
        away = isinstance(problem, (BrokersAwayAtStart, BrokersUnavailable))
        return ExitCode.RESTART if away else ExitCode.FAILED
    logger.info("stopped")
    return 0


@asynccontextmanager
async def serving(settings: ConsoleSettings, deployment: Deployment) -> AsyncIterator[Served]:
    """The console, from entry to exit. Raises CannotServe, WriterProblem, SettingsProblem."""
    tokens, provider = Tokens(settings.console_tokens_file), provider_of(settings)
    client = client_of(
        settings.redis_url.get_secret_value(),
        url_now=lambda: redis_url_now(settings),
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
        **settings.redis_tls(),
    )
    reader = deployment.reader()
    writer = SourceWriter(
        settings.kafka_client(),
        max_record_bytes=_RECORD_BYTES,
        ack_seconds=_ACK_SECONDS,
        client_now=lambda: settings.model_copy(update={"kafka_password": kafka_password_now(settings)}).kafka_client(),
    )
    store = SharedStore(client, settings.group_prefix)
    console = Console(
        settings=settings,
        policy=deployment.policy,
        clock=deployment.clock,
        reader=reader,
        store=store,
        writer=writer,
        letters=letters_of(deployment),
        tokens=tokens,
        comparer=Comparer(store, reader.bodies, deployment.policy),
        provider=provider,
    )
    async with AsyncExitStack() as parts:  # whatever one of them does at its end, the others are closed
        for close in (client.aclose, reader.aclose, console.comparer.aclose, writer.stop):
            parts.push_async_callback(close)
        if provider:  # who has a token need not wait for it
            parts.callback(asyncio.create_task(provider.look()).cancel)
        await writer.start([deployment.topics.responses])
        with suppress(NotReadable):  # without Redis the page of the policy keeps it later
            await keep(store, deployment.policy, deployment.clock.now())
        async with listening(console) as (port, ended):
            host = f"[{settings.console_host}]" if ":" in settings.console_host else settings.console_host
            yield Served(settings.console_public_url or f"http://{host}:{port}", console, ended)


def provider_of(settings: ConsoleSettings) -> Provider | None:
    """The provider of the settings. What speaks with it is loaded only where they name one: it needs an extra."""
    if settings.console_oidc_issuer is None:
        return None
    from referral_stream.console.provider import Provider  # noqa: PLC0415

    return Provider(settings)


def letters_of(deployment: Deployment) -> Letters:
    """Dead letters of the deployment. What reads them loads Faust, so it is loaded when it is needed."""

    async def read() -> DeadLetters:
        from referral_stream.ops import deadletters  # noqa: PLC0415

        return await deadletters.read_dead_letters(deployment)

    async def replay(letters: Sequence[ListedLetter]) -> ReplayOutcome:
        from referral_stream.ops import deadletters  # noqa: PLC0415

        return await deadletters.replay(deployment, letters)

    return Letters(read, replay)


class _Server(uvicorn.Server):
    """A server that says when it has started, and leaves signals to those who run it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@asynccontextmanager
async def listening(
    console: Console, limits: ConnectionLimits = LIMITS
) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """A server of the console: its port, and the task that is done when it has ended. Raises CannotServe."""
    settings = console.settings
    config = uvicorn.Config(
        make_app(console), host=settings.console_host, port=settings.console_port, log_config=None, access_log=False,
        server_header=False, date_header=True, lifespan="on", timeout_graceful_shutdown=_LEAVE_SECONDS,
        http=limited(limits), h11_max_incomplete_event_size=32_768, proxy_headers=False, ws="none",
    )  # fmt: skip
    server = _Server(config)
    with _socket(settings) as listener:
        running = asyncio.create_task(server._serve([listener]))  # noqa: SLF001 (`serve` would take over signals)
        listens = asyncio.create_task(server.listens.wait())
        try:
            await asyncio.wait({running, listens}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                raise CannotServe(f"it did not start: {running.exception() or 'it ended'}")
            yield listener.getsockname()[1], running
        finally:
            listens.cancel()
            console.stopping.set()
            server.should_exit = True
            with suppress(Exception):  # it has been told
                await running


def _socket(settings: ConsoleSettings) -> socket.socket:
    host, port = settings.console_host, settings.console_port
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {host}:{port} ({error.strerror or error}): "
            f"see {PREFIX}CONSOLE_HOST and {PREFIX}CONSOLE_PORT"
        ) from None
