"""The score: nine contributions, each with its boundary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import Score
from referral_stream.core.events import Data, Event
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.rules.propensity import score, tenure_alone_suffices_at
from tests.builders import AROUND, at, csat, fact, first_success, nps, state
from tests.rules import rule

NOW = at("Thu 12:30")
NOTHING = {
    "tenure": 0, "first_success": 0, "usage_above_average": 0, "nps": 0, "testimonial": 0,
    "interactions": 0, "positive_feedback": 0, "champion": 0, "engaged": 0,
}  # fmt: skip
LONG_AGO = NOW - 300 * DAY


def scored(*events: Event, now: int = NOW) -> Score:
    return score(state(*events), now, Policy())


def the(*data: Data, when: int = LONG_AGO) -> list[Event]:
    return [fact(each, when + n) for n, each in enumerate(data)]


def calls(n: int) -> list[Event]:
    return [fact(ev.InteractionRecorded(kind="call"), LONG_AGO + i) for i in range(n)]


EVERYTHING: tuple[Event, ...] = (
    fact(ev.SignedUp(), NOW - 30 * DAY),
    first_success(LONG_AGO),
    fact(ev.UsageCompared(above_average=True), LONG_AGO),
    nps(9, LONG_AGO),
    fact(ev.TestimonialGiven(), LONG_AGO),
    *calls(5),
    fact(ev.ChampionChanged(champion=True), LONG_AGO),
    fact(ev.AdviceAsked(), NOW - 7 * DAY),
)


@rule("2.8", "10.61")
def test_nobody_known_scores_nothing_and_is_told_so_in_nine_parts() -> None:
    assert scored() == Score(value=0, raw=0, parts=NOTHING)


@rule("2.6")
def test_everything_together_is_140_and_counts_as_100() -> None:
    parts = {
        "tenure": 10, "first_success": 20, "usage_above_average": 15, "nps": 30, "testimonial": 20,
        "interactions": 10, "positive_feedback": 10, "champion": 15, "engaged": 10,
    }  # fmt: skip
    assert scored(*EVERYTHING) == Score(value=100, raw=140, parts=parts)


@rule("1.3", "1.7", "2.2", "2.3", "2.4", "10.54")
@pytest.mark.parametrize(
    ("part", "points", "events"),
    [
        ("first_success", 20, [first_success(LONG_AGO)]),
        ("first_success", 0, the(ev.MilestoneReached(milestone="tour taken"))),
        ("usage_above_average", 15, the(ev.UsageCompared(above_average=True))),
        ("usage_above_average", 0, the(ev.UsageCompared(above_average=True), ev.UsageCompared(above_average=False))),
        ("nps", 30, [nps(10, LONG_AGO)]),
        ("nps", 30, [nps(9, LONG_AGO)]),
        ("nps", 15, [nps(8, LONG_AGO)]),
        ("nps", 15, [nps(7, LONG_AGO)]),
        ("nps", 0, [nps(6, LONG_AGO)]),
        ("nps", 0, [nps(0, LONG_AGO)]),
        ("testimonial", 20, the(ev.TestimonialGiven())),
        ("testimonial", 0, the(ev.ComplimentGiven())),
        ("interactions", 0, calls(4)),
        ("interactions", 10, calls(5)),
        ("interactions", 10, calls(6)),
        ("positive_feedback", 10, the(ev.FeedbackShared(positive=True))),
        ("positive_feedback", 0, the(ev.FeedbackShared(positive=False))),
        ("positive_feedback", 10, the(ev.FeedbackShared(positive=True), ev.FeedbackShared(positive=False))),
        ("positive_feedback", 10, the(ev.ComplimentGiven())),
        ("positive_feedback", 10, the(ev.TestimonialGiven())),
        ("positive_feedback", 0, the(ev.CaseStudyJoined())),
        ("positive_feedback", 10, [csat(4, 5, LONG_AGO)]),
        ("positive_feedback", 0, [csat(3.99, 5, LONG_AGO)]),
        ("positive_feedback", 0, [csat(4, 5, LONG_AGO), csat(1, 5, LONG_AGO + 1)]),  # corrected
        ("positive_feedback", 10, [csat(4, 5, LONG_AGO), csat(1, 5, LONG_AGO + 1, "another")]),
        ("positive_feedback", 10, the(ev.ReviewPosted(rating=4, scale_max=5))),
        ("positive_feedback", 0, the(ev.ReviewPosted(rating=3.9, scale_max=5))),
        ("positive_feedback", 10, the(ev.TicketSolved(ticket_id="t", rating="positive"))),
        ("positive_feedback", 10, the(ev.TicketRated(ticket_id="t", rating="positive"))),
        ("positive_feedback", 0, the(ev.TicketRated(ticket_id="t", rating="negative"))),
        ("positive_feedback", 0, the(ev.TicketSolved(ticket_id="t"))),
        ("champion", 15, the(ev.ChampionChanged(champion=True))),
        ("champion", 15, the(ev.ProfileChanged(champion=True))),
        ("champion", 0, the(ev.ChampionChanged(champion=True), ev.ProfileChanged(champion=False))),
    ],
)
def test_each_signal_gives_its_points(part: str, points: int, events: list[Event]) -> None:
    assert scored(*events).parts[part] == points


@rule("2.1")
@pytest.mark.parametrize("after", AROUND)
def test_tenure_counts_from_thirty_days_on(after: int) -> None:
    assert scored(fact(ev.SignedUp(), NOW - 30 * DAY - after)).parts["tenure"] == (10 if after >= 0 else 0)


@rule("2.5", "10.10")
@pytest.mark.parametrize("after", AROUND)
def test_engaged_means_active_within_seven_days_the_last_instant_included(after: int) -> None:
    assert scored(fact(ev.AdviceAsked(), NOW - 7 * DAY - after)).parts["engaged"] == (10 if after <= 0 else 0)


@rule("10.50")
def test_the_newest_revision_over_all_responses_is_the_nps() -> None:
    first, second = nps(10, "Mon 10:00", "r1"), nps(7, "Tue 10:00", "r2")
    revision = nps(6, "Wed 10:00", "r1")

    assert scored(first).parts["nps"] == 30
    assert scored(second, first).parts["nps"] == 15
    for order in ((first, second, revision), (revision, second, first)):
        assert scored(*order).parts["nps"] == 0


@pytest.mark.parametrize("missing", range(len(EVERYTHING)))
def test_a_good_signal_never_lowers_the_score(missing: int) -> None:
    without = [event for n, event in enumerate(EVERYTHING) if n != missing]
    assert scored(*without).raw <= scored(*EVERYTHING).raw


SIGNED_UP = NOW - 29 * DAY


def forty() -> list[Event]:
    return [fact(ev.SignedUp(), SIGNED_UP), nps(9, LONG_AGO), fact(ev.ComplimentGiven(), LONG_AGO)]


@rule("10.56")
@pytest.mark.parametrize(
    ("events", "at_"),
    [
        (forty, SIGNED_UP + 30 * DAY),  # 40 now, 50 then
        (lambda: forty()[:2], None),  # 30 now, 40 then
        (lambda: forty()[1:], None),  # sign-up unknown
        (lambda: [*forty(), fact(ev.SignedUp(), NOW - 31 * DAY)], None),  # tenure counts already
    ],
    ids=["only tenure is missing", "more is missing", "sign-up unknown", "tenure is there"],
)
def test_tenure_alone_suffices_where_nothing_else_is_missing(
    events: Callable[[], list[Event]], at_: int | None
) -> None:
    customer = state(*events())
    assert tenure_alone_suffices_at(customer, score(customer, NOW, Policy()), Policy()) == at_
