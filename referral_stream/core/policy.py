"""The policy: every business number and switch as one frozen, versioned, hashable value.

Its source is docs/specification/semantics.md; a § in a description is one of its sections. Field names are the keys of
``policy.toml``. Durations carry their unit in the name. The hash is taken over the normalised value, so equivalent
files have the same hash, and a comment changes nothing. Every field says in one sentence what it decides, with its §:
``referral-stream policy check --show`` prints the sentences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

import orjson
from pydantic import BeforeValidator, Field

from referral_stream.core import conditions, zones
from referral_stream.core.after_policy import Experiment, Followups, Harm, Referrals, Rewards
from referral_stream.core.conditions import Condition
from referral_stream.core.events import Channel
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND
from referral_stream.core.sections import (
    ActiveSince,
    Choice,
    ClockTime,
    Contradiction,
    Days,
    Expression,
    Mode,
    Percent,
    Points,
    Seconds,
    Section,
    ShortText,
    TriggerName,
    Unit,
    Weekday,
    none_for_no,
)
from referral_stream.core.suggestions import did_you_mean

HalfLife: TypeAlias = Annotated[
    Annotated[int, Field(ge=1, le=3_660)] | None, BeforeValidator(none_for_no), Unit("days")
]


class HalfLives(Section):
    """How fast signals fade: the days after which a signal counts half. Off by default (semantics §2)."""

    nps: HalfLife = Field(None, description="Days after which the newest NPS answer counts half; 90 is usual (§2).")
    testimonial: HalfLife = Field(
        None, description="Days after which the newest testimonial counts half; 365 is usual (§2)."
    )
    positive_feedback: HalfLife = Field(
        None, description="Days after which the newest positive feedback counts half; 90 is usual (§2)."
    )


class Scores(Section):
    """Propensity weights (semantics §2) and the thresholds of the two ways to ask."""

    tenure: Points = Field(10, description="For having signed up at least tenure_days ago (§2).")
    tenure_days: Days = Field(30, description="How long ago the sign-up must be for these points (§2).")
    first_success: Points = Field(20, description="For having reached the first success (§2).")
    usage_above_average: Points = Field(15, description="For using the product more than the cohort does (§2).")
    nps_promoter: Points = Field(30, description="For a newest NPS score of 9 or 10 (§2).")
    nps_passive: Points = Field(15, description="For a newest NPS score of 7 or 8 (§2).")
    testimonial: Points = Field(20, description="For having given a testimonial (§2).")
    interactions: Points = Field(10, description="For at least interactions_needed interactions (§2).")
    interactions_needed: Annotated[int, Field(ge=1, le=10_000), Unit("interactions")] = Field(
        5, description="How many recorded interactions these points need (§2)."
    )
    positive_feedback: Points = Field(10, description="For having ever given positive feedback (§2).")
    champion: Points = Field(15, description="For being flagged as a champion (§2).")
    engaged: Points = Field(10, description="For activity within the last engaged_days (§2).")
    engaged_days: Days = Field(7, description="How recent the last activity must be for these points (§2).")
    direct_at: Points = Field(70, description="From this score on the ask is direct (§2, §6).")
    soft_at: Points = Field(50, description="From this score on there is an ask at all, a soft mention (§2; gate 6).")
    half_life_days: HalfLives = Field(HalfLives(), description="How fast signals fade (§2).")

    @property
    def most(self) -> int:
        """The most points a customer can have."""
        return (
            self.tenure + self.first_success + self.usage_above_average + max(self.nps_promoter, self.nps_passive)
            + self.testimonial + self.interactions + self.positive_feedback + self.champion + self.engaged
        )  # fmt: skip

    def contradictions(self) -> Iterator[Contradiction]:
        if self.soft_at > self.direct_at:
            yield Contradiction(
                ("soft_at", "direct_at"), f"soft_at ({self.soft_at}) must not exceed direct_at ({self.direct_at})"
            )
        if self.nps_passive > self.nps_promoter:
            yield Contradiction(
                ("nps_passive", "nps_promoter"),
                f"a passive ({self.nps_passive}) would count more than a promoter ({self.nps_promoter})",
            )
        if self.most < self.soft_at:
            yield Contradiction(("soft_at",), f"nobody can reach {self.soft_at}: all points together are {self.most}")


class Trigger(Section):
    """One occasion to ask: how long its window is, how long to let it settle, how it ranks (semantics §3).

    ``on``, ``when`` and ``subject`` belong to custom triggers; ``rules.triggers`` opens the built-in ones.
    """

    enabled: bool = Field(default=True, description="Whether it may lead to an ask; if not, gate 2 says never (§4).")
    window: Literal["duration", "local_day", "local_days"] = Field(
        "duration",
        description="How its window is measured: hours, to the next local midnight, or local calendar days (§3).",
    )
    window_hours: Annotated[Annotated[int, Field(ge=1, le=24 * 60)] | None, Unit("hours")] = Field(
        None, description="Length of the window if it is a duration: ask by then or never (§3)."
    )
    window_days: Annotated[Annotated[int, Field(ge=1, le=60)] | None, Unit("days")] = Field(
        None, description="Length of the window if it is in local calendar days (§3)."
    )
    settle_seconds: Seconds = Field(0, description="How long to wait for corrections before it may speak (§3).")
    priority: Annotated[int, Field(ge=-1_000, le=1_000)] = Field(
        0, description="The larger number speaks first when several could at the same instant (§3)."
    )
    opens_after_days: Days = Field(
        0, description="How long after the conversion it opens; referral_converted only (§3)."
    )
    score_at_least: Annotated[Annotated[int, Field(ge=0, le=100)] | None, Unit("points")] = Field(
        None, description="Score that the conversion must find; referral_converted only (§3)."
    )
    active_since: ActiveSince = Field(None, description="What happened before is history and opens nothing (§9).")
    mode: Mode | None = Field(None, description="How to ask from direct_at points on; direct by default (§6).")
    template: ShortText = Field("", description="The wording that messaging workers use (§6).")
    on: Choice[str] = Field((), description="The event types that may open it; custom triggers only (§3).")
    when: Expression | None = Field(None, description="The CEL condition that opens it; custom triggers only (§3).")
    subject: Expression = Field(
        "event.id", description="CEL expression for what it is about: one ask for each; custom triggers only (§3)."
    )

    @property
    def is_own(self) -> bool:
        """Whether it is custom, with a condition."""
        return self.when is not None or bool(self.on)

    @property
    def shortest_window(self) -> int:
        """How long its window is at least (ms), in a zone whose clocks go forward by an hour meanwhile."""
        match self.window:
            case "duration":
                return (self.window_hours or 0) * HOUR
            case "local_day":
                return 23 * HOUR
            case "local_days":
                return (self.window_days or 0) * 24 * HOUR - HOUR

    def contradictions(self) -> Iterator[Contradiction]:
        yield from self._window_faults()
        yield from self._condition_faults()

    def _window_faults(self) -> Iterator[Contradiction]:
        wanted = {"duration": "window_hours", "local_days": "window_days", "local_day": None}[self.window]
        sound = True
        for name in ("window_hours", "window_days"):
            if (getattr(self, name) is not None) != (name == wanted):
                sound = False
                needs = "needs" if name == wanted else "has no"
                yield Contradiction(("window", name), f"window = {self.window!r} {needs} {name}")
        if sound and self.settle_seconds * SECOND >= self.shortest_window:
            yield Contradiction(
                ("settle_seconds", "window_hours", "window_days"),
                f"{self.settle_seconds} seconds to settle are as long as the shortest window, "
                f"{self.shortest_window // SECOND} seconds",
            )

    def _condition_faults(self) -> Iterator[Contradiction]:
        if not self.is_own:
            if self.subject != "event.id":
                yield Contradiction(("subject", "on", "when"), "a subject needs on and when")
            return
        unknown = [type_ for type_ in self.on if type_ not in conditions.EVENT_TYPES]
        for type_ in unknown:
            yield Contradiction(
                ("on",), f"no event type {type_!r} opens a trigger; {did_you_mean(type_, conditions.EVENT_TYPES)}"
            )
        if not self.on or self.when is None:
            yield Contradiction(("on", "when"), "a trigger of your own needs both on and when")
        elif not unknown:
            for fault in conditions.faults(self.on, self.when, self.subject):
                yield Contradiction((fault.key, "on"), fault.message)


def _default_triggers() -> dict[str, Trigger]:
    return {
        "nps_promoter": Trigger(window_hours=24, settle_seconds=900, priority=40, template="nps"),
        "positive_feedback": Trigger(window_hours=48, settle_seconds=900, priority=30, template="feedback"),
        "milestone": Trigger(window="local_day", settle_seconds=120, priority=20, template="milestone"),
        "renewal": Trigger(
            window="local_days", window_days=7, settle_seconds=86_400, priority=10, template="renewal"
        ),
        "expansion": Trigger(
            window="local_days", window_days=7, settle_seconds=86_400, priority=15, mode="same_company",
            template="expansion",
        ),
        "peer_mentioned": Trigger(
            window_hours=48, settle_seconds=900, priority=35, mode="value_first", template="peer"
        ),
        "referral_converted": Trigger(
            window_hours=168, priority=5, opens_after_days=30, score_at_least=80, template="converted"
        ),
    }  # fmt: skip


BUILT_IN: tuple[str, ...] = tuple(_default_triggers())
"""The triggers of semantics §3; a policy sets their numbers, not what opens them."""


class TooEarly(Section):
    """Gate 4."""

    tenure_days: Days = Field(30, description="Nobody is asked sooner after sign-up (gate 4).")
    require_onboarding: bool = Field(default=True, description="Whether onboarding must be completed first (gate 4).")
    days_of_use: Annotated[int, Field(ge=1, le=60), Unit("days")] = Field(
        30, description="This many local dates with usage are value realised, if nothing else is (gate 4)."
    )
    activity_days: Annotated[int, Field(ge=1, le=2), Unit("days")] = Field(
        2, description="Nobody is asked before activity on this many local dates (gate 4)."
    )
    initial_contract_days: Days = Field(30, description="Nobody is asked sooner after an initial contract (gate 4).")


class Trouble(Section):
    """Gate 5: how long we stay away after each kind of trouble."""

    ticket_solved_days: Days = Field(3, description="Wait after a ticket is solved, unless rated well (gate 5).")
    urgent_ticket_solved_days: Days = Field(14, description="The same for an urgent or high ticket (gate 5).")
    complaint_days: Days = Field(30, description="Wait after a complaint, frustration or a bad rating (gate 5).")
    detractor_days: Days = Field(90, description="Wait after an NPS of 0 to 6, unless a 9 or 10 follows (gate 5).")
    payment_recovered_days: Days = Field(3, description="Wait after a failed payment was made good (gate 5).")
    refund_days: Days = Field(90, description="Wait after a refund (gate 5).")
    dispute_days: Days = Field(90, description="Wait after a dispute that was lost, from its start (gate 5).")
    cancellation_considered_days: Days = Field(
        90, description="How long considering a cancellation lasts without further news (gate 5)."
    )
    cancellation_reverted_days: Days = Field(30, description="Wait after a cancellation is off the table (gate 5).")
    resubscribed_days: Days = Field(30, description="Wait after a customer who had left came back (gate 5).")
    usage_drop_percent: Percent = Field(40, description="Usage this much below its own baseline is trouble (gate 5).")
    usage_recovered_percent: Percent = Field(80, description="Usage back at this much of it has recovered (gate 5).")
    usage_recovered_days: Days = Field(7, description="Wait after usage has recovered (gate 5).")

    def contradictions(self) -> Iterator[Contradiction]:
        dropped_to = 100 - self.usage_drop_percent
        if self.usage_recovered_percent <= dropped_to:
            yield Contradiction(
                ("usage_recovered_percent", "usage_drop_percent"),
                f"usage at {self.usage_recovered_percent} % would count as recovered and, being at most "
                f"{dropped_to} %, as dropped",
            )


class Answers(Section):
    """Gate 7."""

    no_days: Days = Field(180, description="Wait after the answer no (gate 7).")
    maybe_days: Days = Field(90, description="Wait after the answer maybe (gate 7).")
    silence_after_days: Days = Field(14, description="No answer for this long counts as silence (gate 7).")
    two_silences_days: Days = Field(180, description="Wait after the second of two silences in a row (gate 7).")

    def contradictions(self) -> Iterator[Contradiction]:
        if 0 < self.two_silences_days <= self.silence_after_days:
            yield Contradiction(
                ("two_silences_days", "silence_after_days"),
                f"the wait of {self.two_silences_days} days would be over before the silence is known, "
                f"{self.silence_after_days} days after the ask",
            )


class CapLimits(Section):
    """Gates 8, 9 and 10: how often a customer, a person and an account may be asked."""

    customer_days: Days = Field(90, description="One ask per customer and e-mail address in this many days (gate 8).")
    account_gap_days: Days = Field(14, description="Days between two asks within one account (gate 9).")
    account_asks: Annotated[int, Field(ge=1, le=10_000), Unit("asks")] = Field(
        3, description="Most asks within one account in account_days (gate 9)."
    )
    account_days: Days = Field(90, description="The rolling period of account_asks (gate 9).")
    advocacy_days: Days = Field(14, description="Days after any other advocacy ask, such as a review (gate 10).")

    @property
    def longest_days(self) -> int:
        """How long an ask counts at most."""
        return max(self.customer_days, self.account_gap_days, self.account_days)

    def contradictions(self) -> Iterator[Contradiction]:
        if self.account_gap_days > self.account_days:
            yield Contradiction(
                ("account_gap_days", "account_days"),
                f"{self.account_gap_days} days between asks leave nothing to count in {self.account_days} days",
            )


class Moments(Section):
    """Gate 12: when each channel may speak (semantics §5)."""

    rival_wait_seconds: Seconds = Field(300, description="Wait after settling, in case a better reason turns up (§3).")
    last_call_seconds: Annotated[int, Field(ge=1, le=3_600), Unit("seconds")] = Field(
        60, description="All waiting ends this long before the deadline (§3)."
    )
    slot_weekday: Annotated[Weekday | None, BeforeValidator(none_for_no)] = Field(
        5, description='Weekday of the e-mail slot, 1 Monday to 7 Sunday; "none": no slot, any hour not quiet (§5).'
    )
    slot_from: ClockTime = Field("13:00", description="Start of the e-mail slot (§5).")
    slot_until: ClockTime = Field("16:00", description="End of the e-mail slot, not included (§5).")
    quiet_from: ClockTime = Field("20:00", description="Start of the quiet night, for e-mail (§5).")
    quiet_until: ClockTime = Field("08:00", description="End of the quiet night; e-mail may go out from then on (§5).")
    quiet_weekdays: Choice[Weekday] = Field(
        (6, 7), description="Weekdays that are quiet all day, 1 Monday to 7 Sunday (§5)."
    )
    moment_fresh_seconds: Seconds = Field(600, description="An event is a good moment for this long after it (§10).")
    present_expires_seconds: Annotated[int, Field(ge=60, le=86_400), Unit("seconds")] = Field(
        3_600, description="An in-app or phone ask expires after this long (§10)."
    )
    critical_task_seconds: Seconds = Field(7_200, description="A critical task that never ends lapses after it (§10).")

    def contradictions(self) -> Iterator[Contradiction]:
        if self.quiet_from <= self.quiet_until:
            yield Contradiction(
                ("quiet_from", "quiet_until"), "the quiet hours must wrap midnight: quiet_from later than quiet_until"
            )
        if set(self.quiet_weekdays) == {1, 2, 3, 4, 5, 6, 7}:
            yield Contradiction(("quiet_weekdays",), "leaves no day to ask on")
        if self.slot_weekday is None:
            return
        if self.slot_from >= self.slot_until:
            yield Contradiction(("slot_from", "slot_until"), "the slot must begin before it ends")
        elif self.quiet_from > self.quiet_until and (
            self.slot_from < self.quiet_until or self.slot_until > self.quiet_from
        ):
            yield Contradiction(
                ("slot_from", "slot_until", "quiet_from", "quiet_until"),
                f"the slot {self.slot_from}–{self.slot_until} reaches into the quiet hours "
                f"{self.quiet_from}–{self.quiet_until}",
            )
        if self.slot_weekday in self.quiet_weekdays:
            yield Contradiction(("slot_weekday", "quiet_weekdays"), "the slot lies on a quiet weekday")


class TimeZones(Section):
    """Which zone counts when the customer's is unknown."""

    default: str = Field("UTC", description="Zone of a customer whose own is unknown (§3).")
    strict: bool = Field(
        default=False, description="Whether an unknown zone means: only when all of zones allow it (§3)."
    )
    zones: Choice[str] = Field((), description="The zones your customers live in, for strict (§3).")

    def contradictions(self) -> Iterator[Contradiction]:
        for key, name in (("default", self.default), *(("zones", name) for name in self.zones)):
            if not zones.is_zone(name):
                yield Contradiction((key,), f"unknown time zone {name!r}; {_near_zone(name)}")


def _near_zone(name: str) -> str:
    hint = did_you_mean(name, zones.names())
    return hint if hint.startswith("did") else 'zones are named like "Europe/Berlin"'


class LedgerSettings(Section):
    """How long to wait for the ledger before failing closed."""

    answer_seconds: Annotated[int, Field(ge=1, le=3_600), Unit("seconds")] = Field(
        30, description="Silence of the ledger for this long is a no (gates 8 and 9)."
    )
    retry_seconds: Annotated[int, Field(ge=1, le=86_400), Unit("seconds")] = Field(
        30, description="The first retry after a silence; each further wait doubles (gates 8 and 9)."
    )
    retry_limit_seconds: Annotated[int, Field(ge=1, le=86_400), Unit("seconds")] = Field(
        300, description="The longest wait between two retries (gates 8 and 9)."
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if self.retry_seconds > self.retry_limit_seconds:
            yield Contradiction(
                ("retry_seconds", "retry_limit_seconds"),
                f"the first retry after {self.retry_seconds} s is beyond the limit of {self.retry_limit_seconds} s",
            )


class Breaker(Section):
    """Burst breaker (semantics §9)."""

    enabled: bool = Field(default=True, description="Whether a burst of openings pauses its trigger (§9).")
    floor: Annotated[int, Field(ge=1, le=10_000_000), Unit("openings an hour")] = Field(
        50, description="Up to this many openings of a trigger in one hour are never a burst (§9)."
    )
    factor: Annotated[int, Field(ge=1, le=1_000), Unit("times")] = Field(
        5, description="More than this times the usual hour is a burst (§9)."
    )
    hours: Annotated[int, Field(ge=1, le=168), Unit("hours")] = Field(
        24, description="The usual hour is the median of this many preceding full hours (§9)."
    )
    pause_hours: Annotated[int, Field(ge=1, le=168), Unit("hours")] = Field(
        6, description="A trigger paused for a burst is free again after this, or when it is resumed (§9)."
    )


class Holdout(Section):
    """Gate 14: the share of accounts never asked, so that the effect of asking can be measured."""

    percent: Annotated[float, Field(ge=0, le=50), Unit("percent")] = Field(
        5.0, description="Share of accounts that are never asked, to measure against (gate 14)."
    )
    salt: Annotated[ShortText, Field(min_length=1)] = Field(
        "referral-stream", description="A different text selects a different share (gate 14)."
    )
    active_since: ActiveSince = Field(
        None, description="Asks before it are not compared: when you last changed the share (after §7)."
    )


class Identity(Section):
    """Who is meant, and whom to believe when two ids are said to be one person (identity §2 to §4)."""

    placeholder_ids: Choice[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        (), description="Ids that stand for nobody, in any case, besides the usual ones (identity §2)."
    )
    trust_browser_aliases: bool = Field(
        default=False, description="Believe aliases that any visitor's browser can send (identity §3)."
    )
    wait_days: Annotated[int, Field(ge=1, le=400), Unit("days")] = Field(
        7, description="How long an event waits until its link names a customer (identity §4)."
    )


class Policy(Section):
    """Everything a growth team may set. ``Policy()`` is the page as written."""

    name: Annotated[ShortText, Field(min_length=1)] = Field(
        "default", description="What decisions and reports call this policy (§8)."
    )
    version: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(1, description="Increment it with each change (§8).")
    shadow: bool = Field(default=False, description="Decide and record everything, send nothing (§8).")
    ask_reason_first: bool = Field(
        default=False, description="Ask a promoter without a comment for the reason before the referral (§6)."
    )
    consent_default: Literal["unknown", "granted"] = Field(
        "unknown", description="What counts while a customer has said nothing about consent (gate 3)."
    )
    channels_default: Choice[Channel] = Field(
        ("email",), description="Channels that reach a customer about whom nothing is known (§10)."
    )
    channels_allowed: Annotated[Choice[Channel], Field(min_length=1)] = Field(
        ("email", "in_app", "phone"), description="Channels that may be used at all (§10)."
    )
    milestones: Choice[Annotated[str, Field(min_length=1, max_length=512)]] = Field(
        (), description="Milestones that open an opportunity, besides every first success (§3)."
    )
    dedup_days: Days = Field(7, description="How long an event's id is remembered, to see it is a repeat (§9).")
    score: Scores = Field(Scores(), description="Propensity (§2).")
    triggers: dict[TriggerName, Trigger] = Field(default_factory=_default_triggers, description="Reasons to ask (§3).")
    too_early: TooEarly = Field(TooEarly(), description="Gate 4.")
    trouble: Trouble = Field(Trouble(), description="Gate 5.")
    answers: Answers = Field(Answers(), description="Gate 7.")
    caps: CapLimits = Field(CapLimits(), description="Gates 8 to 10.")
    moments: Moments = Field(Moments(), description="Gate 12 (§5).")
    time_zone: TimeZones = Field(TimeZones(), description="Zones (§3).")
    ledger: LedgerSettings = Field(LedgerSettings(), description="Waiting for the ledger.")
    breaker: Breaker = Field(Breaker(), description="Burst breaker (§9).")
    holdout: Holdout = Field(Holdout(), description="Gate 14.")
    identity: Identity = Field(Identity(), description="Ids, aliases and links (identity §2 to §4).")
    followups: Followups = Field(
        Followups(), description="What is said after an answer or a referral (after §1 to §3)."
    )
    referrals: Referrals = Field(Referrals(), description="Which ask a referral is due to (after §3).")
    rewards: Rewards = Field(Rewards(), description="What a referrer gets (after §4).")
    experiments: dict[TriggerName, Experiment] = Field(
        default_factory=dict, description="Which wordings are compared (after §8)."
    )
    harm: Harm = Field(Harm(), description="When asking does harm (after §7).")

    def contradictions(self) -> Iterator[Contradiction]:
        for name, trigger in self.triggers.items():
            key = f"triggers.{name}"
            wait = trigger.settle_seconds + self.moments.rival_wait_seconds
            if wait * SECOND >= trigger.shortest_window:
                yield Contradiction(
                    (f"{key}.settle_seconds", "moments.rival_wait_seconds"),
                    f"settling and the wait for rivals, {wait} seconds, are as long as the shortest window, "
                    f"{trigger.shortest_window // SECOND} seconds",
                )
            if name in BUILT_IN and trigger.is_own:
                yield Contradiction(
                    (f"{key}.on", f"{key}.when"), "a built-in trigger opens as the page says: it takes no on or when"
                )
            if name != "referral_converted":
                for only in ("opens_after_days", "score_at_least"):
                    if getattr(trigger, only):
                        yield Contradiction((f"{key}.{only}",), "works for referral_converted only")
        yield from self._experiment_faults()

    def _experiment_faults(self) -> Iterator[Contradiction]:
        about: dict[str, str] = {}
        for name, experiment in sorted(self.experiments.items()):
            key, trigger = f"experiments.{name}.trigger", experiment.trigger
            if trigger not in self.triggers:
                yield Contradiction((key,), f"no trigger {trigger!r}; {did_you_mean(trigger, self.triggers)}")
            elif trigger in about:
                message = f"{trigger} has the experiment {about[trigger]} already: one for each trigger at most"
                yield Contradiction((key, f"experiments.{about[trigger]}.trigger"), message)
            about.setdefault(trigger, name)

    def __hash__(self) -> int:
        return hash(self.hash)  # values derived from a policy are cached on it

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over the canonical JSON of the value.

        What came later and is not set is left out: an update of this package alone changes no hash.
        """
        values = self.model_dump(mode="json")
        for section, name in (("holdout", "active_since"), ("harm", "pause_at")):
            if values[section][name] is None:
                del values[section][name]
        for section in ("experiments", "harm"):
            if not values[section]:
                del values[section]
        canonical = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:16]

    @cached_property
    def longest_wait_days(self) -> int:
        """How long something that was said once may hold an ask back at most."""
        trouble, answers, caps = self.trouble, self.answers, self.caps
        return max(
            trouble.ticket_solved_days, trouble.urgent_ticket_solved_days, trouble.complaint_days,
            trouble.detractor_days,
            trouble.payment_recovered_days, trouble.refund_days, trouble.dispute_days, trouble.resubscribed_days,
            trouble.cancellation_considered_days + trouble.cancellation_reverted_days, trouble.usage_recovered_days,
            answers.no_days, answers.maybe_days, answers.two_silences_days, answers.silence_after_days,
            caps.longest_days, caps.advocacy_days, self.too_early.initial_contract_days,
        )  # fmt: skip

    @cached_property
    def longest_window_days(self) -> int:
        """No occasion to ask lasts as long as this."""
        longest = max((trigger.shortest_window for trigger in self.triggers.values()), default=0)
        return longest // DAY + (2 if longest % DAY > DAY - 3 * HOUR else 1)  # clocks that go back make it 2 hours more

    @cached_property
    def conditions(self) -> dict[str, tuple[tuple[str, Condition], ...]]:
        """Event type → the (name, compiled condition) of each custom trigger that it may open, by name."""
        found: dict[str, list[tuple[str, Condition]]] = {}
        for name, trigger in sorted(self.triggers.items()):
            if trigger.when is not None:
                condition = Condition(trigger.on, trigger.when, trigger.subject)
                for type_ in trigger.on:
                    found.setdefault(type_, []).append((name, condition))
        return {type_: tuple(named) for type_, named in found.items()}


def minutes_of(clock: str) -> int:
    """``"13:30"`` → minutes since local midnight."""
    hours, minutes = clock.split(":")
    return int(hours) * (HOUR // MINUTE) + int(minutes)
