"""The gates' verdicts on each live opportunity at one instant."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from referral_stream.core.events import Channel
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.rules.gates import Verdict


class Assessment(NamedTuple):
    """An opportunity with all gates' verdicts at this instant; ``blocking``: those that do not pass."""

    opportunity: Opportunity
    verdicts: tuple[Verdict, ...]
    blocking: tuple[Verdict, ...]

    @property
    def blocked(self) -> bool:
        """Whether a gate other than ``moment`` holds it back."""
        return any(v.gate != "moment" for v in self.blocking)

    @property
    def closed_by_gate(self) -> bool:
        return any(v.closes(self.opportunity.deadline) for v in self.blocking)

    @property
    def clock_allows(self) -> bool:
        return all(v.gate != "moment" for v in self.blocking)


class Met(NamedTuple):
    """A good moment: the channel that may speak, and the call that it was on, if any."""

    channel: Channel
    call_id: str | None = None


class Board(msgspec.Struct, gc=False):
    """Everything live as judged at this instant. All processes read it; :mod:`~referral_stream.core.asking` writes it.

    ``current``: whether judging again would change nothing. Any change to what a gate sees clears it.
    ``judged`` is by opportunity id; so are ``met``, the good moments met at this instant, and ``moment_channels``: the
    channel of the first one that counts at its end.
    """

    current: bool = False
    judged: dict[str, Assessment] = {}
    met: dict[str, list[Met]] = {}
    moment_channels: dict[str, Channel] = {}


def at_their_moment(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """The verdicts of an opportunity whose moment is here, whatever the clock alone says."""
    return tuple(_passed(v) if v.gate == "moment" else v for v in verdicts)


def _passed(v: Verdict) -> Verdict:
    return v._replace(answer="pass", until=None, until_event=None, saw="clear")
