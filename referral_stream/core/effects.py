"""What a step can want from the world: commands, decisions and requests to the ledger, as values.

Commands and decisions are the bodies of outbound messages (semantics §6, §8; contracts "Messages out"); requests go to
``ledger-requests``. Nothing here names a person.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from referral_stream.core.after_policy import RewardKind
from referral_stream.core.events import Channel, Event, Segment
from referral_stream.core.instants import Instant
from referral_stream.core.sections import Mode

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
    """Every change of a decision, with its explanation; ``arm``: ``EXPERIMENT/TEMPLATE``, of an ask (after §8)."""

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
    arm: str | None = None
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


class Offer(Body):
    """What the referrer is promised, or gets: of which programme, and how much of what (after §4)."""

    programme: str
    kind: RewardKind
    amount_minor: int | None = None
    currency: str | None = None
    benefit: str | None = None


class AskRequested(CommandHead):
    """``referral.ask.requested``: the command to a messaging worker."""

    subject: str
    mode: Mode
    template: str
    arm: str | None = None
    variables: dict[str, str]
    channels: tuple[Channel, ...]
    not_before: Instant
    expires_at: Instant
    reason_theme: str | None = None
    offer: Offer | None = None
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


# -------------------------------------------------------------------------------------------------------- after the ask

FollowupKind: TypeAlias = Literal[
    "intro_offer", "easy_forward", "graceful_no", "read_answer",
    "thank", "take_care", "report_back", "reward_told", "approve_reward", "read_reward", "reward_failed",
]  # fmt: skip
Audience: TypeAlias = Literal["customer", "owner"]
FollowupReason: TypeAlias = Literal[
    "answer", "referral_given", "status", "care_taken", "stop", "consent", "suppressed", "channel", "erased",
    "contact_erased", "quarantined", "merged",
]  # fmt: skip


class FollowupRequested(Body):
    """``referral.followup.requested``: something to say to the customer, or to do for their owner (after §2)."""

    followup_id: str
    kind: FollowupKind
    audience: Audience
    customer_id: str
    account_id: str | None = None
    command_id: str | None = None
    referral_id: str | None = None
    channels: tuple[Channel, ...] | None = None
    not_before: Instant
    due_by: Instant
    expires_at: Instant
    late: bool
    variables: dict[str, str]
    policy: PolicyRef
    requested_at: Instant
    traceparent: str | None = None


class FollowupCancelled(Body):
    """``referral.followup.cancelled``: it must no longer be sent, or done."""

    followup_id: str
    kind: FollowupKind
    customer_id: str
    account_id: str | None = None
    reason: FollowupReason
    cancelled_at: Instant
    traceparent: str | None = None


class RewardHead(Body):
    """What every message about a reward begins with."""

    grant_id: str
    referral_id: str
    customer_id: str
    account_id: str | None = None


Hint: TypeAlias = Literal["own_email", "same_domain", "rate"]
DeniedFor: TypeAlias = Literal[
    "not_approved", "duplicate", "customer_cap", "account_cap", "refunded", "rejected", "erased"
]


class RewardHeld(RewardHead, Offer):
    """``referral.reward.held``: a person has to look at it first."""

    hints: tuple[Hint, ...]
    held_at: Instant
    lapses_at: Instant
    policy: PolicyRef
    traceparent: str | None = None


class RewardGranted(RewardHead, Offer):
    """``referral.reward.granted``: to be paid."""

    granted_at: Instant
    policy: PolicyRef
    traceparent: str | None = None


class RewardDenied(RewardHead):
    """``referral.reward.denied``: there will be none for this referral."""

    reason: DeniedFor
    denied_at: Instant
    policy: PolicyRef
    traceparent: str | None = None


class RewardReversed(RewardHead):
    """``referral.reward.reversed``: what was granted is taken back."""

    reason: Literal["refunded", "rejected"]
    reversed_at: Instant
    policy: PolicyRef
    traceparent: str | None = None


class ContactTold(Body):
    """``referral.contact.told``: the name of a contact who has consented; written by ingest (after §5)."""

    referral_id: str
    customer_id: str
    name: str | None = None
    company: str | None = None
    told_at: Instant


class ContactForgotten(Body):
    """Ends what ``referral-contacts`` says about a contact."""

    referral_id: str
    customer_id: str
    now: Instant


class ReferralHistory(Body):
    """A customer's asks and referrals in a few figures; dates are local, ``*_at`` instants (after §6)."""

    last_ask_date: str | None = None
    last_asked_at: Instant | None = None
    first_asked_at: Instant | None = None
    times_asked: int
    referrals_given: int
    referrals_converted: int
    propensity_score: int
    next_ask_eligible: str | None = None
    next_eligible_at: Instant | None = None


class ReferredContact(Body):
    """One referral, without the name."""

    referral_id: str
    command_id: str | None = None
    consented: bool
    referred_date: str
    status: str
    care_late: bool | None = None
    deal_value_minor: int | None = None
    currency: str | None = None
    reward: Literal["held", "due", "granted", "denied", "reversed", "delivered", "failed"] | None = None


class RecordedAsk(Body):
    """One ask and what became of it; the last four fields only where true."""

    command_id: str
    trigger: str
    template: str
    mode: Mode
    channel: Channel
    kind: Literal["asked", "soft", "holdout", "shadow"]
    arm: str | None = None
    t0: Instant
    asked_at: Instant
    decided_at: Instant
    sent_at: Instant | None = None
    answer: str | None = None
    answered_at: Instant | None = None
    referrals: int
    converted: int
    failed: bool | None = None
    cancelled: bool | None = None
    despite_signal: bool | None = None
    regret: bool | None = None


class RecordedMonth(Body):
    """What became of the occasions of one month (UTC, of t0) and trigger; zeros are left out."""

    month: str
    trigger: str
    opened: int | None = None
    eligible: int | None = None
    asked: int | None = None
    held_out: int | None = None
    shadowed: int | None = None
    missed: int | None = None
    superseded: int | None = None
    cancelled: int | None = None
    blocked: dict[str, int] | None = None


class RecordChanged(Body):
    """``referral.record.changed``: all that matters of a customer's asks and referrals; the newest counts (after §6).

    ``ids``: the customer's other ids. ``n`` is its number, from 1: the id is made of it.
    """

    customer_id: str
    ids: tuple[str, ...] | None = None
    account_id: str | None = None
    segment: Segment | None = None
    signed_up_at: Instant | None = None
    referral_history: ReferralHistory
    referred_contacts: tuple[ReferredContact, ...] = ()
    asks: tuple[RecordedAsk, ...] = ()
    months: tuple[RecordedMonth, ...] = ()
    followups: dict[FollowupKind, dict[str, int]] = {}
    recorded_at: Instant
    policy: PolicyRef
    n: int = Field(0, exclude=True)


class RecordForgotten(Body):
    """Ends the record of a customer who was erased."""

    customer_id: str


class ContactClaimed(Body):
    """To the ledger: this customer named the contact of these keys at ``now`` (after §5, §10)."""

    referral_id: str
    customer_id: str
    contact_keys: tuple[str, ...]
    now: Instant


class ContactReleased(Body):
    """To the ledger: the claims of a referral count no more; void against a newer claim."""

    referral_id: str
    customer_id: str
    now: Instant


class GrantRequested(RewardHead):
    """To the ledger: may this reward be granted? Answered by ``grant.*`` (after §4, §10)."""

    contact_keys: tuple[str, ...]
    now: Instant


class GrantHeld(RewardHead):
    """The ledger's yes as it stands in the log: see :class:`ReservationHeld`."""

    contact_keys: tuple[str, ...]
    requested_at: Instant
    generation: int
    now: Instant


class GrantConfirmed(RewardHead):
    """To the ledger: the reward is granted; it counts, unless a newer release is known. ``now``: of its request."""

    contact_keys: tuple[str, ...]
    now: Instant


class GrantReleased(Body):
    """To the ledger: the grant counts no more, or was never used."""

    grant_id: str
    customer_id: str
    now: Instant


# ----------------------------------------------------------------------------------------------------------- the ledger


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
    | ContactClaimed
    | ContactReleased
    | GrantRequested
    | GrantHeld
    | GrantConfirmed
    | GrantReleased
)
Reward: TypeAlias = RewardHeld | RewardGranted | RewardDenied | RewardReversed
Effect: TypeAlias = (
    AskRequested
    | ReasonAsked
    | AskCancelled
    | Decision
    | FollowupRequested
    | FollowupCancelled
    | Reward
    | RecordChanged
    | RecordForgotten
    | ContactTold
    | ContactForgotten
    | LedgerRequest
)
"""What is published for others: a message, with a row in the catalogue."""
