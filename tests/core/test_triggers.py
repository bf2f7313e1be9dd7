"""Which event is a reason to ask, about what, and with which words to use."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Decision
from referral_stream.core.events import Data, Event
from referral_stream.core.ids import command_id, decision_id, derived_id, opportunity_id
from referral_stream.core.instants import DAY, HOUR, MINUTE
from referral_stream.core.policy import Policy
from referral_stream.core.rules.triggers import Occasion, occasion_in, occasions_in
from tests.builders import (
    AROUND,
    POLICY,
    ByHand,
    a_customer,
    a_policy,
    arriving,
    at,
    compliment,
    fact,
    first_success,
    nps,
    opportunity_of,
    renewed,
    replay,
    ticket_solved,
)
from tests.contracts.examples import FACT_DATA
from tests.rules import rule

FEEDBACK = "positive_feedback"
ID = "the event"


def reason(data: Data, policy: Policy | None = None) -> Occasion | None:
    event, chosen = fact(data, "Thu 12:30", id=ID), policy or Policy()
    found = occasion_in(event, chosen)
    assert occasions_in(event, Customer("ana"), event.time, chosen) == (() if found is None else (found,))
    return found


REASONS: dict[str, tuple[Data, Occasion | None]] = {
    "nps 10": (
        ev.NpsResponded(response_id="r", score=10),
        Occasion("nps_promoter", "r", {}, survey=True, response="r"),
    ),
    "nps 9": (ev.NpsResponded(response_id="r", score=9), Occasion("nps_promoter", "r", {}, survey=True, response="r")),
    "nps 8": (ev.NpsResponded(response_id="r", score=8), None),
    "nps with a theme": (
        ev.NpsResponded(response_id="r", score=9, theme="support"),
        Occasion("nps_promoter", "r", {}, survey=True, response="r", theme="support"),
    ),
    "csat 4 of 5": (
        ev.CsatResponded(response_id="r", score=4, scale_max=5),
        Occasion(FEEDBACK, "r", {"kind": "csat"}, survey=True, response="r"),
    ),
    "csat 3.99 of 5": (ev.CsatResponded(response_id="r", score=3.99, scale_max=5), None),
    "csat 8 of 10": (
        ev.CsatResponded(response_id="r", score=8, scale_max=10),
        Occasion(FEEDBACK, "r", {"kind": "csat"}, survey=True, response="r"),
    ),
    "csat 7.9 of 10": (ev.CsatResponded(response_id="r", score=7.9, scale_max=10), None),
    "csat 5 of 7": (ev.CsatResponded(response_id="r", score=5, scale_max=7), None),
    "csat 6 of 7": (
        ev.CsatResponded(response_id="r", score=6, scale_max=7),
        Occasion(FEEDBACK, "r", {"kind": "csat"}, survey=True, response="r"),
    ),
    "csat about a ticket": (
        ev.CsatResponded(response_id="r", score=1, scale_max=1, ticket_id="t"),
        Occasion(FEEDBACK, "t", {"kind": "csat"}, survey=True, response="r"),
    ),
    "a compliment": (ev.ComplimentGiven(reference="post"), Occasion(FEEDBACK, "post", {"kind": "compliment"})),
    "a compliment said anywhere": (
        ev.ComplimentGiven(theme="results"),
        Occasion(FEEDBACK, ID, {"kind": "compliment"}, theme="results"),
    ),
    "a testimonial": (ev.TestimonialGiven(reference="page"), Occasion(FEEDBACK, "page", {"kind": "testimonial"})),
    "a review": (ev.ReviewPosted(rating=4, scale_max=5, url="u"), Occasion(FEEDBACK, "u", {"kind": "review"})),
    "a review without an address": (ev.ReviewPosted(rating=5, scale_max=5), Occasion(FEEDBACK, ID, {"kind": "review"})),
    "a poor review": (ev.ReviewPosted(rating=3, scale_max=5, url="u"), None),
    "a ticket solved well": (
        ev.TicketSolved(ticket_id="t", rating="positive"),
        Occasion(FEEDBACK, "t", {"kind": "ticket"}, theme="support"),
    ),
    "a ticket rated well": (
        ev.TicketRated(ticket_id="t", rating="positive"),
        Occasion(FEEDBACK, "t", {"kind": "ticket"}, theme="support"),
    ),
    "a ticket solved": (ev.TicketSolved(ticket_id="t"), None),
    "a ticket rated badly": (ev.TicketRated(ticket_id="t", rating="negative"), None),
    "a first success": (
        ev.MilestoneReached(milestone="m", first_success=True),
        Occasion("milestone", "m", {"milestone": "m"}),
    ),
    "another milestone": (ev.MilestoneReached(milestone="m"), None),
    "a renewal": (
        ev.SubscriptionRenewed(subscription_id="s", invoice_id="i", contract_id="c"),
        Occasion("renewal", "i", {}),
    ),
    "a renewal by contract": (
        ev.SubscriptionRenewed(subscription_id="s", contract_id="c"),
        Occasion("renewal", "c", {}),
    ),
    "a renewal by neither": (ev.SubscriptionRenewed(subscription_id="s"), Occasion("renewal", ID, {})),
    "an expansion": (ev.SubscriptionExpanded(deal_id="d"), Occasion("expansion", "d", {"deal_id": "d"})),
    "a peer": (
        ev.PeerMentioned(peer_ref="p", company="Bolt", challenge="reporting"),
        Occasion("peer_mentioned", "p", {"peer_ref": "p"}),
    ),
    "a peer of whom nothing is known": (
        ev.PeerMentioned(peer_ref="p"),
        Occasion("peer_mentioned", "p", {"peer_ref": "p"}),
    ),
    "feedback alone": (ev.FeedbackShared(positive=True), None),
    "a case study": (ev.CaseStudyJoined(reference="r"), None),
    "a paid invoice": (ev.InvoicePaid(invoice_id="i"), None),
    "a new subscription": (ev.SubscriptionStarted(subscription_id="s"), None),
    "a goal": (ev.GoalAchieved(goal="g"), None),
}


@rule("1.7", "3.1", "3.3", "3.4", "3.6", "3.8", "3.9", "6.9", "10.53", "10.55", "10.69", "10.81", "10.120", "I5.6")
@pytest.mark.parametrize("what", REASONS)
def test_what_an_event_is_a_reason_for(what: str) -> None:
    data, expected = REASONS[what]
    assert reason(data) == expected


@rule("10.81")
def test_no_other_type_is_a_reason() -> None:
    tried = {data.type for data, _ in REASONS.values()}
    for kind, body in FACT_DATA.items():
        if kind not in tried:
            assert reason(ev.FACT_TYPES[kind].model_validate(body)) is None, kind


@rule("3.4")
def test_the_policy_names_milestones_that_count_beside_the_first_success() -> None:
    policy = a_policy(milestones=["hundredth invoice"])
    assert reason(ev.MilestoneReached(milestone="hundredth invoice"), policy) == Occasion(
        "milestone", "hundredth invoice", {"milestone": "hundredth invoice"}
    )
    assert reason(ev.MilestoneReached(milestone="another"), policy) is None


# ---- ids


@rule("6.1", "10.119")
def test_ids_are_made_of_content_and_nothing_else() -> None:
    space = uuid5(NAMESPACE_URL, "referral-stream")

    assert opportunity_id("ana", "renewal", "in-1") == str(uuid5(space, "opportunity|ana|renewal|in-1"))
    assert command_id("ana", "renewal", "in-1") == str(uuid5(space, "command|ana|renewal|in-1|1"))
    assert decision_id("o", 2) == str(uuid5(space, "decision|o|2"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_a_derived_id_is_the_uuid5_of_its_parts(parts: list[str]) -> None:
    escaped = (part.replace("%", "%25").replace("|", "%7C") for part in parts)
    assert derived_id(*parts) == str(uuid5(uuid5(NAMESPACE_URL, "referral-stream"), "|".join(escaped)))


@rule("11.25", "A0.8")
@pytest.mark.parametrize(
    ("customer", "subject", "name"),
    [
        ("auth0|5f7c", "r1", "command|auth0%7C5f7c|nps_promoter|r1|1"),
        ("100%", "a%7Cb", "command|100%25|nps_promoter|a%257Cb|1"),
        ("X|nps_promoter", "Y", "command|X%7Cnps_promoter|nps_promoter|Y|1"),
        ("plain", "r1", "command|plain|nps_promoter|r1|1"),
    ],
)
def test_bars_and_percent_signs_inside_a_part_are_escaped(customer: str, subject: str, name: str) -> None:
    assert command_id(customer, "nps_promoter", subject) == str(uuid5(uuid5(NAMESPACE_URL, "referral-stream"), name))


@rule("11.25")
def test_no_two_customers_share_an_id() -> None:
    assert command_id("X|nps_promoter", "nps_promoter", "Y") != command_id("X", "nps_promoter", "nps_promoter|Y")


@rule("6.1", "10.119")
def test_a_replay_gives_the_same_ids() -> None:
    first, second = replay(a_customer(), nps(9)), replay(a_customer(), nps(9))

    assert first.effects() == second.effects()
    assert first.ask.command_id == command_id("ana", "nps_promoter", "r1")
    assert first.ask.opportunity_id == opportunity_of()
    assert [d.decision_id for d in first.decisions()] == [decision_id(opportunity_of(), n) for n in (1, 2)]
    assert first.ask.decision_id == decision_id(opportunity_of(), 2)


# ---- from the event to the opportunity


@rule("3.12", "3.13", "10.46")
@pytest.mark.parametrize("arrives", [at("Fri 12:30") + after for after in AROUND])
def test_an_event_that_arrives_at_its_deadline_or_later_has_expired(arrives: int) -> None:
    story = replay(a_customer(channels=("in_app",)), arriving(nps(9, "Thu 12:30"), arrives))
    first = story.decisions()[0]
    assert first.outcome == ("pending" if arrives < at("Fri 12:30") else "expired_on_arrival")
    assert story.customers["ana"].responses.keys() == {"r1"}


@rule("3.14", "8.2", "10.43")
def test_a_repeat_inside_the_window_moves_nothing_and_is_noted() -> None:
    story = replay(a_customer(), compliment("Thu 12:30", "first"), compliment("Thu 12:40", "second"))

    assert story.asked == [("positive_feedback", "Fri 13:00")]
    assert story.ask.subject == "first"
    opened, repeated, asked = story.decisions()
    assert [d.outcome for d in (opened, repeated, asked)] == ["pending", "duplicate", "asked"]
    assert {d.opportunity_id for d in (opened, repeated, asked)} == {story.ask.opportunity_id}
    assert [d.decision_id for d in (opened, repeated, asked)] == [
        decision_id(story.ask.opportunity_id, n) for n in (1, 2, 3)
    ]
    assert (repeated.subject, repeated.window) == ("first", opened.window)


@rule("10.44")
def test_a_repeat_after_the_first_has_closed_opens_its_own() -> None:
    story = replay(a_customer(), nps(9, "Sat 10:00", "r1"), nps(9, "Sun 12:00", "r2"))
    assert story.outcomes()[0] == ("suppressed", "Sat 10:00")
    assert story.ask.subject == "r2"


@rule("10.44")
def test_a_repeat_after_an_ask_opens_its_own_and_the_cap_answers() -> None:
    story = replay(a_customer(), nps(9, "Mon 12:00", "r1"), nps(9, "Mon 13:00", "r2"))
    assert story.outcomes() == [("pending", "Mon 12:00"), ("asked", "Mon 12:20"), ("suppressed", "Mon 13:00")]
    assert story.decisions()[-1].subject == "r2"


@rule("3.17", "9.11", "10.45")
def test_the_same_business_key_never_opens_twice_and_writes_nothing() -> None:
    once = replay(a_customer(), first_success("Thu 12:30"))
    again = replay(
        a_customer(), first_success("Thu 12:30"), first_success("Fri 12:30"), first_success("2026-10-01 12:00")
    )
    assert again.decisions() == once.decisions()


@rule("10.7")
def test_a_milestone_that_is_older_than_what_is_known_of_it_opens_nothing() -> None:
    known = fact(ev.MilestoneReached(milestone="first report"), "Thu 12:30")
    assert replay(a_customer(), known, arriving(first_success("Thu 12:00"), "Thu 12:40")).decisions() == []
    assert replay(a_customer(), known, first_success("Thu 12:40")).asked == [("milestone", "Thu 12:47")]

    older = fact(ev.MilestoneReached(milestone="first report"), "Thu 12:00")
    between = arriving(first_success("Thu 12:10"), "Thu 12:40")
    assert replay(a_customer(), known, arriving(older, "Thu 12:35"), between).decisions() == []


def test_news_of_another_subscription_make_a_renewal_no_older() -> None:
    """What is newest is asked per subscription."""
    others = [fact(ev.SubscriptionStarted(subscription_id=name), "Mon 13:00") for name in ("a", "z")]
    story = replay(a_customer(), others, arriving(renewed("Mon 12:00"), "Mon 14:00"))
    assert story.asked == [("renewal", "Fri 13:00")]


def review(rating: float, when: str, url: str | None) -> Event:
    return fact(ev.ReviewPosted(rating=rating, scale_max=5, url=url), when)


@rule("10.7")
@pytest.mark.parametrize(("url", "asked"), [("page", False), (None, True)])
def test_a_review_that_was_rewritten_meanwhile_opens_nothing(url: str | None, asked: bool) -> None:
    story = replay(a_customer(), review(3, "Mon 12:10", url), arriving(review(5, "Mon 12:00", url), "Mon 12:20"))
    assert bool(story.asks) is asked


def rated(rating: ev.Rating, when: str) -> Event:
    return fact(ev.TicketRated(ticket_id="t1", rating=rating), when)


@rule("11.12")
@pytest.mark.parametrize("own", [False, True])
def test_a_rating_that_turned_positive_opens_nothing(own: bool) -> None:
    """Nor does it wait any longer: another occasion is asked about."""
    theirs = {"on": ["ticket.rated"], "when": 'event.data.rating == "positive"', "window_hours": 48}
    policy = a_policy(triggers={"settled": theirs}) if own else POLICY
    turned = [rated("negative", "Mon 12:10"), rated("positive", "Mon 12:20")]

    assert replay(a_customer(), turned, policy=policy).decisions() == []
    assert replay(a_customer(), turned, compliment("Tue 12:00"), policy=policy).asked == [(FEEDBACK, "Tue 12:20")]
    assert len(replay(a_customer(), turned[1:], policy=policy).decisions()) >= 1


START = at("Tue 10:00") - 21 * DAY


@rule("3.6", "11.18")
@pytest.mark.parametrize(
    ("kind", "since", "opens"),
    [
        (ev.SubscriptionStarted(subscription_id="sub-1"), START, True),
        (ev.SubscriptionStarted(subscription_id="sub-1"), START + 1, False),
        (ev.SubscriptionStarted(subscription_id="sub-1"), at("Tue 10:00"), False),
        (ev.SubscriptionStarted(subscription_id="sub-2"), START + 1, True),
        (ev.TrialEnded(subscription_id="sub-1", converted=True), START, True),
        (ev.TrialEnded(subscription_id="sub-1", converted=True), START + 1, False),
        (ev.TrialEnded(subscription_id="sub-1", converted=False), START + 1, True),
        (ev.TrialStarted(subscription_id="sub-1"), START + 1, True),
    ],
)
def test_a_renewal_soon_after_the_start_is_a_first_payment(kind: Data, since: int, opens: bool) -> None:
    """Another subscription's start and a trial that came to nothing say nothing about it."""
    story = replay(a_customer(), fact(kind, since), arriving(renewed("Tue 10:00"), "Tue 10:01"))
    assert [decision.subject for decision in story.decisions()[:1]] == (["in-1"] if opens else [])


@rule("11.18")
def test_a_start_that_is_heard_of_later_takes_nothing_back() -> None:
    started = arriving(fact(ev.SubscriptionStarted(subscription_id="sub-1"), START + DAY), "Tue 11:00")
    assert replay(a_customer(), renewed("Tue 10:00"), started).asked == [("renewal", "Fri 13:00")]


@rule("11.18")
@pytest.mark.parametrize("own", [False, True])
def test_the_invoice_of_a_first_payment_is_no_renewal_later_either(own: bool) -> None:
    """Told once more in another event, when the start lies further back: it is the same invoice."""
    theirs = {"on": ["subscription.renewed"], "when": "true", "subject": "event.data.invoice_id", "window_hours": 48}
    policy = a_policy(triggers={"cycle": theirs}) if own else POLICY
    started = fact(ev.SubscriptionStarted(subscription_id="sub-1"), START + DAY)
    again, another = ev.SubscriptionRenewed(subscription_id="sub-1", invoice_id="in-1"), "in-2"
    later = at("Tue 10:00") + 20 * DAY
    first = (a_customer(), started, renewed("Tue 10:00"))

    assert replay(*first, fact(again, later), policy=policy).decisions() == []
    opened = replay(*first, fact(again.model_copy(update={"invoice_id": another}), later), policy=policy).decisions()
    assert {(d.trigger, d.subject) for d in opened} == {("renewal", "in-2"), *([("cycle", "in-2")] if own else [])}


@rule("3.17")
def test_another_milestone_is_another_key() -> None:
    story = replay(a_customer(), first_success("Thu 21:00", "one"), first_success("Fri 12:30", "two"))
    assert [(d.subject, d.outcome) for d in story.decisions()] == [
        ("one", "suppressed"), ("two", "pending"), ("two", "asked"),
    ]  # fmt: skip


@rule("3.26", "3.31", "8.2")
def test_the_best_reason_speaks_and_the_others_are_superseded() -> None:
    """Larger priority first; the promoter has settled within the five minutes kept for rivals."""
    peer = fact(ev.PeerMentioned(peer_ref="p"), "Mon 12:00")
    story = replay(a_customer(), compliment("Mon 12:00"), nps(9, "Mon 12:00"), peer)

    assert story.asked == [("nps_promoter", "Mon 12:20")]
    asked = next(d for d in story.decisions() if d.outcome == "asked")
    assert [(rival.trigger, rival.priority) for rival in asked.rivals] == [
        ("peer_mentioned", 35),
        ("positive_feedback", 30),
    ]
    assert story.outcomes()[-2:] == [("superseded", "Mon 12:20")] * 2


@rule("3.27", "10.33")
def test_a_lower_priority_that_may_speak_now_does_not_wait_for_a_higher_one_that_may_not() -> None:
    story = replay(a_customer(), first_success("Thu 14:00"), nps(9, "Thu 14:00"))
    assert story.asked == [("milestone", "Thu 14:07")]
    assert story.outcomes("nps_promoter")[-1] == ("superseded", "Thu 14:07")


@rule("3.29", "10.33")
def test_a_blocked_reason_holds_nobody_up() -> None:
    """The survey that led to the score is excepted for the promoter; for the compliment it is another advocacy ask."""
    survey = fact(ev.AdvocacyAsked(kind="survey", by="us"), "Mon 10:00")
    story = replay(a_customer(), survey, compliment("Mon 12:00"), nps(9, "Mon 12:01"))
    assert story.asked == [("nps_promoter", "Mon 12:21")]


@rule("3.28", "10.32")
@pytest.mark.parametrize(
    ("events", "subject"),
    [
        ((renewed("Tue 10:00", "a"),), "a"),
        ((fact(ev.SubscriptionExpanded(deal_id="deal"), "Tue 09:00"), renewed("Tue 10:00", "a")), "deal"),
    ],
)
def test_within_one_slot_priority_decides(events: tuple[Event, ...], subject: str) -> None:
    assert replay(a_customer(), events).ask.subject == subject


@rule("3.28")
def test_of_equal_priority_the_earliest_deadline_speaks() -> None:
    equal = a_policy(triggers={"peer_mentioned": {"priority": 30, "window_hours": 30}})
    peer = fact(ev.PeerMentioned(peer_ref="p"), "Mon 10:05")
    story = replay(a_customer(), compliment("Mon 10:00"), peer, fact(ev.ComplaintMade(), "Mon 00:00"), policy=equal)
    assert story.asks == []

    held = fact(ev.TicketOpened(ticket_id="t"), "Mon 10:06")
    free = fact(ev.TicketSolved(ticket_id="t"), "Mon 11:00")
    quick = a_policy(
        triggers={"peer_mentioned": {"priority": 30, "window_hours": 30}}, trouble={"ticket_solved_days": 0}
    )
    story = replay(a_customer(), compliment("Mon 10:00"), peer, held, free, policy=quick)
    assert story.asked == [("peer_mentioned", "Mon 11:00")]


@rule("3.28")
def test_of_equal_deadlines_the_earliest_opening_speaks_and_then_the_smaller_id() -> None:
    ids = {subject: opportunity_of("peer_mentioned", subject) for subject in ("p", "q", "r", "s", "t")}
    praised = opportunity_of(FEEDBACK, "post-2")
    assert min(ids.values()) < praised < max(ids.values())

    equal = a_policy(triggers={"peer_mentioned": {"priority": 30, "window_hours": 47}})
    for subject in ids:  # both windows end on Wednesday at 09:00, and both are free to speak on Monday at 12:00
        peer = fact(ev.PeerMentioned(peer_ref=subject), "Mon 10:00")
        held, free = fact(ev.TicketOpened(ticket_id="t"), "Mon 09:05"), ticket_solved("Mon 12:00", "t", "positive")
        story = replay(a_customer(), compliment("Mon 09:00", "post-2"), held, peer, free, policy=equal)
        assert story.ask.opportunity_id == praised

    same = a_policy(triggers={"peer_mentioned": {"priority": 30}})
    for subject, mentioned in ids.items():
        peer = fact(ev.PeerMentioned(peer_ref=subject), "Mon 12:00")
        story = replay(a_customer(), peer, compliment("Mon 12:00", "post-2"), policy=same)
        assert story.ask.opportunity_id == min(mentioned, praised)


# ---- a referral that became a customer


def status(kind: Any, when: int, referral: str = "f1") -> Event:
    return fact(ev.ReferralStatusChanged(referral_id=referral, status=kind), when)


CONVERTED = at("2026-05-20 12:00")
T0 = CONVERTED + 30 * DAY


def happy_customer() -> list[Event]:
    """Score 90, at the conversion and 30 days later."""
    return [
        *a_customer(),
        fact(ev.TestimonialGiven(), CONVERTED - 300 * DAY, historical=True),
        fact(ev.AdviceAsked(), CONVERTED - DAY),
    ]


@rule("3.10", "10.83")
@pytest.mark.parametrize(("needed", "opens"), [(89, True), (90, True), (91, False)])
def test_the_score_at_the_conversion_decides(needed: int, opens: bool) -> None:
    policy = a_policy(triggers={"referral_converted": {"score_at_least": needed}})
    story = replay(happy_customer(), status("converted", CONVERTED), policy=policy)
    assert bool(story.decisions("referral_converted")) is opens


@rule("3.10")
def test_the_threshold_is_eighty() -> None:
    assert Policy().triggers["referral_converted"].score_at_least == 80


@rule("10.84")
@pytest.mark.parametrize("after", AROUND)
def test_a_refund_before_those_thirty_days_are_over_takes_the_reason_away(after: int) -> None:
    story = replay(happy_customer(), status("converted", CONVERTED), status("refunded", T0 + after))
    assert bool(story.decisions("referral_converted")) is (after > 0)


def test_a_refund_from_before_the_conversion_takes_nothing_away() -> None:
    refunded = arriving(status("refunded", CONVERTED - 1), CONVERTED + DAY)
    story = replay(happy_customer(), status("converted", CONVERTED), refunded)
    assert story.decisions("referral_converted") != []


@pytest.mark.parametrize("other", ["contacted", "qualified", "rejected"])
def test_no_other_status_opens_anything_or_takes_it_away(other: str) -> None:
    assert replay(happy_customer(), status(other, CONVERTED)).decisions("referral_converted") == []
    story = replay(happy_customer(), status("converted", CONVERTED), status(other, CONVERTED + DAY))
    assert story.asked == [("referral_converted", "Fri 13:00")]


@rule("3.10", "10.83", "10.84")
def test_nothing_is_written_before_those_thirty_days_and_then_the_window_is_seven_days() -> None:
    story = replay(happy_customer(), status("converted", CONVERTED))

    opened = story.decisions("referral_converted")[0]
    assert (opened.decided_at, opened.settled) == (T0, T0 + 5 * MINUTE)
    assert (opened.window.opens, opened.window.deadline) == (T0, T0 + 7 * DAY)


def test_conversions_that_come_due_together_open_in_the_order_of_their_time() -> None:
    """A timer that comes late finds both; the earlier one is open when the later one comes."""
    by_hand = ByHand(happy_customer())
    for n, name in enumerate(("later", "earlier")):
        when = CONVERTED + (1 - n) * MINUTE
        by_hand.at(CONVERTED + n * HOUR, status("converted", when, name))

    effects = by_hand.at(T0 + MINUTE)

    decided = [(each.subject, each.outcome) for each in effects if isinstance(each, Decision)]
    assert decided == [("earlier", "duplicate"), ("earlier", "pending")]


def test_a_conversion_opens_once() -> None:
    story = replay(happy_customer(), status("converted", CONVERTED), status("converted", CONVERTED + DAY))
    assert {decision.window.opens for decision in story.decisions("referral_converted")} <= {T0, T0 + DAY}
    assert len({decision.opportunity_id for decision in story.decisions("referral_converted")}) == 1
