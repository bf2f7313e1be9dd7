"""Redis gives the answers of the rules in memory, answer for answer, on every server we run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from uuid import uuid4

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from referral_stream.core.asks import OpportunityOpened, ReservationRequested
from referral_stream.core.caps import Caps, Operation
from referral_stream.core.events import Scope
from referral_stream.core.instants import DAY, HOUR, SECOND
from referral_stream.core.policy import Policy
from referral_stream.ledger import RedisLedger
from referral_stream.local.errors import ServiceMissing
from referral_stream.local.redis_server import EmbeddedRedis
from tests.ledger.builders import (
    T0,
    a_confirmation,
    a_pause,
    a_release,
    a_request,
    a_resumption,
    an_opening,
    history,
)
from tests.services.redis import RedisServer

# Periods so short that a dozen records meet every boundary.
TIGHT = Policy.model_validate(
    {
        "caps": {"customer_days": 3, "account_gap_days": 1, "account_asks": 2, "account_days": 4},
        "breaker": {"floor": 2, "factor": 1, "hours": 3},
    }
)
ODD = Policy.model_validate(
    {
        "caps": {"customer_days": 0, "account_gap_days": 0, "account_asks": 1, "account_days": 1},
        "breaker": {"enabled": False},
    }
)
POLICIES = st.sampled_from([TIGHT, TIGHT, TIGHT, ODD, Policy()])

# A few names, so that they meet, and steps that add up to the periods of TIGHT, a millisecond before and after.
CUSTOMERS = ["ana", "ben", "cem", "çé ☂ %*[", "all trigger"]
SWITCHES: list[tuple[Scope, str | None]] = [("all", None), ("trigger", "nps_promoter"), ("segment", "smb")]
TRIGGERS = ["nps_promoter", "renewal of: two words"]
STEPS = [0, 0, 0, 0, 0, 0, 1, HOUR, HOUR, HOUR, 2 * HOUR, DAY // 2, DAY - 1, DAY, 2 * DAY]
KINDS = ["request"] * 12 + ["confirm", "release", "pause", "openings", "openings"] + ["resume"] * 5


def a_log(dice: Random, length: int) -> Iterator[Operation]:
    """What a ledger may be told: time moves on, but records come late, twice, and after the wrong ones."""
    clock, seen = T0, list[Operation]()
    for number in range(length):
        clock += dice.choice(STEPS)
        now = clock - dice.choice([0, 0, 0, 0, 1, HOUR, 2 * HOUR, DAY])
        some = [_an_operation(dice, number, now)] if dice.random() < 0.9 or not seen else [dice.choice(seen[-20:])]
        if isinstance(some[0], OpportunityOpened):
            some += [some[0].model_copy(update={"opportunity_id": f"{number} {n}"}) for n in range(dice.randrange(4))]
        seen += some
        yield from some


def _an_operation(dice: Random, number: int, now: int) -> Operation:
    command = f"command {dice.randint(number // 8, number // 8 + 3)}"
    match dice.choice(KINDS):
        case "request":
            request = a_request(
                command,
                customer=dice.choice(CUSTOMERS),
                account=dice.choice(["acme", "other", None]),
                email=dice.choice(["one", "two", None, None]),
                segment=dice.choice(["smb", "enterprise", None]),
                trigger=dice.choice(TRIGGERS),
                due=now,
                now=now + dice.choice([0, 0, 1]),
            )
            valid = dice.choice([30 * SECOND] * 8 + [0, -1])
            return request.model_copy(update={"valid_until": request.now + valid})
        case "confirm":
            return a_confirmation(
                command, customer=dice.choice(CUSTOMERS), account=dice.choice(["acme", None]), now=now
            )
        case "release":
            return a_release(command, now=now + dice.choice([0, 1, HOUR]))
        case "pause":
            return a_pause(*dice.choice(SWITCHES), now=now)
        case "resume":
            return a_resumption(*dice.choice(SWITCHES), now=now)
        case _:
            return an_opening(f"{number}", trigger=dice.choice(TRIGGERS), now=now)


@pytest.fixture(scope="module", params=["redis", "embedded", "pure Python"])
def server(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of a real server, or None for the one inside this process."""
    with ExitStack() as stack:
        match request.param:
            case "redis":
                running: RedisServer = request.getfixturevalue("redis_server")
                yield running.url
            case "embedded":
                try:
                    yield stack.enter_context(EmbeddedRedis()).url
                except ServiceMissing as reason:
                    pytest.skip(str(reason))
            case _:
                yield None


@settings(deadline=None, max_examples=100)
@given(policy=POLICIES, dice=st.randoms(use_true_random=True), length=st.integers(1, 400), part=st.integers(1, 40))
async def test_redis_answers_as_the_rules_in_memory_do(
    server: str | None, policy: Policy, dice: Random, length: int, part: int
) -> None:
    if server is None:
        client: Redis = fakeredis.FakeAsyncRedis(decode_responses=True)
    else:
        client = Redis.from_url(server, decode_responses=True)
    log = list(a_log(dice, length))
    caps, ledger = Caps(policy), RedisLedger(client, policy, prefix=uuid4().hex)
    async with ledger:
        assert await ledger.rebuild(history())
        for start in range(0, len(log), part):
            some = log[start : start + part]
            assert list(zip(some, await ledger.apply(some), strict=True)) == [(each, caps.apply(each)) for each in some]
        requests = [each for each in log if isinstance(each, ReservationRequested)]
        assert await ledger.stopped(requests) == [caps.stopped(each) for each in requests]
