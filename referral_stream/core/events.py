"""Canonical customer events: past-tense facts, one closed union, and the internal records of ``customer-events``.

Field names and types are those of the contract (docs/contracts.md); a model ignores what it does not know, and refuses
what it knows under a wrong type. ``comment`` and ``text`` exist only on input: ingest replaces them with a theme or
an intent before anything is stored, so no free text ever reaches ``customer-events``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, get_args

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from referral_stream.core.instants import Instant


def _whole(value: Any) -> Any:
    """JSON has one kind of number, and some languages write every one of them with a point: 3.0 is 3."""
    return int(value) if type(value) is float and value.is_integer() else value


Id: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512)]
MAX_TEXT = 100_000
"""Characters."""
Text: TypeAlias = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Label: TypeAlias = Annotated[str, StringConstraints(max_length=512)]
"""What a producer calls something: conditions of the policy may look at it, so it cannot be of any length."""
WHOLE = BeforeValidator(_whole)
"""For a field that is an integer, however it is written; stands behind its limits."""
Amount: TypeAlias = Annotated[int, Field(ge=-(2**53), le=2**53), WHOLE]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
"""64 hex digits, read in any case, kept in lower case."""
Channel: TypeAlias = Literal["email", "in_app", "phone"]
Segment: TypeAlias = Literal["smb", "enterprise", "mission_driven"]
Scope: TypeAlias = Literal["all", "trigger", "segment"]

SOMEBODY = "somebody"
"""Who did it, where no key says so."""

CHANNELS: tuple[Channel, ...] = get_args(Channel)


class Data(BaseModel):
    """The ``data`` of one event type; ``type`` is its name on the wire."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)
    type: ClassVar[str]


class Commented(Data):
    """Something in the customer's own words: the words are dropped, their theme is kept."""

    comment: Text | None = None
    theme: str | None = None


class Rated(Commented):
    """A rating on its own scale; impossible ones are refused."""

    @model_validator(mode="after")
    def _within_scale(self) -> Rated:
        score, scale = self.on_scale
        if not 0 <= score <= scale or scale <= 0:
            raise ValueError(f"{score} is impossible on a scale up to {scale}")
        return self

    @property
    @abstractmethod
    def on_scale(self) -> tuple[float, float]:
        """(score, maximum)."""

    @property
    def top_box(self) -> bool:
        """10 × score ≥ 8 × maximum (semantics §10, Surveys)."""
        score, scale = self.on_scale
        return 10 * score >= 8 * scale

    @property
    def low(self) -> bool:
        """10 × score ≤ 4 × maximum: as bad as frustration (semantics §11, Bad words are trouble)."""
        score, scale = self.on_scale
        return 10 * score <= 4 * scale


# ------------------------------------------------------------------------------------------------------------ profile


class SignedUp(Data):
    type: ClassVar[str] = "customer.signed_up"
    trial: bool = False


class ReachableChannels(Data):
    type: ClassVar[str] = ""
    email: bool | None = None
    in_app: bool | None = None
    phone: bool | None = None


class ProfileChanged(Data):
    type: ClassVar[str] = "customer.profile_changed"
    time_zone: str | None = None
    locale: Annotated[str, StringConstraints(max_length=64)] | None = None
    segment: Segment | None = None
    account_id: Id | None = None
    channels: ReachableChannels | None = None
    email_hmac: Sha256 | None = None
    domain_hmac: Sha256 | None = None
    champion: bool | None = None
    requires_approval: bool | None = None


class ConsentChanged(Data):
    type: ClassVar[str] = "customer.consent_changed"
    purpose: Label
    channel: Literal["email", "in_app", "phone", "all"]
    granted: bool


class Suppressed(Data):
    type: ClassVar[str] = "customer.suppressed"
    reason: str | None = None


class Unsuppressed(Data):
    type: ClassVar[str] = "customer.unsuppressed"
    reason: str | None = None


class ErasureRequested(Data):
    type: ClassVar[str] = "customer.erasure_requested"


class Aliased(Data):
    type: ClassVar[str] = "customer.aliased"
    alias: Id


class Linked(Data):
    type: ClassVar[str] = "customer.linked"
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]
    value: Id


# ------------------------------------------------------------------------------------------------------ product usage


class OnboardingCompleted(Data):
    type: ClassVar[str] = "onboarding.completed"


class MilestoneReached(Data):
    type: ClassVar[str] = "milestone.reached"
    milestone: Id
    first_success: bool = False


class GoalAchieved(Data):
    type: ClassVar[str] = "goal.achieved"
    goal: str


class SavingMeasured(Data):
    type: ClassVar[str] = "saving.measured"
    kind: Literal["time", "money"]
    amount: float
    unit: Label


class UsageRecorded(Data):
    type: ClassVar[str] = "usage.recorded"
    feature: Label | None = None
    count: Annotated[int, Field(ge=0, le=2**40), WHOLE] = 1


class UsageCompared(Data):
    type: ClassVar[str] = "usage.compared"
    above_average: bool


class WorkflowCompleted(Data):
    type: ClassVar[str] = "workflow.completed"
    name: Label | None = None


class AchievementUnlocked(Data):
    type: ClassVar[str] = "achievement.unlocked"
    name: Label | None = None


class DashboardViewed(Data):
    type: ClassVar[str] = "dashboard.viewed"
    name: Label | None = None
    metrics_positive: bool


class TaskStarted(Data):
    type: ClassVar[str] = "task.started"
    task_id: Id


class TaskEnded(Data):
    type: ClassVar[str] = "task.ended"
    task_id: Id


# ------------------------------------------------------------------------------------------------------------ surveys


PROMOTER = 9
"""The lowest NPS score of a promoter, whatever a vendor calls one."""

PASSIVE = 7
"""The lowest NPS score that is not a detractor's."""


class NpsResponded(Commented):
    type: ClassVar[str] = "nps.responded"
    response_id: Id
    score: Annotated[int, Field(ge=0, le=10), WHOLE]


class CsatResponded(Rated):
    type: ClassVar[str] = "csat.responded"
    response_id: Id
    score: float
    scale_max: float
    ticket_id: Id | None = None

    @property
    def on_scale(self) -> tuple[float, float]:
        return self.score, self.scale_max


# ------------------------------------------------------------------------------------------------------------ billing


class Subscribed(Data):
    """Anything about one subscription."""

    subscription_id: Id


class TrialStarted(Subscribed):
    type: ClassVar[str] = "trial.started"


class TrialEnded(Subscribed):
    type: ClassVar[str] = "trial.ended"
    converted: bool


class SubscriptionStarted(Subscribed):
    type: ClassVar[str] = "subscription.started"


class SubscriptionEnded(Subscribed):
    type: ClassVar[str] = "subscription.ended"


class SubscriptionRenewed(Subscribed):
    type: ClassVar[str] = "subscription.renewed"
    invoice_id: Id | None = None
    contract_id: Id | None = None


class SubscriptionExpanded(Data):
    type: ClassVar[str] = "subscription.expanded"
    deal_id: Id
    amount_minor: Amount | None = None
    currency: Label | None = None


class ContractSigned(Data):
    type: ClassVar[str] = "contract.signed"
    contract_id: Id
    initial: bool


class InvoicePaymentFailed(Data):
    type: ClassVar[str] = "invoice.payment_failed"
    invoice_id: Id


class InvoicePaid(Data):
    type: ClassVar[str] = "invoice.paid"
    invoice_id: Id


class ChargeRefunded(Data):
    type: ClassVar[str] = "charge.refunded"
    charge_id: Id


class ChargeDisputed(Data):
    type: ClassVar[str] = "charge.disputed"
    charge_id: Id


class DisputeClosed(Data):
    type: ClassVar[str] = "dispute.closed"
    charge_id: Id
    won: bool


class Cancelling(Data):
    """A step towards or away from a cancellation; without ``subscription_id`` it is about the customer as a whole."""

    subscription_id: Id | None = None


class CancellationConsidered(Cancelling):
    type: ClassVar[str] = "cancellation.considered"


class CancellationScheduled(Cancelling):
    type: ClassVar[str] = "cancellation.scheduled"


class CancellationReverted(Cancelling):
    type: ClassVar[str] = "cancellation.reverted"


# ------------------------------------------------------------------------------------------------------------ support

Rating: TypeAlias = Literal["positive", "negative"]


class TicketFact(Data):
    """Anything about one support ticket."""

    ticket_id: Id


class TicketOpened(TicketFact):
    type: ClassVar[str] = "ticket.opened"
    priority: Literal["low", "normal", "high", "urgent"] | None = None


class TicketSolved(TicketFact):
    type: ClassVar[str] = "ticket.solved"
    rating: Rating | None = None


class TicketRated(TicketFact):
    type: ClassVar[str] = "ticket.rated"
    rating: Rating


class TicketReopened(TicketFact):
    type: ClassVar[str] = "ticket.reopened"


class Referenced(Commented):
    """A statement; ``reference`` says where it was made."""

    reference: Id | None = None


class ComplaintMade(Referenced):
    type: ClassVar[str] = "complaint.made"


class FrustrationShown(Referenced):
    type: ClassVar[str] = "frustration.shown"


# ------------------------------------------------------------------------------------------------------- relationship


class InteractionRecorded(Data):
    type: ClassVar[str] = "interaction.recorded"
    kind: Literal["call", "email", "meeting", "chat", "qbr", "event"]
    positive: bool | None = None


class AdviceAsked(Data):
    type: ClassVar[str] = "advice.asked"
    kind: Label | None = None


class CommunityEngaged(Data):
    type: ClassVar[str] = "community.engaged"
    kind: Label | None = None


class FeedbackShared(Commented):
    type: ClassVar[str] = "feedback.shared"
    positive: bool


class ComplimentGiven(Referenced):
    type: ClassVar[str] = "compliment.given"


class TestimonialGiven(Referenced):
    __test__: ClassVar[bool] = False  # pytest collects classes called Test…
    type: ClassVar[str] = "testimonial.given"


class CaseStudyJoined(Referenced):
    type: ClassVar[str] = "case_study.joined"


class ReviewPosted(Rated):
    type: ClassVar[str] = "review.posted"
    rating: float
    scale_max: float
    url: Id | None = None

    @property
    def on_scale(self) -> tuple[float, float]:
        return self.rating, self.scale_max


class ChampionChanged(Data):
    type: ClassVar[str] = "champion.changed"
    champion: bool


class PeerMentioned(Data):
    type: ClassVar[str] = "peer.mentioned"
    peer_ref: Id
    company: str | None = None
    challenge: str | None = None


class AdvocacyAsked(Data):
    """Something that others have asked of the customer; a referral counts like our own asks (semantics 11.27)."""

    type: ClassVar[str] = "advocacy.asked"
    kind: Literal["review", "survey", "case_study", "referral", "other"]
    by: str = SOMEBODY


class EmailOpened(Data):
    type: ClassVar[str] = "email.opened"
    message_id: Label | None = None


class EmailClicked(Data):
    type: ClassVar[str] = "email.clicked"
    message_id: Label | None = None


class CallMoment(Data):
    type: ClassVar[str] = "call.moment"
    kind: Literal["qbr_ended_well", "issue_resolved", "satisfaction_expressed", "check_in"]
    call_id: Id | None = None


class CallConcernRaised(Data):
    type: ClassVar[str] = "call.concern_raised"
    call_id: Id


class CallConcernAddressed(Data):
    type: ClassVar[str] = "call.concern_addressed"
    call_id: Id


class CallCutShort(Data):
    type: ClassVar[str] = "call.cut_short"
    call_id: Id


# ---------------------------------------------------------------------------------------------------------- responses


class AskAcknowledged(Data):
    type: ClassVar[str] = "ask.acknowledged"
    command_id: Id
    status: Literal["accepted", "sent", "delivered", "opened", "failed", "dropped_expired", "cancelled"]


Answer: TypeAlias = Literal["yes", "maybe", "no", "stop", "unclear"]


class AskAnswered(Data):
    """What a customer said to an ask. If no answer is given, ingest reads it from the text, which goes no further."""

    type: ClassVar[str] = "ask.answered"
    command_id: Id
    answer: Answer
    text: Text | None = None


WAITING = frozenset({"no", "maybe", "stop", "yes"})
"""The answers that gate 7 remembers; an unclear one makes nobody wait."""


class ApprovalAnswer(Data):
    """A person's verdict on one opportunity that needed approval."""

    opportunity_id: Id
    by: str = SOMEBODY


class AskApproved(ApprovalAnswer):
    type: ClassVar[str] = "ask.approved"


class AskRejected(ApprovalAnswer):
    type: ClassVar[str] = "ask.rejected"


Kind: TypeAlias = Literal[
    "tickets", "invoices", "disputes", "cancellations", "subscriptions", "tasks", "concerns", "keys", "holds"
]
"""Of what a customer can be overfull (identity §6)."""


class OverfullCleared(Data):
    """A person has looked at a customer of whom more of a kind was open than is kept: all of it is closed."""

    type: ClassVar[str] = "customer.overfull_cleared"
    kind: Kind
    by: str = SOMEBODY


class Controlled(Data):
    """A switch thrown by an operator: everything, one trigger or one segment (``name``)."""

    scope: Scope
    name: Label | None = None
    by: str = SOMEBODY
    why: str = ""

    @model_validator(mode="after")
    def _named(self) -> Controlled:
        if self.scope != "all" and not self.name:
            raise ValueError(f"scope {self.scope!r} needs a name")
        return self


class ControlPaused(Controlled):
    type: ClassVar[str] = "control.paused"


class ControlResumed(Controlled):
    type: ClassVar[str] = "control.resumed"


class Contact(Data):
    """Whom a customer refers: ``ref``, ``email``, ``name`` and ``company`` exist only on input (after §5)."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["ref"]}, {"required": ["ref_hmac"]}]})
    type: ClassVar[str] = ""
    ref: Id | None = None
    email: Text | None = None
    name: Text | None = None
    company: Text | None = None
    ref_hmac: Sha256 | None = None
    email_hmac: Sha256 | None = None
    domain_hmac: Sha256 | None = None
    consented: bool

    @model_validator(mode="after")
    def _named(self) -> Contact:
        if self.ref is None and self.ref_hmac is None:
            raise ValueError("ref: required")
        return self


class ReferralGiven(Data):
    type: ClassVar[str] = "referral.given"
    referral_id: Id
    command_id: Id | None = None
    contact: Contact


class ReferralStatusChanged(Data):
    type: ClassVar[str] = "referral.status_changed"
    referral_id: Id
    status: Literal["contacted", "qualified", "converted", "rejected", "refunded"]
    deal_value_minor: Amount | None = None
    currency: Label | None = None


class ContactErased(Data):
    """The contact whom a referral names wants to be forgotten."""

    type: ClassVar[str] = "referral.contact_erased"
    referral_id: Id


class RewardVerdict(Data):
    """A person's verdict on a reward that is held."""

    grant_id: Id
    by: str = SOMEBODY


class RewardApproved(RewardVerdict):
    type: ClassVar[str] = "reward.approved"


class RewardRejected(RewardVerdict):
    type: ClassVar[str] = "reward.rejected"


class RewardSettled(Data):
    """What the payer reports: whether the reward has arrived."""

    type: ClassVar[str] = "reward.settled"
    grant_id: Id
    status: Literal["delivered", "failed"]
    reference: Label | None = None


# ----------------------------------------------------------------------------------- internal, on customer-events only


class WakeupDue(Data):
    """An awaited instant has come: sent by the timer that watches the ``wakeups`` table."""

    type: ClassVar[str] = "wakeup.due"
    due: Instant


class ReservationGranted(Data):
    type: ClassVar[str] = "reservation.granted"
    command_id: Id


class ReservationDenied(Data):
    """The ledger's refusal: ``gate`` blocks until ``until`` or until an event of type ``until_event``."""

    type: ClassVar[str] = "reservation.denied"
    command_id: Id
    gate: Literal["paused", "overasking", "account"]
    until: Instant | None = None
    until_event: str | None = None
    saw: str

    @model_validator(mode="after")
    def _bounded(self) -> ReservationDenied:
        if (self.until is None) == (self.until_event is None):
            raise ValueError("exactly one of until and until_event")
        return self


class ReservationUnavailable(Data):
    type: ClassVar[str] = "reservation.unavailable"
    command_id: Id


class GrantGiven(Data):
    """The ledger's yes to a reward (after §4)."""

    type: ClassVar[str] = "grant.given"
    grant_id: Id


class GrantRefused(Data):
    """The ledger's no: somebody else named the contact first, or a cap is full."""

    type: ClassVar[str] = "grant.refused"
    grant_id: Id
    reason: Literal["duplicate", "customer_cap", "account_cap"]


class GrantUnavailable(Data):
    """The ledger cannot say; or the request is not newer than the grant's own release."""

    type: ClassVar[str] = "grant.unavailable"
    grant_id: Id


class DeadletterReplayed(Data):
    """The events on which our own code had failed have now been applied: the quarantine ends.

    ``events``: those that it depends on, each as ``hash64(source, id)`` in 16 hex digits, with a space between.
    """

    type: ClassVar[str] = "deadletter.replayed"
    events: str | None = None


class AliasStamp(BaseModel):
    """Which ``customer.aliased`` it was that said so."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")
    time: Instant
    source: str
    id: str


class MergeRequested(Data):
    """At an id that is said to be the same person as the customer ``into``: hand over to them.

    ``asked_at`` is the ``now`` of the step that said so.
    """

    type: ClassVar[str] = "merge.requested"
    into: Id
    stamp: AliasStamp
    asked_at: Instant


class MergeDelivered(Data):
    """The answer of the id ``of`` to a request that was made of the id ``asked``, for the customer that made it.

    ``state``: all that is known under the id, as its packed bytes in base64; None if there is nothing to hand over.
    ``erased_at``: the ``now`` of its erasure. ``too_large``: the state fits no record, and stays where it is.
    """

    type: ClassVar[str] = "merge.delivered"
    of: Id
    asked: Id
    stamp: AliasStamp
    asked_at: Instant
    state: str | None = None
    erased_at: Instant | None = None
    too_large: bool = False


class MergeMoved(Data):
    """At an id that was merged away: the customer at the end of the way is ``into``."""

    type: ClassVar[str] = "merge.moved"
    into: Id


Standing: TypeAlias = Literal["theirs", "named", "former"]
"""How a link names a customer: the address that is theirs now; named until further notice; one they had, or that is
only said to be theirs: they get what is closing and nothing else."""


class LinkTaught(Data):
    """At a link: it names this customer, in the place of the customer ``instead_of`` if there is one."""

    type: ClassVar[str] = "link.taught"
    customer: Id
    standing: Standing = "named"
    instead_of: Id | None = None


class LinkLeft(Data):
    """At an e-mail link: the address is this customer's no more. They get what is closing as before."""

    type: ClassVar[str] = "link.left"
    customer: Id


class Held(Data):
    """Somebody of the same address must not be asked: nobody who has or had it is, until a person lifts it."""

    type: ClassVar[str] = "customer.held"


FACTS: tuple[type[Data], ...] = (
    SignedUp, ProfileChanged, ConsentChanged, Suppressed, Unsuppressed, ErasureRequested, Linked, Aliased,
    OnboardingCompleted, MilestoneReached, GoalAchieved, SavingMeasured, UsageRecorded, UsageCompared,
    WorkflowCompleted, AchievementUnlocked, DashboardViewed, TaskStarted, TaskEnded,
    NpsResponded, CsatResponded,
    TrialStarted, TrialEnded, SubscriptionStarted, SubscriptionEnded, SubscriptionRenewed, SubscriptionExpanded,
    ContractSigned, InvoicePaymentFailed, InvoicePaid, ChargeRefunded, ChargeDisputed, DisputeClosed,
    CancellationConsidered, CancellationScheduled, CancellationReverted,
    TicketOpened, TicketSolved, TicketRated, TicketReopened, ComplaintMade, FrustrationShown,
    InteractionRecorded, AdviceAsked, CommunityEngaged, FeedbackShared, ComplimentGiven, TestimonialGiven,
    CaseStudyJoined, ReviewPosted, ChampionChanged, PeerMentioned, AdvocacyAsked, EmailOpened, EmailClicked,
    CallMoment, CallConcernRaised, CallConcernAddressed, CallCutShort,
    AskAcknowledged, AskAnswered, AskApproved, AskRejected, OverfullCleared, ControlPaused, ControlResumed,
    ReferralGiven, ReferralStatusChanged, ContactErased, RewardApproved, RewardRejected, RewardSettled,
)  # fmt: skip
"""Every type that producers may send (the contract's table, in its order)."""

INTERNAL: tuple[type[Data], ...] = (
    WakeupDue, ReservationGranted, ReservationDenied, ReservationUnavailable, GrantGiven, GrantRefused,
    GrantUnavailable, DeadletterReplayed,
    MergeRequested, MergeDelivered, MergeMoved,
    LinkTaught, LinkLeft, Held,
)  # fmt: skip
"""Types that only this system appends to ``customer-events``."""

FACT_TYPES: dict[str, type[Data]] = {data.type: data for data in FACTS}
TYPES: dict[str, type[Data]] = {data.type: data for data in (*FACTS, *INTERNAL)}

APPENDED: frozenset[str] = frozenset(
    {MergeRequested.type, MergeDelivered.type, MergeMoved.type, LinkTaught.type, LinkLeft.type, Held.type}
)
"""Internal types that one entity of ``customer-events`` appends to another (identity §7)."""

WITHOUT_SUBJECT = frozenset({ControlPaused.type, ControlResumed.type})
"""Types that do not concern a single customer; every other one needs a subject."""

OPERATORS = frozenset(
    {
        "control.paused", "control.resumed", "ask.approved", "ask.rejected", "customer.overfull_cleared",
        "reward.approved", "reward.rejected", "reward.settled",
    }
)  # fmt: skip
"""Types that only those may say who run the deployment: on ``responses`` and at the receiver's ``/control``."""


@lru_cache(maxsize=1_024)
def is_operators(kind: str) -> bool:
    """Whether a type, known or not, is for operators alone (identity §5)."""
    return kind in OPERATORS or kind.startswith(("control.", "reward."))


_ALWAYS: Callable[[Any], bool] = lambda _: True  # noqa: E731 (a row of the table below)

FAVOURABLE: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys((
        "compliment.given", "testimonial.given", "case_study.joined", "milestone.reached", "goal.achieved",
        "saving.measured", "usage.recorded", "workflow.completed", "achievement.unlocked", "dashboard.viewed",
        "call.moment", "peer.mentioned", "subscription.renewed", "subscription.expanded", "referral.given",
        "customer.unsuppressed", "control.resumed", "ask.approved", "reward.approved",
    ), _ALWAYS),
    "nps.responded": lambda d: d.score >= PROMOTER,
    "csat.responded": lambda d: d.top_box,
    "review.posted": lambda d: d.top_box,
    "usage.compared": lambda d: d.above_average,
    "feedback.shared": lambda d: d.positive,
    "interaction.recorded": lambda d: d.positive is True,
    **dict.fromkeys(("ticket.solved", "ticket.rated"), lambda d: d.rating == "positive"),
    "referral.status_changed": lambda d: d.status == "converted",
    "customer.consent_changed": lambda d: d.granted,
}  # fmt: skip
"""Type → whether an event of it, by its body, speaks for asking (identity §1). Everything else is protective."""


def is_favourable(data: Data) -> bool:
    """Whether an event with this body speaks for asking; if not, it protects."""
    judged = FAVOURABLE.get(data.type)
    return judged is _ALWAYS or (judged is not None and judged(data))


def may_protect(kind: str) -> bool:
    """Whether an event of this type may protect, whatever its body turns out to say."""
    return FAVOURABLE.get(kind) is not _ALWAYS


ASKING = "referral_ask"
"""The purpose of the consent that asking needs."""

CLOSING: dict[str, Callable[[Any], bool]] = {
    # 1 erased · 3 consent
    "customer.erasure_requested": _ALWAYS,
    "customer.suppressed": _ALWAYS,
    "customer.held": _ALWAYS,
    "customer.consent_changed": lambda d: d.purpose == ASKING and not d.granted,
    # 5 trouble
    **dict.fromkeys((
        "ticket.opened", "ticket.solved", "ticket.rated", "ticket.reopened", "complaint.made", "frustration.shown",
        "invoice.payment_failed", "invoice.paid", "charge.refunded", "charge.disputed", "dispute.closed",
        "cancellation.considered", "cancellation.scheduled", "cancellation.reverted", "subscription.ended",
        "subscription.started",
    ), _ALWAYS),
    "trial.ended": lambda d: not d.converted,
    "nps.responded": lambda d: d.score < PROMOTER,
    "csat.responded": lambda d: not d.top_box,
    "review.posted": lambda d: not d.top_box,
    "feedback.shared": lambda d: not d.positive,
    "interaction.recorded": lambda d: d.positive is False,
    # 7 answers
    "ask.answered": lambda d: d.answer not in ("yes", "unclear"),
}  # fmt: skip
"""Type → whether an event of it, by its body, closes gate 1, 3, 5 or 7, or ends what does about the same object without
speaking for an ask. It reaches everybody whom a link has ever named (identity §4)."""

STOPS: dict[str, Callable[[Any], bool]] = {
    "customer.erasure_requested": _ALWAYS,
    "customer.suppressed": _ALWAYS,
    "customer.held": _ALWAYS,
    "customer.consent_changed": CLOSING["customer.consent_changed"],
    "ask.answered": lambda d: d.answer == "stop",
}
"""The closing ones that are a person's last word about being asked: no link ever drops them before their time."""


def is_closing(data: Data) -> bool:
    """Whether an event with this body reaches everybody whom its link has ever named."""
    judged = CLOSING.get(data.type)
    return judged is not None and judged(data)


def is_stop(data: Data) -> bool:
    """Whether it is a suppression, a stop, a withdrawal of consent or an erasure."""
    judged = STOPS.get(data.type)
    return judged is not None and judged(data)


def stop_type(event: Event) -> str:
    """What tells a stop from any other event with its id, so that none takes its place; empty for all others."""
    return event.type if event.type in STOPS else ""


LIFTING = frozenset({"customer.consent_changed", "customer.unsuppressed"})
"""What lifts a person's word (consent granted, off the list): it counts only where exactly one person can be meant."""

BROWSER = "browser"
"""The flag of an event that anybody's browser may have sent: an address in it never replaces one from elsewhere."""

ACTIVITY = frozenset({
    "onboarding.completed", "milestone.reached", "goal.achieved", "usage.recorded", "workflow.completed",
    "achievement.unlocked", "dashboard.viewed", "task.started", "nps.responded", "csat.responded", "ticket.opened",
    "ticket.rated", "ticket.reopened", "complaint.made", "frustration.shown", "interaction.recorded", "advice.asked",
    "community.engaged", "feedback.shared", "compliment.given", "testimonial.given", "case_study.joined",
    "review.posted", "peer.mentioned", "email.opened", "email.clicked", "ask.answered", "referral.given",
})  # fmt: skip
"""What counts as the customer being active (semantics §10, Activity)."""


class Link(NamedTuple):
    """Something that names a customer without being a customer id (identity §4); ``str`` gives ``KIND:VALUE``.

    ``kind`` is ``[a-z0-9_]{1,32}``; the value of an ``email`` is the HMAC of the address.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """``KIND:VALUE``, split at the first colon. Raises ValueError."""
        kind, colon, value = text.partition(":")
        if not (colon and value and _LINK_KIND(kind)):
            raise ValueError("must be KIND:VALUE, the kind in lower case")
        return cls(kind, value)


_LINK_KIND = re.compile(r"[a-z0-9_]{1,32}").fullmatch


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as the decision sees it.

    ``time`` is event time after the clock rules; ``origin`` (the vendor whose payload it was, else ``cloudevents``),
    ``source`` and ``id`` identify it; ``subject`` is the customer id (empty for control.*, and where ``link`` says in
    its place who is meant). ``flags`` says what ingest had to correct (``time_unreadable``, ``time_naive``,
    ``time_clamped``, ``timezone_invalid``, ``field_dropped``). ``via``: the keys of the entities that passed it on,
    first one first; whose record it is says the key then, not the subject.
    """

    id: str
    source: str
    type: str
    subject: str
    time: int
    data: Any  # one of TYPES; a Struct field cannot name a pydantic union without msgspec trying to decode it
    account: str | None = None
    timezone: str | None = None
    traceparent: str | None = None
    historical: bool = False
    flags: tuple[str, ...] = ()
    link: Link | None = None
    via: tuple[str, ...] = ()
    origin: str = "cloudevents"
