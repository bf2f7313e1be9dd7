"""Uplift, harm and experiments (after §7): made from all records, so they are made now and then, and kept a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from referral_stream.console.store import SharedStore
from referral_stream.core.policy import Policy
from referral_stream.metrics.comparing import comparisons, observe
from referral_stream.metrics.observed import period_of
from referral_stream.metrics.records import Records
from referral_stream.read_models import NotReadable

logger = logging.getLogger(__name__)

MOST_CUSTOMERS: Final = 50_000
"""Beyond, the command line does it: some seconds of a core are too much for a page."""
AT_ONCE: Final = 1_000
"""Up to so many customers a page waits for it."""
KEPT_SECONDS: Final = 600
_KEY: Final = "comparisons"

Bodies: TypeAlias = Callable[[], AsyncIterator[dict[str, Any]]]
"""The newest record of every customer. Raises NotReadable."""


class ComparisonRow(msgspec.Struct, frozen=True):
    """One comparison: its sentence says what it comes to, or how much is missing. ``arms``: name, units, successes."""

    kind: str
    name: str
    verdict: str
    sentence: str
    arms: tuple[tuple[str, int, int], ...]


class WorksCompared(msgspec.Struct, frozen=True):
    """``state``: ``made`` now or before, ``begun`` (look again in a moment), or ``too_many`` customers for a page."""

    state: Literal["made", "begun", "too_many"]
    rows: tuple[ComparisonRow, ...] = ()


class Comparer:
    """Makes them, one at a time; every replica shows what was made last."""

    def __init__(self, store: SharedStore, bodies: Bodies, policy: Policy) -> None:
        self._store, self._bodies, self._policy = store, bodies, policy
        self._making: asyncio.Task[tuple[ComparisonRow, ...]] | None = None

    async def compared(self, customers: int) -> WorksCompared:
        """What there is, of so many customers. Raises NotReadable."""
        if (kept := await self._store.get(_KEY)) is not None:
            return WorksCompared("made", msgspec.json.decode(kept, type=tuple[ComparisonRow, ...]))
        if customers > MOST_CUSTOMERS:
            return WorksCompared("too_many")
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make())
            self._making.add_done_callback(_noticed)
        if customers > AT_ONCE:
            return WorksCompared("begun")
        return WorksCompared("made", await asyncio.shield(self._making))

    async def aclose(self) -> None:
        """What is being made is made no more."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _make(self) -> tuple[ComparisonRow, ...]:
        records = Records()
        async for body in self._bodies():
            records.take(body["customer_id"], body)
        rows = await asyncio.to_thread(_rows, records, self._policy)
        await self._store.set(_KEY, msgspec.json.encode(rows), expires_in=KEPT_SECONDS)
        return rows


def _rows(records: Records, policy: Policy) -> tuple[ComparisonRow, ...]:
    found = comparisons(observe(records, policy, period_of(records)), by_trigger=True)
    return tuple(
        ComparisonRow(each.kind, each.name, each.verdict, each.sentence, tuple(map(tuple, each.arms)))  # type: ignore[arg-type]
        for each in found
    )


def _noticed(made: asyncio.Task[Any]) -> None:
    if not made.cancelled() and (error := made.exception()) is not None and not isinstance(error, NotReadable):
        logger.error("request_failed", extra={"cause": type(error).__name__}, exc_info=error)
