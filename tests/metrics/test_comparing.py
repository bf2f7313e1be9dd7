"""Comparisons: who counts, in which arm, until when; and the sentence that people read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import Policy
from referral_stream.metrics.comparing import Comparison, comparisons, harm, observe, templates, uplift
from referral_stream.metrics.observed import period_of
from referral_stream.metrics.records import Records
from tests.builders import a_policy
from tests.metrics.records import (
    HALF,
    LONG_AGO,
    NOW,
    a_record,
    a_referral,
    a_trial,
    all_of,
    an_ask,
    together,
    two_arms,
)
from tests.rules import rule

UPLIFT_HORIZON, HARM_HORIZON = NOW - 90 * DAY, NOW - 14 * DAY


def compared(
    records: Records, policy: Policy = HALF, what: Callable[..., Comparison] = uplift, trigger: str | None = None
) -> Comparison:
    return what(observe(records, policy, period_of(records)), trigger)


def counts(c: Comparison) -> list[tuple[int, int]]:
    return [(arm.successes, arm.units) for arm in c.arms]


def arms_of(records: Records, policy: Policy) -> dict[str, Comparison]:
    return {c.name: c for c in templates(observe(records, policy, period_of(records)))}


# ---- the sentence


@rule("A7.13")
@pytest.mark.parametrize(
    ("asked", "held_out", "verdict", "said"),
    [
        ((60, 400), (20, 400), "effect",
         "Asking works: accounts that are asked give 3.0 times (between 1.5 and 6.7 times) as many referrals as"),
        ((60, 400), (20, 400), "effect", " as many referrals as those held out (evidence of 4,918 to 1)."),
        ((60, 400), (0, 400), "effect", "give at least 5.0 times as many referrals as those held out"),
        ((20, 400), (60, 400), "effect", "Asking costs referrals: accounts that are asked give 0.33 times"),
        ((14, 400), (12, 400), "none_yet",
         "No effect of asking has been shown yet: accounts that are asked may give between 0.41 and 3.7 times as many"),
        ((20, 400), (1, 400), "effect", "give 20 times (at least 1.8 times) as many referrals"),
        ((1, 400), (20, 400), "effect", "give 0.05 times (at most 0.55 times) as many referrals"),
        ((4, 400), (3, 400), "not_enough",
         "not enough data yet (7 of about 20 referrals; some 8 weeks at this pace)"),
        ((0, 400), (0, 400), "not_enough", "not enough data yet (0 of about 20 referrals; too early to tell a pace)"),
        ((60, 700), (20, 400), "split_broken",
         "The split is broken: 400 of 1,100 accounts are held out where 50 % should be. Nothing is said until that is"),
    ],
)  # fmt: skip
def test_a_comparison_ends_in_one_plain_sentence(
    asked: tuple[int, int], held_out: tuple[int, int], verdict: str, said: str
) -> None:
    found = compared(two_arms(asked, held_out))
    assert (counts(found), found.verdict) == ([asked, held_out], verdict)
    assert said in found.sentence


@rule("A7.10", "A7.13")
def test_harm_has_a_sentence_of_its_own() -> None:
    found = compared(two_arms((60, 400), (20, 400), harm=True), what=harm)
    assert found.sentence.startswith("Asking does harm: accounts that are asked have 3.0 times")
    assert "cases of trouble as those held out" in found.sentence
    less = compared(two_arms((20, 400), (60, 400), harm=True), what=harm)
    assert less.sentence.startswith("Asking does no harm: accounts that are asked have 0.33 times")


@rule("A7.12")
def test_while_the_split_is_broken_no_other_verdict_is_given() -> None:
    """mozilla/experimenter#16011 and PostHog#84351: 95:5 is as planned; 33 % where 20 % should be is not."""
    as_planned = compared(two_arms((60, 950), (1, 50)), a_policy(holdout={"percent": 5}))
    assert as_planned.verdict != "split_broken"
    off = compared(two_arms((600, 4_073), (200, 2_035)), a_policy(holdout={"percent": 20}))
    assert off.verdict == "split_broken"
    assert "2,035 of 6,108 accounts are held out where 20 % should be" in off.sentence
    assert "times" not in off.sentence


def test_the_pace_tells_how_long_it_takes_and_before_the_first_horizon_when_it_begins() -> None:
    young = all_of(a_record("ana", an_ask(at=UPLIFT_HORIZON + 1)))
    assert compared(young).sentence == (
        "not enough data yet (0 of about 20 referrals; the first ask counts from 2026-06-30 on)"
    )
    assert compared(Records()).sentence == "not enough data yet (0 of about 20 referrals)"


def test_without_a_holdout_what_asking_causes_is_not_measured() -> None:
    """PostHog#43591: units in an arm of 0 % must not be an error."""
    found = compared(two_arms((60, 400), (3, 3)), a_policy())
    assert found.verdict == "not_measured"
    assert found.outside == 3
    assert "Nobody is held out" in found.sentence


# ---- who counts


@rule("A7.8", "A7.9")
@pytest.mark.parametrize(("at", "units"), [(UPLIFT_HORIZON, 1), (UPLIFT_HORIZON + 1, 0)])
def test_only_units_whose_horizon_has_passed_count(at: int, units: int) -> None:
    assert counts(compared(all_of(a_record("ana", an_ask(at=at)))))[0] == (0, units)


@rule("A7.10")
@pytest.mark.parametrize(("at", "units"), [(HARM_HORIZON, 1), (HARM_HORIZON + 1, 0)])
def test_the_horizon_of_harm_is_two_weeks(at: int, units: int) -> None:
    records = all_of(a_record("ana", an_ask(at=at, regret=True)))
    assert counts(compared(records, what=harm))[0] == (units, units)


@rule("A7.9")
@pytest.mark.parametrize(
    ("days", "counted"), [(-1, 0), (0, 1), (89, 1), (90, 0)], ids=["before", "that day", "last day", "too late"]
)
@pytest.mark.parametrize("kind", ["asked", "soft", "holdout"])
def test_a_referral_counts_by_its_date_alone_in_every_arm(days: int, counted: int, kind: str) -> None:
    """Also one that names another ask: who is held out has none that could be named."""
    referral = a_referral(at=LONG_AGO + days * DAY, command="another")
    found = compared(all_of(a_record("ana", an_ask(kind=kind), referrals=(referral,))))
    assert found.successes == counted


@rule("A7.9")
@pytest.mark.parametrize(("days", "command", "counted"), [(-1, "c1", 1), (-1, "c2", 0), (-2, "c1", 0), (90, "c1", 0)])
def test_west_of_greenwich_a_referral_may_have_the_date_before_its_ask(days: int, command: str, counted: int) -> None:
    asks = an_ask("c1"), an_ask("c2", at=LONG_AGO + HOUR)
    records = all_of(a_record("ana", *asks, referrals=(a_referral(at=LONG_AGO + days * DAY, command=command),)))
    assert compared(records).successes == counted


@rule("A7.9")
def test_cancelled_and_failed_asks_count_and_those_of_shadow_mode_do_not() -> None:
    records = all_of(
        a_record("ana", an_ask(cancelled=True)),
        a_record("ben", an_ask(failed=True)),
        a_record("eve", an_ask(kind="shadow")),
    )
    assert counts(compared(records)) == [(0, 2), (0, 0)]


@rule("A7.8")
def test_an_account_counts_once_in_the_arm_of_its_first_ask() -> None:
    """PostHog#29336, growthbook#196: a unit in both arms was counted twice."""
    records = all_of(
        a_record("ana", an_ask("c2", at=LONG_AGO + HOUR), account_id="acme"),
        a_record("ben", an_ask("c1", at=LONG_AGO, kind="holdout"), account_id="acme", referrals=(a_referral(),)),
        a_record("eve", an_ask("c3"), account_id="other"),
        a_record("acme", an_ask("c4")),  # a customer of that name is no account
    )
    found = compared(records)
    assert (counts(found), found.crossed) == ([(0, 2), (1, 1)], 1)


@rule("A7.8")
def test_a_referral_of_any_contact_of_the_account_counts_once() -> None:
    records = all_of(
        a_record("ana", an_ask("c1"), account_id="acme"),
        a_record("ben", account_id="acme", referrals=(a_referral("r1"), a_referral("r2"))),
    )
    assert counts(compared(records))[0] == (1, 1)


@rule("A7.8")
def test_a_merged_customer_counts_once() -> None:
    old = a_record("old", an_ask("c1", kind="holdout"))
    new = a_record("ana", an_ask("c1", kind="holdout"), an_ask("c2", at=LONG_AGO + HOUR), ids=["old"])
    for told in ((old, new), (new, old)):
        records = all_of(*told)
        found = compared(records)
        assert ([r["customer_id"] for r in records], counts(found), found.crossed) == (["ana"], [(0, 0), (0, 1)], 1)


@rule("A7.8")
def test_asks_under_earlier_settings_are_left_out() -> None:
    records = all_of(a_record("ana", an_ask(at=LONG_AGO)), a_record("ben", an_ask(at=LONG_AGO - 1)))
    since = a_policy(holdout={"percent": 50, "active_since": LONG_AGO})
    assert counts(compared(records, since))[0] == (0, 1)
    assert counts(compared(records, since, harm))[0] == (0, 1)


@pytest.mark.parametrize("trigger", ["renewal", "nps_promoter"])
def test_of_one_trigger_the_first_ask_of_that_trigger_counts(trigger: str) -> None:
    records = all_of(
        a_record("ana", an_ask("c1", trigger="renewal"), an_ask("c2", at=LONG_AGO + HOUR), referrals=(a_referral(),))
    )
    found = compared(records, trigger=trigger)
    assert (found.name, counts(found)[0]) == (trigger, (1, 1))


def test_of_many_triggers_each_needs_the_more_evidence() -> None:
    """One of twenty is conspicuous by chance; all together are not."""
    records = together(two_arms((41, 400), (17, 400)), two_arms((20, 400), (20, 400), trigger="renewal"))
    seen = observe(records, HALF, period_of(records))
    found = {c.name: c for c in comparisons(seen, by_trigger=True) if c.kind == "uplift"}
    assert [found[name].odds for name in ("", "nps_promoter", "renewal")] == [20, 40, 40]
    assert compared(two_arms((41, 400), (17, 400))).verdict == "effect"
    assert found["nps_promoter"].verdict == "none_yet"
    assert "for nps_promoter (" in found["nps_promoter"].sentence
    assert "to 1, of the 40 to 1 that it takes)" in found["nps_promoter"].sentence


# ---- templates


def worded(template: str, count: int, successes: int = 0, experiment: str = "trial", **more: object) -> Records:
    records = []
    for n in range(count):
        name = f"{experiment}-{template}-{n}"
        referrals = (a_referral(name),) if n < successes else ()
        arm = f"{experiment}/{template}"
        records.append(a_record(name, an_ask(name, template=template, arm=arm, **more), referrals=referrals))  # type: ignore[arg-type]
    return all_of(*records)


@rule("A7.11")
def test_each_template_is_compared_with_all_others_by_its_share() -> None:
    policy = a_trial(a=1, b=1, c=2)
    records = together(worded("a", 100, 40), worded("b", 100, 10), worded("c", 200, 20))
    found = arms_of(records, policy)
    assert {name: (c.share, counts(c)) for name, c in found.items()} == {
        "trial/a": (0.25, [(40, 100), (30, 300)]),
        "trial/b": (0.25, [(10, 100), (60, 300)]),
        "trial/c": (0.5, [(20, 200), (50, 200)]),
    }
    assert found["trial/a"].sentence.startswith("a works better than the other templates: it brings 4.0 times")
    assert found["trial/c"].sentence.startswith("c works worse than the other templates: it brings 0.40 times")


@rule("A7.11")
def test_two_templates_have_the_same_evidence_from_both_sides() -> None:
    found = arms_of(together(worded("a", 200, 40), worded("b", 200, 10)), a_trial())
    assert found["trial/a"].evidence is not None
    assert found["trial/b"].evidence is not None
    assert found["trial/a"].evidence.log == pytest.approx(found["trial/b"].evidence.log)


def test_units_in_an_arm_of_weight_0_or_of_no_arm_of_the_plan_are_told_and_left_out() -> None:
    """PostHog#43591: an arm of 0 % that has exposures."""
    policy = a_trial(a=1, b=1, never=0)
    records = together(worded("a", 40, 12), worded("b", 40, 10), worded("never", 3), worded("gone", 2))
    found = arms_of(records, policy)
    assert {name: (counts(c), c.outside) for name, c in found.items()} == {
        "trial/a": ([(12, 40), (10, 40)], 5),
        "trial/b": ([(10, 40), (12, 40)], 5),
    }


def test_asks_of_other_experiments_and_from_before_it_began_are_not_compared() -> None:
    policy = a_policy(
        experiments={"trial": {"trigger": "nps_promoter", "templates": {"a": 1, "b": 1}, "active_since": LONG_AGO}}
    )
    records = together(
        worded("a", 2), worded("b", 3, at=LONG_AGO - 1), worded("b", 4, experiment="earlier"), worded("b", 1)
    )  # fmt: skip
    assert counts(arms_of(records, policy)["trial/a"]) == [(0, 2), (0, 1)]


def test_one_template_alone_is_compared_with_nothing() -> None:
    (found,) = arms_of(worded("a", 40, 30), a_trial(a=1, b=0)).values()
    assert found.verdict == "not_measured"
    assert "nothing to compare it with" in found.sentence


@rule("A7.12")
def test_a_broken_split_of_an_experiment_is_told() -> None:
    (found, *_) = arms_of(together(worded("a", 400, 30), worded("b", 200, 30)), a_trial()).values()
    assert found.verdict == "split_broken"
    assert "400 of 600 accounts are with a where 50 % should be" in found.sentence
