"""Gate 4, and gate 6, which waits for the score: it is too early, or too little has happened."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, HOUR
from tests.builders import (
    AROUND,
    a_customer,
    a_policy,
    at,
    blocking,
    compliment,
    fact,
    first_success,
    nps,
    replay,
    shown,
    utc,
)
from tests.core.views import answer, verdict
from tests.rules import rule

NOW = at("Thu 12:30")
TRIAL = ("trial.started", "trial.ended")


def early(*events: Event, without: tuple[str, ...] = (), now: int = NOW, **policy: object) -> str:
    return answer("too_early", a_customer(without=without), *events, now=now, policy=a_policy(**policy))


# ---- trial


@rule("4.10", "10.74")
@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([fact(ev.TrialStarted(subscription_id="s"), "Mon 10:00")], "until trial.ended"),
        ([fact(ev.TrialStarted(subscription_id="s"), "Mon 10:00"),
          fact(ev.TrialEnded(subscription_id="s", converted=True), "Tue 10:00")], "pass"),
        ([fact(ev.TrialStarted(subscription_id="s"), "Mon 10:00"),
          fact(ev.TrialEnded(subscription_id="s", converted=False), "Tue 10:00")], "pass"),
        ([fact(ev.TrialStarted(subscription_id="s"), "Mon 10:00"),
          fact(ev.SubscriptionStarted(subscription_id="s"), "Tue 10:00")], "pass"),
        ([fact(ev.TrialStarted(subscription_id="s"), "Mon 10:00"),
          fact(ev.SubscriptionStarted(subscription_id="another"), "Tue 10:00")], "until trial.ended"),
        ([fact(ev.TrialEnded(subscription_id="s", converted=True), "Tue 10:00"),
          fact(ev.TrialStarted(subscription_id="s"), "Mon 10:00")], "pass"),
    ],
)  # fmt: skip
def test_nobody_is_asked_on_trial(events: list[Event], said: str) -> None:
    assert early(*events) == said


@rule("1.10", "10.74")
@pytest.mark.parametrize(
    "over", [ev.TrialEnded(subscription_id="s", converted=True), ev.SubscriptionStarted(subscription_id="s")]
)
def test_a_sign_up_on_trial_lasts_until_a_trial_ends_or_a_subscription_starts(over: ev.Data) -> None:
    trial = fact(ev.SignedUp(trial=True), NOW - 400 * DAY)

    assert early(trial) == "until trial.ended"
    assert early(trial, fact(over, "Mon 10:00")) == "pass"


# ---- onboarding and sign-up


@rule("4.11", "4.36", "4.37", "5.4")
def test_onboarding_must_be_completed_unless_the_policy_says_otherwise() -> None:
    missing = ("onboarding.completed",)

    assert early(without=missing) == "until onboarding.completed"
    assert early(without=missing, too_early={"require_onboarding": False}) == "pass"


@rule("4.6", "4.36")
def test_an_unknown_sign_up_is_waited_for() -> None:
    assert early(without=("customer.signed_up",)) == "until customer.signed_up"


@rule("4.12", "10.67")
@pytest.mark.parametrize("after", AROUND)
def test_tenure_is_thirty_days_from_the_earliest_sign_up(after: int) -> None:
    first, again = fact(ev.SignedUp(), NOW - 30 * DAY - after), fact(ev.SignedUp(), NOW - 5 * DAY)

    for events in ((first, again), (again, first)):
        said = early(*events, without=("customer.signed_up",))
        assert said == ("pass" if after >= 0 else f"until {shown(NOW + 1)}")


@rule("4.15")
@pytest.mark.parametrize("after", AROUND)
def test_an_initial_contract_is_thirty_days_old(after: int) -> None:
    signed = fact(ev.ContractSigned(contract_id="k", initial=True), NOW - 30 * DAY - after)
    assert early(signed) == ("pass" if after >= 0 else f"until {shown(NOW + 1)}")


@rule("4.15")
def test_a_contract_that_is_not_the_first_is_no_reason_to_wait() -> None:
    assert early(fact(ev.ContractSigned(contract_id="k", initial=False), "Wed 10:00")) == "pass"


# ---- value


@rule("4.13")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "until milestone.reached"),
        ([first_success("Mon 10:00")], "pass"),
        ([fact(ev.MilestoneReached(milestone="any"), "Mon 10:00")], "pass"),
        ([fact(ev.GoalAchieved(goal="g"), "Mon 10:00")], "pass"),
        ([fact(ev.SavingMeasured(kind="time", amount=0.5, unit="hours"), "Mon 10:00")], "pass"),
        ([fact(ev.UsageCompared(above_average=True), "Mon 10:00")], "pass"),
        ([fact(ev.UsageCompared(above_average=False), "Mon 10:00")], "until milestone.reached"),
        ([fact(ev.UsageCompared(above_average=True), "Mon 10:00"),
          fact(ev.UsageCompared(above_average=False), "Tue 10:00")], "until milestone.reached"),
        ([compliment("Mon 10:00"), nps(10, "Mon 10:00")], "until milestone.reached"),
    ],
)  # fmt: skip
def test_value_must_have_been_realised(value: list[Event], said: str) -> None:
    assert early(*value, without=("usage.compared",)) == said


@rule("4.13", "10.65")
@pytest.mark.parametrize(("days", "said"), [(29, "until milestone.reached"), (30, "pass"), (31, "pass")])
def test_thirty_local_dates_of_use_are_value(days: int, said: str) -> None:
    uses = [fact(ev.UsageRecorded(), NOW - (2 * n + 1) * DAY) for n in range(days)]
    assert early(*uses, without=("usage.compared",)) == said


@rule("10.65")
def test_dates_of_use_are_local_ones() -> None:
    """Fifteen evenings at 23:30 and 00:30 in Berlin are thirty dates there, and fifteen in UTC."""
    uses = [
        fact(ev.UsageRecorded(), utc("2026-05-01 21:30") + 2 * n * DAY + extra)
        for n in range(15)
        for extra in (0, HOUR)
    ]
    assert early(*uses, without=("usage.compared",)) == "pass"

    in_utc = a_customer(zone="UTC", without=("usage.compared",))
    assert answer("too_early", in_utc, uses, now=NOW) == "until milestone.reached"


# ---- first interaction


@rule("4.14", "10.66")
@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("Thu 00:00", "Thu 12:30", "until usage.recorded"),
        ("Wed 23:59:59.999", "Thu 12:30", "pass"),
        ("Wed 23:59:59.999", "Thu 00:00", "pass"),
        ("Mon 10:00", "Mon 10:00", "until usage.recorded"),
    ],
)
def test_a_first_interaction_is_activity_on_one_local_date(first: str, last: str, said: str) -> None:
    passive = ("onboarding.completed", "feedback.shared", "interaction.recorded", "advice.asked")
    events = [fact(ev.AdviceAsked(), first), fact(ev.AdviceAsked(), last)]
    assert early(*events, without=passive, too_early={"require_onboarding": False}) == said


@rule("4.14")
def test_no_activity_at_all_is_a_first_interaction_too() -> None:
    passive = ("onboarding.completed", "feedback.shared", "interaction.recorded", "advice.asked")
    assert early(without=passive, too_early={"require_onboarding": False}) == "until usage.recorded"


def test_a_policy_may_be_content_with_one_day_of_activity_but_not_with_none() -> None:
    passive = ("onboarding.completed", "feedback.shared", "interaction.recorded", "advice.asked")
    lenient = {"require_onboarding": False, "activity_days": 1}

    assert early(without=passive, too_early=lenient) == "until usage.recorded"
    assert early(fact(ev.AdviceAsked(), "Thu 12:30"), without=passive, too_early=lenient) == "pass"


def test_under_strict_the_zone_with_the_fewest_dates_counts() -> None:
    strict = a_policy(
        time_zone={"strict": True, "zones": ["UTC", "Europe/Berlin"]}, too_early={"require_onboarding": False}
    )
    events = [
        fact(ev.SignedUp(), NOW - 99 * DAY),
        fact(ev.GoalAchieved(goal="g"), utc("2026-06-16 21:00")),
        fact(ev.AdviceAsked(), utc("2026-06-16 22:30")),  # the next day in Berlin, not in UTC
    ]
    assert answer("too_early", events, now=NOW, policy=strict) == "until usage.recorded"


@rule("10.114")
def test_every_reason_is_told() -> None:
    said = verdict("too_early", fact(ev.SignedUp(trial=True), "Mon 12:30"), now=NOW)
    assert said.saw == (
        "on trial; onboarding not completed; customer for 3 days; no value realised yet; "
        "active on fewer than two local days"
    )


@rule("4.5")
def test_a_milestone_reached_within_the_window_opens_the_gate() -> None:
    story = replay(
        a_customer(without=("usage.compared",)),
        nps(9, "Thu 09:00"),
        fact(ev.MilestoneReached(milestone="any"), "Thu 11:00"),
    )
    assert story.outcomes()[0] == ("deferred", "Thu 09:00")
    assert story.asked == [("nps_promoter", "Thu 11:00")]


@rule("10.82")
@pytest.mark.parametrize(("days", "outcome"), [(20, "suppressed"), (26, "asked")])
def test_an_expansion_opens_for_a_young_customer_and_tenure_is_this_gates_matter(days: int, outcome: str) -> None:
    """The window of seven days holds the end of the thirtieth day, or it does not."""
    young = fact(ev.SignedUp(), at("Mon 12:00") - days * DAY)
    deal = fact(ev.SubscriptionExpanded(deal_id="d"), "Mon 12:00")
    story = replay(
        a_customer(without=("customer.signed_up",)), young, first_success("Mon 08:00", historical=True), deal
    )

    assert "too_early" in blocking(story.decisions("expansion")[0])
    assert story.outcomes("expansion")[-1][0] == outcome


# ---- 6: the score


@rule("2.7", "4.23", "10.56")
@pytest.mark.parametrize(
    ("without", "said"),
    [
        ((), "pass"),  # 55 without a champion
        (("feedback.shared",), "until signal"),  # 45
        (("usage.compared", "interaction.recorded"), "until signal"),
    ],
)
def test_below_fifty_it_waits_for_the_next_signal(without: tuple[str, ...], said: str) -> None:
    assert answer("propensity", a_customer(champion=False, without=without), now=NOW) == said


@rule("2.7", "4.23")
def test_fifty_is_enough() -> None:
    fifty = a_customer(without=("feedback.shared", "interaction.recorded"))

    assert answer("propensity", fifty, now=NOW) == "pass"
    assert answer("propensity", fifty, now=NOW, policy=a_policy(score={"soft_at": 51})) == "until signal"


@rule("10.56")
def test_where_tenure_alone_is_missing_the_instant_is_known() -> None:
    young = a_customer(champion=False, without=("customer.signed_up",))  # 45, and 55 with tenure
    signed_up = fact(ev.SignedUp(), NOW - 30 * DAY + 1)
    assert answer("propensity", young, signed_up, now=NOW) == f"until {shown(NOW + 1)}"


def test_a_signal_within_the_window_lifts_the_score_over_the_threshold() -> None:
    story = replay(
        a_customer(champion=False, without=("usage.compared",)),
        fact(ev.GoalAchieved(goal="g"), "Mon 08:00"),
        compliment("Mon 09:00"),
        fact(ev.ChampionChanged(champion=True), "Mon 11:00"),
    )
    assert story.asked == [("positive_feedback", "Mon 11:00")]
    assert (story.ask.mode, story.ask.score.raw) == ("soft", 55)
