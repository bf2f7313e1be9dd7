"""Asking a promoter without a comment for the reason first (semantics §6, §10): both questions count as one ask."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import AskCancelled, ReasonAsked, ReservationReleased
from referral_stream.core.ids import decision_id, derived_id, reason_command_id
from referral_stream.core.instants import DAY
from referral_stream.core.opportunity import NO_THEME
from tests.builders import (
    AROUND,
    ByHand,
    When,
    a_customer,
    a_policy,
    acknowledged,
    at,
    blocking,
    command_of,
    compliment,
    fact,
    granted,
    nps,
    opportunity_of,
    replay,
    shown,
    ticket_opened,
    ticket_solved,
)
from tests.rules import rule

REASON_FIRST = a_policy(ask_reason_first=True)
SLOTLESS = a_policy(ask_reason_first=True, moments={"slot_weekday": "none"})
REASON = reason_command_id("ana", "nps_promoter", "r1")


def reasons(story: object) -> list[tuple[str, str]]:
    """(command id, wall time) of the questions for the reason."""
    return [(e.command_id, shown(e.not_before)) for e in story.effects() if isinstance(e, ReasonAsked)]  # type: ignore[attr-defined]  # a Story


@rule("10.59")
def test_without_the_switch_the_ask_comes_at_once() -> None:
    assert replay(a_customer(), nps(9)).asked == [("nps_promoter", "Thu 12:50")]


@rule("6.14")
def test_the_reason_is_asked_first_and_without_an_answer_the_ask_goes_an_hour_before_the_deadline() -> None:
    story = replay(a_customer(), nps(9, "Wed 12:00"), policy=REASON_FIRST)

    assert reasons(story) == [(REASON, "Wed 12:20")]
    assert story.asked == [("nps_promoter", "Thu 11:00")]
    assert story.outcomes() == [("pending", "Wed 12:00"), ("pending", "Wed 12:20"), ("asked", "Thu 11:00")]
    assert blocking(story.decisions()[1]) == {"moment": "nps.responded"}


@rule("6.14")
def test_the_question_has_an_id_of_its_own() -> None:
    """Workers drop a repeated id: with that of the ask, the ask behind the question would never be sent."""
    assert derived_id("command", "ana", "nps_promoter", "r1", 0) == REASON != command_of()


@rule("11.9")
def test_where_the_last_hour_is_quiet_the_opportunity_stays_open_for_the_answer() -> None:
    """Asked on Friday morning at eight, the last hour is on Saturday; an event in between closes nothing."""
    seen = fact(ev.AdviceAsked(), "Fri 10:00")
    story = replay(a_customer(), nps(9, "Thu 20:00"), seen, policy=SLOTLESS)

    assert reasons(story) == [(REASON, "Fri 08:00")]
    assert story.outcomes() == [("pending", "Thu 20:00"), ("pending", "Fri 08:00"), ("asked", "Fri 19:00")]

    late = replay(a_customer(), nps(9, "Fri 08:00"), seen, policy=SLOTLESS)

    assert reasons(late) == [(REASON, "Fri 08:20")]
    assert late.outcomes()[1:] == [("pending", "Fri 08:20"), ("expired", "Sat 08:00")]
    assert blocking(late.decisions()[-1]) == {"moment": "nps.responded"}


@rule("11.9")
def test_the_answer_sets_the_ask_free_also_where_the_last_hour_is_quiet() -> None:
    told = nps(9, "Fri 11:00", theme="time_saved", id="revision")
    story = replay(a_customer(), nps(9, "Fri 08:00"), told, policy=SLOTLESS)
    assert story.asked == [("nps_promoter", "Fri 11:00")]


@rule("11.9")
def test_an_answer_that_comes_when_no_instant_is_left_closes_it() -> None:
    told = nps(9, "Fri 20:00", theme="time_saved", id="revision")
    story = replay(a_customer(), nps(9, "Fri 08:00"), told, policy=SLOTLESS)
    assert (story.asked, story.outcomes()[-1]) == ([], ("suppressed", "Fri 20:00"))


@rule("11.9")
@pytest.mark.parametrize("channel", ["in_app", "phone"])
def test_without_e_mail_too_the_answer_is_what_is_awaited(channel: Any) -> None:
    met = fact(ev.WorkflowCompleted() if channel == "in_app" else ev.CallMoment(kind="check_in"), "Wed 13:00")
    story = replay(a_customer(channels=(channel,)), nps(9, "Wed 12:00"), met, policy=REASON_FIRST)

    assert len(reasons(story)) == 1
    assert [blocking(decision) for decision in story.decisions()] == [
        {"moment": "moment"}, {"moment": "nps.responded"}, {"moment": "nps.responded"},
    ]  # fmt: skip
    assert story.outcomes()[-1] == ("expired", "Thu 12:00")


@rule("10.59")
def test_the_reason_sets_the_ask_free_and_gives_it_its_theme() -> None:
    told = nps(9, "Wed 15:00", theme="time_saved", id="revision")
    story = replay(a_customer(), nps(9, "Wed 12:00"), told, policy=REASON_FIRST)

    assert story.asked == [("nps_promoter", "Wed 15:00")]
    assert story.ask.reason_theme == "time_saved"


def test_a_promoter_who_has_said_why_is_not_asked_for_it() -> None:
    story = replay(a_customer(), nps(9, "Wed 12:00", theme="results"), policy=REASON_FIRST)
    assert (reasons(story), story.asked) == ([], [("nps_promoter", "Wed 12:20")])


@rule("11.10")
def test_words_without_a_theme_are_an_answer_and_no_theme() -> None:
    story = replay(a_customer(), nps(9, "Wed 12:00", theme=NO_THEME), policy=REASON_FIRST)
    assert (reasons(story), story.asked) == ([], [("nps_promoter", "Wed 12:20")])
    assert story.ask.reason_theme is None


def test_nobody_else_is_asked_for_a_reason() -> None:
    story = replay(a_customer(), compliment("Wed 12:00"), policy=REASON_FIRST)
    assert (reasons(story), story.asked) == ([], [("positive_feedback", "Wed 12:20")])


@rule("10.60")
@pytest.mark.parametrize(
    ("promoted", "question", "ask"),
    [
        ("Tue 12:00", "Tue 12:20", "Wed 11:00"),
        ("Tue 20:30", "Wed 08:00", "Wed 19:30"),
        ("Wed 09:01", "Wed 09:21", "Thu 08:01"),
        ("Wed 08:30", "Wed 08:50", "Thu 08:00"),  # 07:30 is quiet
    ],
)
def test_without_an_answer_the_ask_takes_the_first_allowed_instant_of_the_last_hour(
    promoted: When, question: str, ask: str
) -> None:
    story = replay(a_customer(), nps(9, promoted), policy=REASON_FIRST)
    assert (reasons(story), story.asked) == ([(REASON, question)], [("nps_promoter", ask)])


def test_trouble_that_is_over_does_not_let_the_ask_out_before_the_last_hour() -> None:
    opened, solved = ticket_opened("Wed 13:00"), ticket_solved("Wed 14:00", rating="positive")
    story = replay(a_customer(), nps(9, "Wed 12:00"), opened, solved, policy=REASON_FIRST)
    assert story.asked == [("nps_promoter", "Thu 11:00")]


@pytest.mark.parametrize("after", AROUND)
def test_a_reason_is_asked_for_only_before_the_last_hour(after: int) -> None:
    met = fact(ev.WorkflowCompleted(), at("Thu 11:00") + after)
    story = replay(a_customer(channels=("in_app",)), nps(9, "Wed 12:00"), met, policy=REASON_FIRST)
    assert (len(reasons(story)), len(story.asks)) == ((1, 0) if after < 0 else (0, 1))


def test_the_question_takes_no_earlier_ask_out_of_the_memory() -> None:
    later = at("Wed 12:00") + 182 * DAY
    earlier = nps(9, "Wed 12:00", "r0", theme="results")
    story = replay(a_customer(), earlier, nps(9, later), policy=REASON_FIRST)
    assert [(ask.kind, ask.opportunity.subject) for ask in story.customers["ana"].asks] == [
        ("asked", "r0"), ("reason", "r1"), ("asked", "r1"),
    ]  # fmt: skip


def test_too_late_for_a_reason_the_ask_comes_at_once() -> None:
    story = replay(a_customer(), nps(9, "Sun 08:40"), policy=REASON_FIRST)  # Monday 08:00, deadline 08:40
    assert (reasons(story), story.asked) == ([], [("nps_promoter", "next Mon 08:00")])


@rule("10.60")
def test_both_count_as_one_ask() -> None:
    later = nps(9, "next Wed 12:00", response="r2", theme="results")
    story = replay(a_customer(), nps(9, "Wed 12:00"), later, policy=REASON_FIRST)

    assert len(story.asks) == 1
    assert blocking(story.decisions()[-1])["overasking"] == shown(at("Thu 11:00") + 90 * DAY)


def test_rivals_are_superseded_by_the_question() -> None:
    story = replay(a_customer(), nps(9, "Wed 12:00"), compliment("Wed 12:05"), policy=REASON_FIRST)
    assert story.outcomes("positive_feedback") == [("pending", "Wed 12:05"), ("superseded", "Wed 12:20")]


def test_trouble_takes_the_question_back_and_holds_the_ask() -> None:
    complaint = fact(ev.ComplaintMade(), "Wed 13:00")
    story = replay(a_customer(), nps(9, "Wed 12:00"), complaint, policy=REASON_FIRST)

    assert [(c.command_id, shown(c.cancelled_at)) for c in story.cancelled] == [(REASON, "Wed 13:00")]
    assert story.cancelled[0].decision_id == decision_id(opportunity_of(), 3)  # the one that says why
    assert story.asked == []
    assert story.outcomes()[-1] == ("suppressed", "Wed 13:00")


def test_a_correction_downwards_takes_both_back() -> None:
    story = replay(a_customer(), nps(9, "Wed 12:00"), nps(6, "Wed 13:00"), policy=REASON_FIRST)
    assert [c.command_id for c in story.cancelled] == [REASON]
    assert story.outcomes()[-1] == ("cancelled", "Wed 13:00")


def test_decisions_of_one_opportunity_are_numbered_without_a_gap_or_repetition() -> None:
    complaint = fact(ev.ComplaintMade(), "Wed 13:00")
    story = replay(a_customer(), nps(9, "Wed 12:00"), complaint, policy=REASON_FIRST)
    ids = [decision.decision_id for decision in story.decisions()]
    assert len(set(ids)) == len(ids) == 3


@rule("10.60")
def test_the_reservation_is_one_and_is_asked_for_twice() -> None:
    ana = ByHand(policy=REASON_FIRST)
    ana.at("Wed 12:00", nps(9, "Wed 12:00"))
    first = ana.requested("Wed 12:20")
    (decision, question) = ana.at("Wed 12:20", granted())
    second = ana.requested("Thu 11:00")

    assert isinstance(question, ReasonAsked)
    assert question.decision_id == decision.decision_id  # type: ignore[union-attr]  # a Decision comes first
    assert first.command_id == second.command_id == command_of()


def test_a_question_that_failed_gives_the_reservation_back() -> None:
    ana = ByHand(policy=REASON_FIRST)
    ana.at("Wed 12:00", nps(9, "Wed 12:00"))
    ana.requested("Wed 12:20")
    ana.at("Wed 12:20", granted())

    effects = ana.at("Wed 12:30", acknowledged("failed", "Wed 12:30", REASON))

    assert [e.command_id for e in effects if isinstance(e, ReservationReleased)] == [command_of()]
    assert not [e for e in effects if isinstance(e, AskCancelled)]
