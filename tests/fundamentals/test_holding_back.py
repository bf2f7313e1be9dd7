"""When a customer is not asked: a badly timed ask costs the relationship."""

from __future__ import annotations

from referral_stream.core import events as ev
from tests.builders import (
    a_customer,
    acknowledged,
    answered,
    blocking,
    command_of,
    compliment,
    consent,
    fact,
    nps,
    renewed,
    replay,
    shown,
    ticket_opened,
    ticket_solved,
)


def test_an_open_ticket_holds_the_ask_back_until_it_is_solved_well() -> None:
    story = replay(
        a_customer(), nps(9, "Thu 09:00"), ticket_opened("Thu 09:10"), ticket_solved("Thu 11:00", rating="positive")
    )
    assert story.asked == [("nps_promoter", "Thu 11:00")]


def test_a_complaint_closes_the_window_and_the_decision_says_so() -> None:
    story = replay(a_customer(), nps(9, "Thu 14:00"), fact(ev.ComplaintMade(), "Thu 17:00"))

    last = story.decisions()[-1]
    assert (story.asked, last.outcome, blocking(last)["trouble"]) == ([], "suppressed", "2026-07-18 17:00")


def test_without_consent_nobody_is_asked_and_consent_in_time_is_enough() -> None:
    stranger = a_customer(without=("customer.consent_changed",))

    assert replay(stranger, nps(9, "Thu 09:00")).asked == []
    assert replay(stranger, nps(9, "Thu 09:00"), consent(True, "Thu 11:00")).asked == [("nps_promoter", "Thu 11:00")]


def test_a_score_that_is_corrected_downwards_takes_the_ask_back_even_after_it_went_out() -> None:
    story = replay(a_customer(), nps(9, "Thu 12:30"), nps(6, "Thu 13:30"))

    assert story.asked == [("nps_promoter", "Thu 12:50")]
    assert [(shown(each.cancelled_at), each.command_id) for each in story.cancelled] == [("Thu 13:30", command_of())]


def test_everybody_is_asked_once_in_ninety_days_unless_the_ask_never_arrived() -> None:
    sent = acknowledged("sent", "Mon 12:21", command_of())
    failed = acknowledged("failed", "Mon 12:21", command_of())
    events = (a_customer(), nps(9, "Mon 12:00"), compliment("Tue 12:00"))

    assert replay(*events, sent).asked == [("nps_promoter", "Mon 12:20")]
    assert replay(*events, failed).asked == [("nps_promoter", "Mon 12:20"), ("positive_feedback", "Tue 12:20")]


def test_a_stop_is_for_ever() -> None:
    story = replay(a_customer(), answered("stop", "Mon 13:00"), nps(10, "Thu 12:30"), renewed("Thu 12:30"))
    assert {outcome for outcome, _ in story.outcomes()} == {"suppressed"}


def test_an_erased_customer_is_forgotten_and_never_heard_of_again() -> None:
    story = replay(
        a_customer(), nps(9, "Thu 14:00"), fact(ev.ErasureRequested(), "Thu 15:00"), nps(10, "Fri 09:00", "r2")
    )

    assert story.asked == []
    assert story.customers["ana"].live == ()
    assert story.customers["ana"].responses == {}
