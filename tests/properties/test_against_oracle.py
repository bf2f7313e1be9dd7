"""The engine and an oracle written from the pages alone decide random worlds alike, to the millisecond.

A failure names the seed of the world and prints the smallest log on which the two differ, ready to be replayed. More
worlds than the default: ``TESTS_WORLDS=5000``.
"""

from __future__ import annotations

import os

import orjson
import pytest

from tests.properties.comparing import Record, by_engine, by_oracle, differences, smallest
from tests.worlds import rulings
from tests.worlds.days import World, world
from tests.worlds.policies import POLICIES, RULINGS

WORLDS = int(os.environ.get("TESTS_WORLDS", "300"))
AT_ONCE = 25

DIFFERED_ONCE = {
    29: "what a backfill tells is no good moment",
    118: "a referral that converts again opens nothing more",
    183: "an ask does not hold back its own cancellation",
    219: "a rating older than the newest word on its ticket opens nothing",
    419: "a renewal after an end is a return",
    425: "a conversion told by a backfill is recorded when it would have opened",
    481: "conversions that open at one instant open in the order of their time",
    572: "a survey answer corrected downwards is no positive feedback",
    591: "the moment is planned for after a wait whose end is known",
    627: "a rival that could have spoken is shown as free to",
    748: "a withdrawal that comes after its own lifting holds whoever has the address",
    976: "a trial is open until it ends or becomes a subscription",
}
"""Seeds of worlds on which the engine and the oracle once differed, and on what."""


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_engine_and_oracle_decide_alike(first: int) -> None:
    asked = 0
    for seed in range(first, min(first + AT_ONCE, WORLDS)):
        asked += _asks_if_alike(world(seed))
    assert asked, "nobody was asked in any of these worlds"


@pytest.mark.parametrize("first", range(0, WORLDS // 2, AT_ONCE))
def test_engine_and_oracle_decide_alike_under_the_rulings(first: int) -> None:
    asked = 0
    for seed in range(first, min(first + AT_ONCE, WORLDS // 2)):
        asked += _asks_if_alike(rulings.world(seed))
    assert asked, "nobody was asked in any of these worlds"


@pytest.mark.parametrize("seed", DIFFERED_ONCE, ids=list(DIFFERED_ONCE.values()))
def test_what_differed_once_is_decided_alike(seed: int) -> None:
    _asks_if_alike(world(seed))


def _asks_if_alike(made: World) -> int:
    """The number of asks. Fails where engine and oracle differ, with the smallest log that shows it."""
    policy, overrides = (POLICIES | RULINGS)[made.policy]

    def compare(records: list[Record]) -> list[str]:
        return differences(by_engine(records, policy), by_oracle(records, overrides))

    if compare(made.records):
        records = smallest(made.records, lambda fewer: bool(compare(fewer)))
        log = "\n".join(orjson.dumps(record).decode() for record in records)
        found = "\n".join(compare(records))
        pytest.fail(f"seed {made.seed}, policy {made.policy!r}:\n{log}\n\n{found}", pytrace=False)
    return len(by_engine(made.records, policy).asks)
