"""The oracle against identity.md, with values worked out by hand. Whoever is absorbed is `old`."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.oracle.records import shown, uid
from tests.oracle.telling import DAY, Body, a_customer, asked, at, blocking, fact, nps, play, story

T = at("Tue 10:00")
ASKED = at("Tue 10:20")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ADDRESS, OTHER = "aa" * 32, "bb" * 32


def alias(into: str, other: str, when: datetime) -> Body:
    return fact("customer.aliased", when, {"alias": other}, who=into)


def by_link(kind: str, when: datetime, link: str, body: Body | None = None) -> Body:
    record = fact(kind, when, body or {})
    del record["value"]["subject"]
    record["value"]["link"] = link
    return record


def linked(who: str, when: datetime, kind: str, value: str) -> Body:
    return fact("customer.linked", when, {"kind": kind, "value": value}, who=who)


def address(who: str, when: datetime, value: str = ADDRESS) -> Body:
    return fact("customer.profile_changed", when, {"email_hmac": value}, who=who)


def withdrawn(when: datetime, who: str, channel: str = "all", granted: bool = False) -> Body:
    said = {"purpose": "referral_ask", "channel": channel, "granted": granted}
    return fact("customer.consent_changed", when, said, who=who)


def held_by(*facts: Body) -> set[str]:
    """The gates that hold back ada, who would be asked on Tuesday at 10:20."""
    result = play([*a_customer(T), *facts, nps(T)])
    if asked(result):
        return set()
    return set(blocking([row for row in result.decisions if row["subject"] == "ada"][-1])) - {"moment"}


# Merging


@pytest.mark.parametrize(
    ("said", "gate"),
    [
        (fact("customer.suppressed", T - 5 * DAY, who="old"), {"consent"}),
        (withdrawn(T - 5 * DAY, "old"), {"consent"}),
        (fact("ask.answered", T - 5 * DAY, {"command_id": "c", "answer": "stop"}, who="old"), {"answers"}),
        (fact("ask.answered", T - 5 * DAY, {"command_id": "c", "answer": "no"}, who="old"), {"answers"}),
        (fact("complaint.made", T - 5 * DAY, who="old"), {"trouble"}),
        (fact("ticket.opened", T - 50 * DAY, {"ticket_id": "k"}, who="old"), {"trouble"}),
        (fact("trial.started", T - 5 * DAY, {"subscription_id": "s"}, who="old"), {"too_early"}),
        (fact("advocacy.asked", T - 5 * DAY, {"kind": "review", "by": "crm"}, who="old"), {"advocacy"}),
        (fact("customer.erasure_requested", T - 5 * DAY, who="old"), {"consent"}),
        (fact("usage.recorded", T - 5 * DAY, who="old"), set()),
    ],
)
def test_what_was_said_as_the_other_holds(said: Body, gate: set[str]) -> None:
    for when in (T - DAY, T, ASKED):  # before, when it opens, and at the moment itself
        assert held_by(said, alias("ada", "old", when)) == gate
    assert held_by(said) == set()


def test_what_is_said_as_the_other_afterwards_holds() -> None:
    merged = alias("ada", "old", T - 9 * DAY)
    for kind, gate in (("customer.suppressed", "consent"), ("complaint.made", "trouble")):
        assert held_by(merged, fact(kind, T - DAY, who="old")) == {gate}
    result = play([*a_customer(T), merged, nps(T), fact("customer.erasure_requested", T + MINUTE, who="old")])
    assert asked(result) == []
    assert story(result, "nps_promoter", T)[-1] == ("suppressed", shown(T + MINUTE))


def test_the_newest_word_counts_whoever_it_was_said_as() -> None:
    merged = alias("ada", "old", T - DAY)
    assert held_by(withdrawn(T - 500 * DAY, "old"), merged) == set()
    again = withdrawn(T - 5 * DAY, "old", granted=True)
    assert held_by(withdrawn(T - 9 * DAY, "ada"), again, merged) == set()
    assert held_by(withdrawn(T - 9 * DAY, "ada"), merged) == {"consent"}


def test_the_absorbed_ones_opportunity_is_cancelled_and_opens_nothing() -> None:
    facts = [*a_customer(T), *a_customer(T, "old"), nps(T, who="old"), alias("ada", "old", T + MINUTE)]
    result = play(facts)
    assert story(result, "nps_promoter", T, "old")[-1] == ("cancelled", shown(T + MINUTE))
    assert blocking(result.decisions[-1])["erased"] == "never"
    assert story(result, "nps_promoter", T) == []


def test_the_absorbed_ones_unsent_command_is_taken_back_and_counts() -> None:
    facts = [*a_customer(T), *a_customer(T, "old"), nps(T, who="old"), alias("ada", "old", T + HOUR)]
    result = play([*facts, nps(T + 2 * HOUR, response="r2")])
    assert [(row["subject"], row["type"].rpartition(".")[2]) for row in result.asks] == [
        ("old", "requested"),
        ("old", "cancelled"),
    ]
    assert blocking(result.decisions[-1])["overasking"] == shown(ASKED + 90 * DAY)
    command = uid("command", "old", "nps_promoter", "r1", 1)
    gone = fact("ask.acknowledged", T + 90 * MINUTE, {"command_id": command, "status": "cancelled"}, who="old")
    again = play([*facts, gone, nps(T + 2 * HOUR, response="r2")])
    assert asked(again)[-1] == ("nps_promoter", shown(T + 140 * MINUTE))


def test_a_chain_leads_to_its_end_and_a_circle_nowhere() -> None:
    opted_out = fact("customer.suppressed", T - 30 * DAY, who="oldest")
    chain = [alias("old", "oldest", T - 9 * DAY), alias("ada", "old", T - 8 * DAY)]
    assert held_by(opted_out, *chain) == {"consent"}
    assert held_by(opted_out, *reversed([alias("ada", "old", T - 9 * DAY), alias("old", "oldest", T - 8 * DAY)])) == {
        "consent"
    }
    assert held_by(alias("ada", "ada", T - DAY), alias("ada", "old", T - DAY), alias("old", "ada", T - HOUR)) == set()


def test_whoever_is_erased_takes_those_with_them_who_are_merged_later() -> None:
    gone = fact("customer.erasure_requested", T - 5 * DAY, who="old")
    facts = [*a_customer(T), gone, alias("old", "ada", T - DAY), nps(T)]
    assert asked(play(facts)) == []


def test_an_erasure_before_the_merge_holds_until_the_customer_lifts_it() -> None:
    gone = [fact("customer.erasure_requested", T - 5 * DAY, who="old"), alias("ada", "old", T - 3 * DAY)]
    assert held_by(*gone, fact("customer.unsuppressed", T - DAY)) == set()
    assert held_by(*gone, fact("customer.unsuppressed", T - 4 * DAY)) == {"consent"}
    assert held_by(*gone, fact("customer.unsuppressed", T - DAY, who="old")) == {"consent"}


# Links


@pytest.mark.parametrize("taught", [T - 9 * DAY, T - 4 * DAY])
def test_a_dispute_reaches_the_customer_of_its_charge_whichever_comes_first(taught: datetime) -> None:
    disputed = by_link("charge.disputed", T - 5 * DAY, "stripe_charge:ch1", {"charge_id": "ch1"})
    assert held_by(linked("ada", taught, "stripe_charge", "ch1"), disputed) == {"trouble"}
    won = by_link("dispute.closed", T - 2 * DAY, "stripe_charge:ch1", {"charge_id": "ch1", "won": True})
    assert held_by(linked("ada", taught, "stripe_charge", "ch1"), disputed, won) == set()
    assert held_by(linked("ada", taught, "stripe_charge", "ch2"), disputed) == set()


def test_what_closes_waits_400_days_and_a_score_seven() -> None:
    link = "crm_contact:7"
    known = linked("ada", T, "crm_contact", "7")
    assert held_by(known, by_link("customer.suppressed", T - 400 * DAY + MINUTE, link)) == {"consent"}
    assert held_by(known, by_link("customer.suppressed", T - 400 * DAY, link)) == set()
    for days, opens in ((1, True), (7, False)):
        score = by_link(
            "nps.responded", T - days * DAY + (MINUTE if opens else 0 * MINUTE), link, {"response_id": "r9", "score": 9}
        )
        late = play([*a_customer(T), score, linked("ada", T - days * DAY + HOUR if opens else T, "crm_contact", "7")])
        assert (len(asked(late)) == 1) is opens
        assert len(late.dead_letters) == (not opens)


def test_an_opt_out_by_address_reaches_all_who_have_or_had_it() -> None:
    out = by_link("customer.suppressed", T - 5 * DAY, f"email:{ADDRESS}")
    assert held_by(address("ada", T - 9 * DAY), address("bob", T - 9 * DAY), out) == {"consent"}
    assert held_by(address("ada", T - 9 * DAY), address("ada", T - 8 * DAY, OTHER), out) == {"consent"}
    assert held_by(address("ada", T - 3 * DAY), out) == {"consent"}
    assert held_by(address("ada", T - 9 * DAY, OTHER), out) == set()


def test_a_score_by_address_is_that_of_the_one_who_has_it_now() -> None:
    score = by_link("nps.responded", T, f"email:{ADDRESS}", {"response_id": "r", "score": 9})
    facts = [*a_customer(T), address("ada", T - 9 * DAY), score]
    assert len(asked(play(facts))) == 1
    assert asked(play([*facts, address("ada", T - 8 * DAY, OTHER)])) == []
    both = play([*facts, address("bob", T - 8 * DAY)])
    assert (asked(both), len(both.dead_letters)) == ([], 1)


# Held by address


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        (fact("customer.suppressed", T - 5 * DAY, who="bob"), True),
        (fact("customer.erasure_requested", T - 5 * DAY, who="bob"), True),
        (fact("ask.answered", T - 5 * DAY, {"command_id": "c", "answer": "stop"}, who="bob"), True),
        (fact("ask.answered", T - 5 * DAY, {"command_id": "c", "answer": "no"}, who="bob"), False),
        (withdrawn(T - 5 * DAY, "bob"), True),
        (withdrawn(T - 5 * DAY, "bob", "email"), True),
        (withdrawn(T - 5 * DAY, "bob", "phone"), False),
        (fact("complaint.made", T - 5 * DAY, who="bob"), False),
    ],
)
def test_an_opt_out_of_somebody_with_the_same_address_holds(said: Body, holds: bool) -> None:
    theirs, gate = address("bob", T - 9 * DAY), {"consent"} if holds else set()
    assert held_by(theirs, said, address("ada", T - 9 * DAY)) == gate
    assert held_by(theirs, said, address("ada", T - 2 * DAY)) == gate
    assert held_by(theirs, said, address("ada", T - 9 * DAY), address("ada", T - 8 * DAY, OTHER)) == gate
    assert held_by(theirs, said, address("ada", T - 2 * DAY, OTHER)) == set()


def test_only_their_own_word_lifts_it() -> None:
    facts = [
        address("ada", T - 9 * DAY),
        address("bob", T - 9 * DAY),
        fact("customer.suppressed", T - 5 * DAY, who="bob"),
    ]
    assert held_by(*facts, fact("customer.unsuppressed", T - DAY, who="bob")) == {"consent"}
    assert held_by(*facts, fact("customer.unsuppressed", T - DAY)) == set()
    assert held_by(*facts, fact("customer.unsuppressed", T - 6 * DAY)) == {"consent"}


def test_a_hold_takes_an_unsent_command_back() -> None:
    facts: list[Any] = [*a_customer(T), address("ada", T - 9 * DAY), address("bob", T - 9 * DAY), nps(T)]
    result = play([*facts, fact("customer.suppressed", T + HOUR, who="bob")])
    assert [row["data"].get("why", [])[:1] for row in result.asks] == [[], ["consent"]]
