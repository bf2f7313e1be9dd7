"""What stands still while an app runs: noted and logged here, judged by whoever asks (``app_status``).

A task may end without a word, in Faust, in aiokafka or in ours. So nothing is asked about tasks: what counts is whether
the source moves on while there is something to read, and brokers that answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from faust.types import TP

from faust_batches.app import BatchApp
from faust_batches.status import Ends, ends, readable, refresh_ends

logger = logging.getLogger(__name__)

_TOLD_AGAIN_SECONDS: Final = 30.0
_PATIENCE_SESSIONS: Final = 2
"""For how many session timeouts a transaction of somebody else may be open before we say so."""


@dataclass(slots=True)
class Standstill:
    """Since when things stand where they are."""

    _since: dict[Any, tuple[Any, float]] = field(default_factory=dict)

    def note(self, where: Iterable[tuple[Any, Any]], now: float) -> dict[Any, float]:
        """For (thing, position) of all that should move: how many seconds each has been at its position."""
        before, self._since = self._since, {}
        for thing, position in where:
            known = before.get(thing)
            self._since[thing] = known if known is not None and known[0] == position else (position, now)
        return {thing: now - since for thing, (_, since) in self._since.items()}


class Watch:
    """Looks at an app every session timeout."""

    def __init__(self, app: BatchApp) -> None:
        self._app = app
        self._work = Standstill()
        self._open = Standstill()
        self._told: dict[TP, float] = {}

    async def run(self) -> None:
        """Until the app stops. Nothing that fails here is a reason to stop it."""
        while not self._app.should_stop:
            await asyncio.sleep(self._app.config.session_timeout_seconds)
            try:
                await refresh_ends(self._app)
                self.look(monotonic())
            except Exception:
                logger.exception("watch_failed", extra={"app": self._app.config.id})

    def look(self, now: float) -> None:
        """Note what stands still. Without brokers that confirm our membership, waiting is right."""
        app = self._app
        in_touch = app.batch_consumer.silence_seconds() < app.config.session_timeout_seconds
        standing = self._work.note(self._unfinished() if in_touch else (), now)
        app.standing_seconds = max(standing.values(), default=0.0)
        self._name_open_transactions(now)

    def _unfinished(self) -> Iterable[tuple[Any, Any]]:
        """(what, how far) of everything that ought to move on."""
        app = self._app
        if app.rebalancing:  # and what follows a rebalance: the recovery of the tables
            yield "rebalance", (app.meter.assignments, sum(app.meter.recovered.values()))
            return
        for tp, (position, left) in readable(app).items():
            if left:
                yield tp, position
        for what, its_position in app.expected:
            if (at := its_position()) is not None:
                yield what, at

    def _name_open_transactions(self, now: float) -> None:
        """A transaction that nobody ends holds back every reader, and nothing else shows it."""
        app, patience = self._app, _PATIENCE_SESSIONS * self._app.config.session_timeout_seconds
        held: dict[TP, Ends] = {tp: at for tp, at in ends(app).items() if at.held_back}
        seconds = self._open.note(((tp, at.stable) for tp, at in held.items()), now)
        self._told = {tp: told for tp, told in self._told.items() if tp in held}
        for tp, at in held.items():
            if seconds[tp] >= patience and now - self._told.get(tp, float("-inf")) >= _TOLD_AGAIN_SECONDS:
                self._told[tp] = now
                fields = {"topic": tp.topic, "partition": tp.partition, "offset": at.stable, "records": at.held_back}
                logger.error("open_transaction", extra=fields | {"seconds": round(seconds[tp])})
