"""The policy: the numbers of the page by default, checked as a whole, and a hash that changes with the meaning only."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from referral_stream.core.policy import (
    Answers,
    Holdout,
    LedgerSettings,
    Moments,
    Policy,
    Scores,
    TimeZones,
    TooEarly,
    Trigger,
    Trouble,
    minutes_of,
)
from tests.rules import rule


def test_the_defaults_are_the_numbers_of_the_page() -> None:
    policy = Policy().model_dump()

    assert policy["score"].items() >= {
        "tenure": 10, "tenure_days": 30, "first_success": 20, "usage_above_average": 15, "nps_promoter": 30,
        "nps_passive": 15, "testimonial": 20, "interactions": 10, "interactions_needed": 5, "positive_feedback": 10,
        "champion": 15, "engaged": 10, "engaged_days": 7, "direct_at": 70, "soft_at": 50,
    }.items()  # fmt: skip
    assert policy["too_early"] == {
        "tenure_days": 30, "require_onboarding": True, "days_of_use": 30, "activity_days": 2,
        "initial_contract_days": 30,
    }  # fmt: skip
    assert policy["trouble"] == {
        "ticket_solved_days": 3, "urgent_ticket_solved_days": 14, "complaint_days": 30, "detractor_days": 90,
        "payment_recovered_days": 3, "refund_days": 90, "dispute_days": 90, "cancellation_considered_days": 90,
        "cancellation_reverted_days": 30, "resubscribed_days": 30, "usage_drop_percent": 40,
        "usage_recovered_percent": 80, "usage_recovered_days": 7,
    }  # fmt: skip
    assert policy["answers"] == {"no_days": 180, "maybe_days": 90, "silence_after_days": 14, "two_silences_days": 180}
    assert policy["caps"] == {
        "customer_days": 90, "account_gap_days": 14, "account_asks": 3, "account_days": 90, "advocacy_days": 14,
    }  # fmt: skip
    assert policy["moments"] == {
        "rival_wait_seconds": 300, "last_call_seconds": 60, "slot_weekday": 5, "slot_from": "13:00",
        "slot_until": "16:00", "quiet_from": "20:00", "quiet_until": "08:00", "quiet_weekdays": (6, 7),
        "moment_fresh_seconds": 600, "present_expires_seconds": 3_600, "critical_task_seconds": 7_200,
    }  # fmt: skip
    assert policy["time_zone"] == {"default": "UTC", "strict": False, "zones": ()}
    assert policy["ledger"] == {"answer_seconds": 30, "retry_seconds": 30, "retry_limit_seconds": 300}
    assert policy["breaker"] == {"enabled": True, "floor": 50, "factor": 5, "hours": 24, "pause_hours": 6}
    assert policy["holdout"] == {"percent": 5.0, "salt": "referral-stream", "active_since": None}
    assert (policy["experiments"], policy["harm"]) == ({}, {"pause_at": None})
    assert (policy["dedup_days"], policy["shadow"], policy["consent_default"]) == (7, False, "unknown")
    assert (policy["channels_default"], policy["channels_allowed"]) == (("email",), ("email", "in_app", "phone"))


@rule("3.1", "3.3", "3.4", "3.6", "3.8", "3.9", "3.10", "6.7")
def test_the_default_triggers_are_those_of_the_page() -> None:
    triggers = {
        name: (t.window, t.window_hours or t.window_days, t.settle_seconds, t.priority, t.mode, t.template)
        for name, t in Policy().triggers.items()
    }
    assert triggers == {
        "nps_promoter": ("duration", 24, 900, 40, None, "nps"),
        "positive_feedback": ("duration", 48, 900, 30, None, "feedback"),
        "milestone": ("local_day", None, 120, 20, None, "milestone"),
        "renewal": ("local_days", 7, 86_400, 10, None, "renewal"),
        "expansion": ("local_days", 7, 86_400, 15, "same_company", "expansion"),
        "peer_mentioned": ("duration", 48, 900, 35, "value_first", "peer"),
        "referral_converted": ("duration", 168, 0, 5, None, "converted"),
    }
    converted = Policy().triggers["referral_converted"]
    assert (converted.opens_after_days, converted.score_at_least) == (30, 80)
    assert all(trigger.enabled and trigger.active_since is None for trigger in Policy().triggers.values())


# ---- the hash


def test_the_same_policy_has_the_same_hash_however_it_is_written() -> None:
    written = {"caps": {"advocacy_days": 14, "customer_days": 90}, "dedup_days": 7}
    assert Policy.model_validate(written).hash == Policy().hash
    assert Policy.model_validate(Policy().model_dump()).hash == Policy().hash


def test_policies_that_say_the_same_are_one_key() -> None:
    known = {Policy(): "the default"}

    assert known[Policy.model_validate(Policy().model_dump())] == "the default"
    assert Policy(shadow=True) not in known


def test_the_hash_is_the_same_on_every_machine_and_run() -> None:
    """Sixteen hex digits, of the content alone; another process computes the same."""
    program = "from referral_stream.core.policy import Policy; print(Policy().hash)"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == Policy().hash
    assert len(Policy().hash) == 16
    assert int(Policy().hash, 16) > 0


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"}, {"version": 2}, {"shadow": True}, {"milestones": ["a"]}, {"score": {"tenure": 11}},
        {"moments": {"slot_weekday": None}}, {"time_zone": {"zones": ["UTC"]}}, {"holdout": {"salt": "x"}},
        {"channels_allowed": ["email", "in_app"]}, {"holdout": {"percent": 5.5}},
    ],
)  # fmt: skip
def test_every_change_changes_the_hash(change: dict[str, Any]) -> None:
    assert Policy.model_validate(change).hash != Policy().hash


def test_a_policy_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Policy().dedup_days = 3  # type: ignore[misc]


# ---- what makes no sense is refused


@pytest.mark.parametrize(
    ("section", "given", "problem"),
    [
        (Scores, {"soft_at": 71}, r"soft_at \(71\) must not exceed direct_at \(70\)"),
        (Scores, {"tenure": -1}, "greater than or equal to 0"),
        (Scores, {"tenure": 101}, "less than or equal to 100"),
        (Trigger, {"window_hours": 24, "window_days": 1}, "has no window_days"),
        (Trigger, {}, "needs window_hours"),
        (Trigger, {"window_hours": 0}, "greater than or equal to 1"),
        (LedgerSettings, {"answer_seconds": 0}, "greater than or equal to 1"),
        (Trouble, {"usage_drop_percent": 0}, "greater than or equal to 1"),
        (Answers, {"two_silences_days": 1}, "two_silences_days"),
        (Policy, {"version": 0}, "greater than or equal to 1"),
        (Policy, {"name": ""}, "at least 1 character"),
        (Policy, {"milestones": [""]}, "at least 1 character"),
        (Holdout, {"salt": ""}, "at least 1 character"),
        (Policy, {"moments": {"rival_wait_seconds": 86_400}}, "settling"),
        (Trigger, {"window": "local_days"}, "needs window_days"),
        (Trigger, {"window": "local_days", "window_days": 1, "window_hours": 1}, "has no window_hours"),
        (Trigger, {"window": "local_day", "window_hours": 1}, "has no window_hours"),
        (Trigger, {"window_hours": 1, "settle_seconds": 3_600}, "to settle"),
        (Trigger, {"window": "local_days", "window_days": 1, "settle_seconds": 23 * 3_600}, "to settle"),
        (Trigger, {"window": "local_day", "settle_seconds": 86_400}, "to settle"),
        (Moments, {"quiet_from": "08:00"}, "must wrap midnight"),
        (Moments, {"slot_from": "16:00"}, "slot.*before"),
        (Moments, {"slot_from": "16:30"}, "slot.*before"),
        (Moments, {"slot_from": "07:59"}, "slot.*quiet hours"),
        (Moments, {"slot_until": "20:01"}, "slot.*quiet hours"),
        (Moments, {"slot_weekday": 6}, "the slot lies on a quiet weekday"),
        (Moments, {"slot_weekday": None, "quiet_weekdays": [1, 2, 3, 4, 5, 6, 7]}, "leaves no day to ask on"),
        (Moments, {"slot_weekday": 8}, "less than or equal to 7"),
        (Moments, {"quiet_from": "24:00"}, "should match pattern"),
        (Moments, {"quiet_from": "8 pm"}, "should match pattern"),
        (TimeZones, {"default": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        (TimeZones, {"zones": ["europe/berlin"]}, "unknown time zone 'europe/berlin'"),
        (Holdout, {"percent": 50.1}, "less than or equal to 50"),
        (Policy, {"channels_allowed": ["fax"]}, "'email', 'in_app' or 'phone'"),
        (Policy, {"caps": {"customer_day": 3}}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(section: type[Any], given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        section.model_validate(given)


@pytest.mark.parametrize(
    ("section", "given"),
    [
        (Scores, {"soft_at": 70}),
        (Trigger, {"window_hours": 1, "settle_seconds": 3_599}),
        (Trigger, {"window": "local_days", "window_days": 1, "settle_seconds": 23 * 3_600 - 1}),
        (Moments, {"quiet_from": "16:00"}),
        (Moments, {"quiet_until": "13:00"}),
        (
            Moments,
            {"slot_weekday": None, "quiet_from": "12:00", "quiet_until": "11:00"},
        ),  # no slot, no conflict with it
        (Moments, {"quiet_weekdays": [1, 2, 3, 4, 6, 7]}),
        (TimeZones, {"default": "Asia/Kolkata", "zones": ["Europe/Berlin", "UTC"], "strict": True}),
        (TooEarly, {"days_of_use": 1}),
        (LedgerSettings, {"answer_seconds": 1}),
        (Holdout, {"percent": 0}),
        (Holdout, {"percent": 50}),
    ],
)
def test_what_makes_sense_to_its_limits_is_accepted(section: type[Any], given: dict[str, Any]) -> None:
    value = section.model_validate(given)
    assert {name: getattr(value, name) for name in given} == {
        name: tuple(each) if isinstance(each, list) else each for name, each in given.items()
    }


@pytest.mark.parametrize(("clock", "minutes"), [("00:00", 0), ("08:00", 480), ("13:30", 810), ("23:59", 1_439)])
def test_a_clock_time_is_minutes_since_midnight(clock: str, minutes: int) -> None:
    assert minutes_of(clock) == minutes
