"""Dump all thread and task stacks to stderr on SIGUSR1."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def dump_stacks_on_request(loops: Callable[[], Iterable[asyncio.AbstractEventLoop]]) -> None:
    """From now on. Threads are shown even while their loops are stuck; tasks need the running loop."""

    def dump_tasks() -> None:
        for loop in loops():
            for task in asyncio.all_tasks(loop):
                sys.stderr.write(f"Task {task.get_name()}: {' > '.join(_chain(task.get_coro())) or 'ends'}\n")
        sys.stderr.flush()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, dump_tasks)
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)


def _chain(awaited: Any) -> Iterator[str]:
    """From the task's own coroutine down to where it waits; a task's stack shows the first of these only."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            yield f"{awaited.__qualname__}:{frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
