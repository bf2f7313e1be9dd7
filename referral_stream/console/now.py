"""What is going on now: asks by the hour, what waits and until when, who works, what is paused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from referral_stream.console.orders import done_by, said_of
from referral_stream.console.parts import Console
from referral_stream.core.instants import DAY, HOUR, MINUTE

HOURS: Final = 24
LOOK_SECONDS: Final = 2.0
STREAM_SECONDS: Final = 300.0
"""A stream ends after this, and the page begins another: whoever may not come in any more is out by then."""
_SPANS: Final = (("the next hour", HOUR), ("6 hours", 6 * HOUR), ("a day", DAY), ("a week", 7 * DAY))
_PENDING_SHOWN: Final = 8


async def now_context(console: Console) -> dict[str, Any]:
    """Everything the page shows, from a handful of round trips."""
    reader, now = console.reader, console.clock.now()
    bounds = [0, now, *(now + length for _, length in _SPANS), 1 << 53]
    labels = ["due now", *(f"within {name}" for name, _ in _SPANS), "later"]
    hours, counts, holding, roles, controls = await asyncio.gather(
        reader.hours(now, HOURS),
        reader.due_counts("asks", bounds),
        reader.holding(),
        reader.roles(),
        reader.controls(),
    )
    pending, approvals, rewards, progress = await asyncio.gather(
        reader.pending(limit=_PENDING_SHOWN),
        reader.approvals(limit=1),
        reader.held_rewards(limit=1),
        reader.progress(),
    )
    noted = await done_by(console)
    asked = [sum(hour.asks.values()) for hour in hours]
    decided = [sum(hour.outcomes.values()) for hour in hours]
    return {
        "now": now - now % MINUTE,
        "hours": hours,
        "asked": asked,
        "chart": {"x": [hour.start // 1_000 for hour in hours], "asks": asked, "decisions": decided},
        "asks_today": sum(asked),
        "decisions_today": sum(decided),
        "due": list(zip(labels, counts, strict=True)),
        "most_due": max(counts, default=0),
        "holding": holding,
        "most_held": max(holding.values(), default=0),
        "roles": roles,
        "paused": said_of(controls, noted),
        "pending": pending,
        "approvals": approvals.total,
        "rewards": rewards.total,
        "progress": progress,
    }


async def until_changed(console: Console, rendered: Callable[[Mapping[str, Any]], str]) -> AsyncIterator[str]:
    """The page's body each time it is another one; empty where it is not, so that a lost connection is noticed."""
    loop = asyncio.get_running_loop()
    ends, last, quiet = loop.time() + STREAM_SECONDS, "", 0
    while loop.time() < ends and not console.stopping.is_set():
        text = rendered(await now_context(console))
        quiet = 0 if text != last else quiet + 1
        if text != last:
            last = text
            yield text
        elif quiet % 5 == 0:
            yield ""
        with suppress(TimeoutError):
            await asyncio.wait_for(console.stopping.wait(), LOOK_SECONDS)
