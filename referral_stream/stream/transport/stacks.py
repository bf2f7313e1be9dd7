"""What a worker is doing: on SIGUSR1, the stack of every thread and where every task waits, on stderr."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Callable, Iterable


def tell_stacks_on_request(loops: Callable[[], Iterable[asyncio.AbstractEventLoop]]) -> None:
    """Answer SIGUSR1 from now on. The threads answer even while their loops are stuck; tasks need the running loop."""

    def tell_tasks() -> None:
        for loop in loops():
            for task in asyncio.all_tasks(loop):
                task.print_stack(file=sys.stderr)
        sys.stderr.flush()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell_tasks)
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)
