"""The policy of what follows the ask, and of what is compared (docs/specification/after.md §7, §8, §11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from referral_stream.core.currencies import CURRENCIES
from referral_stream.core.sections import (
    ActiveSince,
    Choice,
    Contradiction,
    Days,
    Section,
    ShortText,
    TriggerName,
    Unit,
    none_for_no,
)
from referral_stream.core.suggestions import nearest

ReportableStatus: TypeAlias = Literal["contacted", "qualified", "converted", "rejected", "refunded"]
RewardKind: TypeAlias = Literal[
    "cash", "credit", "gift_card", "donation", "recognition", "exclusive_access", "extended_features"
]
WITH_AMOUNT: frozenset[RewardKind] = frozenset({"cash", "credit", "gift_card", "donation"})
"""The kinds that are worth an amount of money; the others are worth none."""


Grants: TypeAlias = Annotated[int, Field(ge=0, le=10_000), Unit("grants")]
Weight: TypeAlias = Annotated[float, Field(ge=0, le=1_000_000)]
TemplateName: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
DaysFrom1: TypeAlias = Annotated[int, Field(ge=1, le=3_660), Unit("days")]


class Followups(Section):
    """What is said after an answer or a referral, and how soon (after §1 to §3)."""

    fresh_days: DaysFrom1 = Field(
        7, description="What happened this long ago is answered by nobody any more (after §1, §3)."
    )
    care_hours: Annotated[int, Field(ge=1, le=24 * 60), Unit("hours")] = Field(
        48, description="By when the owner takes care of a referral (after §3)."
    )
    report_after_minutes: Annotated[int, Field(ge=0, le=24 * 60), Unit("minutes")] = Field(
        15, description="How long a status waits for corrections before the referrer hears of it (after §3)."
    )
    report: Choice[ReportableStatus] = Field(
        ("contacted", "converted"), description="Of which statuses the referrer hears (after §3)."
    )
    active_since: ActiveSince = Field(None, description="What happened before is history: nothing follows (after §0).")


class Referrals(Section):
    """Which ask a referral is due to (after §3)."""

    attribution_days: DaysFrom1 = Field(90, description="How long after an ask a referral is due to it (after §3).")


class Programme(Section):
    """What a referrer of one segment gets."""

    kind: RewardKind = Field(description="What it is (after §11).")
    amount_minor: Annotated[Annotated[int, Field(ge=1, le=2**53)] | None, Unit("minor units")] = Field(
        None, description="How much of the currency, in its smallest unit (after §11)."
    )
    currency: Annotated[str, Field(max_length=3)] | None = Field(
        None, description="Its ISO 4217 code, in capitals (after §11)."
    )
    benefit: ShortText | None = Field(None, description="In words, for the messages (after §11).")

    def contradictions(self) -> Iterator[Contradiction]:
        has_amount = self.kind in WITH_AMOUNT
        if has_amount and self.amount_minor is None:
            yield Contradiction(("amount_minor", "kind"), f"{self.kind} needs an amount")
        if has_amount and self.currency not in CURRENCIES:
            given = (self.currency or "").upper()
            near = given if given in CURRENCIES else nearest(given, sorted(CURRENCIES))
            meant = f"; did you mean {near}?" if near else ""
            needs = f"{self.kind} needs a currency by its ISO 4217 code, as in EUR{meant}"
            yield Contradiction(("currency", "kind"), needs)
        if not has_amount and (self.amount_minor is not None or self.currency is not None):
            yield Contradiction(("amount_minor", "currency", "kind"), f"{self.kind} has no amount and no currency")


class Rewards(Section):
    """What a referrer gets for a referral that became a customer (after §4)."""

    enabled: bool = Field(default=False, description="Whether anything is granted (after §4).")
    holding_days: Days = Field(
        0, description="How long a conversion must last; the time for refunds is a good choice (after §4)."
    )
    approval_days: DaysFrom1 = Field(30, description="By when a held reward is approved, or denied (after §4).")
    per_customer: Grants = Field(10, description="Grants to one customer in 365 days (after §4).")
    per_account: Grants = Field(20, description="Grants to one account in 365 days (after §4).")
    rate: Annotated[int, Field(ge=1, le=1_000), Unit("referrals")] = Field(
        5, description="More than these within 24 hours are looked at by a person (after §4)."
    )
    claim_days: DaysFrom1 = Field(365, description="How long a contact belongs to whoever named them first (after §5).")
    default_segment: Annotated[str, Field(max_length=64)] = Field(
        "none", description="Whose programme counts where the customer's segment has none (after §4)."
    )
    programmes: dict[TriggerName, Programme] = Field(default_factory=dict, description="By segment (after §11).")
    active_since: ActiveSince = Field(None, description="What happened before is history: no grant (after §0).")

    def programme_of(self, segment: str | None) -> tuple[str, Programme] | None:
        """The name and the programme that counts for a customer of this segment; None without any."""
        if not self.enabled:
            return None
        for name in (segment, self.default_segment):
            if name is not None and (found := self.programmes.get(name)) is not None:
                return name, found
        return None


class Experiment(Section):
    """Which wordings of one trigger are compared, and how often each is drawn (after §8)."""

    trigger: TriggerName = Field(description="Whose asks it is about: one experiment for each at most (after §8).")
    templates: dict[TemplateName, Weight] = Field(
        description="How often each template is drawn, relative to the others (after §8)."
    )
    active_since: ActiveSince = Field(None, description="Asks before it belong to no arm of it (after §8).")

    def contradictions(self) -> Iterator[Contradiction]:
        if not sum(self.templates.values()) > 0:
            yield Contradiction(("templates",), "the weights are 0 together: none could be drawn")


class Harm(Section):
    """When asking does harm, and the trigger is paused for it (after §7)."""

    pause_at: Annotated[
        Annotated[int, Field(ge=2, le=1_000_000)] | None, BeforeValidator(none_for_no), Unit("to 1")
    ] = Field(None, description="Pauses a trigger whose asks do harm by this much evidence; 20 is usual (after §7).")
