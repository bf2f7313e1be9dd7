"""What must hold of what follows any ask (after §12), of random worlds, by counting alone."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.oracle import following
from tests.oracle.following import (
    ELEVEN,
    HOUR,
    MINUTE,
    PAID,
    T,
    ended,
    follow,
    followup,
    given,
    record,
    requested,
    status,
    unasked_ada,
)  # fmt: skip
from tests.oracle.followups import TO_CUSTOMER
from tests.oracle.naive import decide
from tests.oracle.records import instant, shown, uid
from tests.oracle.telling import DAY, a_customer, at, fact
from tests.oracle.world import Result
from tests.rules import rule
from tests.worlds.afterwards import World, world

SEEDS = range(40)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def played() -> list[tuple[World, Result]]:
    made = [world(seed) for seed in SEEDS]
    return [(one, decide(one.records, None, one.policy)) for one in made]


def requests(result: Result) -> list[Row]:
    return [row["data"] for row in result.followups if row["type"].endswith("requested")]


@rule("A12.1", "A0.9", "A0.10")
def test_each_follow_up_is_made_once_numbered_without_gaps_and_cancelled_only_after_that(
    played: list[tuple[World, Result]],
) -> None:
    for made, result in played:
        counted: Counter[tuple[str, str, str]] = Counter()
        state: dict[str, str] = {}
        for row in result.followups:
            body, name = row["data"], row["data"]["followup_id"]
            if row["type"].endswith("cancelled"):
                assert state[name] == "requested"
                state[name] = "cancelled"
                continue
            assert name not in state
            state[name] = "requested"
            about = body.get("command_id") or body["referral_id"]
            if body["kind"] == "report_back":
                about += f"/{body['variables']['status']}"
            counted[body["customer_id"], about, body["kind"]] += 1
            n = counted[body["customer_id"], about, body["kind"]]
            if not made.merges:
                assert name == uid("followup", body["customer_id"], about, body["kind"], n)
            earlier = [uid("followup", body["customer_id"], about, body["kind"], k) for k in range(1, n)]
            if body["kind"] in TO_CUSTOMER:
                assert all(state[one] == "cancelled" for one in earlier)


@rule("A2.1", "A2.8")
def test_instants_are_in_their_order(played: list[tuple[World, Result]]) -> None:
    for _, result in played:
        for body in requests(result):
            assert body["requested_at"] <= body["not_before"] <= body["due_by"] <= body["expires_at"]
            assert body["not_before"] < body["expires_at"]
            assert (body["audience"] == "customer") == ("channels" in body) == (body["kind"] in TO_CUSTOMER)
            assert "channels" not in body or body["channels"]


def arrived(made: World, kind: str, **said: str) -> dict[str, list[str]]:
    """Customer → when such events of theirs arrived."""
    found = defaultdict(list)
    for one in made.records:
        value = one["value"]
        if value["type"] == kind and said.items() <= value["data"].items():
            found[value.get("subject", "")].append(shown(instant(one["timestamp"])))
    return found


@rule("A12.1", "A13.1")
def test_nothing_goes_to_whom_said_stop_or_was_erased(played: list[tuple[World, Result]]) -> None:
    for made, result in played:
        stops = arrived(made, "ask.answered", answer="stop")
        gone = arrived(made, "customer.erasure_requested")
        for body in requests(result):
            who, at = body["customer_id"], body["requested_at"]
            assert not any(erased < at for erased in gone[who])
            if body["audience"] == "customer":
                assert not any(stop < at for stop in stops[who])
        erased_ones = {who for who, instants in gone.items() if instants}
        assert made.merges or erased_ones.isdisjoint(row["subject"] for row in result.records)


@rule("A12.1", "A4.15")
def test_a_referral_is_rewarded_once_and_what_is_taken_back_was_given(played: list[tuple[World, Result]]) -> None:
    for made, result in played:
        lives: dict[str, list[str]] = defaultdict(list)
        about: dict[str, tuple[str, str]] = {}
        for row in result.rewards:
            grant = row["data"]["grant_id"]
            lives[grant].append(row["type"].rpartition(".")[2])
            about[grant] = row["data"]["customer_id"], row["data"]["referral_id"]
            assert grant == uid("grant", *about[grant])
        for life in lives.values():
            without = [what for what in life if what != "held"]
            assert life[:1] == ["held"] or "held" not in life
            assert without in (["granted"], ["granted", "reversed"], ["denied"])
        assert made.merges or len(set(about.values())) == len(about)


@rule("A4.10")
def test_caps_are_kept(played: list[tuple[World, Result]]) -> None:
    for made, result in played:
        rules = made.policy["rewards"]
        given: dict[str, tuple[datetime, str, str | None]] = {}
        for row in result.rewards:
            body, at = row["data"], instant(row["time"])
            if row["type"].endswith("reversed"):
                del given[body["grant_id"]]
            elif row["type"].endswith("granted"):
                given[body["grant_id"]] = at, body["customer_id"], body.get("account_id")
                lately = [one for one in given.values() if at - timedelta(days=365) < one[0] <= at]
                assert sum(one[1] == body["customer_id"] for one in lately) <= rules["per_customer"]
                account = body.get("account_id")
                assert account is None or sum(one[2] == account for one in lately) <= rules["per_account"]


@rule("A12.1", "A6.11")
def test_a_record_is_a_recount(played: list[tuple[World, Result]]) -> None:
    ends = ("asked", "held_out", "shadowed", "missed", "superseded", "cancelled")
    for made, result in played:
        for row in result.records if not made.merges else ():
            body, who = row["data"], row["subject"]
            mine = [one for one in result.followups if one["subject"] == who]
            counted = Counter((one["type"].rpartition(".")[2], one["data"]["kind"]) for one in mine)
            for kind in {one["data"]["kind"] for one in mine}:
                assert body["followups"][kind]["requested"] == counted["requested", kind]
                assert body["followups"][kind].get("cancelled", 0) == counted["cancelled", kind]
            asked = [one["data"]["command_id"] for one in result.asks if one["subject"] == who]
            kinds = [ask["command_id"] for ask in body["asks"] if ask["kind"] in ("asked", "soft")]
            assert set(kinds) <= set(asked)
            for entry in body["months"]:
                over = sum(entry.get(end, 0) for end in ends) + sum(entry.get("blocked", {}).values())
                assert over <= entry["opened"]
                assert entry.get("eligible", 0) <= entry["opened"]
            assert body["referral_history"]["referrals_given"] == len(body["referred_contacts"])


def test_the_same_log_gives_the_same_account_twice() -> None:
    for seed in range(3):
        made = world(seed)
        assert decide(made.records, None, made.policy) == decide(made.records, None, made.policy)


@rule("A0.14")
def test_what_happened_before_a_part_was_active_is_historical_for_it() -> None:
    followups, rewards_since = {"followups": {"active_since": at("Wed 00:00")}}, {"active_since": at("Thu 00:00")}
    result = unasked_ada(given(ELEVEN), given(at("Wed 10:00"), "f2"), until=T + 2 * DAY, policy=followups)
    assert [row["data"]["referral_id"] for row in result.followups] == ["f2", "f2"]
    told = given(ELEVEN), given(ELEVEN, "f2"), status(at("Wed 10:00"), "converted")
    result = unasked_ada(
        *told, status(at("Thu 10:00"), "converted", "f2"), until=T + 4 * DAY, policy={"rewards": PAID | rewards_since}
    )
    assert [row["data"]["referral_id"] for row in result.rewards] == ["f2"]


@rule("A5.10")
def test_of_two_who_are_one_what_both_were_granted_counts_together() -> None:
    bob = [*a_customer(T, "bob"), given(ELEVEN, "f2", who="bob"), status(ELEVEN + HOUR, "converted", "f2", who="bob")]
    merged = fact("customer.aliased", ELEVEN + 2 * HOUR, {"alias": "bob"})
    own = given(ELEVEN), status(ELEVEN + DAY, "converted")
    policy = {"rewards": PAID | {"per_customer": 1}}
    result = unasked_ada(*bob, merged, *own, until=T + 500 * DAY, policy=policy)
    a_year_on = ELEVEN + HOUR + timedelta(days=365)
    assert following.rewards(result, "bob") == [("granted", "", shown(ELEVEN + HOUR))]
    assert following.rewards(result) == [("granted", "", shown(a_year_on))]


@rule("A5.10", "A2.15")
def test_of_two_who_are_one_the_absorbed_ones_follow_ups_are_made_again() -> None:
    bob = [*a_customer(T, "bob"), given(ELEVEN, who="bob"), status(ELEVEN + HOUR, "contacted", who="bob")]
    merged = fact("customer.aliased", ELEVEN + 2 * HOUR, {"alias": "bob"})
    later = status(ELEVEN + DAY, "converted", who="bob")
    result = unasked_ada(*bob, merged, later, until=T + 3 * DAY)
    at_once = ELEVEN + 2 * HOUR
    told = follow(result, "thank", "report_back", who="bob")
    assert told[:2] == [requested("thank", ELEVEN), requested("report_back", ELEVEN + HOUR + 15 * MINUTE)]
    assert sorted(told[2:]) == [ended("report_back", "merged", at_once), ended("thank", "merged", at_once)]
    assert [row[1:] for row in follow(result, "thank", "report_back")][:2] == [("+", shown(at_once))] * 2
    assert following.body(result, "thank")["followup_id"] == followup("thank", "f1", n=2)
    assert following.body(result, "thank")["expires_at"] == shown(ELEVEN + 48 * HOUR)
    assert [row["subject"] for row in result.records] == ["ada"]
    assert record(result)["referred_contacts"][0]["status"] == "converted"
