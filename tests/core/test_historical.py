"""History and backfill: it makes the state, and triggers nothing."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import Decision
from tests.builders import (
    AROUND,
    ByHand,
    a_customer,
    a_policy,
    arriving,
    at,
    compliment,
    fact,
    first_success,
    nps,
    renewed,
    replay,
    ticket_opened,
)
from tests.rules import rule


@rule("8.2", "9.1")
def test_a_historical_event_is_recorded_and_asks_nobody() -> None:
    story = replay(a_customer(), nps(9, historical=True))

    assert story.outcomes() == [("historical", "Thu 12:30")]
    assert story.customers["ana"].responses["r1"].score == 9


@rule("9.6")
def test_history_is_not_reported_as_an_opening() -> None:
    """The burst breaker counts what could be asked about."""
    effects = ByHand().at("Thu 12:30", nps(9, historical=True))
    assert [type(effect) for effect in effects] == [Decision]


@rule("9.1")
def test_it_counts_for_the_score_of_what_comes_later() -> None:
    story = replay(a_customer(), first_success("Tue 12:30", historical=True), compliment("Wed 09:00"))
    assert story.ask.score.raw == 90


@rule("9.11")
def test_its_business_key_is_used_up() -> None:
    story = replay(a_customer(), first_success("Tue 12:30", historical=True), first_success("Thu 12:30"))
    assert story.outcomes() == [("historical", "Tue 12:30")]


@rule("10.46")
def test_historical_is_tested_before_expiry_and_before_merging() -> None:
    late = replay(a_customer(), arriving(nps(9, "Mon 12:00", historical=True), "Thu 12:30"))
    beside = replay(a_customer(), nps(9, "Mon 14:00"), nps(9, "Mon 15:00", "r2", historical=True))

    assert late.outcomes() == [("historical", "Thu 12:30")]
    assert ("historical", "Mon 15:00") in beside.outcomes()
    assert "duplicate" not in [outcome for outcome, _ in beside.outcomes()]


def test_a_live_reason_is_not_held_back_by_a_historical_one_and_not_answered_by_it() -> None:
    story = replay(a_customer(), compliment("Tue 12:00", "old", historical=True), compliment("Tue 12:05"))
    assert story.asked == [("positive_feedback", "Tue 12:25")]


@rule("9.1")
def test_trouble_of_the_past_is_trouble() -> None:
    story = replay(a_customer(), ticket_opened("Mon 12:00", historical=True), nps(9))
    assert story.asks == []


def test_a_historical_event_is_no_good_moment() -> None:
    met = fact(ev.WorkflowCompleted(), "Thu 14:00", historical=True)
    assert replay(a_customer(channels=("in_app",)), nps(9), met).asks == []


def test_a_historical_correction_still_takes_back_what_was_open() -> None:
    story = replay(a_customer(), nps(9, "Thu 14:00"), nps(3, "Thu 15:00", historical=True))
    assert story.outcomes() == [("pending", "Thu 14:00"), ("cancelled", "Thu 15:00")]


@rule("9.3")
@pytest.mark.parametrize("after", AROUND)
def test_what_happened_before_the_trigger_was_switched_on_is_history(after: int) -> None:
    since = at("Thu 12:30") - after
    policy = a_policy(triggers={"nps_promoter": {"active_since": since}})
    story = replay(a_customer(), nps(9), policy=policy)
    assert story.outcomes()[0][0] == ("historical" if after < 0 else "pending")


@pytest.mark.parametrize(("since", "outcome"), [("2026-05-20 12:00", "pending"), ("2026-05-20 12:01", "historical")])
def test_a_conversion_is_as_old_as_the_conversion_and_not_as_its_opening(since: str, outcome: str) -> None:
    converted = fact(ev.ReferralStatusChanged(referral_id="f1", status="converted"), "2026-05-20 12:00")
    policy = a_policy(triggers={"referral_converted": {"active_since": at(since), "score_at_least": 0}})
    story = replay(a_customer(), converted, policy=policy)
    assert story.outcomes("referral_converted")[0] == (outcome, "Fri 12:00")


@rule("9.3")
def test_each_trigger_has_a_start_of_its_own() -> None:
    policy = a_policy(triggers={"nps_promoter": {"active_since": at("Fri 00:00")}})
    story = replay(a_customer(), nps(9, "Mon 12:00"), renewed("Mon 12:00"), policy=policy)
    assert [trigger for trigger, _ in story.asked] == ["renewal"]


@rule("9.9")
def test_after_a_downtime_what_is_still_inside_its_window_is_asked_and_the_rest_expires() -> None:
    """Everything of Monday to Thursday arrives on Thursday at 17:00."""
    up_again = "Thu 17:00"
    story = replay(
        a_customer(),
        arriving(nps(9, "Mon 12:00"), up_again),
        arriving(first_success("Wed 12:00"), up_again),
        arriving(compliment("Wed 15:00"), up_again),
    )
    assert story.outcomes("nps_promoter") == [("expired_on_arrival", "Thu 17:00")]
    assert story.outcomes("milestone") == [("expired_on_arrival", "Thu 17:00")]
    assert story.asked == [("positive_feedback", "Fri 13:00")]
