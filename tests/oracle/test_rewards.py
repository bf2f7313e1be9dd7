"""The oracle against after §4 and the ledger's part of §5 and §10, with values worked out by hand."""

from datetime import timedelta
from typing import Any

import pytest

from tests.oracle.following import (
    CREDIT,
    ELEVEN,
    HOUR,
    MINUTE,
    MS,
    PAID,
    PAST,
    T,
    body,
    follow,
    given,
    judged,
    record,
    requested,
    rewards,
    settled,
    status,
    unasked_ada,
)  # fmt: skip
from tests.oracle.records import shown, uid
from tests.oracle.telling import DAY, Body, a_customer, at, fact, nps, play
from tests.oracle.world import Result
from tests.rules import rule

WED = at("Wed 10:00")
QUARTER = 15 * MINUTE
OWN = "ab" * 32


def paid(*facts: Body, rules: Body | None = None, policy: Body | None = None, days: int = 60, **profile: Any) -> Result:
    """Ada's referral of 11:00 and what follows, with a programme."""
    settings = {"rewards": PAID | (rules or {})} | (policy or {})
    return unasked_ada(given(ELEVEN), *facts, until=T + days * DAY, policy=settings, **profile)


def both(*facts: Body, rules: Body | None = None, **profile: Any) -> Result:
    """Ada and Bob, and what follows."""
    people = [*a_customer(T, "ada", **profile), *a_customer(T, "bob", **profile)]
    return play([*people, *facts], T + 60 * DAY, rewards=PAID | (rules or {}))


@rule("A4.3", "A4.12", "A0.11", "A0.13")
def test_a_conversion_is_rewarded_once() -> None:
    result = paid(status(WED, "converted"), status(WED + DAY, "contacted"), status(WED + 2 * DAY, "converted"))
    assert rewards(result) == [("granted", "", shown(WED))]
    assert result.rewards[0]["data"] == {
        "grant_id": uid("grant", "ada", "f1"),
        "referral_id": "f1",
        "customer_id": "ada",
        "programme": "smb",
        **CREDIT,
        "granted_at": shown(WED),
    }
    assert result.rewards[0]["id"] == uid("referral.reward.granted", uid("grant", "ada", "f1"))
    assert record(result)["referred_contacts"][0]["reward"] == "granted"


@pytest.mark.parametrize(
    ("rules", "headers"), [({"enabled": False}, None), ({"default_segment": "none"}, None), ({}, PAST)]
)
@rule("A4.2", "A4.3")
def test_what_is_not_rewarded_uses_up_the_first_time(rules: Body, headers: Body | None) -> None:
    later = status(WED + DAY, "contacted"), status(WED + 2 * DAY, "converted")
    assert rewards(paid(status(WED, "converted", headers=headers), *later, rules=rules)) == []


@rule("A3.12", "A4.3")
def test_a_conversion_before_the_referral_makes_its_grant_then() -> None:
    for word, made in (("converted", True), ("contacted", False)):
        facts = status(ELEVEN - HOUR, "converted"), status(ELEVEN - MINUTE, word)
        assert rewards(paid(*facts)) == ([("granted", "", shown(ELEVEN))] if made else [])


@rule("A3.11", "A13.10", "A13.11", "A13.19", "A2.14")
def test_the_report_carries_the_reward_and_else_it_is_told_by_itself() -> None:
    result = paid(status(WED, "converted"))
    reward = {"reward_kind": "credit", "amount_minor": "5000", "currency": "EUR"}
    assert follow(result, "report_back", "reward_told") == [requested("report_back", WED + QUARTER)]
    assert body(result, "report_back")["variables"] == {"status": "converted", **reward}
    result = paid(status(WED, "converted"), rules={"holding_days": 2})
    granted = WED + 2 * DAY
    assert rewards(result) == [("granted", "", shown(granted))]
    assert follow(result, "reward_told") == [requested("reward_told", granted)]
    told = body(result, "reward_told")
    assert (told["variables"], told["due_by"]) == (reward, shown(granted + DAY))
    assert body(result, "report_back")["variables"] == {"status": "converted"}
    # asked for at the instant of the report: it waits for the answer
    at_once = {"followups": {"report_after_minutes": 0}}
    result = paid(status(WED, "converted"), policy=at_once)
    assert follow(result, "report_back", "reward_told") == [requested("report_back", WED)]
    assert body(result, "report_back")["variables"] == {"status": "converted", **reward}
    only_contacted = {"followups": {"report": ["contacted"]}}
    result = paid(status(WED, "converted"), policy=only_contacted)
    assert follow(result, "report_back", "reward_told") == [requested("reward_told", WED)]


@rule("A4.5")
def test_hints() -> None:
    mine = {"email_hmac": OWN, "domain_hmac": "cd" * 32}
    facts = given(ELEVEN, "f2", contact=mine), status(WED, "converted", "f2")
    result = paid(*facts, email_hmac=OWN, domain_hmac="cd" * 32)
    assert result.rewards[0]["data"]["hints"] == ["own_email", "same_domain"]
    many = [given(ELEVEN + n * MINUTE, f"g{n}") for n in range(5)]
    assert [row["data"].get("hints") for row in paid(*many, status(WED, "converted")).rewards] == [["rate"], None]
    assert "hints" not in paid(*many[1:], status(WED, "converted")).rewards[0]["data"]
    spread = [given(ELEVEN + n * MINUTE, f"g{n}") for n in range(4)]
    a_day_on = given(ELEVEN + DAY, "g5")
    assert "hints" not in paid(*spread, a_day_on, status(WED + DAY, "converted")).rewards[0]["data"]


def held(*facts: Body, **rules: object) -> Result:
    told = given(ELEVEN, contact={"email_hmac": OWN}), status(WED, "converted")
    return unasked_ada(*told, *facts, until=T + 90 * DAY, policy={"rewards": PAID | rules}, email_hmac=OWN)


@rule("A4.6", "A13.17")
def test_a_hint_holds_the_reward_until_a_person_has_looked() -> None:
    result = held()
    assert rewards(result) == [("held", "", shown(WED)), ("denied", "not_approved", shown(WED + 30 * DAY))]
    found = result.rewards[0]["data"]
    assert (found["held_at"], found["lapses_at"], found["hints"]) == (shown(WED), shown(WED + 30 * DAY), ["own_email"])
    asked = body(result, "approve_reward")
    assert (asked["due_by"], asked["expires_at"]) == (shown(WED + 48 * HOUR), shown(WED + 30 * DAY))
    assert asked["variables"] == {"grant_id": uid("grant", "ada", "f1"), "hints": "own_email"}


@pytest.mark.parametrize(("after", "granted"), [(DAY, True), (30 * DAY, True), (30 * DAY + MS, False)])
@rule("A4.7", "A4.8")
def test_an_approval_counts_until_it_has_lapsed(after: timedelta, granted: bool) -> None:
    found = rewards(held(judged(WED + after, "approved")))
    assert found[1] == (
        ("granted", "", shown(WED + after)) if granted else ("denied", "not_approved", shown(WED + 30 * DAY))
    )


@rule("A4.7", "A4.8")
def test_a_rejection_counts_until_it_is_granted_hints_or_not() -> None:
    denied = ("denied", "not_approved", shown(WED + DAY))
    assert rewards(held(judged(WED + DAY, "rejected")))[1:] == [denied]
    assert rewards(held(judged(WED + HOUR, "approved"), judged(WED + DAY, "rejected"), holding_days=3))[1:] == [denied]
    assert rewards(paid(status(WED, "converted"), judged(WED + DAY, "rejected"), rules={"holding_days": 3})) == [denied]
    assert len(rewards(paid(status(WED, "converted"), judged(WED + DAY, "rejected")))) == 1
    holding = held(judged(WED + DAY, "approved"), holding_days=3)
    assert rewards(holding)[1:] == [("granted", "", shown(WED + 3 * DAY))]


@rule("A4.14", "A4.15", "A4.16", "A4.17")
def test_what_is_taken_back_is_read_by_a_person_and_nothing_revives_it() -> None:
    back = status(WED + DAY, "refunded"), status(WED + 2 * DAY, "converted")
    result = paid(status(WED, "converted"), *back)
    assert rewards(result) == [("granted", "", shown(WED)), ("reversed", "refunded", shown(WED + DAY))]
    assert follow(result, "read_reward") == [requested("read_reward", WED + DAY)]
    found = body(result, "read_reward")
    assert found["variables"] == {"grant_id": uid("grant", "ada", "f1"), "reason": "refunded"}
    assert (found["due_by"], found["expires_at"]) == (shown(WED + DAY + 48 * HOUR), shown(WED + 15 * DAY))
    result = paid(status(WED, "converted"), status(WED + DAY, "rejected"), rules={"holding_days": 5})
    assert rewards(result) == [("denied", "rejected", shown(WED + DAY))]


@rule("A13.12")
def test_a_historical_refund_takes_back_and_nobody_reads_it() -> None:
    result = paid(status(WED, "converted"), status(WED + DAY, "refunded", headers=PAST))
    assert rewards(result)[1:] == [("reversed", "refunded", shown(WED + DAY))]
    assert follow(result, "read_reward") == []


@rule("A4.18")
def test_a_settlement_that_failed_is_read_once() -> None:
    facts = settled(WED - HOUR, "failed"), settled(WED + HOUR, "failed", reference="p7"), settled(WED + DAY, "failed")
    result = paid(status(WED, "converted"), *facts)
    assert follow(result, "reward_failed") == [requested("reward_failed", WED + HOUR)]
    assert body(result, "reward_failed")["variables"] == {"grant_id": uid("grant", "ada", "f1"), "reference": "p7"}
    assert record(result)["referred_contacts"][0]["reward"] == "failed"
    result = paid(status(WED, "converted"), *facts, settled(WED + 2 * DAY, "delivered"))
    assert record(result)["referred_contacts"][0]["reward"] == "delivered"


# Offers


@rule("A4.1", "A4.4")
def test_an_offer_is_kept_and_without_one_the_ask_is_direct() -> None:
    policy = {"mutual_benefit_triggers": ["nps_promoter"], "rewards": PAID}
    changed = fact("customer.profile_changed", WED - HOUR, {"segment": "enterprise"})
    wall = {"enterprise": {"kind": "recognition", "benefit": "wall"}}
    policy["rewards"] = PAID | {"programmes": PAID["programmes"] | wall}
    result = unasked_ada(nps(T), given(ELEVEN), changed, status(WED, "converted"), until=T + 3 * DAY, policy=policy)
    asked = result.asks[0]["data"]
    assert (asked["mode"], asked["offer"]) == ("mutual_benefit", {"programme": "smb", **CREDIT})
    assert result.rewards[0]["data"]["programme"] == "smb"
    none = unasked_ada(nps(T), until=T + DAY, policy=policy | {"rewards": {"enabled": False}}).asks[0]["data"]
    assert (none["mode"], "offer" in none) == ("direct", False)
    full = policy | {"rewards": PAID | {"per_customer": 0}}
    assert unasked_ada(nps(T), until=T + DAY, policy=full).asks[0]["data"]["mode"] == "direct"


# The ledger


@rule("A4.10", "A5.3")
def test_who_named_a_contact_first_is_rewarded() -> None:
    facts = (
        given(ELEVEN, "f1", ref="x", who="ada"), given(ELEVEN + MS, "f2", ref="x", who="bob"),
        status(WED, "converted", "f2", who="bob"), status(WED + HOUR, "converted", "f1", who="ada"),
    )  # fmt: skip
    result = both(*facts)
    assert rewards(result, "bob") == [("denied", "duplicate", shown(WED))]
    assert rewards(result, "ada") == [("granted", "", shown(WED + HOUR))]


@rule("A5.3")
def test_at_one_instant_the_smaller_customer_and_referral_are_first() -> None:
    tie = given(ELEVEN, "f1", ref="x", who="bob"), given(ELEVEN, "f2", ref="x", who="ada")
    facts = *tie, status(WED, "converted", "f1", who="bob"), status(WED, "converted", "f2", who="ada")
    result = both(*facts)
    assert (rewards(result, "ada")[0][0], rewards(result, "bob")[0][0]) == ("granted", "denied")


@rule("A4.10")
def test_a_referral_id_belongs_to_who_used_it_first_and_a_contact_counts_once_for_one_customer() -> None:
    facts = given(ELEVEN, "f1", who="ada"), given(ELEVEN + MS, "f1", ref="other", who="bob")
    result = both(*facts, status(WED, "converted", "f1", who="bob"))
    assert rewards(result, "bob") == [("denied", "duplicate", shown(WED))]
    result = paid(given(ELEVEN + MS, "f2", ref="hmac of f1"), status(WED, "converted", "f2"))
    assert rewards(result) == [("denied", "duplicate", shown(WED))]


@pytest.mark.parametrize("word", ["rejected", "refunded"])
@rule("A5.3")
def test_a_claim_is_released_and_a_status_that_comes_back_claims_anew(word: str) -> None:
    first = given(ELEVEN, "f1", ref="x", who="ada"), given(ELEVEN + HOUR, "f2", ref="x", who="bob")
    gone = status(ELEVEN + 2 * HOUR, word, "f1", who="ada")
    back = status(ELEVEN + 3 * HOUR, "contacted", "f1", who="ada"), status(WED + HOUR, "converted", "f1", who="ada")
    result = both(*first, gone, *back, status(WED, "converted", "f2", who="bob"))
    assert rewards(result, "bob") == [("granted", "", shown(WED))]
    assert rewards(result, "ada") == [("denied", "duplicate", shown(WED + HOUR))]


@rule("A5.3", "A5.4", "A13.15")
def test_a_claim_lapses_and_a_given_grant_holds_its_contact_also_when_its_referrer_is_erased() -> None:
    first = given(ELEVEN, "f1", ref="x", who="ada"), given(ELEVEN + MS, "f2", ref="x", who="bob")
    taken = status(ELEVEN + 10 * DAY, "converted", "f1", who="ada")
    erased = fact("customer.erasure_requested", ELEVEN + 11 * DAY, who="ada")
    for facts, when, outcome in (
        ((), ELEVEN + 19 * DAY, "denied"),
        ((), ELEVEN + 20 * DAY, "granted"),
        ((erased,), ELEVEN + 12 * DAY, "granted"),
        ((taken, erased), ELEVEN + 20 * DAY, "denied"),
        ((taken,), ELEVEN + 30 * DAY - MS, "denied"),
    ):
        result = both(*first, *facts, status(when, "converted", "f2", who="bob"), rules={"claim_days": 20})
        assert rewards(result, "bob")[0][0] == outcome


@rule("A4.10", "A4.14")
def test_caps_of_a_customer_and_an_account_are_free_again_after_a_reversal() -> None:
    facts = given(ELEVEN, "f2"), status(WED, "converted"), status(WED + DAY, "converted", "f2")
    assert rewards(paid(*facts, rules={"per_customer": 1}))[1:] == [("denied", "customer_cap", shown(WED + DAY))]
    freed = status(WED + HOUR, "refunded")
    assert [row[0] for row in rewards(paid(*facts, freed, rules={"per_customer": 1}))] == [
        "granted", "reversed", "granted",
    ]  # fmt: skip
    told = given(ELEVEN, "f1", who="ada"), given(ELEVEN, "f2", who="bob")
    converted = status(WED, "converted", "f1", who="ada"), status(WED, "converted", "f2", who="bob")
    result = both(*told, *converted, rules={"per_account": 1}, account_id="acme")
    assert (rewards(result, "ada")[0][0], rewards(result, "bob")[0][:2]) == ("granted", ("denied", "account_cap"))


@rule("A5.9")
def test_erasure_denies_what_is_not_granted_and_ends_everything() -> None:
    erased = fact("customer.erasure_requested", WED + DAY)
    result = paid(status(WED, "converted"), erased, status(WED + 2 * DAY, "refunded"), rules={"holding_days": 5})
    assert rewards(result) == [("denied", "erased", shown(WED + DAY))]
    assert follow(result, "read_reward") == []
    assert result.records == []
    result = paid(status(WED, "converted"), erased, status(WED + 2 * DAY, "refunded"))
    assert rewards(result) == [("granted", "", shown(WED))]
