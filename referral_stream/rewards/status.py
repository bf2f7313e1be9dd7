"""What the role reports about itself over HTTP: ``/live``, ``/ready`` and ``/metrics``, as every worker does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from time import monotonic
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as in_text
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from referral_stream import __version__
from referral_stream.core.instants import SECOND
from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.reading import RewardsReader
from referral_stream.rewards.telling import Telling
from referral_stream.runtime.http_server import ConnectionLimits, listening
from referral_stream.runtime.settings import RewardsSettings

ROLE: Final = "rewards"
STUCK_SECONDS: Final = 120.0
"""Longer than any wait for a broker within one look at the topic."""

ENDS_ASKED_SECONDS: Final = 5.0
"""However many requests come, the broker is asked no more often than this."""

_LIMITS: Final = ConnectionLimits(connections=64, per_address=64)


class RewardsFamily(NamedTuple):
    """One metric; its full name begins with ``referral_stream_``."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    labels: tuple[str, ...] = ()


REWARDS_FAMILIES: Final = (
    RewardsFamily("rewards_build_info", "gauge", "1; the label says what is running", ("version",)),
    RewardsFamily("ready", "gauge", "1 while the role does its work, as /ready reports it", ("role",)),
    RewardsFamily("partitions", "gauge", "Partitions that this worker owns", ("role", "topic")),
    RewardsFamily("lag_records", "gauge", "Records of a partition that are not told", ("role", "topic", "partition")),
    RewardsFamily("assignments_total", "counter", "Assignments received: one for each rebalance", ("role",)),
    RewardsFamily("rewards_waiting", "gauge", "Grants and reversals that are read and not told"),
    RewardsFamily("rewards_oldest_seconds", "gauge", "How long ago the oldest of them was written; 0: none waits"),
    RewardsFamily("rewards_told_total", "counter", "Done with, by what the payer said", ("kind", "outcome")),
    RewardsFamily("rewards_attempts_total", "counter", "Requests by the status of their answer, or none", ("answer",)),
    RewardsFamily("rewards_unreadable_total", "counter", "Records without grant or customer: nobody is paid for them"),
)  # fmt: skip
"""All its metrics; docs/rewards.md lists them too."""


class RewardsStatus(Collector):
    """Answers from entry to exit; nowhere with port 0. Entry raises CannotListen."""

    def __init__(
        self,
        settings: RewardsSettings,
        backlog: RewardsBacklog,
        telling: Telling,
        reader: RewardsReader,
        now: Callable[[], int],
    ) -> None:
        self._at = (settings.status_host, settings.status_port)
        self._backlog, self._telling, self._reader, self._now = backlog, telling, reader, now
        self._ends_asked_at = float("-inf")
        self.brokers_answer, self.stopping, self.failure = True, False, ""
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        host, port = self._at
        if port:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)
            self._registry.register(self)
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
        """503 when a restart is the remedy: neither a broker nor a payer that is away is helped by one."""
        why = self.trouble()
        body = {"live": not why} | ({"why": {ROLE: why}} if why else {})
        return web.json_response(body, status=503 if why else 200)

    async def ready(self, _request: web.Request) -> web.Response:
        """200 while the role does its work; the body says what it lacks."""
        lacks = self.lacks()
        told = {"ready": not lacks, "partitions": len(self._backlog.partitions)} | ({"why": lacks} if lacks else {})
        return web.json_response({"ready": not lacks, "roles": {ROLE: told}}, status=503 if lacks else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        """All numbers, in Prometheus' text format."""
        if monotonic() - self._ends_asked_at >= ENDS_ASKED_SECONDS:
            self._ends_asked_at = monotonic()
            await self._reader.look_at_ends()
        return web.Response(body=in_text(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def trouble(self) -> str:
        """Why the process should be restarted; empty: it should not."""
        if self.failure:
            return f"failed: {self.failure}"
        silent = (self._now() - self._reader.looked_at) / SECOND if self._reader.looked_at else 0.0
        if silent > STUCK_SECONDS and self.brokers_answer and not self.stopping:
            return f"stuck: the topic has not been looked at for {silent:.0f} s"
        return ""

    def lacks(self) -> str:
        """What the role lacks to do its work; empty: nothing."""
        if self.failure:
            return f"failed: {self.failure}"
        if self.stopping:
            return "stopping"
        if not self.brokers_answer:
            return "the broker does not answer"
        if not self._reader.assignments:
            return "joining its group"
        if self._reader.opening:
            return "opening its partitions"
        if self._telling.trouble == "unreachable":
            return "the payer does not answer"
        return ""

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            each.name: (GaugeMetricFamily if each.kind == "gauge" else CounterMetricFamily)(
                f"referral_stream_{each.name}", each.meaning, labels=each.labels
            )
            for each in REWARDS_FAMILIES
        }

        def add(name: str, value: float, *labels: str) -> None:
            families[name].add_metric(labels, value)

        add("rewards_build_info", 1, __version__)
        add("ready", not self.lacks(), ROLE)
        add("partitions", len(self._backlog.partitions), ROLE, self._reader.topic)
        for partition, records in self._reader.lag().items():
            add("lag_records", records, ROLE, self._reader.topic, str(partition))
        add("assignments_total", self._reader.assignments, ROLE)
        oldest = self._backlog.oldest()
        add("rewards_waiting", sum(self._backlog.waiting().values()))
        add("rewards_oldest_seconds", 0.0 if oldest is None else max(0, self._now() - oldest) / SECOND)
        for (kind, outcome), count in self._telling.told.items():
            add("rewards_told_total", count, kind, outcome.value)
        for answer, count in self._telling.attempts.items():
            add("rewards_attempts_total", count, answer)
        add("rewards_unreadable_total", self._reader.unreadable)
        yield from families.values()


async def _bare(_request: web.Request, response: web.StreamResponse) -> None:
    """Never cached, and without the name and version of the software that answers."""
    response.headers["Cache-Control"] = "no-store"
    response.headers.pop("Server", None)
