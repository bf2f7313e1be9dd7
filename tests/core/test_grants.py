"""The ledger's rules for rewards, boundary by boundary."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import cast

import pytest

from referral_stream.core.effects import Body
from referral_stream.core.events import GrantGiven, GrantRefused, GrantUnavailable
from referral_stream.core.instants import DAY
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger, rebuilt_days
from referral_stream.core.ledger.grants import granting_order, held_for
from referral_stream.core.policy import Policy
from tests.ledger.builders import (
    T0,
    a_claim,
    a_grant_request,
    claims_released,
    its_confirmation,
    its_release,
)
from tests.rules import rule

YEAR = 365 * DAY


def limited(**rewards: int) -> Policy:
    return Policy.model_validate({"rewards": rewards})


def words(records: Iterable[Body], policy: Policy | None = None) -> list[str]:
    """What the ledger says to the requests among these records of ``ledger-requests``, told one after the other."""
    ledger = MemoryLedger(policy or Policy())
    return [word for each in records if (word := _word(ledger.apply(cast("LedgerOperation", each))))]


def _word(answer: object) -> str:
    match answer:
        case GrantGiven():
            return "given"
        case GrantUnavailable():
            return "unavailable"
        case GrantRefused(reason=reason):
            return reason
        case _:
            return ""


ANA = a_grant_request("r-ana", customer="ana", now=T0 + 10)
BEN = a_grant_request("r-ben", customer="ben", now=T0 + 11)


# ---- who was first


@rule("A5.3", "A4.10")
def test_whoever_named_the_contact_first_gets_the_reward_whoever_asks_first() -> None:
    claims = [a_claim("r-ben", customer="ben", now=T0 + 1), a_claim("r-ana", customer="ana", now=T0)]
    assert words([*claims, BEN, ANA]) == ["duplicate", "given"]


@rule("A5.3")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ana", "r-9"), ("ben", "r-1")),
        (("ana", "r-1"), ("ana", "r-2")),
    ],
    ids=["then the smaller customer", "then the smaller referral"],
)
def test_of_two_claims_of_one_instant_the_smaller_is_first(one: tuple[str, str], other: tuple[str, str]) -> None:
    claims = [a_claim(referral, customer=customer) for customer, referral in (other, one)]
    requests = [a_grant_request(referral, customer=customer, now=T0 + 1) for customer, referral in (other, one)]
    assert words([*claims, *requests]) == ["duplicate", "given"]


@rule("A5.2", "A5.3")
def test_one_key_that_somebody_else_named_first_is_enough() -> None:
    claims = [
        a_claim("r-ana", keys=("ref", "mail"), now=T0 + 1),
        a_claim("r-ben", customer="ben", keys=("mail",), now=T0),
    ]
    asked = a_grant_request("r-ana", keys=("ref", "mail"), now=T0 + 2)
    assert words([*claims, asked]) == ["duplicate"]
    assert words([*claims, asked.model_copy(update={"contact_keys": ("ref",)})]) == ["given"]


@rule("A4.10")
def test_another_customer_who_named_the_same_referral_id_first_refuses_it() -> None:
    claims = [
        a_claim("r-1", customer="ben", keys=("lee",), now=T0),
        a_claim("r-1", customer="ana", keys=("kim",), now=T0 + 1),
    ]
    asked = [
        a_grant_request("r-1", customer="ana", keys=("kim",), now=T0 + 2),
        a_grant_request("r-1", customer="ben", keys=("lee",), now=T0 + 2),
    ]
    assert words([*claims, *asked]) == ["duplicate", "given"]


@rule("A10.5")
def test_a_claim_that_is_told_again_later_changes_nothing() -> None:
    claims = [a_claim(now=T0), a_claim("r-ben", customer="ben", now=T0 + 1), a_claim(now=T0 + 2)]
    assert words([*claims, BEN, ANA]) == ["duplicate", "given"]


@rule("A5.3")
@pytest.mark.parametrize(("after", "says"), [(YEAR - 1, "duplicate"), (YEAR, "given"), (YEAR + 1, "given")])
def test_a_claim_counts_365_days(after: int, says: str) -> None:
    claims = [a_claim("r-ana", now=T0), a_claim("r-ben", customer="ben", now=T0 + 1)]
    assert words([*claims, BEN.model_copy(update={"now": T0 + after})]) == [says]


@rule("A5.3")
def test_how_long_a_claim_counts_is_a_matter_of_the_policy() -> None:
    claims = [a_claim("r-ana", now=T0), a_claim("r-ben", customer="ben", now=T0 + 1)]
    asked = BEN.model_copy(update={"now": T0 + 30 * DAY})
    assert words([*claims, asked], limited(claim_days=30)) == ["given"]
    assert words([*claims, asked], limited(claim_days=31)) == ["duplicate"]


@rule("A10.5")
def test_a_repeated_claim_makes_the_first_no_longer_and_one_after_its_end_begins_anew() -> None:
    ana = [a_claim(now=T0), a_claim(now=T0 + 100 * DAY)]
    ben = a_claim("r-ben", customer="ben", now=T0 + 200 * DAY)
    asked = BEN.model_copy(update={"now": T0 + 370 * DAY})
    assert words([*ana, ben, asked]) == ["given"]

    anew = a_claim(now=T0 + 366 * DAY)
    late = a_claim("r-cem", customer="cem", now=T0 + 367 * DAY)
    assert words([*ana, anew, late, a_grant_request("r-cem", customer="cem", now=T0 + 368 * DAY)]) == ["duplicate"]


@rule("A5.3")
def test_a_released_claim_makes_room_and_a_status_that_comes_back_claims_anew() -> None:
    claims = [a_claim("r-ana", now=T0), a_claim("r-ben", customer="ben", now=T0 + 1), claims_released(now=T0 + 2)]
    assert words([*claims, BEN]) == ["given"]
    assert words([*claims, a_claim("r-ana", now=T0 + 3), BEN, ANA]) == ["given", "duplicate"]


@rule("A10.5")
def test_a_release_counts_also_when_it_comes_first_and_is_void_against_a_newer_claim() -> None:
    ben = a_claim("r-ben", customer="ben", now=T0 + 5)
    told = [a_claim(now=T0), claims_released(now=T0 + 2), ben]
    for order in permutations(told):
        assert words([*order, BEN]) == ["given"], order
    for order in permutations([*told, a_claim(now=T0 + 3)]):
        assert words([*order, BEN]) == ["duplicate"], order


@rule("A10.5")
def test_of_two_claims_a_release_ends_the_older_one() -> None:
    ben = a_claim("r-ben", customer="ben", now=T0 + 3)
    for order in permutations([a_claim(now=T0), a_claim(now=T0 + 4), claims_released(now=T0 + 2)]):
        assert words([ben, *order, ANA, BEN]) == ["duplicate", "given"], order


@rule("A5.3")
def test_a_status_that_comes_back_in_the_instant_of_its_end_claims_anew() -> None:
    ben = a_claim("r-ben", customer="ben", now=T0 + 3)
    ended, again = claims_released(now=T0 + 2), a_claim(now=T0 + 2)
    assert words([a_claim(now=T0), ended, again, ben, BEN]) == ["duplicate"]
    assert words([a_claim(now=T0), again, ended, ben, BEN]) == ["given"]


@rule("A10.5")
def test_a_request_claims_its_keys_at_its_own_instant_if_nobody_did() -> None:
    ana = a_grant_request("r-ana", now=T0 + 5)
    for later, says in ((T0 + 4, "duplicate"), (T0 + 5, "given"), (T0 + 6, "given")):
        assert words([a_claim("r-ben", customer="ben", now=later), ana]) == [says]
    assert words([a_claim("r-abe", customer="abe", now=T0 + 5), ana]) == ["duplicate"], "the smaller of two at once"
    assert words([ana, a_claim("r-ben", customer="ben", now=T0), BEN]) == ["given", "duplicate"], "and then holds them"


@rule("A10.5")
def test_what_a_refused_request_has_claimed_ends_with_it() -> None:
    refused = limited(per_account=0)
    ana = a_grant_request("r-ana", account="acme", now=T0)
    assert words([ana, a_claim("r-ben", customer="ben", now=T0 + 1), BEN], refused) == ["account_cap", "given"]


@rule("A4.10")
def test_a_referral_is_named_by_each_key_that_its_contact_is_claimed_by() -> None:
    """Also by one that became known later, when the claim of the first has lapsed."""
    ben = a_claim("r-1", customer="ben", keys=("lee",), now=T0 + 15 * DAY)
    asked = a_grant_request("r-1", customer="ben", keys=("lee",), now=T0 + 25 * DAY)
    first, later = a_claim("r-1", keys=("kim",)), a_claim("r-1", keys=("kim's mail",), now=T0 + 10 * DAY)
    assert words([first, ben, asked], limited(claim_days=20)) == ["given"]
    assert words([first, later, ben, asked], limited(claim_days=20)) == ["duplicate"]


# ---- what was given


@rule("A5.4")
@pytest.mark.parametrize(("after", "says"), [(YEAR - 1, "duplicate"), (YEAR, "given")])
def test_a_given_grant_holds_its_keys_though_its_claim_has_lapsed_or_was_released(after: int, says: str) -> None:
    given = [a_claim(now=T0), ANA.model_copy(update={"now": T0 + 300 * DAY})]
    ben = [
        a_claim("r-ben", customer="ben", now=T0 + 301 * DAY),
        a_grant_request("r-ben", customer="ben", now=T0 + 300 * DAY + after),
    ]
    assert words([*given, *ben]) == ["given", says]
    assert words([*given, claims_released(now=T0 + 300 * DAY + 1), *ben]) == ["given", says]


@rule("A13.15")
def test_erasing_a_referrer_frees_nothing_that_was_given() -> None:
    """An erasure releases claims and what was asked for, not what was given."""
    told = [a_claim(now=T0), ANA, its_confirmation(ANA), claims_released(now=T0 + 20)]
    assert words([*told, BEN.model_copy(update={"now": T0 + 21})]) == ["given", "duplicate"]


@rule("A4.10", "A10.5")
def test_given_stays_given() -> None:
    again = ANA.model_copy(update={"now": T0 + 50})
    earlier = a_claim("r-ben", customer="ben", now=T0)
    assert words([ANA, ANA, earlier, again], limited(per_customer=1)) == ["given"] * 3


@rule("A10.5")
def test_what_was_refused_is_judged_anew() -> None:
    policy = limited(per_customer=1)
    other = a_grant_request("r-2", keys=("lee",), now=T0 + 11)
    again = other.model_copy(update={"now": T0 + 13})
    assert words([ANA, other, its_release(ANA, T0 + 12), again], policy) == ["given", "customer_cap", "given"]


@rule("A10.5")
@pytest.mark.parametrize(("later", "says"), [(-1, "given"), (0, "unavailable"), (1, "unavailable")])
@pytest.mark.parametrize("was_given", [False, True])
def test_a_request_that_is_not_newer_than_its_release_is_unavailable(later: int, says: str, was_given: bool) -> None:
    release = its_release(ANA, ANA.now + later)
    assert words([*([ANA] if was_given else []), release, ANA])[-1] == says


@rule("A10.5")
def test_a_release_that_is_older_than_a_newer_request_is_void() -> None:
    again = ANA.model_copy(update={"now": T0 + 20})
    for order in permutations([ANA, again, its_release(ANA, T0 + 15)]):
        assert words([*order, a_grant_request("r-2", keys=("lee",), now=T0 + 21)], limited(per_customer=1))[-1] == (
            "customer_cap"
        ), order


@rule("A10.5")
@pytest.mark.parametrize(("released", "counts"), [(-1, True), (0, False), (1, False)])
def test_a_confirmation_counts_and_restores_unless_a_newer_release_is_known(released: int, counts: bool) -> None:
    told = (its_confirmation(ANA), its_release(ANA, ANA.now + released))
    for order in permutations(told):
        ledger = [*order, BEN.model_copy(update={"now": T0 + 20})]
        assert words(ledger) == ["duplicate" if counts else "given"], order


@rule("A10.5")
def test_a_confirmation_counts_whatever_the_caps_say() -> None:
    other = a_grant_request("r-2", keys=("lee",), now=T0 + 1)
    third = a_grant_request("r-3", keys=("max",), now=T0 + 20)
    told = [ANA, its_confirmation(other), its_release(ANA, T0 + 11), third]
    assert words(told, limited(per_customer=1)) == ["given", "customer_cap"]


@rule("A10.5")
def test_everything_may_be_told_twice() -> None:
    once = [a_claim(), ANA, its_confirmation(ANA), its_release(ANA, T0 + 20), claims_released(now=T0 + 20)]
    asked = [
        a_claim("r-ben", customer="ben", now=T0 + 21),
        a_grant_request("r-ben", customer="ben", now=T0 + 22),
        ANA,
    ]
    assert words([*once, *asked])[-2:] == words([*once, *once, *asked])[-2:] == ["given", "unavailable"]


# ---- the caps


@rule("A10.5", "A4.10")
@pytest.mark.parametrize(("after", "says"), [(0, "cap"), (YEAR - 1, "cap"), (YEAR, "given"), (YEAR + 1, "given")])
@pytest.mark.parametrize("whose", ["customer", "account"])
def test_as_many_grants_in_365_days_as_the_policy_says(whose: str, after: int, says: str) -> None:
    policy = limited(**{f"per_{whose}": 2})
    customers = ["ana", "ana", "ana"] if whose == "customer" else ["ana", "ben", "cem"]
    first, second, third = (
        a_grant_request(f"r-{n}", customer=customer, account="acme", keys=(f"{n}",), now=at)
        for n, (customer, at) in enumerate(zip(customers, (T0, T0, T0 + after), strict=True))
    )
    assert words([first, second, third], policy) == ["given", "given", f"{whose}_cap" if says == "cap" else says]


@rule("A4.10")
def test_the_first_reason_is_told() -> None:
    policy = limited(per_customer=0, per_account=0)
    ana = a_grant_request(account="acme", now=T0 + 1)
    assert words([a_claim("r-ben", customer="ben"), ana], policy) == ["duplicate"]
    assert words([ana], policy) == ["customer_cap"]
    assert words([ana], limited(per_account=0)) == ["account_cap"]
    assert words([ana.model_copy(update={"account_id": None})], limited(per_account=0)) == ["given"]


@rule("A4.14")
def test_a_reversed_grant_frees_its_place_under_the_caps_and_its_keys() -> None:
    policy = limited(per_account=1)
    ana = a_grant_request("r-ana", account="acme", now=T0)
    ben = a_grant_request("r-ben", customer="ben", account="acme", now=T0 + 9)
    told = [ana, its_confirmation(ana), its_release(ana, T0 + 5), claims_released(now=T0 + 5), ben]
    assert words(told, policy) == ["given", "given"]


@rule("A10.5")
def test_two_at_once_and_a_limit_of_one() -> None:
    """Whatever the order in which their requests arrive, and whoever's clock is behind."""
    policy = limited(per_account=1)
    ana = a_grant_request("r-ana", customer="ana", account="acme", keys=("kim",), now=T0 + 1)
    ben = a_grant_request("r-ben", customer="ben", account="acme", keys=("lee",), now=T0)
    assert words([ana, ben], policy) == ["given", "account_cap"]
    assert words([ben, ana], policy) == ["given", "account_cap"]


@rule("A5.3")
def test_two_at_once_and_one_contact() -> None:
    for order in permutations([ANA, BEN]):
        assert words(order) == ["given", "duplicate"]
    claims = [a_claim("r-ana", now=T0), a_claim("r-ben", customer="ben", now=T0)]
    for mixed in permutations([*claims, ANA, BEN]):
        assert words(mixed).count("given") <= 1, mixed


# ---- the order, and what a rebuild takes


@rule("A0.6")
def test_requests_of_one_instant_are_answered_by_customer_and_grant_id() -> None:
    requests = [a_grant_request(f"r-{n}", customer=who) for who in ("cem", "ana", "ben") for n in (2, 1)]
    ordered = [(each.customer_id, each.referral_id) for each in granting_order(requests)]
    assert ordered == [(who, f"r-{n}") for who in ("ana", "ben", "cem") for n in (1, 2)]


@rule("A10.5")
def test_a_rebuild_gives_what_the_log_says_was_given_and_nothing_else() -> None:
    ledger = MemoryLedger(limited(per_account=1))
    ana, ben = (a_grant_request(f"r-{who}", customer=who, account="acme", keys=(who,)) for who in ("ana", "ben"))
    log: list[LedgerOperation] = [ana, ben, held_for(ben, 1, T0 + 1)]
    for record in log:
        ledger.recall(record)
    again = [each.model_copy(update={"now": T0 + 2}) for each in (ana, ben)]
    assert [_word(ledger.apply(each)) for each in again] == ["account_cap", "given"]


@rule("A10.5")
@pytest.mark.parametrize(("rewards", "days"), [({}, 365), ({"claim_days": 30}, 365), ({"claim_days": 700}, 700)])
def test_what_the_ledger_is_rebuilt_from_reaches_back_as_far_as_claims_and_grants_count(
    rewards: dict[str, int], days: int
) -> None:
    assert rebuilt_days(limited(**rewards)) == days + 30
