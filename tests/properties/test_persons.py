"""Nobody is asked against their word, under whichever id, address or object they gave it.

Worlds are told with ids, links and merges; the oracle knows who is who. More worlds than the default:
``TESTS_WORLDS=5000``.
"""

from __future__ import annotations

import os
from typing import Any

import orjson
import pytest

from referral_stream.core.policy import Holdout, Policy
from tests.oracle.persons import told_as_one, wrongs
from tests.oracle.records import instant, shown, uid
from tests.properties.comparing import Account, Record, by_engine, by_oracle, differences, smallest
from tests.worlds.persons import Crowd, crowd, halves

WORLDS = int(os.environ.get("TESTS_WORLDS", "75"))
AT_ONCE = 25
POLICY, OVERRIDES = Policy(holdout=Holdout(percent=0)), {"holdout_share": 0}
FORGOTTEN = ("customer.aliased", "customer.linked")


def wrong(records: list[Record], account: Account) -> list[str]:
    asks: list[dict[str, Any]] = [
        {"customer": a[0], "command_id": a[3], "channels": a[5], "at": instant(a[6]), "expires_at": instant(a[7])}
        for a in account.asks
    ]
    return wrongs(records, asks, dict(account.cancelled))


def failing(seed: int, records: list[Record], found: list[str]) -> None:
    log = "\n".join(orjson.dumps(record).decode() for record in records)
    pytest.fail(f"seed {seed}:\n{log}\n\n" + "\n".join(found), pytrace=False)


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_nobody_is_asked_who_should_not_be(first: int) -> None:
    asked = 0
    for seed in range(first, first + AT_ONCE):
        records = crowd(seed).records
        account = by_engine(records, POLICY)
        asked += len(account.asks)
        if wrong(records, account):
            records = smallest(records, lambda fewer: bool(wrong(fewer, by_engine(fewer, POLICY))))
            failing(seed, records, wrong(records, by_engine(records, POLICY)))
    assert asked, "nobody was asked in any of these worlds"


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_engine_and_oracle_know_alike_who_is_who(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        records = crowd(seed).records
        if alike(records):
            records = smallest(records, lambda fewer: bool(alike(fewer)))
            failing(seed, records, alike(records))


def alike(records: list[Record]) -> list[str]:
    return differences(by_engine(records, POLICY), by_oracle(records, OVERRIDES))


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_two_halves_that_are_merged_go_the_way_of_one_customer(first: int) -> None:
    asked = 0
    for seed in range(first, first + AT_ONCE):
        made = halves(seed)
        one = by_oracle(as_one(made, made.records), OVERRIDES)
        asked += len(one.asks)
        found = apart(made, made.records)
        if found:
            records = smallest(made.records, lambda fewer, made=made: bool(apart(made, fewer)))  # type: ignore[misc]
            failing(seed, records, apart(made, records))
    assert asked, "nobody was asked in any of these worlds"


def as_one(made: Crowd, records: list[Record]) -> list[Record]:
    commands = {name: uid("command", made.who.get(c, c), t, s, 1) for name, (c, t, s) in made.commands.items()}
    return told_as_one(records, made.who, commands)


def apart(made: Crowd, records: list[Record]) -> list[str]:
    """On what the merged customer and the one who was always one differ after the merge."""
    if not any(record["value"]["type"] == "customer.aliased" for record in records):
        return []
    merged = shown(instant(made.merged_at))
    return differences(
        since(merged, by_engine(records, POLICY)), since(merged, by_oracle(as_one(made, records), OVERRIDES))
    )


def since(instant: str, account: Account) -> Account:
    """What was decided from that instant on about what opened then."""
    histories = {name: history for name, history in account.histories.items() if history[0][3] > instant}
    return Account(
        asks=[ask for ask in account.asks if ask[6] > instant],
        cancelled=[(command, at) for command, at in account.cancelled if at > instant],
        histories=histories,
        repeats=[(name, at) for name, at in account.repeats if name in histories],
    )


# That these properties can fail, and that the oracle itself holds to them.


def test_the_oracle_asks_nobody_who_should_not_be() -> None:
    asked = 0
    for seed in range(50):
        records = crowd(seed).records
        account = by_oracle(records, OVERRIDES)
        asked += len(account.asks)
        assert wrong(records, account) == [], seed
    assert asked > 25


@pytest.mark.parametrize("forgotten", FORGOTTEN)
def test_whoever_forgets_who_is_who_is_found_out(forgotten: str) -> None:
    found = 0
    for seed in range(60):
        records = crowd(seed).records
        forgetful = [record for record in records if record["value"]["type"] != forgotten]
        found += bool(wrong(records, by_oracle(forgetful, OVERRIDES)))
    assert found


def test_the_oracle_merges_two_halves_into_one_customer() -> None:
    asked = 0
    for seed in range(40):
        made = halves(seed)
        merged = shown(instant(made.merged_at))
        one, two = (by_oracle(log, OVERRIDES) for log in (as_one(made, made.records), made.records))
        assert differences(since(merged, two), since(merged, one)) == [], seed
        asked += len(one.asks)
    assert asked > 10
