"""What in a valid policy is unusual enough to mention: legal, and perhaps intended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from referral_stream.core.policy import Policy


class Oddity(NamedTuple):
    """Something a reader should know; ``key``: the setting to look at."""

    key: str
    remark: str

    def __str__(self) -> str:
        return f"{self.key}: {self.remark}"


def oddities(policy: Policy) -> list[Oddity]:
    """All of them, in the order of the table, then those of the triggers."""
    found = [Oddity(rule.key, rule.remark) for rule in RULES if rule.applies(policy)]
    return [*found, *_equal_priorities(policy), *_triggers(policy), *_experiments(policy)]


def same_version(policy: Policy) -> list[Oddity]:
    """Another policy under the default's name and version: reports could distinguish the two only by their hash."""
    default = Policy()
    if (policy.name, policy.version) != (default.name, default.version) or policy.hash == default.hash:
        return []
    remark = "is still that of the default policy: set your own name, and increment version with each change"
    return [Oddity("version", remark)]


USUAL_EVIDENCE = 20
"""From which on an effect is reported: without one that happens once in so many times at most (after §7)."""


class WarningRule(NamedTuple):
    """One warning."""

    key: str
    applies: Callable[[Policy], bool]
    remark: str


RULES: tuple[WarningRule, ...] = (
    WarningRule("shadow", lambda p: p.shadow, "nothing is sent: decisions are only recorded"),
    WarningRule(
        "consent_default",
        lambda p: p.consent_default == "granted",
        "customers who have said nothing count as consenting",
    ),
    WarningRule(
        "channels_default",
        lambda p: not set(p.channels_default) <= set(p.channels_allowed),
        "names a channel that channels_allowed does not",
    ),
    WarningRule("dedup_days", lambda p: p.dedup_days == 0, "an event that is delivered twice is counted twice"),
    WarningRule("score.soft_at", lambda p: p.score.soft_at == 0, "every score is enough for an ask"),
    WarningRule(
        "score.direct_at",
        lambda p: p.score.most < p.score.direct_at,
        "no customer can reach it: every ask will be soft",
    ),
    WarningRule(
        "too_early.require_onboarding", lambda p: not p.too_early.require_onboarding, "asks before onboarding is over"
    ),
    WarningRule("too_early.tenure_days", lambda p: p.too_early.tenure_days == 0, "asks on the day of the sign-up"),
    WarningRule(
        "trouble.urgent_ticket_solved_days",
        lambda p: p.trouble.urgent_ticket_solved_days < p.trouble.ticket_solved_days,
        "an urgent ticket keeps us away for a shorter time than an ordinary one",
    ),
    WarningRule(
        "answers.maybe_days",
        lambda p: p.answers.maybe_days > p.answers.no_days,
        "maybe keeps us away for longer than no",
    ),
    WarningRule("answers.no_days", lambda p: p.answers.no_days == 0, "a no blocks nothing"),
    WarningRule(
        "caps.customer_days", lambda p: p.caps.customer_days == 0, "a customer may be asked any number of times"
    ),
    WarningRule(
        "caps.account_asks",
        lambda p: (
            p.caps.account_gap_days > 0 and p.caps.account_asks > -(-p.caps.account_days // p.caps.account_gap_days)
        ),
        "can never be reached: account_gap_days lets fewer asks into account_days",
    ),
    WarningRule(
        "moments.slot_weekday", lambda p: p.moments.slot_weekday is None, "e-mail may go out in any hour not quiet"
    ),
    WarningRule(
        "moments.quiet_weekdays",
        lambda p: len(p.moments.quiet_weekdays) == 6,  # noqa: PLR2004 (days of a week but one)
        "leaves one day a week to ask: most windows close before it",
    ),
    WarningRule(
        "time_zone.zones",
        lambda p: bool(p.time_zone.zones) and not p.time_zone.strict,
        "has no effect without strict = true",
    ),
    WarningRule(
        "time_zone.strict",
        lambda p: p.time_zone.strict and not p.time_zone.zones,
        "names no zones, so that only the default one counts",
    ),
    WarningRule(
        "rewards.holding_days",
        lambda p: p.rewards.enabled and p.rewards.holding_days == 0,
        "a reward is granted at the conversion, and taken back at a refund: take your period for refunds, or more",
    ),
    WarningRule(
        "rewards.programmes", lambda p: p.rewards.enabled and not p.rewards.programmes, "is empty: nothing is granted"
    ),
    WarningRule("breaker.enabled", lambda p: not p.breaker.enabled, "a flood of events becomes a flood of asks"),
    WarningRule(
        "holdout.percent", lambda p: p.holdout.percent == 0, "nobody is held out: the effect of asking is not measured"
    ),
    WarningRule("holdout.percent", lambda p: p.holdout.percent > 20, "is far more than measuring needs"),  # noqa: PLR2004 (a fifth)
    WarningRule(
        "harm.pause_at",
        lambda p: p.harm.pause_at is not None and p.harm.pause_at < USUAL_EVIDENCE,
        "is little evidence: asks that do no harm are paused more often than once in 20",
    ),
    WarningRule(
        "harm.pause_at",
        lambda p: p.harm.pause_at is not None and p.holdout.percent == 0,
        "has no effect without a holdout: there is nothing to compare with",
    ),
)


def _equal_priorities(policy: Policy) -> Iterator[Oddity]:
    names = defaultdict(list)
    for name, trigger in sorted(policy.triggers.items()):
        if trigger.enabled:
            names[trigger.priority].append(name)
    for priority, equal in sorted(names.items()):
        if len(equal) > 1:
            yield Oddity(
                f"triggers.{equal[-1]}.priority",
                f"{priority} is also that of {', '.join(equal[:-1])}: the earlier deadline will decide",
            )


def _triggers(policy: Policy) -> Iterator[Oddity]:
    for name, trigger in sorted(policy.triggers.items()):
        if not trigger.enabled:
            yield Oddity(f"triggers.{name}.enabled", "is off: its opportunities are recorded and never asked about")
        if not trigger.template:
            yield Oddity(f"triggers.{name}.template", "is empty: messaging workers have to find the wording themselves")
        if "usage.recorded" in trigger.on and trigger.subject == "event.id":
            yield Oddity(
                f"triggers.{name}.subject",
                "is the event, and usage comes often: each event that meets the condition is remembered permanently",
            )


def _experiments(policy: Policy) -> Iterator[Oddity]:
    for name, experiment in sorted(policy.experiments.items()):
        trigger = policy.triggers.get(experiment.trigger)
        if trigger is not None and not trigger.enabled:
            yield Oddity(f"experiments.{name}.trigger", f"{experiment.trigger} is off: nothing is compared")
        if sum(weight > 0 for weight in experiment.templates.values()) == 1:
            yield Oddity(f"experiments.{name}.templates", "has one template that can be drawn: nothing is compared")
