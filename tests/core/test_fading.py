"""Half-lives: signals that count less the older they are (semantics §2), off by default."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from referral_stream.core import events as ev
from referral_stream.core.events import Data, Event
from referral_stream.core.instants import DAY
from referral_stream.core.policy import HalfLives, Policy, Scores
from referral_stream.core.rules.propensity import faded, score
from tests.builders import AROUND, at, csat, fact, nps, state, ticket_solved
from tests.rules import rule

NOW = at("Thu 12:30")
FADING = Policy(score=Scores(half_life_days=HalfLives(nps=90, testimonial=365, positive_feedback=90)))


def parts(*events: Event, now: int, policy: Policy = FADING) -> dict[str, int]:
    return {name: points for name, points in score(state(*events), now, policy).parts.items() if points}


def given_now(data: Data) -> Event:
    return fact(data, NOW)


@rule("2.9")
@pytest.mark.parametrize(
    ("event", "part", "points"),
    [
        (nps(9, NOW), "nps", {0: 30, 90: 15, 180: 8, 270: 4, 360: 2, 450: 1, 540: 0}),
        (nps(7, NOW), "nps", {0: 15, 90: 8, 180: 4, 270: 2, 360: 1, 450: 0}),
        (given_now(ev.TestimonialGiven()), "testimonial", {0: 20, 365: 10, 730: 5, 1095: 3, 1460: 1, 1825: 1, 2190: 0}),
        (given_now(ev.ComplimentGiven()), "positive_feedback", {0: 10, 90: 5, 180: 3, 270: 1, 360: 1, 450: 0}),
    ],
    ids=["promoter", "passive", "testimonial", "compliment"],
)
def test_points_halve_with_each_half_life(event: Event, part: str, points: dict[int, int]) -> None:
    assert {days: parts(event, now=NOW + days * DAY).get(part, 0) for days in points} == points


@pytest.mark.parametrize("after", AROUND)
def test_a_signal_fades_by_whole_days(after: int) -> None:
    first = next(days for days in range(90) if faded(30, 90, days) == 29)
    points = parts(nps(9, NOW), now=NOW + first * DAY + after)["nps"]
    assert points == (30 if after < 0 else 29)


@rule("2.9")
def test_nothing_fades_by_default() -> None:
    events = [nps(9, NOW), given_now(ev.TestimonialGiven())]
    later = parts(*events, now=NOW + 3_000 * DAY, policy=Policy())
    assert later == {"nps": 30, "testimonial": 20, "positive_feedback": 10}


@pytest.mark.parametrize(
    "event",
    [
        given_now(ev.FeedbackShared(positive=True)),
        given_now(ev.ComplimentGiven()),
        given_now(ev.ReviewPosted(rating=5, scale_max=5)),
        ticket_solved(NOW, rating="positive"),
        csat(5, when=NOW),
    ],
    ids=lambda event: event.type,
)
def test_any_positive_feedback_makes_it_new_again(event: Event) -> None:
    old = fact(ev.FeedbackShared(positive=True), NOW - 90 * DAY)
    assert parts(old, now=NOW)["positive_feedback"] == 5
    for events in ([old, event], [event, old]):
        assert parts(*events, now=NOW)["positive_feedback"] == 10


@pytest.mark.parametrize(
    "event",
    [
        given_now(ev.FeedbackShared(positive=False)),
        given_now(ev.ReviewPosted(rating=3, scale_max=5)),
        ticket_solved(NOW, rating="negative"),
        csat(3, when=NOW),
    ],
    ids=lambda event: event.type,
)
def test_feedback_that_is_not_positive_makes_nothing_new(event: Event) -> None:
    old = fact(ev.FeedbackShared(positive=True), NOW - 90 * DAY)
    assert parts(old, event, now=NOW)["positive_feedback"] == 5


def test_a_survey_answer_fades_from_its_newest_revision_on() -> None:
    answers = [nps(9, NOW - 90 * DAY), nps(10, NOW - 10 * DAY)]
    assert parts(*answers, now=NOW + 80 * DAY)["nps"] == 15


def test_a_testimonial_fades_from_the_last_one_on() -> None:
    both = [fact(ev.TestimonialGiven(reference=name), NOW - days * DAY) for name, days in (("a", 365), ("b", 0))]
    for events in (both, both[::-1]):
        assert parts(*events, now=NOW)["testimonial"] == 20


def test_an_event_of_the_future_has_not_begun_to_fade() -> None:
    assert parts(nps(9, NOW + DAY), now=NOW)["nps"] == 30


def test_a_signal_whose_instant_is_not_known_does_not_fade() -> None:
    """A state written before the instants were kept."""
    customer = state(given_now(ev.TestimonialGiven()))
    customer.testimonial_at = customer.feedback_at = None
    assert score(customer, NOW + 3_000 * DAY, FADING).parts["testimonial"] == 20


@given(weight=st.integers(0, 100), half_life=st.integers(1, 400), days=st.integers(0, 4_000))
def test_points_are_the_nearest_to_the_curve(weight: int, half_life: int, days: int) -> None:
    """|points − weight × ½^(days ÷ half-life)| ≤ ½, raised to the half-life so that it is a question of fractions."""
    points = faded(weight, half_life, days)
    exact = Fraction(weight**half_life, 2**days)
    assert exact < Fraction(2 * points + 1, 2) ** half_life
    assert points == 0 or exact >= Fraction(2 * points - 1, 2) ** half_life


@given(weight=st.integers(0, 100), half_life=st.integers(1, 400))
def test_points_only_ever_become_fewer(weight: int, half_life: int) -> None:
    curve = [faded(weight, half_life, days) for days in range(0, 2_000, 50)]
    assert curve[0] == weight
    assert all(later <= earlier for earlier, later in pairwise(curve))


@given(
    earlier=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10), st.integers(0, 800)), max_size=3),
    low=st.integers(0, 10), high=st.integers(0, 10), now=st.integers(0, 1_000),
)  # fmt: skip
def test_a_higher_nps_score_never_lowers_the_score(
    earlier: list[tuple[str, int, int]], low: int, high: int, now: int
) -> None:
    assume(all(at_ != now for *_, at_ in earlier))  # of one instant, the protective answer counts as the newest
    before = [nps(value, NOW + at_ * DAY, response=name, id=f"{n}") for n, (name, value, at_) in enumerate(earlier)]
    then = NOW + now * DAY
    lower, higher = (
        score(state(*before, nps(value, then, response="c", id="last")), then, FADING).raw
        for value in sorted((low, high))
    )
    assert lower <= higher


@given(ages=st.lists(st.integers(0, 1_000), max_size=4), now=st.integers(0, 1_000))
def test_more_praise_never_lowers_the_score(ages: list[int], now: int) -> None:
    given_before = [fact(ev.TestimonialGiven(), NOW + age * DAY, id=f"{n}") for n, age in enumerate(ages)]
    then = NOW + now * DAY
    more = [*given_before, fact(ev.TestimonialGiven(), then, id="one more")]
    assert score(state(*more), then, FADING).raw >= score(state(*given_before), then, FADING).raw
