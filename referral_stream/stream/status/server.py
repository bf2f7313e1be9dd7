"""The HTTP side: three pages for GET, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from faust_batches import NeedsOperator, app_status, refresh_ends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.http_server import CannotListen, ConnectionLimits, listening
from referral_stream.runtime.settings import PREFIX
from referral_stream.stream.apps import Role
from referral_stream.stream.status.health import trouble, waiting_for
from referral_stream.stream.status.metrics import registry

logger = logging.getLogger(__name__)

_ENDS_SECONDS: Final = 5.0  # however many requests come, the broker is asked no more often than this
_LIMITS: Final = ConnectionLimits(connections=64, per_address=64)


class StatusPage:
    """Answers from entry to exit, in the event loop of the roles' apps. Entry raises NeedsOperator for a taken port."""

    def __init__(self, deployment: Deployment, roles: Sequence[Role], beside: Iterable[Collector] = ()) -> None:
        settings = deployment.settings
        self._host, self._port = settings.status_host, settings.status_port
        self._roles = tuple(roles)
        self._registry = registry(deployment, roles)
        for each in beside:
            self._registry.register(each)
        self._ends_asked_at = float("-inf")
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._open.enter_async_context(listening(self._app(), self._host, self._port, _LIMITS))
        except CannotListen as problem:
            raise NeedsOperator(
                f"cannot listen on {self._host}:{self._port} ({problem}): set {PREFIX}STATUS_PORT to a"
                f" free port, or to 0 for no status page; {PREFIX}STATUS_HOST is the address"
            ) from None
        logger.info("status_page", extra={"host": self._host, "port": self._port})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def _app(self) -> web.Application:
        app = web.Application()
        for path, page in (("/live", self.live), ("/ready", self.ready), ("/metrics", self.metrics)):
            app.router.add_get(path, page, allow_head=False)
        app.on_response_prepare.append(_plain)
        return app

    async def live(self, _request: web.Request) -> web.Response:
        """503 when a restart is the remedy; see ``trouble``. Any answer shows that the event loop is running."""
        roles = {role.name: trouble(role, app_status(role.app)) for role in self._roles}
        live = not any(roles.values())
        body = {"live": live} | ({} if live else {"why": {name: why for name, why in roles.items() if why}})
        return web.json_response(body, status=200 if live else 503)

    async def ready(self, _request: web.Request) -> web.Response:
        """200 while every role does its work; the body says what each has, and what it lacks."""
        roles = {role.name: _told(role) for role in self._roles}
        ready = all(told["ready"] for told in roles.values())
        return web.json_response({"ready": ready, "roles": roles}, status=200 if ready else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """All numbers, in Prometheus' text format."""
        if monotonic() - self._ends_asked_at >= _ENDS_SECONDS:
            self._ends_asked_at = monotonic()
            await asyncio.gather(*(refresh_ends(role.app) for role in self._roles))
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _told(role: Role) -> dict[str, Any]:
    now = app_status(role.app)
    lacks = waiting_for(role, now)
    told: dict[str, Any] = {"ready": not lacks, "partitions": now.partitions}
    if lacks:
        told["why"] = lacks
    if now.recovery_left:
        read = role.app.meter.recovered
        told["recovery"] = {
            table: {"records_left": left, "records_read": read[table]} for table, left in now.recovery_left.items()
        }
    return told


async def _plain(_request: web.Request, response: web.StreamResponse) -> None:
    """Never cached, and without the name and version of the software that answers."""
    response.headers["Cache-Control"] = "no-store"
    response.headers.pop("Server", None)
