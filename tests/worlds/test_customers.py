from __future__ import annotations

import pytest

from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core.policy import Policy
from referral_stream.core.rules import propensity
from tests.builders import a_customer, at, fact, nps, replay, state
from tests.worlds.customers import Fact, history

NOW = at("Thu 12:30")


def score(facts: list[Fact]) -> int:
    events = [fact(FACT_BODIES[each.type](each.body), NOW - each.age) for each in facts]
    return propensity.score(state(events), NOW, Policy()).value


@pytest.mark.parametrize(
    ("signal", "points"),
    [
        ("first_success", 20), ("testimonial", 30), ("usage", 15), ("champion", 15), ("calls", 10), ("feedback", 10),
        ("goal", 0),
    ],
)  # fmt: skip
def test_each_signal_is_worth_what_the_kit_says(signal: str, points: int) -> None:
    assert score(history("advice")) == 20
    assert score(history("advice", signal)) == 20 + points


@pytest.mark.parametrize("tenure_days", [40, 400])
def test_a_history_is_in_order_whatever_its_length(tenure_days: int) -> None:
    ages = [each.age for each in history("usage", "calls", "first_success", "advice", tenure_days=tenure_days)]
    assert ages == sorted(ages, reverse=True)
    assert len(set(ages)) == len(ages)


@pytest.mark.parametrize("missing", ["customer.signed_up", "onboarding.completed", "customer.consent_changed", ""])
def test_a_customer_may_be_asked_unless_something_is_missing(missing: str) -> None:
    asks = replay(a_customer(without=(missing,)), nps(9, "Thu 12:30")).asks
    assert bool(asks) == (missing == "")
