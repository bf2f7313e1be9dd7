"""Opportunities: what a customer's state keeps of each occasion to ask, from its opening to its end."""

from __future__ import annotations

from typing import Literal

import msgspec

from referral_stream.core.events import Channel

NO_THEME = "other"
"""In the place of a theme: they said something, and no theme could be read from it."""


class Denial(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The ledger's no, or its silence: it stands until an instant or an event, then a new request is made.

    A silence has ``until_event`` ``ledger.answered`` and also ``until``: the instant of the next try.
    """

    gate: Literal["paused", "overasking", "account"]
    saw: str
    until: int | None = None
    until_event: str | None = None

    def stands(self, now: int) -> bool:
        return self.until is None or now < self.until


class Opportunity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One occasion to ask, with its window ``[t0, deadline)``.

    ``ready``: the first instant at which it may speak if no gate blocks: settled and arrived. ``written``: how many
    decisions were written under its id; ``last``: hash of (outcome, blocking gates) of the last one. ``survey``: the
    trigger is itself a survey answer; ``response``: that answer's id, for corrections. ``tries``: how often the ledger
    did not answer. ``owner``: the id under which it was made, where that was merged away since.
    ``eligible``: at some instant the customer could be asked about it, the moment and other customers apart.
    """

    id: str
    trigger: str
    subject: str
    t0: int
    deadline: int
    settled: int
    opened_at: int
    ready: int
    survey: bool = False
    response: str | None = None
    theme: str | None = None
    variables: dict[str, str] = {}
    flags: tuple[str, ...] = ()
    traceparent: str | None = None
    denial: Denial | None = None
    tries: int = 0
    written: int = 0
    last: int = 0
    reason_asked_at: int | None = None
    owner: str = ""
    eligible: bool = False

    @property
    def reason_theme(self) -> str | None:
        """What they praised; a word from which no theme could be read names none (11.10)."""
        return None if self.theme == NO_THEME else self.theme

    @property
    def awaits_reason(self) -> bool:
        """Whether the customer was asked for the reason and has not answered yet."""
        return self.reason_asked_at is not None and self.theme is None


class Awaiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reservation that was requested and not answered yet.

    ``moment`` is the instant asked for, ``channel`` the one that speaks first; ``rest`` are the other candidates of
    that instant, best first, with their channels; ``give_up`` is when silence counts as an answer. ``amended``: an
    account or an address became known since the request.
    """

    opportunity_id: str
    command_id: str
    moment: int
    channel: Channel
    give_up: int
    rest: tuple[tuple[str, Channel], ...] = ()
    amended: bool = False
