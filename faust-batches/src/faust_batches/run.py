"""Running apps: in a test or another program (``running``), or as a worker process (``run_worker``)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

from faust_batches.app import BatchApp
from faust_batches.errors import NeedsOperator, NeedsRestart, WorkEnded, WorkerFailed
from faust_batches.file_limit import raise_file_limit
from faust_batches.stack_dump import dump_stacks_on_request
from faust_batches.watch import Watch

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_STUCK: Final = 70
EXIT_RESTART: Final = 75

_CANCELLED_SECONDS: Final = 5.0


async def _start_all(apps: Sequence[BatchApp]) -> None:
    """All of them, or none: nothing is joined unless everything that they need is there."""
    for app in apps:
        app.finalize()
    await asyncio.gather(*(app.check() for app in apps))
    await asyncio.gather(*(_start(app) for app in apps))
    for app in apps:
        app.add_future(Watch(app).run())


async def _start(app: BatchApp) -> None:
    """A part of it that cannot start makes it fail; Faust would wait for that part."""
    starting, failed = asyncio.ensure_future(app.start()), asyncio.ensure_future(app.wait_failed())
    try:
        await asyncio.wait({starting, failed}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        else:
            raise failed.result()
    finally:
        for task in (starting, failed):
            task.cancel()
        await asyncio.gather(starting, failed, return_exceptions=True)


async def _stop(apps: Iterable[BatchApp]) -> None:
    for result in await asyncio.gather(*(app.stop() for app in apps), return_exceptions=True):
        if isinstance(result, BaseException):
            logger.error("stop_failed", exc_info=result)


async def _stop_in_time(apps: Sequence[BatchApp]) -> None:
    """Stop the apps; a batch that does not end in time is cancelled, and delivered again elsewhere.

    Raises:
        TimeoutError: that did not help either. Faust does not let its own stop be cancelled: it is left behind.
    """
    seconds = max(app.config.stop_timeout_seconds for app in apps)
    stopped = asyncio.create_task(_stop(apps))
    if (await asyncio.wait({stopped}, timeout=seconds))[0]:
        return
    logger.error("worker_stuck", extra={"seconds": seconds})
    cancelled = [asyncio.create_task(app.lanes.close()) for app in apps]
    await asyncio.wait([stopped, *cancelled], timeout=_CANCELLED_SECONDS)
    if not stopped.done():
        raise TimeoutError(f"not stopped within {seconds:g} s")


@asynccontextmanager
async def running(*apps: BatchApp) -> AsyncIterator[None]:
    """Apps that run side by side in this event loop: started on entry, drained, committed and stopped on exit.

    Raises:
        WorkerFailed: on exit, if an app has failed meanwhile. NeedsOperator, NeedsRestart: on entry.
    """
    try:
        await _start_all(apps)
        yield
    finally:
        await _stop_in_time(apps)
    for app in apps:
        if app.failure is not None:
            raise WorkerFailed(app.config.id) from app.failure


async def _serve(
    apps: tuple[BatchApp, ...], beside: Iterable[AbstractAsyncContextManager[Any]], watchdog: threading.Timer
) -> int:
    stopping = asyncio.Event()
    entering = asyncio.current_task()

    def stop() -> None:
        if entering is not None and not stopping.is_set():
            watchdog.start()
            entering.cancel()
        stopping.set()

    # An ordinary signal handler that raises would do so in the middle of any callback, and break its work.
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop)
    async with AsyncExitStack() as entered:
        try:
            for each in beside:
                await entered.enter_async_context(each)
        except (NeedsOperator, NeedsRestart) as exc:
            return _not_started(exc)
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
        if stopping.is_set():
            return EXIT_OK
        entering = None
        return await _run(apps, stopping, watchdog)


def _not_started(exc: Exception) -> int:
    """Say why, in a message that is for the operator; the exit code."""
    logger.error("worker_not_started", extra={"reason": type(exc).__name__, "cause": str(exc)})
    return EXIT_RESTART if isinstance(exc, NeedsRestart) else EXIT_FAILED


async def _run(apps: tuple[BatchApp, ...], stopping: asyncio.Event, watchdog: threading.Timer) -> int:
    dump_stacks_on_request(lambda: [each for app in apps for each in app.loops])
    started = asyncio.create_task(_start_all(apps))
    ended: list[asyncio.Task[Any]] = [asyncio.create_task(app.wait_failed()) for app in apps]
    ended.append(asyncio.create_task(stopping.wait()))
    exit_code = EXIT_OK
    try:
        await asyncio.wait([started, *ended], return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            if started.cancelled():
                raise WorkEnded("the start was cancelled, and not by us")  # noqa: TRY301
            started.result()
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    except (ConnectionError, NeedsOperator, NeedsRestart) as exc:
        exit_code = _not_started(exc)
    except Exception as exc:
        logger.exception("worker_not_started", extra={"reason": type(exc).__name__})
        exit_code = EXIT_FAILED
    watchdog.start()
    for task in (started, *ended):
        task.cancel()
    await asyncio.gather(started, *ended, return_exceptions=True)
    await _stop(apps)
    return exit_code or _exit_code(apps)


def _exit_code(apps: Iterable[BatchApp]) -> int:
    """Why the apps have stopped: a restart is the remedy only if it is so for each that failed."""
    failures = [app.failure for app in apps if app.failure is not None]
    if not failures:
        return EXIT_OK
    return EXIT_RESTART if all(isinstance(failure, NeedsRestart) for failure in failures) else EXIT_FAILED


def _watchdog(apps: Sequence[BatchApp]) -> threading.Timer:
    """Ends the process in time. Start it when the worker begins to stop: a broker may be gone by then."""
    timeout_seconds = max(app.config.stop_timeout_seconds for app in apps)

    def end() -> None:
        logger.error("worker_stuck", extra={"seconds": timeout_seconds})
        os._exit(_exit_code(apps) or EXIT_STUCK)  # of what has failed, that is what matters

    timer = threading.Timer(timeout_seconds, end)
    timer.daemon = True
    return timer


def run_worker(*apps: BatchApp, beside: Sequence[AbstractAsyncContextManager[Any]] = ()) -> int:
    """Run apps until SIGTERM, SIGINT or a failure; returns the exit code: 0 asked to, 1 failed, 75 needs a restart.

    ``beside`` is entered before they start and left after they have stopped; it may raise NeedsOperator and
    NeedsRestart.

    On a signal, batches under way are finished, offsets are committed and the group is left; whatever stalls that
    longer than ``stop_timeout_seconds`` ends the process with 70, or with the code of the failure that made it stop.
    SIGUSR1 dumps the stacks of all threads and tasks to stderr. Install uvloop before, if wanted.
    """
    try:
        raise_file_limit(apps)
    except NeedsOperator as exc:
        logger.error("worker_not_started", extra={"cause": str(exc)})  # noqa: TRY400
        return EXIT_FAILED
    watchdog = _watchdog(apps)
    try:
        return asyncio.run(_serve(apps, beside, watchdog))
    finally:
        watchdog.cancel()
