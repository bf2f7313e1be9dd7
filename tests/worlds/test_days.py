from __future__ import annotations

import hashlib

import orjson
from hypothesis import HealthCheck, given, settings

from tests.properties.comparing import by_engine, by_oracle, differences
from tests.worlds.days import World, world, worlds
from tests.worlds.policies import POLICIES


def test_a_seed_gives_the_same_world_on_every_machine() -> None:
    """What once differed is known by its seed (``tests/properties/test_against_oracle.py``)."""
    found = hashlib.sha256(b"\n".join(orjson.dumps([w.policy, w.records]) for w in map(world, range(100))))
    assert found.hexdigest()[:16] == "52fbf44a5de8deb0"


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_engine_and_oracle_decide_drawn_worlds_alike(drawn: World) -> None:
    policy, overrides = POLICIES[drawn.policy]
    assert differences(by_engine(drawn.records, policy), by_oracle(drawn.records, overrides)) == []
