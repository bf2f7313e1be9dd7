"""Redis gives the answers of the rules in memory, answer for answer, on every server we run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from random import Random
from uuid import uuid4

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from referral_stream.core.effects import GrantRequested, ReservationRequested
from referral_stream.core.events import Event, Scope
from referral_stream.core.instants import DAY, HOUR, SECOND
from referral_stream.core.ledger import switches
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger
from referral_stream.core.ledger.grants import held_for
from referral_stream.core.policy import Breaker, Policy
from referral_stream.ledger import RedisLedger
from referral_stream.local.errors import ServiceMissing
from referral_stream.local.redis_server import EmbeddedRedis
from tests.ledger.builders import (
    T0,
    a_claim,
    a_confirmation,
    a_grant,
    a_grant_request,
    a_pause,
    a_release,
    a_request,
    a_resumption,
    an_amendment,
    an_opening,
    claims_released,
    history,
    its_confirmation,
    its_release,
    told,
)
from tests.night import by_night
from tests.rules import rule
from tests.services.redis import RedisServer

# Periods so short that a dozen records meet every boundary.
TIGHT = Policy.model_validate(
    {
        "caps": {"customer_days": 3, "account_gap_days": 1, "account_asks": 2, "account_days": 4},
        "breaker": {"floor": 2, "factor": 1, "hours": 3, "pause_hours": 1},
        "rewards": {"claim_days": 3, "per_customer": 2, "per_account": 3},
    }
)
WITHOUT_GAP = Policy.model_validate(
    {
        "caps": {"customer_days": 0, "account_gap_days": 0, "account_asks": 2, "account_days": 1},
        "breaker": {"floor": 1, "factor": 2, "hours": 4},
        "rewards": {"claim_days": 400, "per_customer": 1, "per_account": 1},
    }
)
ODD_HOURS = TIGHT.model_copy(update={"breaker": Breaker(floor=1, factor=2, hours=3)})
WITHOUT_BREAKER = TIGHT.model_copy(update={"breaker": Breaker(enabled=False)})
POLICIES = st.sampled_from([TIGHT, WITHOUT_GAP, ODD_HOURS, WITHOUT_BREAKER, Policy()])

# A few names, so that they meet, and steps that add up to the periods of TIGHT, a millisecond before and after.
CUSTOMERS = ["ana", "ben", "cem", "çé ☂ %*[", "all trigger"]
SWITCHES: list[tuple[Scope, str | None]] = [
    ("all", None),
    ("trigger", "nps_promoter"),
    ("segment", "smb"),
    ("segment", "mission_driven"),
]
TRIGGERS = ["nps_promoter", "renewal of: two words"]
STEPS = [0, 0, 0, 0, 0, 0, 1, HOUR // 2, HOUR // 2, HOUR, HOUR, 2 * HOUR, DAY // 2, DAY - 1, DAY, 2 * DAY]
LATENESS = [0, 0, 0, 0, 0, 0, 1, HOUR, 3 * HOUR, DAY]
REWARDS = (
    ["claim"] * 5 + ["claims released"] + ["grant"] * 9 + ["grant held", "grant confirmed"] + ["grant released"] * 3
)
OVER_A_YEAR = [0, 0, 0, 0, 0, 1, DAY, 100 * DAY, 364 * DAY, 365 * DAY - 1]
MIXES = [
    ["request"] * 12 + ["confirm", "release", "pause", "opening", "opening", "amend"] + ["resume"] * 5,
    ["request"] * 12 + ["confirm"] + ["release"] * 2 + ["amend"] * 2 + ["hold"] * 6,
    ["request"] * 9 + ["confirm", "release", "pause", "pause", "resume"],
    ["opening"] * 9 + ["resume"],
    REWARDS,
]


def a_log(dice: Random, length: int, mix: Sequence[str] = ()) -> Iterator[LedgerOperation]:
    """What a ledger may be told: time moves on, but records come late, twice, and after the wrong ones."""
    clock, mix, seen = T0, mix or dice.choice(MIXES), list[LedgerOperation]()
    steps = OVER_A_YEAR if mix is REWARDS and dice.random() < 0.3 else STEPS
    for number in range(length):
        clock += dice.choice(steps)
        recent = [each for each in seen[-20:] if _instant(each) > clock - 29 * DAY]  # what Redis does not forget
        if recent and dice.random() < 0.1:
            operation = dice.choice(recent)
        else:
            operation = _an_operation(dice, dice.choice(mix), number, clock - dice.choice(LATENESS))
        seen.append(operation)
        yield operation


def _instant(operation: LedgerOperation) -> int:
    return operation.time if isinstance(operation, Event) else operation.now


def _a_request(dice: Random, command: str, now: int) -> ReservationRequested:
    return a_request(
        command,
        customer=dice.choice(CUSTOMERS),
        account=dice.choice(["acme", "other", None]),
        email=dice.choice(["one", "two", None, None]),
        segment=dice.choice(["smb", "enterprise", None]),
        trigger=dice.choice(TRIGGERS),
        due=now,
        now=now + dice.choice([0, 0, 1]),
        shadow=dice.random() < 0.2,
    )


def _a_grant_request(dice: Random, number: int, now: int) -> GrantRequested:
    """For few referrals, contacts and customers, so that they meet."""
    return a_grant_request(
        f"r-{dice.randint(number // 12, number // 12 + 3)}",
        customer=dice.choice(CUSTOMERS),
        account=dice.choice(["acme", "other", None]),
        keys=tuple(dice.choice(["kim", "lee", f"{number // 20} ☂"]) for _ in range(dice.choice([1, 1, 2]))),
        now=now,
    )


def _about_rewards(dice: Random, kind: str, number: int, now: int) -> LedgerOperation:
    request = _a_grant_request(dice, number, now)
    match kind:
        case "grant":
            return request
        case "grant held":
            return held_for(request, 1, now)
        case "grant confirmed":
            return its_confirmation(request)
        case "grant released":
            return its_release(request, now + dice.choice([-1, 0, 1, HOUR]))
        case "claims released":
            return claims_released(
                request.referral_id, customer=request.customer_id, now=now + dice.choice([0, 1, HOUR])
            )
        case _:
            return a_claim(request.referral_id, customer=request.customer_id, keys=request.contact_keys, now=now)


def _an_operation(dice: Random, kind: str, number: int, now: int) -> LedgerOperation:
    if kind in REWARDS:
        return _about_rewards(dice, kind, number, now)
    command = f"command {dice.randint(number // 8, number // 8 + 3)}"
    match kind:
        case "request":
            request = _a_request(dice, command, now)
            valid = dice.choice([30 * SECOND] * 8 + [0, -1])
            return request.model_copy(update={"valid_until": request.now + valid})
        case "hold":
            return a_grant(_a_request(dice, command, now))
        case "confirm":
            account = dice.choice(["acme", None])
            return a_confirmation(command, customer=dice.choice(CUSTOMERS), account=account, now=now)
        case "release":
            return a_release(command, now=now + dice.choice([0, 1, HOUR]))
        case "amend":
            account, email = dice.choice(["acme", "other", None]), dice.choice(["one", "two", None])
            return an_amendment(command, account=account, email=email, now=now)
        case "pause":
            return a_pause(*dice.choice(SWITCHES), now=now)
        case "resume":
            return a_resumption(*dice.choice(SWITCHES), now=now)
        case _:
            return an_opening(f"{number}", trigger=dice.choice(TRIGGERS), now=now)


@pytest.fixture(scope="module", params=["redis", "embedded", by_night("pure Python")])
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


@asynccontextmanager
async def a_ledger(server: str | None, policy: Policy) -> AsyncIterator[RedisLedger]:
    """A ledger without a past, among others of the same server."""
    if server is None:
        client: Redis = fakeredis.FakeAsyncRedis(decode_responses=True)
    else:
        client = Redis.from_url(server, decode_responses=True)
    async with RedisLedger(client, policy, prefix=uuid4().hex) as ledger:
        assert await ledger.rebuild(history())
        yield ledger


def asks_to_an_account(*instants: int) -> list[LedgerOperation]:
    return [a_request(f"{n}", customer=f"{n}", account="acme", due=at) for n, at in enumerate(instants)]


def openings(*hours: int) -> list[LedgerOperation]:
    return [an_opening(f"{n}", now=T0 + hour * HOUR) for n, hour in enumerate(hours)]


RARE = {
    "the quota of an account ends": (TIGHT, asks_to_an_account(T0, T0 + 3 * DAY, T0 + 4 * DAY - 1, T0 + 4 * DAY)),
    "an hour is forgiven and fills again": (
        TIGHT,
        [*openings(0, 0, 0), a_resumption("trigger", "nps_promoter", now=T0 + 1)]
        + [an_opening(f"later {n}", now=T0 + 2) for n in range(3)],
    ),
    "the opening that has set a pause is told again": (TIGHT, [*openings(0, 0, 0), *openings(0, 0, 0)]),
    "and again after a person has said something": (
        TIGHT,
        [
            *openings(0, 0, 0),
            a_pause("trigger", "nps_promoter", now=T0 + 1),
            *openings(0, 0, 0),
            a_resumption("trigger", "nps_promoter", now=T0 + 2),
            *openings(0, 0, 0),
            a_request(due=T0 + 3),
        ],
    ),
    "the breaker's pause ends by itself": (
        TIGHT,
        [*openings(0, 0, 0), a_request(due=T0 + HOUR - 1), a_request(due=T0 + HOUR), *openings(1, 1, 1, 1)],
    ),
    "a person's pause outlasts the breaker's": (
        TIGHT,
        [a_pause("segment", "smb"), *openings(0, 0, 0), a_request(segment="smb"), a_request(due=T0 + HOUR)],
    ),
    "a quota over live asks and shadow asks": (
        TIGHT,
        [
            a_request("live", customer="one", account="acme", due=T0),
            a_request("shadow", customer="two", account="acme", due=T0 + DAY, shadow=True),
            a_request("shadow again", customer="three", account="acme", due=T0 + 2 * DAY, shadow=True),
            a_request("live again", customer="three", account="acme", due=T0 + 2 * DAY),
        ],
    ),
    "a released reservation is amended, and confirmed then": (
        TIGHT,
        [
            a_request(),
            a_release(now=T0 + 1),
            an_amendment(account="acme", email="one"),
            a_request("before", customer="ben", account="acme"),
            a_confirmation(now=T0 + 2),
            a_request("other", customer="dan", account="acme"),
            a_request("third", customer="cem", email="one"),
        ],
    ),
    "the oldest hour that counts, and one older": (TIGHT, openings(9, 6, 6, 6, 5, 5, 5)),
    "a late opening is not compared with hours too old": (WITHOUT_GAP, openings(1, 2, 3, 4, 8, 5, 5)),
    "an odd number of hours has a middle one": (ODD_HOURS, openings(0, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4)),
    "two customers claim a contact at one instant, and both ask": (
        TIGHT,
        [
            a_claim("r-2", customer="ana"),
            a_claim("r-1", customer="ben"),
            a_claim("r-1", customer="ana"),
            *(a_grant_request(f"r-{n}", customer=who, now=T0 + 1) for who in ("ben", "ana") for n in (2, 1)),
        ],
    ),
    "a name is claimed anew when its claim has lapsed, and no sooner": (
        TIGHT,
        [
            *(a_claim(now=T0 + days * DAY) for days in (0, 2)),
            a_claim("r-ben", customer="ben", now=T0 + 2 * DAY),
            a_grant_request("r-ben", customer="ben", now=T0 + 3 * DAY - 1),
            a_grant_request("r-ben", customer="ben", now=T0 + 3 * DAY),
            a_claim(now=T0 + 3 * DAY),
            a_grant_request(now=T0 + 6 * DAY - 1),
            a_grant_request(now=T0 + 6 * DAY),
        ],
    ),
    "a grant counts for 365 days": (
        WITHOUT_GAP,
        [
            a_grant_request("r-1", keys=("kim",), account="acme", now=T0),
            a_grant_request("r-2", keys=("lee",), account="acme", now=T0 + 365 * DAY - 1),
            a_grant_request("r-3", customer="ben", keys=("max",), account="acme", now=T0 + 365 * DAY - 1),
            a_grant_request("r-2", keys=("lee",), account="acme", now=T0 + 365 * DAY),
            a_grant_request("r-4", customer="ben", keys=("kim",), now=T0 + 400 * DAY - 1),
            a_grant_request("r-4", customer="ben", keys=("kim",), now=T0 + 400 * DAY),
        ],
    ),
    "a claim of the very instant of a request, by customers before and after": (
        TIGHT,
        [
            record
            for name, keys in (("al", ("1",)), ("amy", ("2", "3")), ("anab", ("4",)), ("an", ("5",)), ("é", ("6",)))
            for record in (
                a_claim(f"r-{name}", customer=name, keys=keys, now=T0 + 1),
                a_grant_request(f"r-ana {name}", customer="ana", keys=keys, now=T0 + 1),
            )
        ],
    ),
    "a referral's id that two customers use": (
        TIGHT,
        [
            a_claim("r-1", keys=("kim",)),
            a_claim("r-1", keys=("kim's mail",), now=T0 + DAY),
            a_claim("r-1", customer="ben", keys=("lee",), now=T0 + DAY + 1),
            a_grant_request("r-1", customer="ben", keys=("lee",), now=T0 + 3 * DAY),
            claims_released("r-1", now=T0 + 3 * DAY),
            a_grant_request("r-1", customer="ben", keys=("lee",), now=T0 + 3 * DAY),
        ],
    ),
    "no grants at all": (
        Policy.model_validate({"rewards": {"per_customer": 0, "per_account": 0}}),
        [a_grant_request(account="acme"), a_grant_request(), held_for(a_grant_request("r-2", now=T0 + 1), 1, T0)],
    ),
    "an even number of hours has two": (WITHOUT_GAP, openings(0, 1, 2, 3, 3, 4, 4, 5, 5, 5, 5)),
}


@pytest.mark.parametrize(("policy", "log"), RARE.values(), ids=RARE)
async def test_redis_agrees_where_chance_rarely_leads(
    server: str | None, policy: Policy, log: list[LedgerOperation]
) -> None:
    caps = MemoryLedger(policy)
    async with a_ledger(server, policy) as ledger:
        assert await ledger.apply(log) == [caps.apply(each) for each in log]


@rule("9.7")
@settings(deadline=None, max_examples=150)
@given(policy=POLICIES, dice=st.randoms(use_true_random=True), length=st.integers(1, 400), part=st.integers(1, 40))
async def test_redis_answers_as_the_rules_in_memory_do(
    server: str | None, policy: Policy, dice: Random, length: int, part: int
) -> None:
    log = list(a_log(dice, length))
    caps, clock = MemoryLedger(policy), 0
    async with a_ledger(server, policy) as ledger:
        for start in range(0, len(log), part):
            some = log[start : start + part]
            assert list(zip(some, await ledger.apply(some), strict=True)) == [(each, caps.apply(each)) for each in some]
            clock = max(clock, *map(_instant, some))
            for switch in (each for each in some if isinstance(each, Event) and dice.random() < 0.3):
                now, size = clock + dice.choice([0, HOUR, 7 * DAY, 8 * DAY]), dice.choice([2, 7, 500])
                assert await told(ledger, switch, now, size) == await told(caps, switch, now, size)
        requests = [each for each in log if isinstance(each, ReservationRequested)]
        assert await ledger.stopped(requests) == [caps.stopped(each) for each in requests]


async def test_every_pause_is_kept_and_of_what_was_thrown_back_the_newest(
    server: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switches, "THROWN_BACK_KEPT", 3)
    caps = MemoryLedger(TIGHT)
    pauses = [a_pause("segment", f"invented {n}", now=T0 + n) for n in range(10)]
    ends = [a_resumption("segment", f"invented {n}", now=T0 + 100 + n % 3) for n in range(6)]
    again = [a_pause("segment", f"invented {n}", now=T0 + 50) for n in range(6)]
    log: list[LedgerOperation] = [
        *pauses,
        *ends,
        a_request(segment=None, due=T0 + 200),
        *again,
        a_request(segment=None),
    ]
    async with a_ledger(server, TIGHT) as ledger:
        answers = await ledger.apply(log)
        assert answers == [caps.apply(each) for each in log]
        assert answers[-8:-1].count(True) == 3, "the word of three is remembered, the others are held again"
