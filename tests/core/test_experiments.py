"""Which wording of an experiment is drawn, and where it is said."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from referral_stream.core.customer import Customer
from referral_stream.core.effects import ReasonAsked
from referral_stream.core.policy import Policy
from referral_stream.core.rules.experiments import Arm, drawn_arm
from tests.builders import a_customer, a_policy, at, nps, renewed, replay
from tests.rules import rule

EVEN = {"trigger": "nps_promoter", "templates": {"b": 1, "a": 1}}


def a_trial(**more: object) -> Policy:
    return a_policy(experiments={"short": {**EVEN, **more}})


def share_of(name: str, unit: str) -> float:
    return int.from_bytes(hashlib.sha256(f"experiment|{name}|{unit}".encode()).digest()[:8], "big") / 2**64


def drawn(policy: Policy, customer: str, account: str | None = None) -> str:
    story = replay(a_customer(customer, account=account), nps(9, customer=customer), policy=policy)
    return story.ask.template


@rule("A8.1")
def test_the_first_template_by_name_whose_cumulated_weight_is_above_the_draw() -> None:
    policy = a_trial(templates={"c": 1, "a": 0, "b": 3})
    for n in range(200):
        customer = f"cus-{n}"
        expected = "b" if share_of("short", customer) * 4 < 3 else "c"
        assert drawn_arm(Customer(id=customer), "nps_promoter", 0, policy) == Arm("short", expected)


@rule("A8.1")
def test_weights_are_shares_and_a_template_without_one_is_never_drawn() -> None:
    policy = a_trial(templates={"a": 0.1, "b": 0.3, "never": 0})
    counted = Counter(arm and arm.template for arm in _arms(policy, 10_000))
    assert set(counted) == {"a", "b"}
    assert 0.24 < counted["a"] / 10_000 < 0.26


@rule("A8.1")
def test_two_equal_templates_are_drawn_equally_often_and_the_name_is_another_draw() -> None:
    """github.com/Eshajha19/agri#2193: ties that always went to one arm."""
    counted = Counter(arm and arm.template for arm in _arms(a_trial(), 10_000))
    assert 0.49 < counted["a"] / 10_000 < 0.51
    other = a_policy(experiments={"other": EVEN})
    again = zip(_arms(a_trial(), 1_000), _arms(other, 1_000), strict=True)
    same = sum(one is not None and two is not None and one.template == two.template for one, two in again)
    assert 400 < same < 600


def _arms(policy: Policy, count: int) -> list[Arm | None]:
    return [drawn_arm(Customer(id=f"cus-{n}"), "nps_promoter", 0, policy) for n in range(count)]


@rule("A8.1")
def test_all_contacts_of_an_account_get_the_same_wording() -> None:
    assert len({drawn(a_trial(), customer, "acme") for customer in ("ana", "ben", "eve", "joe")}) == 1
    assert len({drawn(a_trial(), customer) for customer in ("ana", "ben", "eve", "joe", "kim", "lea")}) == 2


@rule("A8.2", "A6.8", "A10.3")
def test_the_arm_is_in_decision_command_and_record() -> None:
    story = replay(a_customer(), nps(9), policy=a_trial())
    asked = story.ask
    arm = f"short/{'a' if share_of('short', 'ana') * 2 < 1 else 'b'}"
    assert (asked.arm, f"short/{asked.template}") == (arm, arm)
    assert [(d.outcome, d.arm) for d in story.decisions()] == [("pending", None), ("asked", arm)]
    assert [(ask.arm, ask.template) for ask in story.records[-1].asks] == [(arm, asked.template)]


@rule("A8.2")
@pytest.mark.parametrize(
    ("champion", "more", "outcome"),
    [(False, {}, "soft"), (True, {"shadow": True}, "shadow"), (True, {"holdout": {"percent": 50}}, "holdout")],
)
def test_a_soft_ask_and_one_in_shadow_mode_have_an_arm_and_who_is_held_out_has_none(
    champion: bool, more: dict[str, object], outcome: str
) -> None:
    policy = a_policy(experiments={"short": {**EVEN, "trigger": "renewal"}}, **more)
    name = next(f"cus-{n}" for n in range(99) if outcome != "holdout" or _is_held_out(f"cus-{n}"))
    story = replay(a_customer(name, champion=champion), renewed("Mon 12:00", customer=name), policy=policy)
    last = story.decisions()[-1]
    assert (last.outcome, last.arm is None) == (outcome, outcome == "holdout")
    assert [ask.arm for ask in story.records[-1].asks] == [last.arm]


def _is_held_out(customer: str) -> bool:
    return hashlib.sha256(f"referral-stream|{customer}".encode()).digest()[0] < 128


@rule("A8.3")
def test_the_question_for_the_reason_has_no_arm_and_the_ask_after_it_has() -> None:
    policy = a_policy(experiments={"short": EVEN}, ask_reason_first=True)
    story = replay(a_customer(), nps(9), policy=policy)
    (question,) = (effect for effect in story.effects() if isinstance(effect, ReasonAsked))
    ask = story.ask
    assert (question.template, ask.arm) == ("reason", f"short/{ask.template}")


@rule("A8.1")
def test_other_triggers_and_asks_before_it_began_are_worded_as_ever() -> None:
    assert replay(a_customer(), renewed("Mon 12:00"), policy=a_trial()).ask.template == "renewal"
    asked_at = replay(a_customer(), nps(9)).ask.not_before
    for since, arms in ((asked_at + 1, False), (asked_at, True)):
        ask = replay(a_customer(), nps(9), policy=a_trial(active_since=since)).ask
        assert ((ask.arm is not None), ask.template in ("a", "b")) == (arms, arms)


def test_settings_that_came_later_and_are_not_set_leave_the_hash_of_a_policy() -> None:
    """An update alone must not make another policy of it."""
    assert Policy().hash == "736f70974e0b9b43"
    assert a_trial().hash != a_trial(active_since=at("Mon 12:00")).hash != Policy().hash
    assert a_policy(harm={"pause_at": 20}).hash != Policy().hash
    assert a_policy(holdout={"active_since": at("Mon 12:00")}).hash != Policy().hash
