"""Running the role as a process: ``referral-stream rewards``."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

from aiokafka.errors import KafkaError

from referral_stream import __version__
from referral_stream.contracts.topics import Topics
from referral_stream.rewards.answers import Backoff
from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.payer import Payer
from referral_stream.rewards.reading import RewardsReader, WhereToBegin
from referral_stream.rewards.settlements import Settlements
from referral_stream.rewards.signing import Signer
from referral_stream.rewards.status import RewardsStatus
from referral_stream.rewards.telling import PayerGone, Telling
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.connection import kafka_words, no_connection
from referral_stream.runtime.consumer_roles import (
    BrokersAwayAtStart,
    BrokersElsewhere,
    BrokersWatch,
    ExitCode,
    NotStarted,
    await_brokers,
    unless_stopped,
)
from referral_stream.runtime.http_server import CannotListen
from referral_stream.runtime.settings import PREFIX, RewardsSettings

logger = logging.getLogger(__name__)

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0


def run_rewards(settings: RewardsSettings) -> int:
    """Tell the payer until SIGTERM or SIGINT; the exit code. Raises SettingsProblem for unusable TLS files."""
    return asyncio.run(RewardsProcess(settings).run())


class RewardsProcess:
    """The parts of the role, and its life: made in an event loop, run once."""

    def __init__(self, settings: RewardsSettings) -> None:
        self._settings = settings
        self._client = settings.kafka_client()
        self._tls = settings.payer_ssl_context()
        self._topics = Topics(settings.topic_prefix)

    def _made(self) -> None:
        """Everything that needs an event loop."""
        settings, now = self._settings, Clock().now
        backlog = RewardsBacklog(settings.rewards_backlog)
        self._settlements = Settlements(self._client, self._topics.responses, self._deployments_clock().now)
        self._payer = Payer(
            settings.rewards_url.get_secret_value(),
            tls=self._tls,
            timeout_seconds=settings.rewards_timeout_seconds,
        )
        self._telling = Telling(
            backlog,
            self._payer,
            self._settlements,
            Signer(settings.secrets),
            Backoff(random.SystemRandom().random),
            most=settings.rewards_in_flight,
            now=now,
        )
        self._reader = RewardsReader(settings, self._client, self._topics.referral_rewards, backlog, self._telling, now)
        self._status = RewardsStatus(settings, backlog, self._telling, self._reader, now)

    def _deployments_clock(self) -> Clock:
        """What events are stamped with. The payer, and patience with it, live in real time."""
        s = self._settings
        if s.clock_start is None or s.clock_started_at is None:
            return Clock()
        return Clock(s.clock_start, s.clock_started_at, s.clock_speed)

    async def run(self) -> int:
        """Until a signal or a failure; the exit code. What is in flight then ends first, and is committed."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own events say the same
        self._made()
        async with AsyncExitStack() as open_parts:
            try:
                await self._open(open_parts)
                if not await unless_stopped(stop, await_brokers(self._settings)):
                    return ExitCode.STOPPED
                await self._start()
                return await self._work(stop)
            except (NotStarted, BrokersAwayAtStart) as problem:
                logger.error("rewards_not_started", extra={"cause": str(problem)})  # noqa: TRY400 (for an operator)
                return ExitCode.FAILED if isinstance(problem, NotStarted) else ExitCode.RESTART
            finally:
                await self._stopped()

    async def _open(self, open_parts: AsyncExitStack) -> None:
        try:
            await open_parts.enter_async_context(self._status)
        except CannotListen as problem:
            raise NotStarted(f"{problem}: see {PREFIX}STATUS_HOST and {PREFIX}STATUS_PORT; port 0 is none") from None
        await open_parts.enter_async_context(self._payer)

    async def _start(self) -> None:
        """Join the group. Raises NotStarted, BrokersAwayAtStart."""
        consumer, producer = self._reader.consumer, self._settlements.producer
        topics = (self._topics.referral_rewards, self._topics.responses)
        try:
            async with asyncio.timeout(START_SECONDS):
                await producer.start()
                known = (await producer.client.fetch_all_metadata()).topics()
                if missing := sorted(set(topics) - set(known)):
                    raise NotStarted(
                        f"{', '.join(missing)}: not on the broker, or not for this user;"
                        " run: referral-stream topics create, and see: referral-stream topics acls rewards"
                    )
                consumer.subscribe([self._topics.referral_rewards], listener=self._reader)
                await consumer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            found = await no_connection(self._client, error)
            raise (BrokersAwayAtStart if found.passes else NotStarted)(found.why) from None
        what = {"version": __version__, "brokers": ",".join(self._settings.kafka_brokers), "group": self._reader.group}
        logger.info("starting", extra={"role": "rewards", **what})

    async def _work(self, stop: asyncio.Event) -> int:
        """The parts side by side, until one of them ends."""
        work: list[Coroutine[Any, Any, Any]] = [
            self._reader.run(), self._reader.commit_always(), self._telling.run(), self._watch(), stop.wait()
        ]  # fmt: skip
        tasks = [asyncio.create_task(each) for each in work]
        *_, stopping = tasks
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._status.stopping = True
            reading, _, telling, *_ = tasks
            await _cancelled(reading, telling)
        errors = [task.exception() for task in done if not task.cancelled() and task.exception() is not None]
        code = self._end(errors[0] if errors else None)
        if code != ExitCode.RESTART:  # where no broker answers, nothing can be committed
            await self._telling.finish(min(self._settings.rewards_timeout_seconds, STOP_SECONDS))
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._reader.commit()
        await _cancelled(*tasks)
        if stopping in done and not errors:
            logger.info("stopped", extra={"role": "rewards"})
        return code

    def _end(self, error: BaseException | None) -> ExitCode:
        """Why the parts ended, said in one line; None: a signal."""
        match error:
            case None:
                return ExitCode.STOPPED
            case BrokersElsewhere():
                logger.error("rewards_need_restart", extra={"cause": str(error)})
                return ExitCode.RESTART
            case PayerGone():
                cause = f"the payer answered 410: nobody is paid from here; see {PREFIX}REWARDS_URL"
                logger.error("payer_gone", extra={"cause": cause})
            case WhereToBegin():
                logger.error("rewards_not_started", extra={"cause": str(error)})
            case KafkaError():
                self._status.failure = type(error).__name__
                cause = f"{kafka_words(error)}; see: referral-stream topics acls rewards"
                logger.error("rewards_failed", extra={"reason": type(error).__name__, "cause": cause})
            case _:
                self._status.failure = type(error).__name__
                logger.error("rewards_failed", extra={"reason": type(error).__name__}, exc_info=error)
        return ExitCode.FAILED

    async def _watch(self) -> None:
        """Wait for brokers that are away. Raises BrokersElsewhere if a new process would be answered meanwhile."""

        def tell(answered: bool) -> None:  # noqa: FBT001 (a callback)
            self._status.brokers_answer = answered

        ask = self._settlements.producer.client.fetch_all_metadata
        await BrokersWatch(self._settings, ask, tell).watch()

    async def _stopped(self) -> None:
        """Leave the group and disconnect, as far as that can be done in time."""
        for each in (self._reader.consumer, self._settlements.producer):
            # As a task of its own: where a broker is away, aiokafka's stop may end with a cancellation that it made.
            stopping = asyncio.create_task(each.stop())
            await asyncio.wait({stopping}, timeout=STOP_SECONDS)
            if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
                logger.warning("client_left_open", extra={"client": type(each).__name__})


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
