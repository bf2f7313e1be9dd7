"""Redis gives the answers of the rules in memory, answer for answer, on every server we run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import fakeredis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from referral_stream.core.asks import ReservationRequested
from referral_stream.core.caps import Caps, Operation
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
        "breaker": {"floor": 1, "factor": 1, "hours": 3},
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
COMMANDS = st.sampled_from(["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"])
CUSTOMERS = st.sampled_from(["ana", "ben", "çé ☂ %*[", "all trigger"])
ACCOUNTS = st.sampled_from(["acme", "acme", None])
EMAILS = st.sampled_from(["one", "two", None, None])
SEGMENTS = st.sampled_from(["smb", "enterprise", None])
TRIGGERS = st.sampled_from(["nps_promoter", "renewal of: two words"])
SWITCHES = st.sampled_from([("all", None), ("trigger", "nps_promoter"), ("segment", "smb")])
STEPS = st.sampled_from([0, 0, 0, 1, HOUR, HOUR, DAY // 2, DAY - 1, DAY, 2 * DAY + 1, 3 * DAY])
LATENESS = st.sampled_from([0, 0, 0, 0, 0, 1, HOUR, DAY])
KINDS = st.sampled_from(["request"] * 8 + ["confirm", "release", "release", "pause", "resume"] + ["openings"] * 3)


@st.composite
def logs(draw: st.DrawFn) -> list[Operation]:
    """What a ledger may be told: time moves on, but records come late, twice, and after the wrong ones."""
    clock, log = T0, list[Operation]()
    for number in range(draw(st.integers(1, 50))):
        clock += draw(STEPS)
        now = clock - draw(LATENESS)
        command = draw(COMMANDS)
        match draw(KINDS):
            case "request":
                request = a_request(
                    command,
                    customer=draw(CUSTOMERS),
                    account=draw(ACCOUNTS),
                    email=draw(EMAILS),
                    segment=draw(SEGMENTS),
                    trigger=draw(TRIGGERS),
                    due=now,
                    now=now + draw(st.sampled_from([0, 0, 1])),
                )
                valid = draw(st.sampled_from([30 * SECOND] * 8 + [0, -1]))
                log.append(request.model_copy(update={"valid_until": request.now + valid}))
            case "confirm":
                log.append(a_confirmation(command, customer=draw(CUSTOMERS), account=draw(ACCOUNTS), now=now))
            case "release":
                log.append(a_release(command, now=now))
            case "pause":
                log.append(a_pause(*draw(SWITCHES), now=now))
            case "resume":
                log.append(a_resumption(*draw(SWITCHES), now=now))
            case _:
                trigger = draw(TRIGGERS)
                same = draw(st.sampled_from([number, 0]))  # opening 0 again and again
                log.extend(an_opening(f"o{same} {n}", trigger=trigger, now=now) for n in range(draw(st.integers(1, 4))))
    return log


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


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(policy=POLICIES, log=logs(), part=st.integers(1, 12))
async def test_redis_answers_as_the_rules_in_memory_do(
    server: str | None, policy: Policy, log: list[Operation], part: int
) -> None:
    client = (
        Redis.from_url(server, decode_responses=True) if server else fakeredis.FakeAsyncRedis(decode_responses=True)
    )
    caps, ledger = Caps(policy), RedisLedger(client, policy, prefix=uuid4().hex)
    async with ledger:
        assert await ledger.rebuild(history())
        for start in range(0, len(log), part):
            some = log[start : start + part]
            assert await ledger.apply(some) == [caps.apply(each) for each in some]
        probes = [each for each in log if isinstance(each, ReservationRequested)]
        assert await ledger.stopped(probes) == [caps.stopped(each) for each in probes]
