"""How long something is kept is computed from the policy: no constant is shorter than what a policy may allow."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.core import forgetting
from referral_stream.core.instants import DAY, HOUR, SECOND
from referral_stream.core.ledger.caps import rebuilt_days
from referral_stream.core.links import closing_days
from referral_stream.core.policy import Answers, CapLimits, Policy, Trouble
from referral_stream.ledger.client import _limits
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings
from referral_stream.runtime.topics_admin import wanted
from tests.builders import a_policy
from tests.rules import rule

LONGEST = 3_660
"""The longest wait that a policy may set."""

WAITS = [
    (section, name)
    for section, model in (("trouble", Trouble), ("answers", Answers), ("caps", CapLimits))
    for name, field in model.model_fields.items()
    if name.endswith("_days") and field.annotation is int
]


@rule("I6.3")
@pytest.mark.parametrize(("section", "name"), WAITS)
def test_no_wait_of_a_policy_is_longer_than_what_links_keep(section: str, name: str) -> None:
    values: dict[str, Any] = {name: LONGEST}
    if name == "account_gap_days":
        values["account_days"] = LONGEST
    if name == "silence_after_days":
        values["two_silences_days"] = 0
    policy = a_policy(**{section: values})
    assert policy.longest_wait_days >= LONGEST
    assert closing_days(policy) > LONGEST
    assert closing_days(Policy()) == 400


@rule("I6.3")
@pytest.mark.parametrize("name", ["customer_days", "account_days"])
@pytest.mark.parametrize(("days", "kept"), [(90, 400), (720, 750)])
def test_what_the_ledger_is_rebuilt_from_reaches_back_as_far_as_an_ask_counts(name: str, days: int, kept: int) -> None:
    policy = a_policy(caps={name: days})
    deployment = Deployment(Settings(email_key="a key for tests only"), policy, Clock())
    retention = {each.name: each.kept.retention_ms for each in wanted(deployment)}
    assert retention["ledger-requests"] == kept * DAY
    assert retention["customer-events"] == 400 * DAY
    assert rebuilt_days(policy) == max(days, 365) + 30, "grants count for 365 days"
    assert _limits(policy)[8] * SECOND > 2 * days * DAY, "Redis keeps it at least as long"


@rule("I6.3", "11.3")
@pytest.mark.parametrize(
    ("trigger", "days"), [({}, 8), ({"window_hours": 60 * 24}, 61), ({"window_hours": 60 * 24 - 1}, 61)]
)
def test_a_pause_reaches_every_command_that_may_still_wait(trigger: dict[str, Any], days: int) -> None:
    policy = a_policy(triggers={"nps_promoter": trigger}) if trigger else Policy()
    assert policy.longest_window_days == days
    assert policy.longest_window_days * DAY > max(t.shortest_window for t in policy.triggers.values()) + 2 * HOUR
    assert _limits(policy)[11] == days * DAY


@rule("I6.3")
def test_asks_and_renewals_are_kept_longer_than_what_they_hold_back() -> None:
    policy = a_policy(caps={"customer_days": 720}, trouble={"resubscribed_days": 900})
    assert forgetting.asks_kept_days(policy) > 720
    assert forgetting.renewals_kept_days(policy) > 900
