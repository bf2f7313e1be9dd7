"""Links: who is meant, if no customer is named (identity §4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import RecordPosition
from referral_stream.core.events import Data, Event, Link
from referral_stream.core.instants import DAY
from referral_stream.core.keys import link_key
from referral_stream.core.links import (
    CLOSING_DAYS,
    MOST_CUSTOMERS,
    MOST_KEPT,
    TAUGHT_DAYS,
    AdvancedLink,
    Brought,
    LinkState,
    step_link,
)
from referral_stream.published.examples import FACT_DATA
from tests.builders import AROUND, Told, a_customer, a_policy, arriving, at, blocking, consent, fact, nps, replay
from tests.rules import rule

T = at("Mon 12:00")
CHARGE = Link("stripe_charge", "ch_1")
HMAC, OTHER = "a" * 64, "b" * 64
EMAIL = Link("email", HMAC)

SUPPRESSED = ev.Suppressed(reason="unsubscribe")
DISPUTED = ev.ChargeDisputed(charge_id="ch_1")
PROMOTER = ev.NpsResponded(response_id="r1", score=9)


class Clerk:
    """A link stepped record by record; ``given`` and ``letters`` grow."""

    def __init__(self, link: Link = CHARGE, **policy: Any) -> None:
        self.policy = a_policy(**policy)
        self.state = LinkState(link)
        self.given: list[tuple[str, str]] = []
        self.letters: list[tuple[str, str]] = []
        self.offset = 0

    def at(self, now: int, *data: Data | Event) -> AdvancedLink:
        brought = []
        for each in data:
            event = each if isinstance(each, Event) else by(self.state.link, each, now)
            brought.append(Brought(event, RecordPosition("customer-events", 0, self.offset, now)))
            self.offset += 1
        advanced = step_link(self.policy, self.state, brought, now)
        self.state = advanced.link
        self.given += [(each.key, each.event.type) for each in advanced.appended]
        self.letters += [(each.cause, each.undelivered.event.type) for each in advanced.letters if each.undelivered]
        return advanced

    def teach(self, customer: str, now: int = T, standing: ev.Standing = "named", **more: Any) -> AdvancedLink:
        return self.at(now, by(self.state.link, ev.LinkTaught(customer=customer, standing=standing, **more), now))


def by(link: Link, data: Data, when: int | str = T, *, id: str | None = None, customer: str = "") -> Event:
    """An event that names a link instead of a customer."""
    return fact(data, when, customer=customer, link=None if customer else link, id=id)


# ---- what is closing


@rule("I1.2", "I4.10")
def test_closing_is_what_closes_gates_1_3_5_7_and_what_ends_them() -> None:
    """By the examples of every type: a new type makes this fail until somebody has decided."""
    closing = {kind for kind, data in FACT_DATA.items() if ev.is_closing(ev.FACT_TYPES[kind].model_validate(data))}
    assert closing >= set(
        """
        customer.erasure_requested customer.suppressed ticket.opened ticket.solved ticket.rated ticket.reopened
        complaint.made frustration.shown invoice.payment_failed invoice.paid charge.refunded charge.disputed
        dispute.closed cancellation.considered cancellation.scheduled cancellation.reverted subscription.ended
        subscription.started
    """.split()
    )
    assert closing <= set(ev.CLOSING)
    assert not set(ev.CLOSING) & set(
        """
        customer.unsuppressed subscription.renewed subscription.expanded milestone.reached usage.recorded
        referral.given referral.status_changed compliment.given ask.approved customer.profile_changed task.started
    """.split()
    )


@rule("I4.10")
@pytest.mark.parametrize(
    ("data", "closing"),
    [
        (ev.NpsResponded(response_id="r", score=8), True),
        (ev.NpsResponded(response_id="r", score=9), False),
        (ev.CsatResponded(response_id="r", score=3, scale_max=5), True),
        (ev.CsatResponded(response_id="r", score=4, scale_max=5), False),
        (ev.ReviewPosted(rating=1, scale_max=5), True),
        (ev.ReviewPosted(rating=5, scale_max=5), False),
        (ev.FeedbackShared(positive=False), True),
        (ev.FeedbackShared(positive=True), False),
        (ev.InteractionRecorded(kind="call", positive=False), True),
        (ev.InteractionRecorded(kind="call"), False),
        (ev.TrialEnded(subscription_id="s", converted=False), True),
        (ev.TrialEnded(subscription_id="s", converted=True), False),
        (ev.AskAnswered(command_id="c", answer="stop"), True),
        (ev.AskAnswered(command_id="c", answer="maybe"), True),
        (ev.AskAnswered(command_id="c", answer="yes"), False),
        (ev.AskAnswered(command_id="c", answer="unclear"), False),
        (ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False), True),
        (ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True), False),
        (ev.ConsentChanged(purpose="newsletter", channel="all", granted=False), False),
    ],
)  # fmt: skip
def test_of_some_types_the_body_decides(data: Data, *, closing: bool) -> None:
    assert ev.is_closing(data) is closing


# ---- one customer known, none, several


@rule("I4.3", "I4.7")
def test_what_comes_by_a_link_is_passed_on_as_it_was_said() -> None:
    link = Clerk()
    link.teach("ana")
    said = by(CHARGE, DISPUTED, T - DAY)
    (append,) = link.at(T + 1, said).appended
    assert append.key == "ana"
    assert append.event.via == (link_key(CHARGE),)
    assert (append.event.id, append.event.time, append.event.subject) == (said.id, T - DAY, "")


@rule("I4.7")
def test_of_several_only_the_newest_taught_gets_what_is_not_closing() -> None:
    link = Clerk(Link("device", "d1"))
    link.teach("zoe", T)
    link.at(T + 2, by(link.state.link, ev.LinkTaught(customer="ana"), T - DAY))  # said earlier, arrived later
    link.at(T + 3, PROMOTER)
    assert link.given == [("zoe", "nps.responded")]


@rule("I4.8", "I4.9")
@pytest.mark.parametrize(("data", "days"), [(PROMOTER, 7), (DISPUTED, CLOSING_DAYS)], ids=["promoter", "dispute"])
@pytest.mark.parametrize("after", AROUND)
def test_an_event_waits_its_days_and_no_instant_longer(data: Data, days: int, after: int) -> None:
    link = Clerk()
    link.at(T, data)
    assert link.state.wake_at == T + days * DAY
    link.teach("ana", T + days * DAY + after)
    gone = after >= 0
    assert link.given == ([] if gone else [("ana", data.type)])
    assert link.letters == ([("unknown_customer", data.type)] if gone else [])


@rule("I4.9")
def test_a_lapse_is_lettered_at_its_instant_for_the_record_that_brought_the_event() -> None:
    link = Clerk(identity={"wait_days": 3})
    link.at(T)
    link.at(T + 5, PROMOTER)
    (letter,) = link.at(T + 9 * DAY, by(CHARGE, ev.WakeupDue(due=T + 3 * DAY + 5))).letters
    assert letter.undelivered is not None
    assert letter.undelivered.lapsed == T + 5 + 3 * DAY
    assert letter.undelivered.arrived == T + 5
    assert letter.undelivered.position == RecordPosition("customer-events", 0, 0, T + 5)
    assert link.state.wake_at is None


@rule("I4.10")
def test_closing_goes_to_all_in_the_order_of_their_ids() -> None:
    link = Clerk(EMAIL)
    for customer in ("Öl", "zoe", "ana", "Zoe"):
        link.teach(customer, standing="theirs")
    link.at(T + 1, SUPPRESSED)
    assert [key for key, _ in link.given] == ["Zoe", "ana", "zoe", "Öl"]


@rule("I4.10")
@pytest.mark.parametrize(
    ("link", "data", "ambiguous"),
    [
        (EMAIL, PROMOTER, True),
        (EMAIL, ev.Unsuppressed(), True),
        (CHARGE, PROMOTER, False),
        (CHARGE, ev.Unsuppressed(), True),
        (CHARGE, ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True), True),
        (CHARGE, ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False), False),
    ],
)
def test_what_can_mean_several_customers_is_a_dead_letter(link: Link, data: Data, *, ambiguous: bool) -> None:
    clerk = Clerk(link)
    clerk.teach("ana")
    clerk.teach("ben", T + 1)
    clerk.at(T + 2, data)
    assert clerk.letters == ([("ambiguous_customer", data.type)] if ambiguous else [])
    assert bool(clerk.given) is not ambiguous


@rule("I4.3")
@pytest.mark.parametrize("after", AROUND)
def test_a_teaching_holds_for_400_days(after: int) -> None:
    link = Clerk()
    link.teach("ana")
    link.at(T + TAUGHT_DAYS * DAY + after, DISPUTED)
    assert link.given == ([("ana", "charge.disputed")] if after < 0 else [])


@rule("I4.3", "I4.11")
def test_what_came_while_they_were_not_named_reaches_those_who_are_named_again_and_nothing_twice() -> None:
    link = Clerk()
    link.teach("ana")
    link.at(T + 399 * DAY, by(CHARGE, DISPUTED, id="before"))
    link.at(T + 401 * DAY, by(CHARGE, SUPPRESSED, id="after"))
    link.given.clear()
    link.teach("ana", T + 402 * DAY)
    link.teach("ana", T + 403 * DAY)
    assert link.given == [("ana", "customer.suppressed")]


@rule("I4.3")
def test_a_former_customer_of_an_address_gets_for_good_what_is_closing_and_nothing_else() -> None:
    link = Clerk(EMAIL)
    link.teach("ana", standing="theirs")
    link.at(T + 1, by(EMAIL, ev.LinkLeft(customer="ana"), T + 1))
    link.at(T + 2, PROMOTER)
    link.at(T + 2_000 * DAY, SUPPRESSED)
    assert link.given == [("ana", "customer.suppressed")]
    assert link.letters == [("unknown_customer", "nps.responded")]


@rule("I4.3")
def test_an_address_stays_theirs_without_being_taught_again() -> None:
    link = Clerk(EMAIL)
    link.teach("ana", standing="theirs")
    link.at(T + 2_000 * DAY, PROMOTER)
    assert link.given == [("ana", "nps.responded")]


@rule("I4.11")
def test_a_closing_event_goes_once_to_everybody_taught_later() -> None:
    link = Clerk(EMAIL)
    link.teach("ana", standing="theirs")
    said = by(EMAIL, SUPPRESSED, T + 1)
    link.at(T + 1, said)
    link.at(T + 2, said)  # a redelivery
    link.teach("ana", T + 3, "theirs")
    link.teach("ben", T + 399 * DAY, "former")
    link.teach("ben", T + 399 * DAY + 1, "theirs")
    link.at(T + 401 * DAY)
    link.teach("eva", T + 401 * DAY, "theirs")
    assert link.given == [("ana", "customer.suppressed"), ("ben", "customer.suppressed")]
    assert link.letters == []


@rule("I4.13")
def test_after_a_merge_one_customer_stands_in_the_others_place() -> None:
    link = Clerk(EMAIL)
    link.teach("old", standing="theirs")
    link.at(T + 1, SUPPRESSED)
    link.at(T + 2, by(EMAIL, ev.Held(), T + 2, customer="old"))
    link.given.clear()
    link.teach("ana", T + 3, "former", instead_of="old")
    assert link.given == []  # it has come with the other's state
    link.at(T + 4, PROMOTER)
    assert link.given == []
    link.at(T + 5, DISPUTED)
    assert link.given == [("ana", "charge.disputed")]
    assert set(link.state.named) == {"ana"}


# ---- bounds


@rule("I4.14")
def test_who_comes_after_200_customers_is_held_until_a_person_lifts_it() -> None:
    link = Clerk(EMAIL)
    for n in range(MOST_CUSTOMERS):
        link.teach(f"c{n:03}", T + n, "theirs")
    assert link.given == []
    link.teach("ana", T + 500, "theirs")
    (again,) = link.teach("ana", T + DAY, "theirs").appended
    assert link.given == [("ana", "customer.held"), ("ana", "customer.held")]
    assert again.event.time == T + 500  # the same word: what a person lifts after it stays lifted
    assert len(link.state.named) == MOST_CUSTOMERS


@rule("I4.14")
def test_those_who_are_not_named_any_more_make_room() -> None:
    link = Clerk()
    for n in range(MOST_CUSTOMERS):
        link.teach(f"c{n:03}", T + n)
    link.teach("ana", T + TAUGHT_DAYS * DAY)
    assert link.given == []
    assert "ana" in link.state.named
    assert "c000" not in link.state.named


def many(data: Iterable[Data]) -> list[Event]:
    return [by(CHARGE, each, T + n, id=f"{n}") for n, each in enumerate(data)]


@rule("I4.8")
def test_of_too_many_the_oldest_that_is_not_closing_goes_first() -> None:
    link = Clerk()
    events = many([DISPUTED, PROMOTER, SUPPRESSED, ev.AdviceAsked(), *[DISPUTED] * (MOST_KEPT - 4)])
    for n, event in enumerate(events):
        link.at(T + n, event)
    assert link.letters == []
    link.at(T + 100, by(CHARGE, DISPUTED, id="one more"))
    link.at(T + 101, by(CHARGE, ev.AdviceAsked(), id="and one that is not closing"))
    assert link.letters == [("unknown_customer", "nps.responded"), ("unknown_customer", "advice.asked")]


@rule("I4.8")
def test_then_the_oldest_of_a_type_that_is_there_twice_but_never_a_stop() -> None:
    link = Clerk()
    stops = [
        SUPPRESSED, ev.ErasureRequested(), ev.AskAnswered(command_id="c", answer="stop"),
        ev.ConsentChanged(purpose="referral_ask", channel="email", granted=False),
    ]  # fmt: skip
    events = many([*stops, ev.ComplaintMade(), *[DISPUTED] * MOST_KEPT])
    for n, event in enumerate(events):
        link.at(T + n, event)
    assert link.letters == [("unknown_customer", "charge.disputed")] * 5
    kept = [each.event.id for each in link.state.kept]
    assert kept == [*map(str, range(5)), *map(str, range(10, 55))]


@rule("I4.8")
def test_of_many_stops_that_say_the_same_the_newest_stand_for_all() -> None:
    link = Clerk()
    for n, event in enumerate(many([DISPUTED, *[SUPPRESSED] * (2 * MOST_KEPT)])):
        link.at(T + n, event)
    assert len(link.state.kept) == MOST_KEPT
    assert link.letters == []
    assert link.state.kept[-1].event.id == "100"
    assert link.state.kept[0].event.type == "charge.disputed"


# ---- in a world


def linked(link: Link, when: str, customer: str = "ana", **more: Any) -> Event:
    return fact(ev.Linked(kind=link.kind, value=link.value), when, customer=customer, **more)


def address(hmac: str, when: str, customer: str = "ana", **more: Any) -> Event:
    return fact(ev.ProfileChanged(email_hmac=hmac), when, customer=customer, **more)


def outcome(*told: Told, customer: str = "ana") -> dict[str, str]:
    """What holds back a promoter of Thursday 12:30; nothing if asked."""
    story = replay(a_customer(customer, email_hmac=HMAC), *told, nps(9, customer=customer))
    if any(ask.customer_id == customer for ask in story.asks):
        return {}
    mine = [decision for decision in story.decisions() if decision.customer_id == customer]
    return blocking(mine[-1])


def held(*told: Told, customer: str = "ana") -> bool:
    return outcome(*told, customer=customer).get("consent") == "customer.unsuppressed"


@rule("I4.2", "I4.18")
@pytest.mark.parametrize("first", ["link", "dispute"])
def test_a_dispute_reaches_the_customer_of_its_charge(first: str) -> None:
    told, taught = by(CHARGE, DISPUTED, "Tue 10:00"), linked(CHARGE, "Tue 09:00" if first == "link" else "Tue 11:00")
    assert outcome(told, taught)["trouble"] == "dispute.closed"
    assert outcome(told) == {}


@rule("I4.2", "I4.18")
def test_a_referral_names_who_gave_it() -> None:
    given = fact(
        ev.ReferralGiven(referral_id="ref-1", contact=ev.Contact(ref="c", consented=False)), "Mon 13:00", customer="ana"
    )
    status = by(
        Link("referral", "ref-1"), ev.ReferralStatusChanged(referral_id="ref-1", status="qualified"), "Tue 10:00"
    )
    story = replay(a_customer(), given, status)
    assert story.customers["ana"].referrals["ref-1"].status == "qualified"


@rule("I4.18")
def test_a_score_by_address_asks() -> None:
    story = replay(a_customer(email_hmac=HMAC), by(EMAIL, PROMOTER, "Thu 12:30"))
    assert [ask.customer_id for ask in story.asks] == ["ana"]


@rule("I4.18")
def test_an_unsubscribe_by_address_holds_who_has_it_who_had_it_and_who_appears_later() -> None:
    said = by(EMAIL, SUPPRESSED, "Tue 10:00")
    assert held(said)
    assert held(said, address(OTHER, "Mon 13:00"))
    assert held(said, a_customer("ben"), address(HMAC, "Wed 10:00", "ben"), customer="ben")
    assert not held(by(Link("email", OTHER), SUPPRESSED, "Tue 10:00"))


@rule("I4.4")
@pytest.mark.parametrize("browser_first", [True, False])
def test_an_address_from_a_browser_never_replaces_one_that_came_otherwise(*, browser_first: bool) -> None:
    typed = address(OTHER, "Tue 10:00", flags=(ev.BROWSER,))
    told = (
        a_customer(without=("customer.profile_changed",)),
        address(HMAC, "Tue 09:00" if not browser_first else "Tue 11:00"),
    )
    story = replay(*told, typed, by(Link("email", OTHER), PROMOTER, "Thu 12:30"))
    word = story.customers["ana"].email_hmac
    assert word is not None
    assert word.value == HMAC
    assert story.asks == []
    assert held(typed, by(Link("email", OTHER), SUPPRESSED, "Tue 12:00"))


@rule("I4.4")
def test_an_address_from_a_browser_counts_while_no_other_is_known() -> None:
    typed = address(HMAC, "Tue 10:00", flags=(ev.BROWSER,))
    newer = address(OTHER, "Tue 11:00", flags=(ev.BROWSER,))
    story = replay(a_customer(), typed, newer, by(Link("email", OTHER), PROMOTER, "Thu 12:30"))
    assert [ask.customer_id for ask in story.asks] == ["ana"]


# ---- held by address


STOPS = {
    "suppression": SUPPRESSED,
    "stop": ev.AskAnswered(command_id="c", answer="stop"),
    "erasure": ev.ErasureRequested(),
    "withdrawal": ev.ConsentChanged(purpose="referral_ask", channel="email", granted=False),
    "withdrawal of all": ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False),
}


@rule("I4.15")
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    ("ben", "ana"), [("Mon 12:10", None), ("Wed 10:00", None), ("Mon 12:10", OTHER)], ids=["both", "later", "former"]
)
def test_a_stop_of_one_holds_everybody_who_has_or_had_the_address(stop: str, ben: str, ana: str | None) -> None:
    moved = [address(ana, "Mon 13:00")] if ana else []
    said = fact(STOPS[stop], "Tue 10:00", customer="ben")
    assert held(a_customer("ben"), address(HMAC, "Mon 12:10", "ben"), moved, said)
    later = a_customer("ben"), said, address(HMAC, ben, "ben")  # learned after the stop, or said before and heard later
    assert held(later, moved)


@rule("I4.15")
@pytest.mark.parametrize(
    "data",
    [
        ev.ConsentChanged(purpose="referral_ask", channel="phone", granted=False),
        ev.AskAnswered(command_id="c", answer="no"),
        ev.ComplaintMade(),
    ],
)
def test_nothing_else_holds_others(data: Data) -> None:
    assert outcome(a_customer("ben", email_hmac=HMAC), fact(data, "Tue 10:00", customer="ben")) == {}


@rule("I4.15")
def test_it_is_told_as_held_by_the_address_and_the_sender_is_not() -> None:
    world = (
        a_customer(email_hmac=HMAC),
        a_customer("ben", email_hmac=HMAC),
        fact(SUPPRESSED, "Tue 10:00", customer="ben"),
    )
    story = replay(*world, nps(9), nps(9, customer="ben"))
    saw = {
        decision.customer_id: reason.saw
        for decision in story.decisions()
        for reason in decision.reasons
        if reason.gate == "consent"
    }
    assert saw == {"ana": "address", "ben": "on the suppression list"}
    assert not story.customers["ben"].held


@rule("I4.12")
def test_what_came_through_a_link_holds_nobody_else() -> None:
    """Ana unsubscribes by the address that she shares with nobody; Ben has the other one that is hers."""
    shared = (
        address(OTHER, "Mon 13:00"),
        address(HMAC, "Mon 14:00"),
        a_customer("ben"),
        address(OTHER, "Mon 13:00", "ben"),
    )
    story = replay(a_customer(), shared, by(EMAIL, SUPPRESSED, "Tue 10:00"), nps(9), nps(9, customer="ben"))
    assert [ask.customer_id for ask in story.asks] == ["ben"]
    assert not held(shared, fact(SUPPRESSED, "Tue 10:00", customer="eva"))
    assert held(shared, fact(SUPPRESSED, "Tue 10:00", customer="ben"))


@rule("I4.16", "I4.17")
def test_it_takes_back_what_is_not_sent_and_erases_nothing() -> None:
    said = fact(ev.ErasureRequested(), at("Thu 13:00"), customer="ben")
    story = replay(a_customer(email_hmac=HMAC), a_customer("ben", email_hmac=HMAC), nps(9), said)
    (cancelled,) = story.cancelled
    assert (cancelled.customer_id, cancelled.gate, cancelled.cancelled_at) == ("ana", "consent", at("Thu 13:00"))
    assert story.customers["ana"].erased_at is None
    assert story.customers["ben"].erased_at is not None


@rule("I4.16")
def test_only_a_word_under_their_own_id_lifts_it() -> None:
    said = a_customer("ben", email_hmac=HMAC), fact(SUPPRESSED, "Tue 10:00", customer="ben")
    assert held(said)
    assert held(said, fact(ev.Unsuppressed(), "Tue 11:00", customer="ben"))
    assert held(said, linked(CHARGE, "Mon 13:00"), by(CHARGE, ev.Unsuppressed(), "Tue 11:00"))
    assert held(said, consent(True, "Tue 11:00"))
    assert not held(said, fact(ev.Unsuppressed(), "Tue 11:00"))
    assert not held(arriving(fact(SUPPRESSED, "Tue 10:00", customer="ben"), "Wed 10:00"), said[0],
                    fact(ev.Unsuppressed(), "Tue 11:00"))  # fmt: skip
    assert held(said, fact(ev.Unsuppressed(), "Tue 09:00"))


@rule("I4.3")
def test_a_late_word_about_an_old_address_makes_it_a_former_one() -> None:
    late = arriving(address(OTHER, "Mon 11:00"), "Tue 10:00")
    told = a_customer(), address(HMAC, "Mon 13:00"), late
    assert replay(*told, by(Link("email", OTHER), PROMOTER, "Thu 12:30")).asks == []
    assert held(address(HMAC, "Mon 13:00"), late, by(Link("email", OTHER), SUPPRESSED, "Tue 10:00"))


@rule("I7.1")
def test_what_entities_append_to_each_other_is_taken_at_the_same_instant() -> None:
    """Learned, said and opened at one instant: the decision of that instant knows it."""
    told = linked(CHARGE, "Thu 12:30"), by(CHARGE, DISPUTED, "Thu 12:30"), nps(9)
    first = replay(a_customer(), *told).decisions()[0]
    assert first.decided_at == at("Thu 12:30")
    assert blocking(first)["trouble"] == "dispute.closed"
