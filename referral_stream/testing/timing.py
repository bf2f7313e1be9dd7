"""How long the kit waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All in seconds.

    ``answer``: a running worker acknowledges within this time of the instant at which it may act; generous enough for
    its start, and for a consumer group to notice that a killed member is gone. ``early``: how far in the future the
    ``not_before`` of commands that have to wait lies; long enough for a worker to be tempted. ``quiet``: how long
    after the last answer the kit listens for what must not come. ``skew``: how far the worker's clock may differ from
    the kit's.
    """

    answer: float = 20.0
    early: float = 4.0
    quiet: float = 2.0
    skew: float = 0.2
