"""Events in plain words."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.events import FACTS, Data
from referral_stream.words.events import happened
from tests.builders import fact
from tests.contracts.examples import FACT_DATA


def test_every_fact_has_words_of_its_own(subtests: pytest.Subtests) -> None:
    for model in FACTS:
        with subtests.test(model.type):
            told = happened(fact(model.model_validate(FACT_DATA[model.type])))
            assert told
            assert model.type not in told


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ev.TicketSolved(ticket_id="7"), "ticket 7 was solved, not rated"),
        (ev.TicketSolved(ticket_id="7", rating="positive"), "ticket 7 was solved and rated positive"),
        (ev.TicketOpened(ticket_id="7", priority="urgent"), "ticket 7 was opened (urgent)"),
        (ev.UsageRecorded(), "used the product"),
        (ev.UsageRecorded(feature="export", count=3), "used the product (export), 3 times"),
        (ev.ReviewPosted(rating=4.5, scale_max=5), "posted a review: 4.5 of 5"),
        (ev.ProfileChanged(email_hmac="0" * 64), "profile changed"),
        (
            ev.ProfileChanged(time_zone="Asia/Tokyo", channels=ev.ReachableChannels(email=True, phone=True)),
            "profile: time zone Asia/Tokyo, reachable by e-mail and on the phone",
        ),
        (
            ev.ConsentChanged(purpose="referral_ask", channel="in_app", granted=False),
            "withdrew consent for referral asks in the app",
        ),
        (ev.ControlPaused(scope="all", by="ops", why="test"), "all asks were paused by ops"),
    ],
)
def test_an_event_is_told_with_what_matters(data: Data, words: str) -> None:
    assert happened(fact(data)) == words


def test_a_contact_is_not_named() -> None:
    contact = ev.Contact(ref="c1", name="Jo Doe", company="Doe Ltd", consented=True)
    told = happened(fact(ev.ReferralGiven(referral_id="ref-1", contact=contact)))
    assert told == "gave the referral ref-1"


def test_the_customers_words_are_not_repeated() -> None:
    assert (
        happened(fact(ev.NpsResponded(response_id="r1", score=9, comment="Call me"))) == "answered an NPS survey with 9"
    )


def test_a_type_without_words_is_told_by_its_name() -> None:
    assert happened(fact(ev.WakeupDue(due=1))) == "wakeup.due"
