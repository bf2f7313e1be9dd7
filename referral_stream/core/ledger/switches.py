"""Switches: what an operator, or the breaker, has paused, and who was refused for it (semantics §4 gate 2, §9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.events import ControlResumed, ReservationDenied, Scope


class Switch(NamedTuple):
    """What can be paused: everything (``name`` is empty), one trigger or one segment."""

    scope: Scope
    name: str = ""


def switches_of(trigger: str, segment: str | None) -> tuple[Switch, ...]:
    """The switches that stop such a request, the widest first. An unknown segment is in no segment."""
    switches = (Switch("all"), Switch("trigger", trigger))
    return (*switches, Switch("segment", segment)) if segment else switches


def denied_paused(command_id: str, paused: Iterable[Switch]) -> ReservationDenied:
    """Gate 2's answer; ``paused`` are all switches that stop the request."""
    return ReservationDenied(
        command_id=command_id,
        gate="paused",
        until_event=ControlResumed.type,
        saw="paused: " + ", ".join(f"{scope} {name}".rstrip() for scope, name in paused),
    )


class Resumption(NamedTuple):
    """``ended``: whether it ended a pause; ``refused``: the customers that were refused for it, sorted."""

    ended: bool
    refused: tuple[str, ...]


@dataclass(slots=True)
class _SwitchState:
    paused: bool
    changed_at: int
    refused: set[str] = field(default_factory=set)


class Switches:
    """The state of every switch that was ever thrown."""

    def __init__(self) -> None:
        self._states: dict[Switch, _SwitchState] = {}

    def pause(self, switch: Switch, now: int) -> bool:
        """Throw a switch at ``now``; whether that changed it. The change with the latest ``now`` wins."""
        state = self._states.get(switch)
        if state is not None and now < state.changed_at:
            return False
        if state is not None and state.paused:
            state.changed_at = now
            return False
        self._states[switch] = _SwitchState(paused=True, changed_at=now)
        return True

    def resume(self, switch: Switch, now: int) -> Resumption:
        """Throw a switch back.

        The same resumption again (a redelivery) names the same customers, until the next pause. One older than the last
        change names nobody; nor does one for something not paused, but it voids an earlier pause that arrives later.
        """
        state = self._states.setdefault(switch, _SwitchState(paused=False, changed_at=-1))
        if now < state.changed_at:
            return Resumption(ended=False, refused=())
        if not state.paused and now > state.changed_at:
            state.changed_at = now
            return Resumption(ended=False, refused=())
        ended = state.paused
        if ended:
            state.paused, state.changed_at = False, now
        return Resumption(ended=ended, refused=tuple(sorted(state.refused)))

    def stopping(self, request: ReservationRequested) -> list[Switch]:
        """The switches that would stop this request now, the widest first."""
        switches = switches_of(request.trigger, request.segment)
        return [each for each in switches if each in self._states and self._states[each].paused]

    def denial(self, request: ReservationRequested) -> ReservationDenied | None:
        """The answer to a request that a switch stops; its end will name the customer."""
        paused = self.stopping(request)
        if not paused:
            return None
        self._states[paused[0]].refused.add(request.customer_id)
        return denied_paused(request.command_id, paused)
