"""A process that starts an embedded service and says where it is: to be killed by the tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


def start_then_be_killed(program: str) -> dict[str, str]:
    """Run `program`, which starts a service and prints `name=value` lines and then `ready`, and SIGKILL it then.

    Returns what it printed. The service itself was not signalled by anybody.
    """
    starter = subprocess.Popen([sys.executable, "-c", f"{program}\nprint('ready', flush=True)\ninput()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    said: dict[str, str] = {}
    assert starter.stdout is not None
    for line in starter.stdout:
        if line.strip() == "ready":
            break
        name, _, value = line.strip().partition("=")
        said[name] = value
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.communicate()
    return said


def lives(pid: int) -> bool:
    """Whether a process of this id exists, zombies (which nobody may be left to collect) not counted."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return not state.stdout.strip().startswith("Z") and bool(state.stdout.strip())
    return False
