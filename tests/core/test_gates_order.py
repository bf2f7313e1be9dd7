"""The table of gates: its order, and how one gate's causes become one answer."""

from __future__ import annotations

from typing import get_args

import pytest

from referral_stream.core.effects import GateName, Reason
from referral_stream.core.events import DisputeClosed
from referral_stream.core.policy import CapLimits, Policy
from referral_stream.core.rules.gates import GATES, Gate, GateCause, Verdict
from referral_stream.core.rules.gates import verdict as judged
from tests.builders import a_customer, a_policy, at, nps, replay, state
from tests.core.views import verdict, view
from tests.rules import rule

NOW = at("Thu 12:30")
ORDER = (
    "erased", "paused", "consent", "too_early", "trouble", "propensity", "answers", "overasking", "account", "advocacy",
    "channel", "moment", "approval", "holdout",
)  # fmt: skip
EVENT, SOON, LATER, EVER = (
    GateCause("open", until_event=DisputeClosed.type),
    GateCause("one", until=NOW + 1),
    GateCause("two", until=NOW + 2),
    GateCause("for ever"),
)


@rule("10.111")
def test_there_are_fourteen_gates_in_the_order_of_the_page() -> None:
    assert tuple(gate.name for gate in GATES) == ORDER
    assert get_args(GateName) == ORDER


@rule("4.1", "10.111")
def test_every_decision_lists_all_gates_in_their_order_with_what_they_saw_and_their_limit() -> None:
    story = replay(a_customer(), nps(9))

    for decision in story.decisions():
        assert tuple(reason.gate for reason in decision.reasons) == ORDER
        assert all(reason.saw and reason.limit for reason in decision.reasons)


@rule("4.3", "10.113")
@pytest.mark.parametrize(
    ("causes", "answer", "until", "until_event"),
    [
        ([], "pass", None, None),
        ([SOON], "until", NOW + 1, None),
        ([LATER, SOON], "until", NOW + 2, None),
        ([SOON, EVENT, LATER], "until_event", None, "dispute.closed"),
        ([EVENT, EVER, SOON], "never", None, None),
    ],
)
def test_of_several_causes_never_comes_first_then_an_event_then_the_latest_instant(
    causes: list[GateCause], answer: str, until: int | None, until_event: str | None
) -> None:
    gate = Gate("trouble", lambda _: "nothing is wrong", lambda _: causes)

    said = judged(gate, view(state(), NOW))

    saw = "; ".join(cause.saw for cause in causes) or "clear"
    assert said == Verdict("trouble", answer, until, until_event, saw, "nothing is wrong")  # type: ignore[arg-type]


@rule("4.4")
@pytest.mark.parametrize(
    ("answer", "until", "closes"),
    [
        ("pass", None, False),
        ("never", None, True),
        ("until_event", None, False),
        ("until", NOW - 1, False),
        ("until", NOW, True),
        ("until", NOW + 1, True),
    ],
)
def test_a_gate_that_opens_at_the_deadline_or_later_closes_the_window_at_once(
    answer: str, until: int | None, closes: bool
) -> None:
    said = Verdict("trouble", answer, until, None, "saw", "limit")  # type: ignore[arg-type]

    assert said.closes(NOW) is closes
    assert said.blocks is (answer != "pass")


@rule("4.3", "10.112")
def test_a_reason_shows_an_instant_as_rfc_3339_and_an_event_by_its_type() -> None:
    until = Verdict("answers", "until", at("Fri 13:00"), None, "saw", "limit")
    event = Verdict("trouble", "until_event", None, "ticket.solved", "saw", "limit")
    clear = Verdict("trouble", "pass", None, None, "clear", "limit")

    assert until.reason() == Reason(
        gate="answers", answer="until", until="2026-06-19T11:00:00.000Z", saw="saw", limit="limit"
    )
    assert event.reason() == Reason(
        gate="trouble", answer="until_event", until="ticket.solved", saw="saw", limit="limit"
    )
    assert clear.reason() == Reason(gate="trouble", answer="pass", saw="clear", limit="limit")


@pytest.mark.parametrize("gate", [gate for gate in ORDER if gate != "moment"])
def test_a_customer_with_whom_all_is_well_passes(gate: str) -> None:
    assert verdict(gate, a_customer(), nps(9, NOW - 1), now=NOW).answer == "pass"


def test_a_policy_changed_in_one_number_tells_that_one() -> None:
    before = a_policy()
    assert verdict("overasking", now=NOW, policy=before).limit == "one ask in 90 days"
    after = before.model_copy(update={"caps": CapLimits(customer_days=120)})
    assert verdict("overasking", now=NOW, policy=after).limit == "one ask in 120 days"


def test_limits_are_told_in_the_numbers_of_the_policy() -> None:
    policy = Policy.model_validate({"caps": {"customer_days": 45}, "score": {"soft_at": 40}})
    limits = {gate.name: gate.limit(policy) for gate in GATES}

    assert (limits["overasking"], limits["propensity"]) == ("one ask in 45 days", "score of 40")
