"""What follows an ask: the engine and the oracle, written from the specification alone, say the same.

More worlds than the default: ``TESTS_WORLDS=50000``.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, NamedTuple, NoReturn

import orjson
import pytest

from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import (
    FollowupCancelled,
    FollowupRequested,
    RecordChanged,
    RecordForgotten,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import build_policy
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.virtual_run import Happened
from tests.oracle.naive import decide
from tests.oracle.records import clock_of
from tests.properties.comparing import (
    Record,
    account_of_engine,
    account_of_oracle,
    arrivals,
    differences,
    played,
    smallest,
)
from tests.properties.recording import Recording
from tests.replay.logs import recorded_records
from tests.rules import rule
from tests.worlds.afterwards import World, stirred, world

WORLDS = int(os.environ.get("TESTS_WORLDS", "200"))
AT_ONCE = 20

STIRRED_ONCE = {
    1548: "what is said again is said in the order in which it was said first",
    1825: "a status that nobody is told of is no instant at which anything is looked at",
    2228: "nobody is late with a care that nobody is to take any more",
    3840: "what is learned when its wait is over is regretted all the same",
    4277: "who takes care hears of a withdrawn consent if they heard of one",
}
"""Seeds of worlds on which the engine and the oracle differed once they were stirred, and on what."""

PLAIN_ONCE = {
    10490: "a second silence changes when the customer may be asked again, by no event",
    17474: "an address learned while an ask has failed counts for it when an answer shows that it was sent",
}
"""Likewise, as they came."""

FOLLOWUPS = (FollowupRequested, FollowupCancelled)
REWARDS = (RewardHeld, RewardGranted, RewardDenied, RewardReversed)
NOT_COMPARED = frozenset({"policy", "traceparent", "ids"})
"""What the oracle does not know."""


SECTIONS = ("followups", "referrals", "rewards", "experiments")
"""Of the policy, under the same names in both."""


class Told(NamedTuple):
    """Whole messages, as on the wire, in the order of the files."""

    followups: list[Record]
    rewards: list[Record]
    records: list[Record]


def policy_of(given: dict[str, Any]) -> Policy:
    """The engine's policy for what the oracle's is given."""
    file: dict[str, Any] = {name: given[name] for name in SECTIONS if name in given}
    file["holdout"] = {"percent": float(given.get("holdout_share", 0.05)) * 100}
    if "customer_cap_days" in given:
        file["caps"] = {"customer_days": given["customer_cap_days"]}
    if "shadow" in given:
        file["shadow"] = given["shadow"]
    if "strict_zones" in given:
        file["time_zone"] = {"default": given["default_zone"], "strict": True, "zones": given["strict_zones"]}
    triggers = {name: {"mode": "mutual_benefit"} for name in given.get("mutual_benefit_triggers", ())}
    return build_policy({**file, "triggers": triggers})


def told_by_engine(happened: list[Happened]) -> Told:
    newest: dict[str, Record] = {}
    for item in happened:
        if isinstance(item.effect, RecordChanged):
            newest[item.effect.customer_id] = orjson.loads(encode_effect(item.effect, item.now))
        elif isinstance(item.effect, RecordForgotten):
            newest.pop(item.effect.customer_id, None)
    rows = sorted(happened, key=lambda item: (item.now, item.effect.customer_id.encode()))
    return Told(
        followups=[orjson.loads(encode_effect(e, now)) for now, e in rows if isinstance(e, FOLLOWUPS)],
        rewards=[orjson.loads(encode_effect(e, now)) for now, e in rows if isinstance(e, REWARDS)],
        records=[newest[name] for name in sorted(newest, key=str.encode)],
    )


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a message, by their place."""
    if isinstance(value, dict):
        if "template" in value and "arm" not in value:  # the oracle names templates by trigger and mode
            value = {name: each for name, each in value.items() if name != "template"}
        inner = ((f"{path}.{name}", each) for name, each in value.items() if name not in NOT_COMPARED)
    elif isinstance(value, list):
        inner = ((f"{path}[{n}]", each) for n, each in enumerate(value))
    else:
        return {path: value}
    return {place: leaf for name, each in inner for place, leaf in flat(each, name).items()}


def told(row: Record) -> dict[str, Any]:
    return flat({**{name: row.get(name) for name in ("type", "time", "id", "subject")}, "data": row["data"]})


def apart(made: World, records: list[Record]) -> list[str]:
    """One line per point on which they differ, the engine's word first."""
    policy = policy_of(made.policy)
    happened, result = played(records, policy), decide(records, policy=made.policy)
    engine, oracle = told_by_engine(happened), Told(result.followups, result.rewards, result.records)
    found = differences(account_of_engine(happened), account_of_oracle(result))
    for name in Told._fields:
        ours, theirs = (
            {(row["type"], key(row)): told(row) for row in getattr(each, name)} for each in (engine, oracle)
        )
        for one in sorted({*ours, *theirs}):
            mine, other = ours.get(one, {}), theirs.get(one, {})
            if not mine or not other:
                found.append(f"{name}: only the {'engine' if mine else 'oracle'}: {mine or other}")
            else:
                found += [f"{name} {one}{place}: engine {mine.get(place)}, oracle {other.get(place)}"
                          for place in sorted({*mine, *other}) if mine.get(place) != other.get(place)]  # fmt: skip
        if not found and list(ours) != list(theirs):
            found.append(f"{name}: in another order")
    return found


def key(row: Record) -> str:
    """What makes two accounts speak of one message: of a record, the customer."""
    return str(row["subject"] if row["type"] == "referral.record.changed" else row["id"])


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_engine_and_oracle_say_the_same_of_what_follows(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE, WORLDS)):
        made = world(seed)
        if made.merges:  # test_merged_worlds and test_persons see to these
            continue
        if apart(made, made.records):
            _fail(made, made.records)


@rule("A0.1", "A9.4")
@pytest.mark.parametrize("first", range(0, WORLDS // 4, AT_ONCE))
def test_they_say_the_same_in_any_order_of_arrival(first: int) -> None:
    """What arrives twice, and before what led to it, is refused and counted alike."""
    for seed in range(first, min(first + AT_ONCE, WORLDS // 4)):
        made = world(seed)
        if not made.merges and apart(made, records := stirred(made)):
            _fail(made, records)


@pytest.mark.parametrize("seed", STIRRED_ONCE, ids=list(STIRRED_ONCE.values()))
def test_what_differed_once_in_another_order_is_decided_alike(seed: int) -> None:
    made = world(seed)
    if apart(made, records := stirred(made)):
        _fail(made, records)


@rule("A6.14")
@pytest.mark.parametrize("seed", PLAIN_ONCE, ids=list(PLAIN_ONCE.values()))
def test_what_differed_once_is_decided_alike(seed: int) -> None:
    made = world(seed)
    if apart(made, made.records):
        _fail(made, made.records)


def _fail(made: World, records: list[Record]) -> NoReturn:
    """With the smallest log that shows it."""
    records = smallest(records, lambda fewer: bool(apart(made, fewer)))
    log = "\n".join(orjson.dumps(record).decode() for record in records)
    pytest.fail(f"seed {made.seed}, {made.policy}:\n{log}\n\n" + "\n".join(apart(made, records)), pytrace=False)


@rule("A0.1")
@pytest.mark.parametrize("seed", range(40))
def test_what_follows_replays_as_it_was_recorded(seed: int) -> None:
    """Byte for byte, merges included."""
    made = world(seed)
    clock = [round(now.timestamp() * 1000) for now in clock_of(made.records)]
    recording = Recording(policy_of(made.policy)).run(arrivals(made.records, clock))
    exact = ExactReplay(policy_of(made.policy))
    again = [item for items in exact.run(recorded_records(recording.log)) for item in items]
    assert [encode_effect(*item[::-1]) for item in again] == [encode_effect(*item[::-1]) for item in recording.happened]
    assert exact.customers == recording.customers
    exact.compare()


@rule("A12.1")
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_nobody_is_paid_twice_nor_spoken_to_after_a_stop(seed: int) -> None:
    """Also where two customers turn out to be one."""
    made = world(seed)
    clock = [round(now.timestamp() * 1000) for now in clock_of(made.records)]
    paid: Counter[tuple[str, str]] = Counter()
    arriving = {arrival.now: arrival.event for arrival in arrivals(made.records, clock)}
    stops = {event.subject: now for now, event in sorted(arriving.items(), reverse=True)
             if event.type == "ask.answered" and event.data.answer == "stop"}  # fmt: skip
    for now, effect in played(made.records, policy_of(made.policy)):
        match effect:
            case RewardGranted():
                paid[effect.customer_id, effect.referral_id] += 1
            case FollowupRequested(audience="customer"):
                assert now < stops.get(effect.customer_id, now + 1)
            case _:
                pass
    assert not [grant for grant, times in paid.items() if times > 1]
