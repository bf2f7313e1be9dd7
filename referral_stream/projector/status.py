"""What the role reports about itself and about what asking does: ``/live``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as in_text
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from referral_stream import __version__
from referral_stream.core.instants import SECOND
from referral_stream.projector.projecting import ROLE, Projecting
from referral_stream.read_models.views import Works
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.http_server import ConnectionLimits, listening

STUCK_SECONDS: Final = 120.0
"""Longer than any wait within one look at the topics."""

_LIMITS: Final = ConnectionLimits(connections=64, per_address=64)


class ProjectorFamily(NamedTuple):
    """One metric; its full name begins with ``referral_stream_``. ``shared``: other roles have it too."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    labels: tuple[str, ...] = ()
    shared: bool = False


PROJECTOR_FAMILIES: Final = (
    ProjectorFamily("ready", "gauge", "1 while the role does its work, as /ready reports it", ("role",), shared=True),
    ProjectorFamily("partitions", "gauge", "Partitions that this worker owns", ("role", "topic"), shared=True),
    ProjectorFamily(
        "lag_records", "gauge", "Records of a partition that are not applied", ("role", "topic", "partition"),
        shared=True,
    ),
    ProjectorFamily(
        "assignments_total", "counter", "Assignments received: one for each rebalance", ("role",), shared=True
    ),
    ProjectorFamily("projector_build_info", "gauge", "1; the label says what is running", ("version",)),
    ProjectorFamily("projector_redis_available", "gauge", "1 while the read models can be written"),
    ProjectorFamily("projector_lag_records", "gauge", "Records of all partitions owned that are not applied"),
    ProjectorFamily("projector_applied_records_total", "counter", "Records applied to the read models", ("topic",)),
    ProjectorFamily("projector_unreadable_total", "counter", "Records that nothing could be made of", ("topic",)),
    ProjectorFamily("projector_rebuilds_total", "counter", "Partitions applied anew because Redis had lost them"),
    ProjectorFamily("works", "gauge", "A figure of what asking does (after §7)", ("metric", "by", "value")),
    ProjectorFamily("works_of", "gauge", "Its denominator, or the number of values", ("metric", "by", "value")),
    ProjectorFamily("works_customers", "gauge", "Customers with a record"),
)  # fmt: skip
"""All its metrics; docs/operations.md lists them too."""


class ProjectorStatus(Collector):
    """What is told of a projector. ``works``: as last read, by the worker that leads; None: it does not.

    ``alone``: whether the page is its own. Beside other roles, what all roles have would be there twice.
    """

    def __init__(self, projecting: Projecting, *, alone: bool) -> None:
        self._projecting, self._alone, self._now = projecting, alone, Clock().now
        self.works: Works | None = None
        self.brokers_answer, self.stopping, self.failure = True, False, ""

    def trouble(self) -> str:
        """Why the process should be restarted; empty: it should not."""
        if self.failure:
            return f"failed: {self.failure}"
        if (refused := self._projecting.login.refused_seconds) > STUCK_SECONDS:
            return f"refused: Redis has refused our login for {refused:.0f} s"
        looked_at = self._projecting.looked_at
        silent = (self._now() - looked_at) / SECOND if looked_at else 0.0
        if silent > STUCK_SECONDS and self.brokers_answer and not self.stopping:
            return f"stuck: the topics have not been looked at for {silent:.0f} s"
        return ""

    def lacks(self) -> str:
        """What the role lacks to do its work; empty: nothing."""
        if self.failure:
            return f"failed: {self.failure}"
        if self.stopping:
            return "stopping"
        if not self.brokers_answer:
            return "the broker does not answer"
        if not self._projecting.assignments:
            return "joining its group"
        if self._projecting.available is False:
            return "Redis refuses our login" if self._projecting.login.refused else "Redis does not answer"
        if self._projecting.opening:
            return "opening its partitions"
        return ""

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            each.name: (GaugeMetricFamily if each.kind == "gauge" else CounterMetricFamily)(
                f"referral_stream_{each.name}", each.meaning, labels=each.labels
            )
            for each in PROJECTOR_FAMILIES
            if self._alone or not each.shared
        }

        def add(name: str, value: float, *labels: str) -> None:
            if name in families:
                families[name].add_metric(labels, value)

        ours = self._projecting
        add("ready", not self.lacks(), ROLE)
        for topic in ours.topics:
            add("partitions", sum(tp.topic == topic for tp in ours.partitions), ROLE, topic)
            add("projector_applied_records_total", ours.applied[topic], topic)
        for tp, records in ours.lag.items():
            add("lag_records", records, ROLE, tp.topic, str(tp.partition))
        add("assignments_total", ours.assignments, ROLE)
        add("projector_build_info", 1, __version__)
        add("projector_redis_available", ours.available is True)
        add("projector_lag_records", sum(ours.lag.values()))
        for topic, count in ours.unreadable.items():
            add("projector_unreadable_total", count, topic)
        add("projector_rebuilds_total", ours.rebuilds)
        if self.works is not None and ours.leads:
            add("works_customers", self.works.customers)
            for metric in self.works.metrics:
                by, value = next(iter(metric.labels.items()), ("", ""))
                add("works_of", metric.of, metric.name, by, value)
                if metric.value is not None:
                    add("works", metric.value, metric.name, by, value)
        yield from families.values()


class ProjectorPage:
    """Answers from entry to exit; nowhere with port 0. Entry raises CannotListen."""

    def __init__(self, deployment: Deployment, status: ProjectorStatus) -> None:
        self._at = (deployment.settings.status_host, deployment.settings.status_port)
        self._status = status
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        host, port = self._at
        if port:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)
            self._registry.register(self._status)
            await self._open.enter_async_context(listening(self._app(), host, port, _LIMITS))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def _app(self) -> web.Application:
        app = web.Application()
        for path, page in (("/live", self.live), ("/ready", self.ready), ("/metrics", self.metrics)):
            app.router.add_get(path, page, allow_head=False)
        app.on_response_prepare.append(_bare)
        return app

    async def live(self, _request: web.Request) -> web.Response:
        """503 when a restart is the remedy: neither a broker nor a Redis that is away is helped by one."""
        why = self._status.trouble()
        body = {"live": not why} | ({"why": {ROLE: why}} if why else {})
        return web.json_response(body, status=503 if why else 200)

    async def ready(self, _request: web.Request) -> web.Response:
        """200 while the role does its work; the body says what it lacks."""
        lacks = self._status.lacks()
        told = {"ready": not lacks} | ({"why": lacks} if lacks else {})
        return web.json_response({"ready": not lacks, "roles": {ROLE: told}}, status=503 if lacks else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        """All numbers, in Prometheus' text format."""
        return web.Response(body=in_text(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _bare(_request: web.Request, response: web.StreamResponse) -> None:
    """Never cached, and without the name and version of the software that answers."""
    response.headers["Cache-Control"] = "no-store"
    response.headers.pop("Server", None)
