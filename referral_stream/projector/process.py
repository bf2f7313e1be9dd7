"""Running the role: as a process of its own (``referral-stream run projector``), or beside the roles that decide."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Final

from aiokafka.errors import KafkaError
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from referral_stream import __version__
from referral_stream.projector.harm import NotSent, judge_once, knowing, sender
from referral_stream.projector.projecting import ROLE, Projecting, TopicMadeAnew
from referral_stream.projector.status import ProjectorPage, ProjectorStatus
from referral_stream.projector.watching import seen_roles
from referral_stream.read_models.writing import OtherForm, WriteRefused
from referral_stream.runtime.clients import close
from referral_stream.runtime.connection import connection_problem, kafka_words, no_connection, quiet_kafka
from referral_stream.runtime.consumer_roles import (
    BrokersAwayAtStart,
    BrokersElsewhere,
    BrokersWatch,
    ExitCode,
    NotStarted,
)
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.gc_tuning import spare_values
from referral_stream.runtime.http_server import CannotListen
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.runtime.logs import configure_logging
from referral_stream.runtime.settings import PREFIX
from referral_stream.runtime.topics_admin import TopicsProblem, require_topics

logger = logging.getLogger(__name__)

_CANCELLED_AGAIN_SECONDS = 1.0

ALONE_RECORDS: Final = 2_000
"""At a time, in a process of its own."""
BESIDE_RECORDS: Final = 100
"""Beside the deciding roles, whose event loop it shares: some 5 ms."""
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 4.0
"""For each step: everything has been applied, and the roles beside it want to end, too."""
LOOK_SECONDS: Final = 10.0
"""How often the roles' groups are looked at, and the figures read."""
JUDGE_SECONDS: Final = 300.0
AGAIN_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""After a failure beside the deciding roles, which it must not end."""


class Projector:
    """The parts of the role; made in an event loop, run once."""

    def __init__(self, deployment: Deployment, *, alone: bool) -> None:
        self._deployment = deployment
        self._writer = deployment.writer()
        most = ALONE_RECORDS if alone else BESIDE_RECORDS
        self._projecting = Projecting(deployment, self._writer, most=most)
        self.status = ProjectorStatus(self._projecting, alone=alone)

    async def start(self) -> None:
        """Join the group. Raises NotStarted, and BrokersAwayAtStart after ``START_WAIT_SECONDS``."""
        settings, client = self._deployment.settings, self._deployment.client()
        deadline, throttle = monotonic() + settings.start_wait_seconds, LogThrottle(logger)
        while (problem := await self._topics_problem()) is not None:
            if monotonic() > deadline:
                raise BrokersAwayAtStart(problem)
            throttle.warn("no_broker_answers", problem)
            await asyncio.sleep(1)
        consumer = self._projecting.consumer
        consumer.subscribe(list(self._projecting.topics), listener=self._projecting)
        try:
            async with asyncio.timeout(START_SECONDS):
                with quiet_kafka():
                    await consumer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            found = await no_connection(client, error)
            raise (BrokersAwayAtStart if found.passes else NotStarted)(found.why) from None
        logger.info("starting", extra={"role": ROLE, "group": self._projecting.group, "version": __version__})

    async def _topics_problem(self) -> str | None:
        """Why the topics are not known, if waiting may help. Raises NotStarted if it does not."""
        try:
            with quiet_kafka():
                await require_topics(self._deployment)
        except TopicsProblem as problem:
            if await connection_problem(self._deployment.client()) is None:
                raise NotStarted(f"{problem}; see: referral-stream topics acls projector") from None
            return await self._away(problem)
        except (KafkaError, TimeoutError, OSError) as error:
            return await self._away(error)
        return None

    async def _away(self, error: Exception) -> str:
        """Why no broker lets us in. Raises NotStarted where waiting does not help."""
        found = await no_connection(self._deployment.client(), error)
        if not found.passes:
            raise NotStarted(found.why)
        return found.why

    async def run(self) -> None:
        """Until it is cancelled, or one of its parts fails, which is raised."""
        work: list[Coroutine[Any, Any, Any]] = [
            self._projecting.run(), self._look_always(), self._watch()
        ]  # fmt: skip
        if self._deployment.policy.harm.pause_at is not None:
            work.append(self._judge_always())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.status.stopping = True
            while pending := [task for task in tasks if not task.done()]:  # aiokafka may swallow a cancellation
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=_CANCELLED_AGAIN_SECONDS)

    async def close(self) -> None:
        """Commit, leave the group and disconnect, as far as that can be done in time."""
        if self.status.brokers_answer:
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._projecting.commit()
        await close(self._projecting.consumer, STOP_SECONDS)
        with suppress(OSError):
            await self._writer.aclose()

    async def _look_always(self) -> None:
        """Tell the console what the brokers say of the roles, and the metrics what asking does."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._projecting.leads:
                self.status.works = None
                continue
            with suppress(WriteRefused):  # said by whoever applies
                self.status.works = await self._writer.works()
                await self._writer.tell_roles(await seen_roles(self._deployment))

    async def _judge_always(self) -> None:
        """Pause triggers whose asks do harm, while this is the worker that leads."""
        policy, throttle = self._deployment.policy, LogThrottle(logger)
        knows_all, send = knowing(self._deployment), sender(self._deployment)
        while True:
            await asyncio.sleep(JUDGE_SECONDS)
            if not self._projecting.leads:
                continue
            try:
                await judge_once(self._writer, policy, knows_all, send)
                throttle.settled()
            except WriteRefused:
                continue  # said by whoever applies
            except NotSent as error:
                throttle.warn("harm_not_judged", str(error))
            except (KafkaError, TimeoutError, OSError) as error:
                throttle.warn("harm_not_judged", type(error).__name__)

    async def _watch(self) -> None:
        """Wait for brokers that are away. Raises BrokersElsewhere if a new process would be answered meanwhile."""

        def tell(answered: bool) -> None:  # noqa: FBT001 (a callback)
            self.status.brokers_answer = answered

        ask = self._projecting.consumer._client.fetch_all_metadata  # noqa: SLF001 (it asks at once)
        await BrokersWatch(self._deployment.settings, ask, tell).watch()


# ------------------------------------------------------------------------------------------------- a process of its own


def run_projector(deployment: Deployment, *, reset: bool = False) -> int:
    """Project until SIGTERM or SIGINT; the exit code. ``reset``: remove the read models first, and make them anew."""
    settings = deployment.settings
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until there is a loop to handle signals
    spare_values()
    return asyncio.run(_run_alone(deployment, reset=reset))


async def _run_alone(deployment: Deployment, *, reset: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own events say the same
    projector = Projector(deployment, alone=True)
    async with AsyncExitStack() as open_parts:
        try:
            if reset:
                await reset_read_models(deployment)
            await open_parts.enter_async_context(ProjectorPage(deployment, projector.status))
            return await _until_stopped(projector, stop)
        except CannotListen as problem:
            cause = f"{problem}: see {PREFIX}STATUS_HOST and {PREFIX}STATUS_PORT; port 0 is none"
            logger.error("projector_not_started", extra={"cause": cause})  # noqa: TRY400 (for an operator)
            return ExitCode.FAILED
        except WriteRefused as refused:
            logger.error("projector_not_started", extra={"cause": f"the read models cannot be reset: {refused}"})  # noqa: TRY400
            return ExitCode.FAILED
        finally:
            await projector.close()


async def _until_stopped(projector: Projector, stop: asyncio.Event) -> int:
    stopping = asyncio.create_task(stop.wait())
    working = asyncio.create_task(_start_and_run(projector))
    await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        logger.info("stopped", extra={"role": ROLE})
        return ExitCode.STOPPED
    return _end(projector, working.exception())


async def _start_and_run(projector: Projector) -> None:
    await projector.start()
    await projector.run()


def _end(projector: Projector, error: BaseException | None) -> ExitCode:
    """Why it ended, said in one line."""
    match error:
        case NotStarted():
            logger.error("projector_not_started", extra={"cause": str(error)})
            return ExitCode.FAILED
        case BrokersElsewhere() | BrokersAwayAtStart():
            logger.error("projector_needs_restart", extra={"cause": str(error)})
            return ExitCode.RESTART
        case TopicMadeAnew() | OtherForm():
            logger.error("read_models_unusable", extra={"cause": str(error)})
        case KafkaError():
            cause = f"{kafka_words(error)}; see: referral-stream topics acls projector"
            logger.error("projector_failed", extra={"reason": type(error).__name__, "cause": cause})
        case _:
            logger.error("projector_failed", extra={"reason": type(error).__name__}, exc_info=error)
    projector.status.failure = type(error).__name__
    return ExitCode.FAILED


async def reset_read_models(deployment: Deployment) -> int:
    """Remove the read models; how many keys they had. A projector at work makes them anew. Raises WriteRefused."""
    writer = deployment.writer()
    try:
        removed = await writer.reset()
    finally:
        await writer.aclose()
    logger.info("read_models_reset", extra={"keys": removed})
    return removed


# ----------------------------------------------------------------------------------------- beside the roles that decide


class ProjectorBeside(Collector):
    """A projector in the event loop of other roles, from entry to exit; its numbers, for their page.

    Whatever fails in it ends nothing else: it begins again.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._status: ProjectorStatus | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._again_and_again())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def collect(self) -> Iterator[Metric]:
        """Nothing before the first start."""
        if self._status is not None:
            yield from self._status.collect()

    async def _again_and_again(self) -> None:
        failures = 0
        while True:
            projector, began = Projector(self._deployment, alone=False), monotonic()
            self._status = projector.status
            try:
                await _start_and_run(projector)
            except Exception as error:  # noqa: BLE001 (the roles beside it go on)
                _end(projector, error)
            finally:
                await projector.close()
            failures = 1 if monotonic() - began > AGAIN_SECONDS[-1] else failures + 1
            await asyncio.sleep(AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS)) - 1])
