"""The decisions on their topic, in the order of time: those that are there, and on request those that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import MINUTE, parse_instant
from referral_stream.ops.record import Progress, cloud_event_of
from referral_stream.replay.written import DECISION_MADE, DecisionFilters
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import TopicReader

_TOLD_EVERY: Final = 2_000
_CLOCKS_APART: Final = MINUTE
"""How far the broker's clock may be ahead of a worker's: beyond half of it nobody decides."""


async def topic_decisions(
    deployment: Deployment,
    filters: DecisionFilters,
    *,
    since: int | None,
    read: Progress,
    follow: Callable[[bool], None] | None = None,
) -> AsyncIterator[Mapping[str, Any]]:
    """The decisions meant, as CloudEvents; ``since``: of that instant (epoch ms) and later; all by default.

    ``follow``: then those that are made from now on, for ever; it hears when the brokers answer no more, and when they
    do again. Raises UnreadableTopic.
    """
    seen = 0

    def decision(record: RawRecord) -> tuple[int, Mapping[str, Any]] | None:
        nonlocal seen
        seen += 1
        if seen % _TOLD_EVERY == 0:
            read(seen)
        event = cloud_event_of(record)
        try:
            if event is None or event.get("type") != DECISION_MADE or not filters.mean(event["data"]):
                return None
            at = parse_instant(event["data"]["decided_at"])[0]
        except (KeyError, ValueError):
            return None
        return None if since is not None and at < since else (at, event)

    from_about = None if since is None else since - _CLOCKS_APART
    async with TopicReader(deployment.client(), deployment.topics.referral_decisions, since=from_about) as reader:
        async for event in reader.present_by_instant(decision):
            yield event
        read(seen)
        if follow is None:
            return
        async for records in reader.following(follow):
            for record in records:
                if (found := decision(record)) is not None:
                    yield found[1]
