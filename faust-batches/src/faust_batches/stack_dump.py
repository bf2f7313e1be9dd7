"""What a worker is doing: on SIGUSR1, the stack of every thread and where every task waits, on stderr."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def tell_stacks_on_request(loops: Callable[[], Iterable[asyncio.AbstractEventLoop]]) -> None:
    """Answer SIGUSR1 from now on. The threads answer even while their loops are stuck; tasks need the running loop."""

    def tell_tasks() -> None:
        for loop in loops():
            for task in asyncio.all_tasks(loop):
                sys.stderr.write(f"Task {task.get_name()}: {' > '.join(_chain(task.get_coro())) or 'ends'}\n")
        sys.stderr.flush()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell_tasks)
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)


def _chain(awaited: Any) -> Iterator[str]:
    """From the task's own coroutine down to where it waits; a task's stack shows the first of these only."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            yield f"{awaited.__qualname__}:{frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
