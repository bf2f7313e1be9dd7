"""Who of a ledger's history may have been refused for a pause, although the history does not show it.

A history has the requests and what was granted, not what was refused. Most refusals can be seen from it: at the instant
of the request a pause stood. But a ledger that is behind answers later than that, up to the request's ``valid_until``:
perhaps by a pause of after the request, perhaps by one whose end it had not read yet. So whoever was not granted what
they requested waits for the end of such a pause too. To be told of an end for nothing does no harm; never to be told
would let an ask wait for the customer's next event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from referral_stream.core.effects import ReservationHeld, ReservationRequested
from referral_stream.core.events import ControlResumed, Event
from referral_stream.core.instants import HOUR
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.ledger.switches import Switch

BEHIND: Final = HOUR
"""A ledger that is further behind than this with the end of a pause tells it to those alone whom the pause stopped."""

ToBeTold: TypeAlias = tuple[Switch, str]
"""A switch, and a customer who is to be told when it is thrown back."""


class Unsettled:
    """Follows a history, oldest first. It holds the requests of the last :data:`BEHIND` that were not granted."""

    def __init__(self) -> None:
        self._requests: dict[str, ReservationRequested] = {}
        self._ends: dict[Switch, int] = {}
        self._newest = 0
        self._room = 1_000

    def follow(self, operation: LedgerOperation) -> None:
        """The next record of the history."""
        match operation:
            case ReservationRequested(command_id=command, now=now):
                self._requests.pop(command, None)
                self._requests[command] = operation
                self._newest = max(self._newest, now)
                self._forget()
            case ReservationHeld(command_id=command):
                self._requests.pop(command, None)
            case Event(data=ControlResumed(scope=scope, name=name), time=time):
                self._ends[Switch(scope, name or "")] = time
                self._newest = max(self._newest, time)
            case _:
                pass

    def paused(self, switch: Switch, at: int) -> Iterator[ToBeTold]:
        """A pause begins: it may have stopped what was requested before it, and answered after it."""
        for each in self._requests.values():
            if each.valid_until >= at and switch.concerns(each.trigger, each.segment):
                yield switch, each.customer_id

    def left(self) -> Iterator[ToBeTold]:
        """The history is over: these may have been stopped by a pause whose end the ledger had not read yet."""
        for switch, at in self._ends.items():
            if at >= self._newest - BEHIND:
                for each in self._requests.values():
                    if each.now >= at and switch.concerns(each.trigger, each.segment):
                        yield switch, each.customer_id

    def _forget(self) -> None:
        if len(self._requests) >= self._room:
            since = self._newest - BEHIND
            self._requests = {command: each for command, each in self._requests.items() if each.now >= since}
            self._room = 2 * len(self._requests) + 1_000
