"""Whatever happens to Redis, nobody is granted an ask that the ledger does not hold."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from referral_stream.core.events import ReservationDenied, ReservationGranted
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerNotReady, LedgerUnavailable, RedisLedger
from tests.ledger.builders import (
    T0,
    a_claim,
    a_confirmation,
    a_grant_request,
    a_pause,
    a_request,
    answer,
    granted,
    history,
    its_release,
)
from tests.rules import rule
from tests.services.process import free_port
from tests.services.redis import RedisServer


@pytest.fixture
async def own_ledger(own_server: RedisServer) -> AsyncIterator[RedisLedger]:
    async with RedisLedger.connect(own_server.url, Policy(), timeout_seconds=0.5) as ledger:
        assert await ledger.rebuild(history())
        yield ledger


async def test_before_it_is_built_nothing_is_answered_and_nothing_dropped_in_silence(unbuilt: RedisLedger) -> None:
    assert not await unbuilt.ready()
    for operation in (a_request(), a_confirmation(), a_pause()):
        with pytest.raises(LedgerNotReady):
            await unbuilt.apply([operation])


async def test_nothing_listens(own_server: RedisServer, own_ledger: RedisLedger) -> None:
    own_server.kill9()

    with pytest.raises(LedgerUnavailable):
        await answer(own_ledger, a_request())
    assert not await own_ledger.ready()
    with pytest.raises(LedgerUnavailable):
        await own_ledger.apply([a_confirmation()])


async def test_no_such_server_at_all() -> None:
    async with RedisLedger.connect(f"redis://127.0.0.1:{free_port()}", Policy(), timeout_seconds=0.5) as ledger:
        with pytest.raises(LedgerUnavailable):
            await answer(ledger, a_request())


async def test_a_frozen_server_costs_the_timeout_and_no_more(own_server: RedisServer, own_ledger: RedisLedger) -> None:
    own_server.pause()
    try:
        with pytest.raises(LedgerUnavailable):
            await answer(own_ledger, a_request())
    finally:
        own_server.resume()

    assert await answer(own_ledger, a_request()) == ReservationGranted(command_id="command-1")


async def test_a_server_that_takes_no_writes(own_server: RedisServer, own_ledger: RedisLedger) -> None:
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("maxmemory", 1)

    with pytest.raises(LedgerUnavailable):
        await answer(own_ledger, a_request())


async def test_a_flushed_server_is_no_ledger_until_it_is_rebuilt(
    own_server: RedisServer, own_ledger: RedisLedger
) -> None:
    await answer(own_ledger, a_request())
    async with Redis.from_url(own_server.url) as client:
        await client.flushall()

    with pytest.raises(LedgerUnavailable):
        await answer(own_ledger, a_request("command-2"))
    assert await own_ledger.rebuild(history(*granted(a_request())))
    assert isinstance(await answer(own_ledger, a_request("command-2")), ReservationDenied)


@pytest.mark.parametrize("append_only", [False, True], ids=["emptied", "with its data, or most of it"])
async def test_a_restarted_server_is_no_ledger_until_it_is_rebuilt(
    redis_server: RedisServer, append_only: bool
) -> None:
    assert redis_server.url
    with RedisServer(append_only=append_only) as server:
        async with RedisLedger.connect(server.url, Policy()) as ledger:
            await ledger.rebuild(history())
            await answer(ledger, a_request())

            server.kill9()
            server.restart()

            with pytest.raises(LedgerUnavailable):
                await answer(ledger, a_request("command-2"))
            assert await ledger.rebuild(history(*granted(a_request())))
            assert isinstance(await answer(ledger, a_request("command-2")), ReservationDenied)


async def test_a_server_that_forgot_the_script_is_given_it_again(
    own_server: RedisServer, own_ledger: RedisLedger
) -> None:
    async with Redis.from_url(own_server.url) as client:
        await client.script_flush()

    assert await answer(own_ledger, a_request()) == ReservationGranted(command_id="command-1")


async def test_what_the_ledger_stores_lapses(
    redis_server: RedisServer, ledger: RedisLedger, request: pytest.FixtureRequest
) -> None:
    await ledger.apply([a_pause("trigger", "renewal"), a_request(account="acme", email="same")])
    await ledger.apply([a_request("refused", customer="ben", trigger="renewal")])

    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        kept = {key: await client.ttl(key) async for key in client.scan_iter(f"{request.node.name}:*")}

    days = {key.split(":", 3)[3]: seconds / 86_400 for key, seconds in kept.items() if key.count(":") > 2}
    assert days.keys() == {
        "reservation:command-1", "customer:ana", "email:same", "account:acme",
        "unconfirmed:by customer", "unconfirmed:by due", "waiting:trigger renewal",
        "switches:paused", "switches:changed",
    }  # fmt: skip
    lapsing = {key: value for key, value in days.items() if not key.startswith("switches:")}
    assert all(209 < value <= 210 for value in lapsing.values()), lapsing


@rule("A10.5")
async def test_claims_and_grants_lapse_and_what_lies_far_behind_is_forgotten_before(
    redis_server: RedisServer, ledger: RedisLedger, request: pytest.FixtureRequest
) -> None:
    asked = a_grant_request("r-ana", account="acme", keys=("kim",), now=T0)
    await ledger.apply([a_claim("r-ana", keys=("kim",)), asked, its_release(a_grant_request("r-2"), T0)])

    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        kept = {key: await client.ttl(key) async for key in client.scan_iter(f"{request.node.name}:*")}
        days = {key.split(":", 3)[3]: seconds / 86_400 for key, seconds in kept.items() if key.count(":") > 2}
        assert days.keys() == {
            "claims:ana\0r-ana", "claimed contact:kim", "claimed referral:r-ana",
            f"grant:{asked.grant_id}", "granted customer:ana", "granted account:acme", "granted contact:kim",
            "granted referral:r-ana", "grant:grant of r-2 to ana",
        }  # fmt: skip
        assert all(759 < value <= 760 for value in days.values()), days

        later = T0 + 396 * DAY
        await ledger.apply(
            [a_claim("r-ben", customer="ben", now=later), a_grant_request("r-3", keys=("lee",), now=later)]
        )
        contents = {
            name: [await client.zrange(key, 0, -1) async for key in client.scan_iter(f"{request.node.name}*:{name}")]
            for name in ("claimed contact:kim", "granted customer:ana")
        }
    assert contents == {"claimed contact:kim": [["ben\0r-ben"]], "granted customer:ana": [["grant of r-3 to ana"]]}


async def test_two_policies_of_one_ledger_each_judge_by_their_own_numbers(
    redis_server: RedisServer, ledger: RedisLedger, request: pytest.FixtureRequest
) -> None:
    await answer(ledger, a_request(due=T0))
    shorter = Policy.model_validate({"caps": {"customer_days": 0}})

    async with RedisLedger.connect(redis_server.url, shorter, prefix=request.node.name) as other:
        assert await answer(other, a_request("command-2")) == ReservationGranted(command_id="command-2")
