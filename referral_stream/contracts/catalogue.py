"""Every message of the contract as one row, and each of its versions.

Types, topics, ids and keys of what the workers write, the schemas, AsyncAPI and the tables of the documentation are
made from these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel

from referral_stream.contracts import versions
from referral_stream.core import events as ev
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    ContactClaimed,
    ContactForgotten,
    ContactReleased,
    ContactTold,
    Decision,
    FollowupCancelled,
    FollowupRequested,
    GrantConfirmed,
    GrantHeld,
    GrantReleased,
    GrantRequested,
    LedgerRenewed,
    OpportunityOpened,
    ReasonAsked,
    RecordChanged,
    RecordForgotten,
    ReservationAmended,
    ReservationConfirmed,
    ReservationHeld,
    ReservationReleased,
    ReservationRequested,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.ids import derived_id

Direction: TypeAlias = Literal["in", "out", "internal"]
"""``in``: producers send it; ``out``: others read it; ``internal``: only our own roles write and read it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message type: its body, its CloudEvents ``type`` (``kind``), and where it goes.

    ``topic`` is where it belongs, and ``copied_to`` where our roles write it again; neither has the prefix.
    """

    model: type[BaseModel]
    kind: str
    topic: str
    direction: Direction
    copied_to: tuple[str, ...] = ()

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.topic, *self.copied_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectMessage(Message):
    """What an effect of a step becomes.

    ``id`` makes its CloudEvents id of the type and the effect, ``key`` the key of its record. A ``tombstone`` has no
    value on the topic: what was said under its key is forgotten.
    """

    id: Callable[[str, Any], str]
    key: Callable[[Any], str]
    tombstone: bool = False


def _own(field: str) -> Callable[[str, Any], str]:
    """The effect's own id."""
    return lambda _, effect: str(getattr(effect, field))


def _derived(*fields: str) -> Callable[[str, Any], str]:
    """An id derived from content, so that a replay writes it again."""
    return lambda kind, effect: derived_id(kind, *(getattr(effect, field) for field in fields))


def _customer(effect: Any) -> str:
    return str(effect.customer_id)


def _referral(effect: Any) -> str:
    return str(effect.referral_id)


def _account(effect: Any) -> str:
    """The account, else the customer."""
    return str(effect.customer_id if effect.account_id is None else effect.account_id)


def _facts(topic: str, *models: type[ev.Data]) -> Iterator[Message]:
    """What producers send to a source topic. Ingest writes it again where our roles read it."""
    for model in models:
        if model.type in ev.WITHOUT_SUBJECT:
            # There for whom it concerns, and for as long as it counts.
            copied_to: tuple[str, ...] = ("ledger-requests", "customer-events", "ledger-generations")
        else:
            copied_to = ("customer-events",)
        yield Message(model, model.type, topic, "in", copied_to)


def _internal(*models: type[ev.Data]) -> Iterator[Message]:
    """What our own roles append to ``customer-events``."""
    for model in models:
        yield Message(model, model.type, "customer-events", "internal")


_EVENTS: Final = (
    *_facts(
        "profile", ev.SignedUp, ev.ProfileChanged, ev.ConsentChanged, ev.Suppressed, ev.Unsuppressed,
        ev.ErasureRequested, ev.Linked, ev.Aliased,
    ),
    *_facts(
        "product-usage", ev.OnboardingCompleted, ev.MilestoneReached, ev.GoalAchieved, ev.SavingMeasured,
        ev.UsageRecorded, ev.UsageCompared, ev.WorkflowCompleted, ev.AchievementUnlocked, ev.DashboardViewed,
        ev.TaskStarted, ev.TaskEnded,
    ),
    *_facts("nps", ev.NpsResponded, ev.CsatResponded),
    *_facts(
        "billing", ev.TrialStarted, ev.TrialEnded, ev.SubscriptionStarted, ev.SubscriptionEnded, ev.SubscriptionRenewed,
        ev.SubscriptionExpanded, ev.ContractSigned, ev.InvoicePaymentFailed, ev.InvoicePaid, ev.ChargeRefunded,
        ev.ChargeDisputed, ev.DisputeClosed, ev.CancellationConsidered, ev.CancellationScheduled,
        ev.CancellationReverted,
    ),
    *_facts(
        "support", ev.TicketOpened, ev.TicketSolved, ev.TicketRated, ev.TicketReopened, ev.ComplaintMade,
        ev.FrustrationShown,
    ),
    *_facts(
        "relationship", ev.InteractionRecorded, ev.AdviceAsked, ev.CommunityEngaged, ev.FeedbackShared,
        ev.ComplimentGiven, ev.TestimonialGiven, ev.CaseStudyJoined, ev.ReviewPosted, ev.ChampionChanged,
        ev.PeerMentioned, ev.AdvocacyAsked, ev.EmailOpened, ev.EmailClicked, ev.CallMoment, ev.CallConcernRaised,
        ev.CallConcernAddressed, ev.CallCutShort,
    ),
    *_facts(
        "responses", ev.AskAcknowledged, ev.AskAnswered, ev.AskApproved, ev.AskRejected, ev.OverfullCleared,
        ev.ControlPaused, ev.ControlResumed, ev.ReferralGiven, ev.ReferralStatusChanged, ev.ContactErased,
        ev.RewardApproved, ev.RewardRejected, ev.RewardSettled,
    ),
    *_internal(
        ev.WakeupDue, ev.ReservationGranted, ev.ReservationDenied, ev.ReservationUnavailable, ev.GrantGiven,
        ev.GrantRefused, ev.GrantUnavailable, ev.DeadletterReplayed,
        ev.MergeRequested, ev.MergeDelivered, ev.MergeMoved,
        ev.LinkTaught, ev.LinkLeft, ev.Held,
    ),
)  # fmt: skip

_REQUEST: Final = _derived("command_id", "now")
"""One command may be requested again after a denial: the instant distinguishes the requests."""

_EFFECTS: Final = (
    EffectMessage(AskRequested, "referral.ask.requested", "referral-asks", "out", id=_own("command_id"), key=_customer),
    EffectMessage(ReasonAsked, "referral.reason.asked", "referral-asks", "out", id=_own("command_id"), key=_customer),
    EffectMessage(
        AskCancelled, "referral.ask.cancelled", "referral-asks", "out", id=_derived("command_id"), key=_customer
    ),
    EffectMessage(
        Decision, "referral.decision.made", "referral-decisions", "out", id=_own("decision_id"), key=_customer
    ),
    EffectMessage(
        FollowupRequested,
        "referral.followup.requested",
        "referral-followups",
        "out",
        id=_own("followup_id"),
        key=_customer,
    ),
    EffectMessage(
        FollowupCancelled,
        "referral.followup.cancelled",
        "referral-followups",
        "out",
        id=_derived("followup_id"),
        key=_customer,
    ),
    *(
        EffectMessage(model, kind, "referral-rewards", "out", id=_derived("grant_id"), key=_customer)
        for model, kind in (
            (RewardHeld, "referral.reward.held"),
            (RewardGranted, "referral.reward.granted"),
            (RewardDenied, "referral.reward.denied"),
            (RewardReversed, "referral.reward.reversed"),
        )
    ),
    EffectMessage(
        RecordChanged,
        "referral.record.changed",
        "referral-records",
        "out",
        id=_derived("customer_id", "n"),
        key=_customer,
    ),
    EffectMessage(
        RecordForgotten,
        "referral.record.forgotten",
        "referral-records",
        "out",
        id=_derived("customer_id"),
        key=_customer,
        tombstone=True,
    ),
    EffectMessage(
        ContactTold,
        "referral.contact.told",
        "referral-contacts",
        "out",
        id=_derived("referral_id", "told_at"),
        key=_referral,
    ),
    EffectMessage(
        ContactForgotten,
        "referral.contact.forgotten",
        "referral-contacts",
        "out",
        id=_derived("referral_id", "now"),
        key=_referral,
        tombstone=True,
    ),
    *(
        EffectMessage(model, kind, "ledger-requests", "internal", id=_derived(named, "now"), key=_customer)
        for model, kind, named in (
            (ContactClaimed, "contact.claimed", "referral_id"),
            (ContactReleased, "contact.released", "referral_id"),
            (GrantRequested, "grant.requested", "grant_id"),
            (GrantConfirmed, "grant.confirmed", "grant_id"),
            (GrantReleased, "grant.released", "grant_id"),
        )
    ),
    EffectMessage(
        ReservationRequested, "reservation.requested", "ledger-requests", "internal", id=_REQUEST, key=_account
    ),
    EffectMessage(
        ReservationConfirmed, "reservation.confirmed", "ledger-requests", "internal", id=_REQUEST, key=_account
    ),
    EffectMessage(
        ReservationReleased, "reservation.released", "ledger-requests", "internal", id=_REQUEST, key=_account
    ),
    EffectMessage(
        ReservationAmended,
        "reservation.amended",
        "ledger-requests",
        "internal",
        id=_derived("command_id", "now", "account_id", "email_hmac"),
        key=_account,
    ),
    EffectMessage(
        OpportunityOpened,
        "opportunity.opened",
        "ledger-requests",
        "internal",
        id=_derived("opportunity_id"),
        key=_account,
    ),
    EffectMessage(
        ReservationHeld,
        "reservation.held",
        "ledger-requests",
        "internal",
        id=_derived("command_id", "requested_at", "generation"),
        key=_account,
    ),
    EffectMessage(
        GrantHeld,
        "grant.held",
        "ledger-requests",
        "internal",
        id=_derived("grant_id", "requested_at", "generation"),
        key=_customer,
    ),
    EffectMessage(
        LedgerRenewed,
        "ledger.renewed",
        "ledger-requests",
        "internal",
        copied_to=("ledger-generations",),
        id=_derived("generation", "now"),
        key=lambda _: "ledger",
    ),
)

MESSAGES: Final[dict[str, Message]] = {
    message.kind: message for message in (*_EVENTS, *_EFFECTS) if not getattr(message, "tombstone", False)
}
"""Every message by its type, in the contract's order."""

EFFECT_MESSAGES: Final[dict[type[BaseModel], EffectMessage]] = {message.model: message for message in _EFFECTS}
"""The message that each effect of a step becomes."""


def messages_on(topic: str) -> tuple[Message, ...]:
    """What a topic, named without its prefix, carries. Source topics take every type; this lists what belongs there."""
    return tuple(message for message in MESSAGES.values() if topic in message.topics)


@dataclass(frozen=True, slots=True)
class MessageVersion:
    """One version of one message type."""

    message: Message
    version: int
    model: type[BaseModel]

    @property
    def kind(self) -> str:
        return self.message.kind

    @property
    def direction(self) -> Direction:
        return self.message.direction

    @property
    def is_current(self) -> bool:
        return self.version == versions.current_version(self.kind)

    @property
    def name(self) -> str:
        """What its files are called: the type, and the version where a newer one has taken its place."""
        return self.kind if self.is_current else f"{self.kind}.v{self.version}"

    @property
    def path(self) -> str:
        """Where its schema lies, below ``schemas/``."""
        return f"{self.direction}/{self.name}.json"

    @property
    def dataschema(self) -> str:
        """What a record of this version names, and the ``$id`` of the schema."""
        return versions.dataschema(self.kind, self.version)


def message_versions() -> Iterator[MessageVersion]:
    """Every version of every message, in the contract's order; the current one of a type first, then the older ones."""
    for message in MESSAGES.values():
        yield MessageVersion(message, versions.current_version(message.kind), message.model)
        for number, version in enumerate(versions.older_versions(message.kind), 1):
            yield MessageVersion(message, number, version.model)
