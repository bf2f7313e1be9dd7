"""Erasure: everything is closed, taken back and forgotten, for good."""

from __future__ import annotations

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskCancelled, Decision, ReservationReleased
from referral_stream.core.instants import DAY
from referral_stream.core.stamps import Word
from tests.builders import (
    ByHand,
    a_customer,
    acknowledged,
    at,
    blocking,
    command_of,
    fact,
    granted,
    nps,
    released,
    renewed,
    replay,
)
from tests.rules import rule

ERASED = fact(ev.ErasureRequested(), "Thu 15:00")
HMAC = "b" * 64


def test_what_is_left_is_a_stub() -> None:
    by_hand = ByHand(a_customer(account="acme", email_hmac=HMAC))
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))
    written = by_hand.customer.email_hmac

    by_hand.at("Thu 15:00:07", ERASED)

    assert by_hand.customer == Customer(
        id="ana",
        now=at("Thu 15:00:07"),
        erased_at=at("Thu 15:00"),
        erased_now=at("Thu 15:00:07"),
        email_hmac=written,
        emails={HMAC: True},
    )
    assert isinstance(written, Word)
    assert written.value == HMAC
    assert by_hand.wake_at is None


def test_what_was_open_is_closed_for_good() -> None:
    story = replay(a_customer(), nps(9, "Thu 14:00"), renewed("Thu 14:00"), ERASED)

    last = story.decisions()[-2:]
    assert [(d.trigger, d.outcome) for d in last] == [("nps_promoter", "suppressed"), ("renewal", "suppressed")]
    assert all(blocking(decision)["erased"] == "never" for decision in last)
    assert story.asks == []


def test_what_ends_at_the_instant_of_the_erasure_is_closed_by_it() -> None:
    """Deadlines come after the records of their instant."""
    erased = fact(ev.ErasureRequested(), "Fri 12:30")
    story = replay(a_customer(channels=("in_app",)), nps(9, "Thu 12:30"), erased)
    assert story.outcomes() == [("pending", "Thu 12:30"), ("suppressed", "Fri 12:30")]
    assert blocking(story.decisions()[-1])["erased"] == "never"


@rule("4.7")
def test_nothing_that_comes_later_changes_a_thing() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 15:00", ERASED)
    stub = by_hand.customer.copy()

    effects = by_hand.at(
        "Fri 09:00", *a_customer(), nps(9, "Fri 09:00"), fact(ev.ErasureRequested(), "Fri 09:00"),
        ev.ReservationGranted(command_id=command_of()), acknowledged("failed", "Fri 09:00", command_of()),
    )  # fmt: skip

    assert effects == []
    stub.now = at("Fri 09:00")
    assert by_hand.customer == stub


def test_an_ask_that_is_out_is_cancelled() -> None:
    story = replay(a_customer(), nps(9, "Thu 12:30"), ERASED)
    (cancel,) = story.cancelled
    assert (cancel.command_id, cancel.gate, cancel.cancelled_at) == (command_of(), "erased", at("Thu 15:00"))


def test_an_ask_that_was_sent_is_past() -> None:
    story = replay(a_customer(), nps(9, "Thu 12:30"), acknowledged("sent", "Thu 12:55", command_of()), ERASED)
    assert story.cancelled == []


def test_a_reservation_that_is_still_awaited_is_given_back() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested("Thu 12:50")

    effects = by_hand.at("Thu 12:50:10", ev.ErasureRequested())

    assert [e for e in effects if isinstance(e, ReservationReleased)] == [released("Thu 12:50:10")]
    assert [e.outcome for e in effects if isinstance(e, Decision)] == ["suppressed"]
    assert not [e for e in effects if isinstance(e, AskCancelled)]
    assert by_hand.at("Thu 12:50:11", granted()) == []


def test_others_are_not_touched() -> None:
    story = replay(a_customer(), a_customer("ben"), ERASED, nps(9, "Thu 16:00", customer="ben"))
    assert [ask.customer_id for ask in story.asks] == ["ben"]


# ---- quarantine: our own fault, not theirs


def test_a_quarantined_customer_is_left_alone_until_the_event_went_through() -> None:
    by_hand = ByHand()
    by_hand.customer.quarantined = True
    by_hand.at("Thu 12:30", nps(9))

    assert by_hand.at("Thu 12:50") != []
    assert by_hand.customer.awaiting is None
    by_hand.requested("Thu 15:00", ev.DeadletterReplayed())
    assert not by_hand.customer.quarantined


def test_an_erasure_in_the_middle_of_an_instant_ends_it() -> None:
    by_hand = ByHand()
    effects = by_hand.at(at("Thu 15:00") + DAY, ERASED, nps(9, "Fri 15:00"))
    assert effects == []
    assert by_hand.customer.responses == {}
