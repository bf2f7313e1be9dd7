"""A server that may evict is refused, whenever it begins to; what it has evicted is noticed, and built again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from referral_stream.core.events import ReservationDenied, ReservationGranted
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerEvicting, LedgerNotReady, LedgerUnavailable, RedisLedger, eviction
from tests.ledger.builders import a_confirmation, a_pause, a_request, answer, granted, history
from tests.services.redis import RedisServer

EVICTING = ("volatile-lru", "allkeys-lru", "volatile-ttl", "allkeys-random", "volatile-lfu")


@pytest.fixture
async def own_ledger(own_server: RedisServer) -> AsyncIterator[RedisLedger]:
    async with RedisLedger.connect(own_server.url, Policy(), timeout_seconds=10) as ledger:
        assert await ledger.rebuild(history())
        yield ledger


@pytest.fixture
async def admin(own_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_server.url) as client:
        yield client


async def limit(admin: Redis, policy: str, more: int = 50_000_000) -> None:
    """Give the server that policy, and so many bytes more than it uses."""
    await admin.config_set("maxmemory-policy", policy)
    await admin.config_set("maxmemory", (await admin.info("memory"))["used_memory"] + more)


@pytest.mark.parametrize("policy", EVICTING)
async def test_nobody_is_asked_and_nothing_dropped_where_the_server_may_evict_until_it_may_not(
    own_ledger: RedisLedger, admin: Redis, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr("referral_stream.ledger.client.LOOK_SECONDS", 0)
    await limit(admin, policy)
    for operation in (a_request(), a_confirmation(), a_pause()):
        with pytest.raises(LedgerEvicting, match=rf"maxmemory-policy {policy}\), so nobody is asked: CONFIG SET"):
            await own_ledger.apply([operation])
    with pytest.raises(LedgerEvicting):
        await own_ledger.check()
    with pytest.raises(LedgerEvicting):
        await own_ledger.rebuild(history(), 2)

    await admin.config_set("maxmemory-policy", "noeviction")
    assert isinstance(await answer(own_ledger, a_request()), ReservationGranted)


@pytest.mark.parametrize(("maxmemory", "policy"), [(0, "allkeys-lru"), (50_000_000, "noeviction")])
async def test_a_server_without_a_limit_or_that_refuses_writes_is_taken(
    own_ledger: RedisLedger, admin: Redis, maxmemory: int, policy: str
) -> None:
    await admin.config_set("maxmemory-policy", policy)
    await admin.config_set("maxmemory", maxmemory)
    own_ledger._looked_at = None
    assert isinstance(await answer(own_ledger, a_request()), ReservationGranted)


@pytest.mark.parametrize("policy", ["volatile-lru", "allkeys-lru"])
async def test_once_anything_was_evicted_it_is_no_ledger_until_it_is_built_again(
    own_ledger: RedisLedger, admin: Redis, policy: str
) -> None:
    """Also where nobody looked at the policy in between."""
    requests = [a_request(f"first-{n}", customer=f"c{n}", email=f"e{n}") for n in range(200)]
    await own_ledger.apply(requests)
    await limit(admin, policy, 1_000_000)
    for n in range(3_000):
        await admin.set(f"others:{n}", b"x" * 1_000)
        if n % 50 == 0 and (await admin.info("stats"))["evicted_keys"]:
            break
    assert (await admin.info("stats"))["evicted_keys"]
    await admin.config_set("maxmemory", 0)
    await admin.config_set("maxmemory-policy", "noeviction")

    again = [a_request(f"second-{n}", customer=f"d{n}", email=f"e{n}") for n in range(200)]
    with pytest.raises(LedgerNotReady):
        await own_ledger.apply(again)
    assert await own_ledger.rebuild(history(*granted(*requests)), 2)
    assert all(isinstance(each, ReservationDenied) for each in await own_ledger.apply(again))


async def test_what_is_evicted_during_a_rebuild_ends_it(own_ledger: RedisLedger, admin: Redis) -> None:
    async def records() -> AsyncIterator[Any]:
        yield a_pause()
        await admin.set("other", b"x" * 100_000)
        await limit(admin, "allkeys-random", -50_000)
        await admin.set("another", b"x")
        await admin.config_set("maxmemory", 0)
        yield a_request()

    with pytest.raises(LedgerUnavailable, match="lost what had been rebuilt"):
        await own_ledger.rebuild(records(), 2)


@pytest.mark.parametrize("told", [{}, {"used_memory": 1}, {"maxmemory": 0, "maxmemory_policy": ""}])
def test_a_server_that_does_not_tell_its_policy_is_taken_at_its_word(told: dict[str, Any]) -> None:
    assert not eviction.evicts(told)
    assert eviction.policy_of(told) == eviction.NOT_TOLD


def test_a_server_that_tells_its_policy_and_not_its_limit_may_evict() -> None:
    assert eviction.evicts({"maxmemory_policy": "volatile-lru"})


async def test_a_user_who_may_not_ask_for_it_is_no_obstacle(own_ledger: RedisLedger, admin: Redis) -> None:
    await admin.execute_command("ACL", "SETUSER", "default", "-info")  # type: ignore[no-untyped-call]
    own_ledger._looked_at = None
    assert await own_ledger.rebuild(history(), 2)
    assert isinstance(await answer(own_ledger, a_request()), ReservationGranted)


async def test_the_server_is_asked_every_few_seconds_and_not_at_each_call(
    own_ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("referral_stream.ledger.client.LOOK_SECONDS", 3_600)
    looked_at = own_ledger._looked_at
    for n in range(20):
        await answer(own_ledger, a_request(f"command-{n}", customer=f"c{n}"))
    assert own_ledger._looked_at == looked_at
    monkeypatch.setattr("referral_stream.ledger.client.LOOK_SECONDS", 0)
    await own_ledger.check()
    assert own_ledger._looked_at != looked_at
