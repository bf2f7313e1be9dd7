"""``demo --keep``: the demo goes on, and the viewer decides what happens next and when."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import threading
from contextlib import suppress
from typing import Final

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line
from referral_stream.core.instants import DAY, HOUR, MINUTE, to_datetime
from referral_stream.core.zones import zone
from referral_stream.demo.commands import python, typed
from referral_stream.demo.display import Screen
from referral_stream.demo.mail import example_worker
from referral_stream.demo.pages import OpenConsole
from referral_stream.demo.workers import Demo
from referral_stream.demo.world import HOME

_LATER: Final = re.compile(r"\+?(\d{1,4})\s*([mhd])")
_UNITS: Final = {"m": MINUTE, "h": HOUR, "d": DAY}
_LOOK_SECONDS: Final = 0.2
_USAGE = "Paste a line of a recorded log, or let time pass: 20m, 3h, 2d."


async def keep_up(
    demo: Demo, screen: Screen, bootstrap: str, redis_url: str, console: OpenConsole | None = None
) -> None:
    """Show what is decided, and do what standard input says, until SIGINT or SIGTERM."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, interrupted.set)
    await demo.listen()
    screen.say(how_to_play(demo.clock.now(), screen.board.clock(), bootstrap, redis_url, console))
    lines = _typed_lines(loop)
    while not interrupted.is_set():
        await demo.look(screen)
        with suppress(TimeoutError):
            await obey(await asyncio.wait_for(lines.get(), _LOOK_SECONDS), demo, screen)


async def obey(line: str, demo: Demo, screen: Screen) -> None:
    """A record happens at its timestamp, or now if that has passed; ``20m`` lets that much time pass."""
    line = line.strip()
    if line.startswith("{"):
        try:
            record = parse_line(line.encode(), file="what you typed", number=1)
        except UnreadableLog as problem:
            screen.warn(str(problem))
            return
        if record.topic not in demo.topics.sources:
            screen.warn(f"topic: must be one of {', '.join(demo.topics.sources)}")
            return
        await demo.happen([record], screen)
    elif later := _LATER.fullmatch(line):
        await demo.wait_until(demo.clock.now() + int(later[1]) * _UNITS[later[2]], screen)
    elif line:
        screen.warn(_USAGE)
        return
    demo.tick(screen)
    screen.say(f"It is {screen.board.clock()}.", "dim")


def how_to_play(now: int, clock: str, bootstrap: str, redis_url: str, console: OpenConsole | None = None) -> str:
    """What to paste where, for a demo whose clock shows ``now`` (epoch ms), ``clock`` in words."""
    soon = to_datetime(now - now % MINUTE + 5 * MINUTE).astimezone(zone(HOME)).isoformat()
    score = {"response_id": "mine-1", "score": 10}
    event = {"specversion": "1.0", "id": "mine-1", "type": "nps.responded", "subject": "cus-henk", "data": score}
    line = json.dumps({"topic": "nps", "timestamp": soon, "value": event}, separators=(",", ":"))
    folder = example_worker()
    worker = (
        ()
        if folder is None
        else (
            "Read the messages in another terminal:",
            f"  KAFKA_BROKERS={bootstrap} {python()} {typed(folder / 'beside_demo.py')}",
            "",
        )
    )
    pages = (
        ("The console needs the extra console: see docs/console.md.", "")
        if console is None
        else (
            "See it in a browser: why each customer was asked or not, and what would",
            "change it:",
            f"  {console.url}   token: {console.token}",
            "",
        )
    )
    return "\n".join(
        (
            "",
            f"Still running. It is {clock}, and time goes on from there.",
            "",
            *pages,
            "Paste this line here, and Henk gives a top score after all:",
            f"  {line}",
            "and this one, and twenty minutes pass:",
            "  20m",
            "Any line of a recorded log will do; the clock moves to its timestamp, never back.",
            "20m, 3h or 2d lets time pass. Enter shows the time. Ctrl-C ends the demo.",
            "",
            *worker,
            "Your own programs may write to nps, billing, support and so on; an event's",
            f"time must follow this clock, or be missing. Kafka is at {bootstrap}, Redis at",
            f"{redis_url}.",
            "",
        )
    )


def _typed_lines(loop: asyncio.AbstractEventLoop) -> asyncio.Queue[str]:
    """The lines of standard input, as they come; none where there is none."""
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        # Not sys.stdin: the interpreter could not end while this thread holds its lock.
        with suppress(OSError, RuntimeError), io.FileIO(0, closefd=False) as typed:  # the loop may be closed by then
            for line in typed:
                loop.call_soon_threadsafe(lines.put_nowait, line.decode("utf-8", "replace"))

    signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background of a shell: no input, rather than no demo
    threading.Thread(target=read, daemon=True).start()
    return lines
