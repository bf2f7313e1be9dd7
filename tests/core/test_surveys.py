"""Surveys are corrected: what a revision opens, keeps, cancels or lifts."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from tests.builders import (
    Story,
    Told,
    a_customer,
    acknowledged,
    arriving,
    at,
    blocking,
    command_of,
    compliment,
    csat,
    fact,
    first_success,
    nps,
    opportunity_of,
    replay,
    shown,
)
from tests.rules import rule


def story_of(*events: Told) -> Story:
    return replay(a_customer(), *events)


@rule("10.48")
def test_ten_after_nine_changes_nothing() -> None:
    once, corrected = story_of(nps(9, "Thu 12:30")), story_of(nps(9, "Thu 12:30"), nps(10, "Thu 12:40"))
    assert corrected.effects() == once.effects()


@rule("3.15", "8.2", "10.48")
@pytest.mark.parametrize("score", [8, 7, 6, 0])
def test_below_nine_cancels_what_was_open(score: int) -> None:
    story = story_of(nps(9, "Thu 14:00"), nps(score, "Thu 15:00"))

    assert story.outcomes() == [("pending", "Thu 14:00"), ("cancelled", "Thu 15:00")]
    assert (story.asks, story.cancelled) == ([], [])  # no command was out yet


@rule("10.48")
def test_that_response_opens_no_more() -> None:
    story = story_of(nps(9, "Thu 14:00"), nps(7, "Thu 15:00"), nps(10, "Thu 16:00"))
    assert story.outcomes() == [("pending", "Thu 14:00"), ("cancelled", "Thu 15:00")]


def test_another_response_opens_its_own() -> None:
    story = story_of(nps(9, "Thu 09:00"), nps(7, "Thu 09:10"), nps(10, "Thu 10:00", "r2"))
    assert story.asked == [("nps_promoter", "Thu 10:20")]
    assert story.ask.subject == "r2"


@rule("3.16", "10.49")
def test_a_correction_upwards_opens_at_the_correction() -> None:
    story = story_of(nps(8, "Wed 12:00"), nps(9, "Thu 12:30"))

    assert story.asked == [("nps_promoter", "Thu 12:50")]
    assert {decision.window.opens for decision in story.decisions()} == {at("Thu 12:30")}


@rule("10.7")
def test_an_older_revision_that_arrives_late_opens_and_cancels_nothing() -> None:
    opens_nothing = story_of(nps(8, "Thu 12:30"), arriving(nps(9, "Thu 12:00"), "Thu 12:40"))
    cancels_nothing = story_of(nps(9, "Thu 12:30"), arriving(nps(3, "Thu 12:00"), "Thu 12:40"))

    assert opens_nothing.decisions() == []
    assert cancels_nothing.asked == [("nps_promoter", "Thu 12:50")]


def test_a_correction_of_another_response_cancels_nothing() -> None:
    story = story_of(nps(9, "Thu 12:30"), nps(8, "Thu 12:40", "r2"))
    assert story.asked == [("nps_promoter", "Thu 12:50")]
    assert story.ask.score.parts["nps"] == 15  # but the newest answer is what counts for the score


@pytest.mark.parametrize("other", ["r0", "r2"])
def test_a_correction_of_another_response_takes_no_command_back(other: str) -> None:
    story = story_of(nps(9, "Wed 12:00", other, historical=True), nps(9, "Thu 12:30"), nps(8, "Thu 13:30", other))
    assert story.asked == [("nps_promoter", "Thu 12:50")]
    assert story.cancelled == []


@rule("3.15", "10.90")
def test_after_the_ask_a_correction_takes_the_command_back() -> None:
    story = story_of(nps(9, "Thu 12:30"), nps(5, "Thu 13:30"))

    (cancelled,) = story.cancelled
    assert (cancelled.command_id, cancelled.opportunity_id) == (command_of(), opportunity_of())
    assert shown(cancelled.cancelled_at) == "Thu 13:30"
    assert story.outcomes()[-1] == ("cancelled", "Thu 13:30")


def test_a_correction_that_leaves_a_passive_score_takes_it_back_as_well() -> None:
    story = story_of(nps(9, "Thu 12:30"), nps(8, "Thu 13:30"))

    (cancelled,) = story.cancelled
    assert cancelled.reason == "the survey answer was corrected"


def test_what_was_sent_can_not_be_taken_back() -> None:
    story = story_of(nps(9, "Thu 12:30"), acknowledged("sent", "Thu 12:51", command_of()), nps(8, "Thu 13:30"))
    assert story.cancelled == []


def test_a_comment_that_comes_later_names_the_theme() -> None:
    story = story_of(nps(9, "Thu 12:30"), nps(9, "Thu 12:40", theme="ease_of_use"))
    assert story.ask.reason_theme == "ease_of_use"


def test_a_revision_without_a_comment_leaves_the_theme() -> None:
    story = story_of(nps(9, "Thu 12:30", theme="support"), nps(10, "Thu 12:40"))
    assert story.ask.reason_theme == "support"


def test_a_csat_answer_corrected_below_the_top_box_cancels() -> None:
    story = story_of(csat(5, when="Thu 14:00"), csat(3, when="Thu 15:00"))
    assert story.outcomes() == [("pending", "Thu 14:00"), ("cancelled", "Thu 15:00")]


def test_an_nps_answer_does_not_correct_a_csat_answer_of_the_same_id() -> None:
    story = story_of(csat(5, when="Mon 12:30", response="same"), nps(8, "Mon 12:40", "same"))
    assert story.asked == [("positive_feedback", "Mon 12:50")]


def test_a_detractor_in_another_response_holds_back_what_is_open() -> None:
    story = story_of(nps(9, "Thu 14:00"), nps(6, "Thu 15:00", "r2"))
    assert story.outcomes() == [("pending", "Thu 14:00"), ("suppressed", "Thu 15:00")]
    assert blocking(story.decisions()[-1])["trouble"] == shown(at("Thu 15:00") + 90 * 86_400_000)


@rule("2.10")
def test_a_detractor_is_not_asked_though_the_points_reach_110() -> None:
    """Trouble is a veto, never a weight."""
    story = replay(
        a_customer(),
        first_success("Mon 09:00", historical=True),
        fact(ev.TestimonialGiven(), "Mon 09:00", historical=True),
        nps(0, "Mon 10:00"),
        compliment("Mon 12:00"),
    )
    decision = story.decisions("positive_feedback")[-1]
    assert (decision.score.raw, decision.outcome) == (110, "suppressed")
    assert "trouble" in blocking(decision)


@rule("10.52")
def test_a_detractor_corrected_upwards_never_was_one() -> None:
    story = story_of(nps(2, "Thu 12:00"), nps(9, "Thu 12:30"))
    assert story.asked == [("nps_promoter", "Thu 12:50")]
