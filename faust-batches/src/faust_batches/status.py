"""The present status of an app, for probes, dashboards and operators.

Nothing here waits for the broker, except ``refresh_ends``, which says for how long.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from time import monotonic
from typing import Final, cast

from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import ensure_aiokafka_TP
from faust.types import TP

from faust_batches.app import BatchApp
from faust_batches.consumer import BatchConsumerThread
from faust_batches.fetched import BatchMessage

logger = logging.getLogger(__name__)

_ENDS_SECONDS: Final = 1.0  # a question waits behind a fetch of the same connection, which takes a quarter of that


@dataclass(frozen=True, slots=True)
class AppStatus:
    """A snapshot of an app, taken in its event loop."""

    failure: str
    """The kind of what makes the app stop; empty while nothing does."""
    stopping: bool
    joined: bool
    """A member of its group, with no rebalance under way; it may own nothing, if there are more members than work."""
    in_touch: bool
    """Within the session timeout the broker has confirmed that we are a member."""
    partitions: dict[str, int]
    """How many partitions are ours, by source topic."""
    clock_refused: bool
    """The broker takes no record from us, because our time is too far from its own."""
    recovery_left: dict[str, int]
    """Changelog records that are still to be read before work begins, by table; empty afterwards."""
    queued: dict[str, int]
    """Records that wait in lanes, by source topic."""
    attempt_seconds: float
    """For how long the oldest batch under way has been tried, since its last repetition."""


def app_status(app: BatchApp) -> AppStatus:
    """Take a snapshot. Before the app has started, everything is zero."""
    thread = _thread(app)
    now = monotonic()
    since = app.lanes.tried_since()
    assigned = Counter(tp.topic for tp in _sources(app))
    return AppStatus(
        failure=type(app.failure).__name__ if app.failure is not None else "",
        stopping=bool(app.should_stop),
        joined=app.meter.assignments > 0 and not app.rebalancing and app._assignment is not None,
        in_touch=thread is not None and now - thread.lease < app.config.session_timeout_seconds,
        partitions={topic: assigned[topic] for topic in sorted(app.lanes.topics)},
        clock_refused=app.clock_watch.refused,
        recovery_left=app.recovery.left() if thread is not None else {},
        queued=app.lanes.queued(),
        attempt_seconds=now - since if since is not None else 0.0,
    )


def lag(app: BatchApp) -> dict[TP, int]:
    """Per source partition that we own, how many offsets are not durable yet; unknown ones are left out.

    The end is the later of what ``refresh_ends`` and the last fetch have found. If all that was fetched is durable,
    transaction markers at the end do not count.
    """
    thread = _thread(app)
    if thread is None:
        return {}
    oldest: dict[TP, int] = {}
    for message in cast("set[BatchMessage]", app.batch_consumer._unacked_messages):
        first = message.records[0].offset
        oldest[message.tp] = min(first, oldest.get(message.tp, first))
    assignment = thread._ensure_consumer()._subscription.subscription.assignment
    if assignment is None:
        return {}
    found: dict[TP, int] = {}
    for tp in _sources(app):
        state = assignment.state_value(ensure_aiokafka_TP(tp))
        if state is None or not state.has_valid_position:
            continue
        end = max(app.ends.get(tp, 0), state.highwater or 0)
        if end:
            found[tp] = max(0, end - oldest.get(tp, state.position))
    return found


async def refresh_ends(app: BatchApp) -> None:
    """Ask the broker where the source partitions end; without an answer within a second, the known ends stay.

    Fetches report them too, but not while a partition is paused because its lane is full, just when its lag grows.
    """
    thread, sources = _thread(app), _sources(app)
    if thread is None or not sources or app.should_stop:
        return
    asked = asyncio.run_coroutine_threadsafe(
        thread._ensure_consumer().end_offsets([ensure_aiokafka_TP(tp) for tp in sources]), thread.thread_loop
    )
    try:
        async with asyncio.timeout(_ENDS_SECONDS):
            ends = await asyncio.wrap_future(asked)
    except (KafkaError, TimeoutError) as exc:
        logger.debug("ends_not_refreshed", extra={"cause": repr(exc)})
        return
    app.ends = {TP(*tp): end for tp, end in ends.items()}


def _sources(app: BatchApp) -> list[TP]:
    topics = app.lanes.topics
    return sorted(tp for tp in app._assignment or () if tp.topic in topics)


def _thread(app: BatchApp) -> BatchConsumerThread | None:
    """The consumer's thread, once it can be asked: the app's own properties would make one."""
    if app._consumer is None:
        return None
    thread = app.batch_consumer._thread
    return thread if thread._consumer is not None and thread._consumer._subscription.subscription else None
