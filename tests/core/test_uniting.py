"""Two states of one person: a rule for every field, and the values that each rule gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from referral_stream.core.asks import Ask
from referral_stream.core.customer import (
    AliasedAt,
    Cancellation,
    Customer,
    Dispute,
    Drop,
    Invoice,
    Month,
    Overfull,
    PastAsks,
    SubscriptionEvent,
    Survey,
    Ticket,
    UsageDay,
)
from referral_stream.core.followups import FollowUp, Tally
from referral_stream.core.ids import hash64
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.referrals import Conversion, Referral
from referral_stream.core.stamps import Flag, Stamp, Word
from referral_stream.core.uniting import MOST_IDS, RULES, TICKET, unite
from tests.builders import POLICY
from tests.rules import rule

OLD, MID, NEW = (Stamp(time, True, "s", "e") for time in (1, 2, 3))


def united(mine: dict[str, Any], other: dict[str, Any]) -> Customer:
    return unite(Customer(id="ana", **mine), Customer(id="old", **other), POLICY)


@rule("I3.8")
def test_every_field_of_a_state_has_a_rule() -> None:
    """Whoever adds a field says what two of them become, or what is known under one id is lost under the other."""
    assert set(RULES) == set(Customer.__struct_fields__)
    assert set(TICKET) == set(Ticket.__struct_fields__)


@dataclass(frozen=True)
class Halves:
    """The same field under two ids, and what becomes of it, whichever of them absorbs the other."""

    one: Any
    other: Any
    both: Any


def ticket(**more: Any) -> dict[str, Ticket]:
    return {"t": Ticket(**more)}


SAID = FollowUp("f1", "thank", "ref-1", 1, at=1, due=2, due_by=2, expires_at=9, requested_at=1)
LATER_SAID = FollowUp("f2", "thank", "ref-2", 1, at=3, due=4, due_by=4, expires_at=9, requested_at=3, owner="eva")

EITHER_WAY: dict[str, list[Halves]] = {
    "now": [Halves(5, 7, 7)],
    "signed_up": [Halves(5, 7, 5), Halves(None, 7, 7), Halves(None, None, None)],
    "trial_sign_up": [Halves(OLD, NEW, NEW), Halves(None, OLD, OLD)],
    "trial_over": [Halves(OLD, NEW, NEW)],
    "initial_contract_at": [Halves(5, 7, 7)],
    **{
        name: [Halves(False, True, True), Halves(False, False, False)]
        for name in ("onboarded", "first_success", "milestone", "goal", "saving", "testimonial", "feedback")
    },
    "subscriptions": [
        Halves(
            (SubscriptionEvent(OLD, "a", "trial"), SubscriptionEvent(NEW, "a", "ended")),
            (SubscriptionEvent(MID, "a", "converted"),),
            (
                SubscriptionEvent(OLD, "a", "trial"),
                SubscriptionEvent(MID, "a", "converted"),
                SubscriptionEvent(NEW, "a", "ended"),
            ),
        )
    ],
    **{
        name: [Halves(Word(OLD, "a"), Word(NEW, "b"), Word(NEW, "b")), Halves(None, Word(OLD, "a"), Word(OLD, "a"))]
        for name in ("time_zone", "event_zone", "locale", "segment", "account", "email_hmac", "domain_hmac")
    },
    **{
        name: [Halves(Flag(OLD, value), Flag(NEW, not value), Flag(NEW, not value)) for value in (True, False)]
        for name in ("champion", "requires_approval", "suppressed", "above_average")
    },
    **{
        name: [
            Halves(
                {"a": Flag(OLD, False), "b": Flag(NEW, True)},
                {"a": Flag(NEW, True), "b": Flag(OLD, False), "c": Flag(OLD, True)},
                {"a": Flag(NEW, True), "b": Flag(NEW, True), "c": Flag(OLD, True)},
            )
        ]
        for name in ("reachable", "consent", "tasks", "concerns", "approvals")
    },
    **{
        name: [
            Halves({"r": Survey(OLD, 9, True)}, {"r": Survey(NEW, 2, False)}, {"r": Survey(NEW, 2, False)}),
            Halves(
                {"r": Survey(OLD, 1, False, True)},
                {"r": Survey(NEW, 5, True), "s": Survey(OLD, 5, True)},
                {"r": Survey(NEW, 5, True), "s": Survey(OLD, 5, True)},
            ),
        ]
        for name in ("responses", "csats", "reviews")
    },
    "repeated_milestones": [Halves({"m": OLD}, {"m": NEW, "n": OLD}, {"m": NEW, "n": OLD})],
    "usage": [
        Halves(
            {1: UsageDay(2, 10, 20), 2: UsageDay(1, 5, 5)},
            {1: UsageDay(3, 7, 15)},
            {1: UsageDay(5, 7, 20), 2: UsageDay(1, 5, 5)},
        )
    ],
    "first_use_day": [Halves(3, 5, 3)],
    "used_for_long": [Halves(False, True, True)],
    "drop": [
        Halves(Drop(10, 7, 5), Drop(20, 7, 9), Drop(20, 7, 9)),
        Halves(Drop(10, 7), Drop(20, 7, 9), Drop(10, 7)),
        Halves(None, Drop(20, 7, 9), Drop(20, 7, 9)),
    ],
    "first_activity": [Halves(3, 5, 3)],
    **{
        name: [Halves(3, 5, 5), Halves(None, 5, 5)]
        for name in ("last_activity", "testimonial_at", "feedback_at", "complained_at", "refunded_at")
    },
    "interactions": [Halves(2, 3, 5)],
    "advocacy": [Halves(((1, "review"),), ((1, "review"), (2, "survey")), ((1, "review"), (2, "survey")))],
    "tickets": [
        Halves(ticket(at=OLD, open=True, opened=OLD), ticket(at=NEW, open=False), ticket(at=NEW, opened=OLD)),
        Halves(ticket(at=OLD), ticket(at=NEW, open=True, opened=NEW), ticket(at=NEW, open=True, opened=NEW)),
        Halves(
            ticket(at=NEW, open=True, opened=NEW, prioritised=OLD, priority="low"),
            ticket(at=OLD, open=True, opened=OLD, prioritised=MID, priority="urgent"),
            ticket(at=NEW, open=True, opened=NEW, prioritised=MID, priority="urgent"),
        ),
        Halves(
            ticket(at=NEW, rated=OLD, rating="positive"),
            ticket(rated=MID, rating="negative"),
            ticket(at=NEW, rated=MID, rating="negative"),
        ),
    ],
    "invoices": [
        Halves({"i": Invoice(OLD, True, True)}, {"i": Invoice(NEW, False, False)}, {"i": Invoice(NEW, False, True)})
    ],
    "disputes": [
        Halves({"c": Dispute(OLD, "open", 1)}, {"c": Dispute(NEW, "lost", None)}, {"c": Dispute(NEW, "lost", 1)})
    ],
    "cancellations": [
        Halves(
            {"s": Cancellation(considered=OLD, scheduled=NEW)},
            {"s": Cancellation(considered=MID, reverted=OLD)},
            {"s": Cancellation(considered=MID, scheduled=NEW, reverted=OLD)},
        )
    ],
    "answers": [Halves({"no": 5}, {"no": 7, "stop": 1}, {"no": 7, "stop": 1})],
    "referrals": [
        Halves({"r": Referral(OLD, "contacted")}, {"r": Referral(NEW, "qualified")}, {"r": Referral(NEW, "qualified")}),
        Halves(
            {"r": Referral(OLD, "converted", Conversion(9, OLD))},
            {"r": Referral(NEW, "refunded")},
            {"r": Referral(NEW, "refunded", None)},
        ),
        Halves(
            {"r": Referral(OLD, "converted", Conversion(9, OLD))},
            {"q": Referral(NEW, "converted", Conversion(8, NEW))},
            {
                "r": Referral(OLD, "converted", Conversion(9, OLD)),
                "q": Referral(NEW, "converted", Conversion(8, NEW)),
            },
        ),
    ],
    "held": [
        Halves({"ben": OLD}, {"eva": NEW}, {"ben": OLD, "eva": NEW}),
        Halves({"ben": OLD}, {"ben": NEW}, {"ben": NEW}),
    ],
    "lifted": [Halves(None, OLD, OLD), Halves(OLD, NEW, NEW)],
    "emails": [Halves({"a": False}, {"b": False}, {"a": False, "b": False})],
    "stops": [Halves({"customer.suppressed": OLD}, {"customer.suppressed": NEW}, {"customer.suppressed": NEW})],
    "merging": [Halves({"bea": AliasedAt(1, "s", "")}, {"bea": AliasedAt(2, "s", "")}, {"bea": AliasedAt(2, "s", "")})],
    "absorbed": [Halves((1,), (), (1,))],
    "overfull": [Halves({"tickets": Overfull(1, 2)}, {"tickets": Overfull(3, 4)}, {"tickets": Overfull(3, 6)})],
    "followups": [Halves((SAID,), (SAID, LATER_SAID), (SAID, LATER_SAID))],
    "tallies": [Halves({"thank": Tally(1, 1)}, {"thank": Tally(2, 0, 3)}, {"thank": Tally(3, 1, 3)})],
    "months": [
        Halves(
            {"2026-06|milestone": Month(2, 1, blocked={"trouble": 1})},
            {"2026-06|milestone": Month(1, 1, 1, blocked={"trouble": 2, "consent": 1})},
            {"2026-06|milestone": Month(3, 2, 1, blocked={"trouble": 3, "consent": 1})},
        )
    ],
    "past_asks": [
        Halves(PastAsks(2, 3, 9), PastAsks(1, 5, 5), PastAsks(3, 3, 9)),
        Halves(None, PastAsks(1, 5, 5), PastAsks(1, 5, 5)),
    ],
    "referrals_over": [Halves(1, 2, 3)],
    "forgotten": [Halves({"tickets": 1}, {"tickets": 3, "csats": 2}, {"tickets": 3, "csats": 2})],
}  # fmt: skip


@rule("I3.8")
@pytest.mark.parametrize(("name", "halves"), [(name, halves) for name, cases in EITHER_WAY.items() for halves in cases])
def test_what_two_fields_become(name: str, halves: Halves) -> None:
    for mine, other in ((halves.one, halves.other), (halves.other, halves.one)):
        assert getattr(united({name: mine}, {name: other}), name) == halves.both


def test_each_field_that_holds_something_is_in_a_test() -> None:
    """The rest is the customer's own, or has a test of its own below."""
    own = {"id", "erased_at", "erased_now", "merged_into", "live", "awaiting", "wake_at"}
    own |= {"recorded", "eligible_told", "record_owed"}
    below = {"quarantined", "holds", "ids", "asks", "seen", "keys", "judged_day", "calls_cut_short"}
    assert set(EITHER_WAY) | own | below == set(RULES) - {"email_from_browser"}


@rule("I3.8", "I4.15")
def test_nobody_is_held_any_more_because_of_their_own_other_id() -> None:
    both = united(
        {"held": {"old": NEW, "older": NEW, "ben": OLD}}, {"ids": ("older",), "held": {"ana": NEW, "eva": OLD}}
    )
    assert both.held == {"ben": OLD, "eva": OLD}


@rule("I4.4")
@pytest.mark.parametrize("typed", [{"ana"}, {"old"}, {"ana", "old"}, set[str]()])
def test_of_two_addresses_one_that_no_browser_sent_counts(typed: set[str]) -> None:
    mine = {"email_hmac": Word(OLD, "a"), "email_from_browser": "ana" in typed}
    other = {"email_hmac": Word(NEW, "b"), "email_from_browser": "old" in typed}
    both = united(mine, other)
    assert both.email_hmac is not None
    assert both.email_hmac.value == ("a" if typed == {"old"} else "b")
    assert both.email_from_browser is (len(typed) == 2)


def opportunity(name: str, **more: Any) -> Opportunity:
    return Opportunity(name, "nps_promoter", "r1", 0, 9, 0, 0, 0, **more)


def ask(command: str, at: int, **more: Any) -> Ask:
    return Ask(opportunity(command, **more), command, at, at + 1, "asked", "email")


@rule("I3.8")
def test_the_asks_of_both_are_kept_in_their_order_each_with_the_id_under_which_it_was_made() -> None:
    both = united({"asks": (ask("b", 2),)}, {"asks": (ask("a", 1), ask("c", 3, owner="older"))})
    assert [(each.command_id, each.opportunity.owner) for each in both.asks] == [
        ("a", "old"),
        ("b", ""),
        ("c", "older"),
    ]


def test_an_ask_that_both_know_counts_once() -> None:
    both = united({"asks": (ask("a", 1, owner="old"),)}, {"asks": (ask("a", 1),)})
    assert len(both.asks) == 1


@rule("I3.8")
def test_business_keys_cut_calls_and_events_that_were_seen_are_united() -> None:
    both = united(
        {"keys": (1, 2), "calls_cut_short": ("a",), "seen": {7: 70, 8: 80}},
        {"keys": (2, 3), "calls_cut_short": ("b", "a"), "seen": {9: 75, 8: 60}},
    )
    assert both.keys == (1, 2, 3)
    assert both.calls_cut_short == ("a", "b")
    assert list(both.seen.items()) == [(7, 70), (9, 75), (8, 80)], "oldest first"


@rule("I3.12")
def test_the_other_ids_are_named_up_to_a_bound() -> None:
    assert united({"ids": ("a",)}, {"ids": ("b", "ana")}).ids == ("a", "old", "b")
    many = tuple(f"id-{number}" for number in range(MOST_IDS + 5))
    assert len(united({}, {"ids": many}).ids) == MOST_IDS


@rule("I3.8")
def test_a_hold_is_kept_with_the_id_whose_dead_letter_it_is() -> None:
    assert united({}, {"quarantined": True, "holds": ("older",)}).holds == ("old", "older")
    assert united({"quarantined": True}, {}).quarantined
    assert not united({}, {"quarantined": True}).quarantined
    itself = unite(Customer(id="ana"), Customer(id="ana", quarantined=True), POLICY)
    assert (itself.quarantined, itself.holds) == (True, ())


def test_a_customer_does_not_wait_for_themselves() -> None:
    at = AliasedAt(1, "s", "e")
    assert united({"merging": {"old": at}}, {"merging": {"ana": at, "bea": at}}).merging == {"bea": at}


@rule("I3.9")
@pytest.mark.parametrize("known", [{}, {"r": Referral(OLD, "converted")}], ids=["opened and forgotten", "opened"])
def test_a_conversion_that_has_opened_an_opportunity_opens_no_second(known: dict[str, Referral]) -> None:
    scheduled = {"r": Referral(NEW, "converted", Conversion(9, NEW))}
    key = hash64("referral_converted", "r")
    assert united({"keys": (key,), "referrals": known}, {"referrals": scheduled}).referrals["r"].conversion is None
    assert united({"referrals": known}, {"referrals": scheduled}).referrals["r"].conversion == Conversion(9, NEW)


def test_the_states_stay_as_they_are() -> None:
    mine, other = Customer(id="ana", usage={1: UsageDay(2, 1, 1)}), Customer(id="old", asks=(ask("a", 1),))
    before = msgspec.msgpack.encode((mine, other))
    unite(mine, other, POLICY)
    assert msgspec.msgpack.encode((mine, other)) == before
