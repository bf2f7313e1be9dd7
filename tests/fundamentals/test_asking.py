"""When a customer is asked. Read this first: it is what the product does.

The customer, Ana, lives in Berlin, has been with us for more than a year, likes us, and nothing is wrong, unless a test
says otherwise.
"""

from __future__ import annotations

from referral_stream.core import events as ev
from tests.builders import a_customer, compliment, fact, first_success, nps, renewed, replay, shown


def test_a_promoter_is_asked_twenty_minutes_later() -> None:
    """Fifteen minutes, because scores are corrected and comments come later, and five for better reasons to ask."""
    story = replay(a_customer(), nps(9, "Thu 12:30"))

    assert story.asked == [("nps_promoter", "Thu 12:50")]
    assert (story.ask.mode, story.ask.channels) == ("direct", ("email",))


def test_friday_afternoon_is_the_time_for_mail_if_it_is_still_in_the_window() -> None:
    story = replay(a_customer(), nps(10, "Thu 14:00"))
    assert story.asked == [("nps_promoter", "Fri 13:00")]


def test_nobody_gets_mail_at_night_or_on_a_weekend() -> None:
    assert replay(a_customer(), nps(9, "Wed 19:50")).asked == [("nps_promoter", "Thu 08:00")]
    assert replay(a_customer(), nps(9, "Sun 09:00")).asked == [("nps_promoter", "next Mon 08:00")]


def test_the_window_is_never_extended_and_an_ask_that_would_be_late_is_not_made() -> None:
    story = replay(a_customer(), nps(9, "Sat 10:00"))

    assert story.asked == []
    assert story.outcomes() == [("suppressed", "Sat 10:00")]


def test_a_first_success_is_celebrated_the_same_day_or_not_at_all() -> None:
    assert replay(a_customer(), first_success("Thu 14:02")).asked == [("milestone", "Thu 14:09")]
    assert replay(a_customer(), first_success("Thu 21:00")).asked == []


def test_a_renewal_has_a_week_and_first_a_day_for_refunds_and_reversals() -> None:
    story = replay(a_customer(), renewed("Tue 10:00"))
    assert story.asked == [("renewal", "Fri 13:00")]


def test_whoever_uses_the_product_right_now_is_asked_there_at_any_hour() -> None:
    done = fact(ev.WorkflowCompleted(name="month-end closing"), "Sat 22:15")
    story = replay(a_customer(channels=("email", "in_app")), nps(9, "Sat 10:00"), done)

    assert story.asked == [("nps_promoter", "Sat 22:15")]
    assert (story.ask.channels, shown(story.ask.expires_at)) == (("in_app",), "Sat 23:15")


def test_whoever_likes_us_a_little_less_gets_a_soft_mention() -> None:
    story = replay(a_customer(champion=False), compliment("Mon 12:00"))
    assert (story.ask.mode, story.ask.score.value) == ("soft", 55)


def test_of_several_reasons_the_best_one_speaks_and_the_others_fall_silent() -> None:
    story = replay(a_customer(), compliment("Mon 12:00"), nps(10, "Mon 12:00"))

    assert story.asked == [("nps_promoter", "Mon 12:20")]
    assert story.outcomes("positive_feedback")[-1] == ("superseded", "Mon 12:20")
