"""The present status of an app, for probes, dashboards and operators.

Nothing here waits for the broker, except ``refresh_ends``, which says for how long.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, NamedTuple, cast

from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import ensure_aiokafka_TP
from faust.types import TP

from faust_batches.app import BatchApp
from faust_batches.consumer_thread import BatchConsumerThread
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
    refused_seconds: float
    """For how long the brokers have been known to refuse our credentials."""
    queued: dict[str, int]
    """Records that wait in lanes, by source topic."""
    attempt_seconds: float
    """For how long the oldest batch under way has been tried, since its last repetition."""
    standing_seconds: float
    """For how long a partition has not moved on although it holds something to read, or a rebalance has not ended.

    Only while the brokers confirm that we are there; looked at once in each session timeout.
    """


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
        refused_seconds=app.broker_watch.refused_seconds,
        queued=app.lanes.queued(),
        attempt_seconds=now - since if since is not None else 0.0,
        standing_seconds=app.standing_seconds,
    )


class Ends(NamedTuple):
    """Where a source partition ended when it was fetched last."""

    stable: int
    """Up to here nothing is undecided: what ``read_committed`` shows."""
    high: int
    """The end of what is on all replicas."""

    @property
    def held_back(self) -> int:
        """How many offsets lie behind the first transaction that is still open."""
        return max(0, self.high - self.stable)


def ends(app: BatchApp) -> dict[TP, Ends]:
    """Of the source partitions that we own, as far as fetches have told."""
    return {
        tp: Ends(state.lso, state.highwater)
        for tp, state in _states(app).items()
        if state.lso is not None and state.lso >= 0 and state.highwater is not None
    }


def readable(app: BatchApp) -> dict[TP, tuple[int, int]]:
    """Per source partition that we own: the offset after what is durable, and how many are to be read after it.

    As ``lag``, without what an open transaction holds back.
    """
    oldest, found = _oldest_undurable(app), {}
    for tp, state in _states(app).items():
        durable = oldest.get(tp, state.position)
        end = app.ends.get(tp, 0)
        if state.lso is not None and state.lso >= 0:
            end = max(end, state.lso)
        found[tp] = durable, max(0, end - durable)
    return found


def lag(app: BatchApp) -> dict[TP, int]:
    """Per source partition that we own, how many offsets are not durable yet; unknown ones are left out.

    The end is the later of what ``refresh_ends`` and the last fetch have found. If all that was fetched is durable,
    transaction markers at the end do not count.
    """
    oldest, found = _oldest_undurable(app), {}
    for tp, state in _states(app).items():
        end = max(app.ends.get(tp, 0), state.highwater or 0)
        if end:
            found[tp] = max(0, end - oldest.get(tp, state.position))
    return found


def _oldest_undurable(app: BatchApp) -> dict[TP, int]:
    """Per source partition, the first offset that was fetched and is not durable."""
    oldest: dict[TP, int] = {}
    if _thread(app) is not None:
        for message in cast("set[BatchMessage]", app.batch_consumer._unacked_messages):
            first = message.records[0].offset
            oldest[message.tp] = min(first, oldest.get(message.tp, first))
    return oldest


def _states(app: BatchApp) -> dict[TP, Any]:
    """What aiokafka knows of the source partitions that we own; those without a position are left out."""
    thread = _thread(app)
    assignment = thread._ensure_consumer()._subscription.subscription.assignment if thread is not None else None
    if assignment is None:
        return {}
    states = ((tp, assignment.state_value(ensure_aiokafka_TP(tp))) for tp in _sources(app))
    return {tp: state for tp, state in states if state is not None and state.has_valid_position}


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
