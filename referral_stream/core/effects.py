"""What a step can want from the world: commands, decisions and requests to the ledger, as values.

Commands and decisions are the bodies of outbound messages (semantics §6, §8; contracts "Messages out"); requests go to
``ledger-requests``. Nothing here names a person.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict

from referral_stream.core.events import Channel, Event, Segment
from referral_stream.core.instants import Instant
from referral_stream.core.policy import Mode

Outcome: TypeAlias = Literal[
    "asked", "soft", "deferred", "pending", "suppressed", "expired", "expired_on_arrival", "superseded", "cancelled",
    "holdout", "duplicate", "historical", "shadow",
]  # fmt: skip
GateName: TypeAlias = Literal[
    "erased", "paused", "consent", "too_early", "trouble", "propensity", "answers", "overasking", "account",
    "advocacy", "channel", "moment", "approval", "holdout",
]  # fmt: skip
GateAnswer: TypeAlias = Literal["pass", "never", "until", "until_event"]


class Body(BaseModel):
    model_config = ConfigDict(frozen=True)


class Reason(Body):
    """One gate's answer; ``until`` is RFC 3339 for ``until`` and an event type for ``until_event``."""

    gate: GateName
    answer: GateAnswer
    until: str | None = None
    saw: str
    limit: str


class Score(Body):
    """Propensity: ``value`` is ``raw`` capped at 100; ``parts`` are always the nine contributions that make ``raw``."""

    value: int
    raw: int
    parts: dict[str, int]


class Window(Body):
    """Half-open ``[opens, deadline)``."""

    opens: Instant
    deadline: Instant


class TimeZone(Body):
    name: str
    source: Literal["profile", "event", "default"]


class PolicyRef(Body):
    name: str
    hash: str


class Rival(Body):
    """Another opportunity of the same customer that could have spoken at the same instant."""

    trigger: str
    opportunity_id: str
    priority: int


class Decision(Body):
    """Every change of a decision, with its explanation."""

    decision_id: str
    opportunity_id: str
    customer_id: str
    account_id: str | None = None
    trigger: str
    subject: str
    outcome: Outcome
    reasons: tuple[Reason, ...]
    score: Score
    mode: Mode | None = None
    channel: Channel | None = None
    window: Window
    settled: Instant | None = None
    time_zone: TimeZone
    rivals: tuple[Rival, ...] = ()
    command_id: str | None = None
    policy: PolicyRef
    decided_at: Instant
    next_eligible_at: Instant | None = None
    flags: tuple[str, ...] = ()


class CommandHead(Body):
    """What every command about an ask begins with: its id, the decision behind it, and who and what it is about."""

    command_id: str
    decision_id: str
    opportunity_id: str
    customer_id: str
    account_id: str | None = None
    trigger: str


class AskRequested(CommandHead):
    """``referral.ask.requested``: the command to a messaging worker."""

    subject: str
    mode: Mode
    template: str
    variables: dict[str, str]
    channels: tuple[Channel, ...]
    not_before: Instant
    expires_at: Instant
    reason_theme: str | None = None
    score: Score
    policy: PolicyRef
    traceparent: str | None = None


class ReasonAsked(CommandHead):
    """``referral.reason.asked``: what do you like most? The ask itself follows inside the same window.

    The customer's answer comes back as a newer revision of the same survey response, with a comment.
    """

    subject: str
    template: str
    channels: tuple[Channel, ...]
    not_before: Instant
    expires_at: Instant
    policy: PolicyRef
    traceparent: str | None = None


class AskCancelled(CommandHead):
    """``referral.ask.cancelled``: a command that must no longer be sent."""

    gate: GateName
    reason: str
    cancelled_at: Instant


class ReservationRequested(Body):
    """May this customer be asked now? ``due`` is the moment m, ``now`` the arrival stamp of the input that led here.

    ``planned``: at a moment of the clock, the instant for which the customer was to be woken: the same for all contacts
    of an account whose slot begins then, while wake-ups arrive some milliseconds apart. None at an event's moment.
    ``shadow``: nothing will be sent; it counts for other requests of shadow mode alone.
    """

    command_id: str
    opportunity_id: str
    customer_id: str
    account_id: str | None = None
    email_hmac: str | None = None
    segment: Segment | None = None
    trigger: str
    priority: int
    raw_score: int
    due: Instant
    valid_until: Instant
    now: Instant
    shadow: bool = False
    planned: Instant | None = None


class ReservationHeld(Body):
    """The ledger's grant, as it stands in the log: what was requested at ``requested_at`` may be asked.

    ``generation``: of the ledger that granted it. It is void behind a newer :class:`LedgerRenewed` of its partition.
    ``now``: when it was granted, by the ledger's clock.
    """

    command_id: str
    customer_id: str
    account_id: str | None = None
    email_hmac: str | None = None
    segment: Segment | None = None
    trigger: str
    due: Instant
    requested_at: Instant
    shadow: bool = False
    generation: int
    now: Instant


class LedgerRenewed(Body):
    """From here on, in this partition, only a ledger of this ``generation`` or a newer one may grant anything.

    Generations are numbered by the log: the offset after their announcement on ``ledger-generations``, where the number
    in the record itself is that of the generation before.
    """

    generation: int
    now: Instant

    @property
    def customer_id(self) -> str:
        """It concerns nobody in particular."""
        return ""


class ReservationConfirmed(Body):
    """The worker sent it: the reservation has become an ask."""

    command_id: str
    customer_id: str
    account_id: str | None = None
    now: Instant


class ReservationReleased(Body):
    """An explicit failure, or a grant no longer awaited: the reservation never counted."""

    command_id: str
    customer_id: str
    account_id: str | None = None
    now: Instant


class ReservationAmended(Body):
    """An account or an e-mail HMAC that became known after the ask, and within a cap's period: it counts for it too."""

    command_id: str
    customer_id: str
    account_id: str | None = None
    email_hmac: str | None = None
    now: Instant


class OpportunityOpened(Body):
    """Reported to the burst breaker, which counts openings per trigger and UTC hour.

    Only of customers who could be asked: gates 1 and 3 to 5 pass.
    """

    opportunity_id: str
    customer_id: str
    account_id: str | None = None
    trigger: str
    segment: Segment | None = None
    now: Instant


class Append(msgspec.Struct, frozen=True, gc=False):
    """A record that one entity of ``customer-events`` appends to another, with the ``now`` of its step (identity §3).

    ``key``: see :mod:`~referral_stream.core.keys`.
    """

    key: str
    event: Event


class RecordPosition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a record lies, and which attempt it is, counted from 1; ``timestamp`` is the broker's (epoch ms)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    attempt: int = 1


class Undelivered(msgspec.Struct, frozen=True, gc=False):
    """An event that came to nobody: under which key, when (``arrived`` and ``lapsed``, epoch ms), by which record."""

    key: str
    event: Event
    arrived: int
    lapsed: int
    position: RecordPosition | None


class Letter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter that a step makes: somebody has to look at it (identity §3, §4).

    It is one of the record that the step has just applied, or, if named, of what came to nobody. ``cause`` and
    ``detail`` quote no payload.
    """

    cause: str
    detail: str
    undelivered: Undelivered | None = None


LedgerRequest: TypeAlias = (
    ReservationRequested
    | ReservationConfirmed
    | ReservationReleased
    | ReservationAmended
    | OpportunityOpened
    | ReservationHeld
    | LedgerRenewed
)
Effect: TypeAlias = AskRequested | ReasonAsked | AskCancelled | Decision | LedgerRequest
"""What is published for others: a message, with a row in the catalogue."""
