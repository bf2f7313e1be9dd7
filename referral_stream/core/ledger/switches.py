"""Switches: what an operator, or the breaker, has paused, and who waits for its end (semantics §4 gate 2, §9, §11)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.events import ControlPaused, ControlResumed, ReservationDenied, Scope


class Switch(NamedTuple):
    """What can be paused: everything (``name`` is empty), one trigger or one segment."""

    scope: Scope
    name: str = ""

    def __str__(self) -> str:
        return f"{self.scope} {self.name}".rstrip()

    def concerns(self, trigger: str, segment: str | None) -> bool:
        """Whether it stops such a request; that of a paused segment also those whose segment is unknown."""
        match self.scope:
            case "all":
                return True
            case "trigger":
                return self.name == trigger
            case "segment":
                return segment is None or self.name == segment


class Stopping(NamedTuple):
    """A switch that stops a request; ``until``: when the breaker's pause ends by itself, None for a person's."""

    switch: Switch
    until: int | None = None


def stopped_by(stopping: Iterable[Stopping]) -> str:
    """What gate 2 saw."""
    return "paused: " + ", ".join(str(each.switch) for each in stopping)


def denied_paused(command_id: str, stopping: Iterable[Stopping]) -> ReservationDenied:
    """Gate 2's answer; ``stopping`` are all switches that stop the request. An event is harder than an instant."""
    stopping = tuple(stopping)
    ends = [each.until for each in stopping if each.until is not None]
    by_itself = len(ends) == len(stopping)
    return ReservationDenied(
        command_id=command_id,
        gate="paused",
        until=max(ends) if by_itself else None,
        until_event=None if by_itself else ControlResumed.type,
        saw=stopped_by(stopping),
    )


class Page(NamedTuple):
    """Customers to tell of a switch, by their ids; ``after``: behind what the next page begins, None: there is none."""

    customers: tuple[str, ...]
    after: str | None


THROWN_BACK_KEPT = 1_000
"""Every pause is kept, also one for a name that no policy knows; of what was thrown back the newest so many.

An older pause of one that is forgotten would count again, if it arrived so late: that only holds back.
"""


@dataclass(slots=True)
class _Thrown:
    """What persons did with a switch last."""

    paused: bool = False
    changed_at: int = -1


class _Tripped(NamedTuple):
    """The pause that the breaker set because of an opening."""

    opening: str
    set_at: int
    pause: ControlPaused


class Switches:
    """The state of every switch that was ever thrown. ``breaker_pause``: how long the breaker pauses a trigger (ms).

    What persons did and what the breaker did is kept apart: a switch is on if a person's newest word is a pause, or if
    the breaker has set it since a person's last word and its time is not over.
    """

    def __init__(self, breaker_pause: int) -> None:
        self._breaker_pause = breaker_pause
        self._thrown: defaultdict[Switch, _Thrown] = defaultdict(_Thrown)
        self._tripped: dict[str, _Tripped] = {}
        self._waiting: defaultdict[Switch, set[str]] = defaultdict(set)

    def pause(self, switch: Switch, stamp: int) -> bool:
        """Throw a switch; whether it is on now. The newest stamp wins, at a tie the pause."""
        thrown = self._thrown[switch]
        if stamp < thrown.changed_at:
            return False
        thrown.paused, thrown.changed_at = True, stamp
        return True

    def resume(self, switch: Switch, stamp: int) -> tuple[bool, bool]:
        """Throw a switch back; whether it counts, and whether it ended a pause.

        One for something that is not paused voids an earlier pause that arrives later.
        """
        thrown = self._thrown[switch]
        if stamp < thrown.changed_at or (thrown.paused and stamp == thrown.changed_at):
            return False, False
        tripped = self._tripped.get(switch.name) if switch.scope == "trigger" else None
        ended = thrown.paused or (
            tripped is not None and tripped.set_at < stamp and self._breaker_until(switch, stamp) is not None
        )
        thrown.paused, thrown.changed_at = False, stamp
        self._forget_oldest()
        return True, ended

    def _forget_oldest(self) -> None:
        thrown_back = [switch for switch, each in self._thrown.items() if not each.paused and each.changed_at >= 0]
        if len(thrown_back) > THROWN_BACK_KEPT:
            del self._thrown[min(thrown_back, key=lambda each: (self._thrown[each].changed_at, f"{each[0]} {each[1]}"))]

    def trip(self, trigger: str, opening: str, now: int, pause: ControlPaused) -> bool:
        """The breaker pauses a trigger; False where it is paused already, or a person resumed it after ``now``."""
        switch = Switch("trigger", trigger)
        if now < self._thrown[switch].changed_at or self.stands(switch, now):
            return False
        self._tripped[trigger] = _Tripped(opening, now, pause)
        return True

    def tripped_by(self, trigger: str, opening: str) -> ControlPaused | None:
        """The pause that this opening has set, if no person has said anything since."""
        tripped, thrown = self._tripped.get(trigger), self._thrown[Switch("trigger", trigger)]
        if tripped is None or tripped.opening != opening or thrown.paused or tripped.set_at < thrown.changed_at:
            return None
        return tripped.pause

    def was_set_by(self, trigger: str, opening: str) -> bool:
        tripped = self._tripped.get(trigger)
        return tripped is not None and tripped.opening == opening

    def stands(self, switch: Switch, now: int) -> bool:
        """Whether the switch is on at ``now``."""
        return self._thrown[switch].paused or self._breaker_until(switch, now) is not None

    def _breaker_until(self, switch: Switch, now: int) -> int | None:
        """When the breaker's pause of it ends, None where there is none at ``now``."""
        tripped = self._tripped.get(switch.name) if switch.scope == "trigger" else None
        if tripped is None or tripped.set_at < self._thrown[switch].changed_at:
            return None
        until = tripped.set_at + self._breaker_pause
        return until if now < until else None

    def stopping(self, request: ReservationRequested) -> list[Stopping]:
        """The switches that stop this request at its ``due``, the widest first."""
        found = []
        for switch in (Switch("all"), Switch("trigger", request.trigger)):
            if self._thrown[switch].paused:
                found.append(Stopping(switch))
            elif (until := self._breaker_until(switch, request.due)) is not None:
                found.append(Stopping(switch, until))
        segments = sorted(
            switch for switch, thrown in self._thrown.items() if switch.scope == "segment" and thrown.paused
        )
        return found + [Stopping(each) for each in segments if each.concerns(request.trigger, request.segment)]

    def denial(self, request: ReservationRequested) -> ReservationDenied | None:
        """The answer to a request that a switch stops; its end will name the customer."""
        stopping = self.stopping(request)
        if not stopping:
            return None
        # The end of a person's pause is told; that of the breaker's comes by itself.
        noted = next((each for each in stopping if each.until is None), stopping[0])
        self.wait(noted.switch, request.customer_id)
        return denied_paused(request.command_id, stopping)

    def wait(self, switch: Switch, customer: str) -> None:
        """The customer is to be told when the switch is thrown back."""
        self._waiting[switch].add(customer)

    def waiting(self, switch: Switch, now: int, after: str, size: int) -> Page:
        """Those to be told that the switch was thrown back; up to ``after`` they have been, and are forgotten."""
        waiting = self._waiting[switch]
        if after and not self.stands(switch, now):  # while it is on again, those told may wait again
            waiting -= {each for each in waiting if each <= after}
        customers = tuple(sorted(each for each in waiting if each > after)[:size])
        return Page(customers, customers[-1] if customers else None)
