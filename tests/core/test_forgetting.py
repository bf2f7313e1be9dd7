"""What a state forgets: nothing that can still matter under the policy in force."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core.asks import Ask
from referral_stream.core.events import Event
from referral_stream.core.fold import fold
from referral_stream.core.forgetting import SPARE_DAYS, asks_kept_days, forget, remembered, renewals_kept_days
from referral_stream.core.instants import DAY, HOUR, MINUTE
from tests.builders import (
    AROUND,
    POLICY,
    a_customer,
    a_policy,
    acknowledged,
    at,
    blocking,
    command_of,
    fact,
    nps,
    replay,
    shown,
    state,
)
from tests.core.views import an_opportunity, answer
from tests.rules import rule

T = at("Mon 12:00")


def sent(response: str, when: int) -> Event:
    return acknowledged("sent", when, command_of(subject=response))


@rule("1.13", "4.28", "11.13")
@pytest.mark.parametrize(("days", "gap"), [(180, 111), (400, 111), (730, 111), (3_660, 896)])
@pytest.mark.parametrize("after", AROUND)
def test_two_silences_hold_as_long_as_the_policy_says(days: int, gap: int, after: int) -> None:
    """Also where the first of the two is older than any wait."""
    policy = a_policy(answers={"two_silences_days": days})
    second = at("Tue 12:00")
    first = second - gap * DAY
    early = [nps(9, first - 20 * MINUTE, "s1"), sent("s1", first + MINUTE)]
    then = [nps(9, second - 20 * MINUTE, "s2"), sent("s2", second + MINUTE)]
    history = [event for event in a_customer() if event.type != "usage.recorded"]
    old = [fact(event.data, event.time - (gap + 5) * DAY) for event in history]
    end = second + days * DAY

    story = replay(old, history, early, then, nps(9, end - HOUR + after, "s3"), policy=policy, until=end + DAY)

    last = [decision for decision in story.decisions() if decision.subject == "s3"]
    assert blocking(last[0])["answers"] == shown(end)


@rule("1.14", "11.13")
@pytest.mark.parametrize("days", [14, 90, 3_660])
@pytest.mark.parametrize("after", AROUND)
def test_an_advocacy_ask_holds_as_long_as_the_policy_says(days: int, after: int) -> None:
    policy = a_policy(caps={"advocacy_days": days})
    customer = state(fact(ev.AdvocacyAsked(kind="review", by="x"), T))
    now = T + days * DAY + after
    forget(customer, now, policy)
    held = answer("advocacy", now=now, customer=customer, policy=policy)
    assert held == (f"until {shown(T + days * DAY)}" if after < 0 else "pass")


@rule("11.13", "11.27")
@pytest.mark.parametrize("days", [30, 90, 3_660])
@pytest.mark.parametrize("after", AROUND)
def test_a_referral_that_others_asked_for_holds_as_long_as_the_policy_says(days: int, after: int) -> None:
    policy = a_policy(caps={"customer_days": days})
    customer = state(fact(ev.AdvocacyAsked(kind="referral", by="x"), T))
    now = T + days * DAY + after
    forget(customer, now, policy)
    held = answer("overasking", now=now, customer=customer, policy=policy)
    assert held == (f"until {shown(T + days * DAY)}" if after < 0 else "pass")


@rule("10.30", "11.13")
@pytest.mark.parametrize("days", [1, 3, 60])
def test_a_critical_task_lasts_as_long_as_the_policy_says(days: int) -> None:
    """Another task that begins meanwhile changes nothing."""
    policy = a_policy(moments={"critical_task_seconds": days * 86_400}, channels_default=["in_app"])
    begun = fact(ev.TaskStarted(task_id="t"), "Tue 12:00")
    end = at("Tue 12:00") + days * DAY
    other = [fact(ev.TaskStarted(task_id="u"), end - HOUR), fact(ev.TaskEnded(task_id="u"), end - HOUR + 1)]

    def met(when: int) -> bool:
        moment = fact(ev.WorkflowCompleted(), when)
        told = (begun, *other, nps(9, when - HOUR), moment)
        return bool(replay(a_customer(channels=("in_app",)), told, policy=policy, until=when).asks)

    assert (met(end - 1), met(end)) == (False, True)


@pytest.mark.parametrize(("field", "days"), [("advocacy", 14), ("tasks", 0)])
def test_what_is_long_over_is_forgotten(field: str, days: int) -> None:
    customer = state(fact(ev.AdvocacyAsked(kind="review", by="x"), T), fact(ev.TaskStarted(task_id="t"), T))
    lapse = POLICY.moments.critical_task_seconds * 1_000 if field == "tasks" else 0
    last = T + (days + SPARE_DAYS) * DAY + lapse
    forget(customer, last, POLICY)
    assert getattr(customer, field)
    forget(customer, last + 1, POLICY)
    assert not getattr(customer, field)


def an_ask(name: str, asked_at: int, **but: Any) -> Ask:
    ask = Ask(an_opportunity(T), name, asked_at, asked_at + HOUR, "asked", "email")
    return Ask(**{field: getattr(ask, field) for field in ask.__struct_fields__} | but)


def test_old_asks_are_forgotten_but_the_newest_and_the_newest_that_reached_the_customer() -> None:
    asks = (
        an_ask("reached", T - 9, sent_at=T),
        an_ask("also reached", T - 8, sent_at=T),
        an_ask("a question", T - 7, sent_at=T, kind="reason"),
        an_ask("counts", T - 6),
        an_ask("failed", T - 5, failed_at=T),
        an_ask("lately", T),
    )
    assert [ask.command_id for ask in remembered(asks, T)] == ["also reached", "counts", "lately"]
    assert remembered(asks, T - 9) is asks


@rule("11.13")
@pytest.mark.parametrize(
    ("section", "key"), [("caps", "customer_days"), ("answers", "two_silences_days"), ("answers", "silence_after_days")]
)
def test_asks_are_kept_longer_than_any_wait_that_counts_them(section: str, key: str) -> None:
    days = {"two_silences_days": 0, key: 3_000}
    policy = a_policy(**{section: days if section == "answers" else {key: 3_000}})
    assert asks_kept_days(policy) > 3_000
    assert asks_kept_days(POLICY) > 400


# ---- renewals


def lived(random: Random, days: int) -> list[Event]:
    """Something about one of two subscriptions every few days."""
    told, at_day = [], -days
    while at_day < 0:
        name = random.choice("ab")
        data: ev.Data = random.choice(
            [
                *[ev.SubscriptionRenewed(subscription_id=name)] * 6,
                ev.SubscriptionStarted(subscription_id=name),
                ev.SubscriptionEnded(subscription_id=name),
                ev.CancellationScheduled(subscription_id=random.choice([name, None])),
                ev.CancellationReverted(subscription_id=name),
            ]
        )
        told.append(fact(data, T + at_day * DAY + random.randrange(DAY)))
        at_day += random.randrange(1, 40)
    return told


@rule("11.13")
@pytest.mark.parametrize("seed", range(60))
def test_forgotten_renewals_change_no_answer_whatever_arrives_late(seed: int) -> None:
    random = Random(seed)
    told = lived(random, 900)
    late = [event for event in told if random.random() < 0.2]
    whole, forgetful = state(told), state([event for event in told if event not in late])
    for event in late:
        forget(forgetful, T - DAY, POLICY)
        fold(forgetful, event)
    forget(forgetful, T, POLICY)

    for days in range(0, 120, 7):
        now = T + days * DAY
        assert answer("trouble", now=now, customer=forgetful) == answer("trouble", now=now, customer=whole)


def test_renewals_that_are_over_are_forgotten() -> None:
    """But the newest of them per subscription."""
    days = renewals_kept_days(POLICY)
    told = [
        fact(ev.SubscriptionStarted(subscription_id="a"), T - 900 * DAY),
        *(fact(ev.SubscriptionRenewed(subscription_id="a"), T - ago * DAY) for ago in (800, 700, days + 1)),
        fact(ev.SubscriptionRenewed(subscription_id="b"), T - 800 * DAY),
        *(fact(ev.SubscriptionRenewed(subscription_id="a"), T - ago * DAY) for ago in (days, 1)),
    ]
    customer = state(told)

    forget(customer, T, POLICY)

    kept = {event.time for n, event in enumerate(told) if n not in (1, 2)}
    assert {event.at.time for event in customer.subscriptions} == kept
