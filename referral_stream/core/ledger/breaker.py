"""The burst breaker: a trigger that opens far more opportunities than in other hours is paused (semantics §9)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

from referral_stream.core.effects import OpportunityOpened
from referral_stream.core.events import ControlPaused, Event
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import HOUR, rfc3339
from referral_stream.core.policy import Breaker

BREAKER = "burst-breaker"
"""Who paused a trigger when nobody did."""


def paused_by_breaker(trigger: str, hour: int, count: int, limit: float) -> ControlPaused:
    """The automatic pause: ``count`` openings since ``hour`` (hours since 1970) are more than ``limit``."""
    why = f"{count} openings since {rfc3339(hour * HOUR)}, more than {limit:g}"
    return ControlPaused(scope="trigger", name=trigger, by=BREAKER, why=why)


LEDGER = "referral-stream/ledger"
"""The ``source`` of what the ledger tells customers."""


def breakers_pause(opened: OpportunityOpened, pause: ControlPaused) -> Event:
    """What customers are told of a pause that this opening set; its time tells when it ends."""
    return Event(
        id=derived_id("breaker", opened.opportunity_id),
        source=LEDGER,
        type=pause.type,
        subject="",
        time=opened.now,
        data=pause,
    )


@dataclass(slots=True)
class _Openings:
    """Opportunity ids per UTC hour of one trigger; ``forgiven`` of the hour ``forgiven_hour`` no longer count."""

    hours: dict[int, set[str]] = field(default_factory=dict)
    newest: int = -1
    forgiven_hour: int = -1
    forgiven: int = 0


class BurstBreaker:
    """Counts the openings of every trigger, hour by hour."""

    def __init__(self, limits: Breaker) -> None:
        self._limits = limits
        self._openings: defaultdict[str, _Openings] = defaultdict(_Openings)

    def opened(self, opened: OpportunityOpened) -> ControlPaused | None:
        """Count an opening, once per opportunity; returns the pause to make if its hour now has too many.

        What is older than the hours that are compared is not counted.
        """
        limits = self._limits
        if not limits.enabled:
            return None
        hour, openings = opened.now // HOUR, self._openings[opened.trigger]
        if hour > openings.newest:
            openings.newest = hour
            for old in [each for each in openings.hours if each < hour - limits.hours]:
                del openings.hours[old]
        if hour < openings.newest - limits.hours:
            return None
        ids = openings.hours.setdefault(hour, set())
        if opened.opportunity_id in ids:
            return None
        ids.add(opened.opportunity_id)
        count = len(ids) - (openings.forgiven if openings.forgiven_hour == hour else 0)
        before = [len(openings.hours.get(hour - back, ())) for back in range(1, limits.hours + 1)]
        limit = self.limit(limits, before)
        return paused_by_breaker(opened.trigger, hour, count, limit) if count > limit else None

    @staticmethod
    def limit(limits: Breaker, before: list[int]) -> float:
        """More openings than this in an hour are a burst; ``before``: those of the hours it is compared with."""
        return max(limits.floor, limits.factor * median(before))

    def forgive(self, trigger: str, now: int) -> None:
        """After a resumption the hour's count restarts, or the next opening would pause again."""
        openings = self._openings[trigger]
        openings.forgiven_hour = now // HOUR
        openings.forgiven = len(openings.hours.get(openings.forgiven_hour, ()))
