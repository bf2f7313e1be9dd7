"""The policy: every business number and switch as one frozen, versioned, hashable value (source: semantics.md).

Field names are the keys of ``policy.toml``. Durations carry their unit in the name. The hash is taken over the normalised
value, so two files that say the same have the same hash, and a comment changes nothing.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from referral_stream.core import zones
from referral_stream.core.events import Channel
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, Instant

Days: TypeAlias = Annotated[int, Field(ge=0, le=3_660)]
Points: TypeAlias = Annotated[int, Field(ge=0, le=100)]
Mode: TypeAlias = Literal["direct", "soft", "value_first", "same_company", "mutual_benefit"]
ClockTime: TypeAlias = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(Section):
    """Propensity weights (semantics §2) and the thresholds of the two ways to ask."""

    tenure: Points = 10
    tenure_days: Days = 30
    first_success: Points = 20
    usage_above_average: Points = 15
    nps_promoter: Points = 30
    nps_passive: Points = 15
    testimonial: Points = 20
    interactions: Points = 10
    interactions_needed: Annotated[int, Field(ge=1)] = 5
    positive_feedback: Points = 10
    champion: Points = 15
    engaged: Points = 10
    engaged_days: Days = 7
    direct_at: Points = 70
    soft_at: Points = 50

    @model_validator(mode="after")
    def _ordered(self) -> Scores:
        if self.soft_at > self.direct_at:
            raise ValueError(f"soft_at ({self.soft_at}) must not exceed direct_at ({self.direct_at})")
        return self


class Trigger(Section):
    """One reason to ask: how long its window is, how long to let it settle, how it ranks (semantics §3)."""

    enabled: bool = True
    window: Literal["duration", "local_day", "local_days"] = "duration"
    window_hours: Annotated[int, Field(ge=1, le=24 * 60)] | None = None
    window_days: Annotated[int, Field(ge=1, le=60)] | None = None
    settle_seconds: Annotated[int, Field(ge=0)] = 0
    priority: int = 0
    opens_after_days: Days = 0
    score_at_least: Points | None = None
    active_since: Instant | None = None
    mode: Mode | None = None
    template: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Trigger:
        wanted = {"duration": "window_hours", "local_days": "window_days", "local_day": None}[self.window]
        for name in ("window_hours", "window_days"):
            if (getattr(self, name) is not None) != (name == wanted):
                raise ValueError(f"window = {self.window!r} {'needs' if name == wanted else 'has no'} {name}")
        shortest = {
            "duration": (self.window_hours or 0) * HOUR,
            "local_days": (self.window_days or 0) * 23 * HOUR,
            "local_day": DAY,
        }[self.window]
        if self.settle_seconds * SECOND >= shortest:
            raise ValueError(f"settle_seconds = {self.settle_seconds} is longer than the window")
        return self


def _default_triggers() -> dict[str, Trigger]:
    week = {"window": "local_days", "window_days": 7}
    return {
        "nps_promoter": Trigger(window_hours=24, settle_seconds=900, priority=40, template="nps"),
        "positive_feedback": Trigger(window_hours=48, settle_seconds=900, priority=30, template="feedback"),
        "milestone": Trigger(window="local_day", settle_seconds=120, priority=20, template="milestone"),
        "renewal": Trigger(**week, settle_seconds=86_400, priority=10, template="renewal"),
        "expansion": Trigger(**week, settle_seconds=86_400, priority=15, mode="same_company", template="expansion"),
        "peer_mentioned": Trigger(
            window_hours=48, settle_seconds=900, priority=35, mode="value_first", template="peer"
        ),
        "referral_converted": Trigger(
            window_hours=168, priority=5, opens_after_days=30, score_at_least=80, template="converted"
        ),
    }


class TooEarly(Section):
    """Gate 4."""

    tenure_days: Days = 30
    require_onboarding: bool = True
    days_of_use: Annotated[int, Field(ge=1, le=60)] = 30
    activity_days: Annotated[int, Field(ge=1, le=2)] = 2
    initial_contract_days: Days = 30


class Trouble(Section):
    """Gate 5: how long each trouble keeps us away."""

    ticket_solved_days: Days = 3
    urgent_ticket_solved_days: Days = 14
    complaint_days: Days = 30
    detractor_days: Days = 90
    payment_recovered_days: Days = 3
    refund_days: Days = 90
    dispute_days: Days = 90
    cancellation_considered_days: Days = 90
    cancellation_reverted_days: Days = 30
    resubscribed_days: Days = 30
    usage_drop_percent: Annotated[int, Field(ge=1, le=100)] = 40
    usage_recovered_percent: Annotated[int, Field(ge=1, le=100)] = 80
    usage_recovered_days: Days = 7


class Answers(Section):
    """Gate 7."""

    no_days: Days = 180
    maybe_days: Days = 90
    silence_after_days: Days = 14
    two_silences_days: Days = 180


class Caps(Section):
    """Gates 8, 9 and 10: how often a customer, a person and an account may be asked."""

    customer_days: Days = 90
    account_gap_days: Days = 14
    account_asks: Annotated[int, Field(ge=1)] = 3
    account_days: Days = 90
    advocacy_days: Days = 14


class Moments(Section):
    """Gate 12: when each channel may speak (semantics §5)."""

    rival_wait_seconds: Annotated[int, Field(ge=0)] = 300
    last_call_seconds: Annotated[int, Field(ge=1)] = 60
    slot_weekday: Annotated[int, Field(ge=1, le=7)] | None = 5
    slot_from: ClockTime = "13:00"
    slot_until: ClockTime = "16:00"
    quiet_from: ClockTime = "20:00"
    quiet_until: ClockTime = "08:00"
    quiet_weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = (6, 7)
    moment_fresh_seconds: Annotated[int, Field(ge=0)] = 600
    present_expires_seconds: Annotated[int, Field(ge=60)] = 3_600
    critical_task_seconds: Annotated[int, Field(ge=0)] = 7_200

    @model_validator(mode="after")
    def _makes_sense(self) -> Moments:
        if self.quiet_from <= self.quiet_until:
            raise ValueError("the quiet hours must wrap midnight: quiet_from later than quiet_until")
        if set(self.quiet_weekdays) == {1, 2, 3, 4, 5, 6, 7}:
            raise ValueError("quiet_weekdays leaves no day to ask on")
        if self.slot_weekday is None:
            return self
        if self.slot_from >= self.slot_until:
            raise ValueError("slot_from must be before slot_until")
        if self.slot_from < self.quiet_until or self.slot_until > self.quiet_from:
            raise ValueError("the slot lies in the quiet hours")
        if self.slot_weekday in self.quiet_weekdays:
            raise ValueError("the slot lies on a quiet weekday")
        return self


class TimeZones(Section):
    """Which zone counts when the customer's is unknown."""

    default: str = "UTC"
    strict: bool = False
    zones: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> TimeZones:
        for name in (self.default, *self.zones):
            if not zones.is_zone(name):
                raise ValueError(f"unknown time zone {name!r}")
        return self


class Ledger(Section):
    """How long to wait for the ledger before failing closed."""

    answer_seconds: Annotated[int, Field(ge=1)] = 30
    retry_seconds: Annotated[int, Field(ge=1)] = 30
    retry_limit_seconds: Annotated[int, Field(ge=1)] = 300


class Breaker(Section):
    """Burst breaker (semantics §9)."""

    enabled: bool = True
    floor: Annotated[int, Field(ge=1)] = 50
    factor: Annotated[int, Field(ge=1)] = 5
    hours: Annotated[int, Field(ge=1, le=168)] = 24


class Holdout(Section):
    """Gate 14: the share of accounts never asked, so that the effect of asking can be measured."""

    percent: Annotated[float, Field(ge=0, le=50)] = 5.0
    salt: str = "referral-stream"


class Policy(Section):
    """Everything a growth team may set. ``Policy()`` is the page as written."""

    name: str = "default"
    version: Annotated[int, Field(ge=1)] = 1
    shadow: bool = False
    ask_reason_first: bool = False
    consent_default: Literal["unknown", "granted"] = "unknown"
    channels_default: tuple[Channel, ...] = ("email",)
    channels_allowed: tuple[Channel, ...] = ("email", "in_app", "phone")
    milestones: tuple[str, ...] = ()
    dedup_days: Days = 7
    score: Scores = Scores()
    triggers: dict[str, Trigger] = Field(default_factory=_default_triggers)
    too_early: TooEarly = TooEarly()
    trouble: Trouble = Trouble()
    answers: Answers = Answers()
    caps: Caps = Caps()
    moments: Moments = Moments()
    time_zone: TimeZones = TimeZones()
    ledger: Ledger = Ledger()
    breaker: Breaker = Breaker()
    holdout: Holdout = Holdout()

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over the canonical JSON of the value."""
        canonical = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:16]


def minutes_of(clock: str) -> int:
    """``"13:30"`` → minutes since local midnight."""
    hours, minutes = clock.split(":")
    return int(hours) * (HOUR // MINUTE) + int(minutes)
