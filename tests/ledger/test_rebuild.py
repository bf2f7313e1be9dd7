"""The log is the ledger: what Redis forgot is built again from ``ledger-requests``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.events import ControlPaused, Event, ReservationDenied, ReservationGranted
from referral_stream.core.instants import SECOND
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerBatch, LedgerUnavailable, RedisLedger, Rounds, batches
from referral_stream.ledger.client import OPERATIONS_PER_CALL
from referral_stream.ledger.rounds import ROUND_MILLISECONDS
from tests.ledger.builders import T0, a_pause, a_release, a_request, a_resumption, answer, history, told
from tests.ledger.test_equivalence import TIGHT, a_log
from tests.rules import rule
from tests.services.redis import RedisServer

_READERS = {"zset": ("ZRANGE", "0", "-1", "WITHSCORES"), "hash": ("HGETALL",), "set": ("SMEMBERS",), "string": ("GET",)}


async def content(client: Redis, prefix: str) -> dict[str, Any]:
    """All the ledger holds, without the name of its generation."""
    found: dict[str, Any] = {}
    async for key in client.scan_iter(f"{prefix}:*"):
        if key.count(":") > 2:
            name, *arguments = _READERS[str(await client.type(key))]
            value = await client.execute_command(name, key, *arguments)  # type: ignore[no-untyped-call]
            found[key.split(":", 3)[3]] = sorted(value) if isinstance(value, set) else value
    return found


def punctual(log: Iterable[LedgerOperation]) -> Iterator[tuple[int, LedgerOperation]]:
    """The records that come in the order of their instants, with these; requests stay valid while they wait."""
    clock = 0
    for each in log:
        record = each
        if isinstance(each, ReservationRequested):
            record = each.model_copy(update={"valid_until": each.now + 30 * SECOND})
        instant = record.time if isinstance(record, Event) else record.now
        if instant >= clock:
            clock = instant
            yield instant, record


async def live(ledger: RedisLedger, log: Iterable[tuple[int, LedgerOperation]]) -> None:
    """What the agent does when every record reaches it at its own instant."""
    rounds = Rounds()
    closings: deque[int] = deque()
    for now, record in log:
        while closings and closings[0] <= now:
            await work(ledger, batches([], rounds, closings.popleft()))
        await work(ledger, batches([record], rounds, now))
        closings.append(now + ROUND_MILLISECONDS)
    await ledger.apply(rounds.close_all())


async def work(ledger: RedisLedger, found: list[LedgerBatch]) -> None:
    for turn in found:
        await ledger.apply(turn.operations)
        for each in turn.operations:
            if isinstance(each, Event) and isinstance(each.data, ControlPaused):
                await told(ledger, each, each.time)


@pytest.mark.parametrize("seed", range(5))
async def test_a_rebuilt_ledger_holds_what_the_lost_one_held(redis_server: RedisServer, seed: int) -> None:
    log = list(punctual(a_log(Random(seed), 300)))
    async with (
        Redis.from_url(redis_server.url, decode_responses=True) as client,
        RedisLedger(client, TIGHT, prefix=f"live-{seed}") as lost,
        RedisLedger(client, TIGHT, prefix=f"rebuilt-{seed}") as rebuilt,
    ):
        assert await lost.rebuild(history())
        await live(lost, log)
        assert await rebuilt.rebuild(history(*(record for _, record in log)))

        expected = await content(client, f"live-{seed}")
        assert expected
        assert await content(client, f"rebuilt-{seed}") == expected


async def test_a_history_longer_than_one_call_is_complete(unbuilt: RedisLedger) -> None:
    many = [a_request(f"{n}", customer=f"{n}") for n in range(2 * OPERATIONS_PER_CALL + 1)]

    assert await unbuilt.rebuild(history(*many))

    again = [a_request(f"again {n}", customer=f"{n}") for n in range(len(many))]
    assert {type(each) for each in await unbuilt.apply(again)} == {ReservationDenied}


async def test_the_best_contact_of_a_round_has_the_rebuilt_reservation_too(unbuilt: RedisLedger) -> None:
    weaker = a_request("weaker", customer="ana", account="acme", score=70, now=T0)
    better = a_request("better", customer="ben", account="acme", score=90, due=T0, now=T0 + 99)

    assert await unbuilt.rebuild(history(weaker, better))

    later = [a_request("ana later", customer="ana"), a_request("ben later", customer="ben")]
    assert [type(each) for each in await unbuilt.apply(later)] == [ReservationGranted, ReservationDenied]


async def test_switches_survive(unbuilt: RedisLedger) -> None:
    assert await unbuilt.rebuild(history(a_pause("segment", "smb")))

    assert await unbuilt.stopped([a_request(segment="smb"), a_request(segment="enterprise")]) == [True, False]


@rule("11.3")
async def test_who_was_told_of_a_pause_is_told_of_its_end_after_a_rebuild(unbuilt: RedisLedger) -> None:
    end = a_resumption(now=T0 + 3)
    assert await unbuilt.rebuild(history(a_request(), a_pause(now=T0 + 1), a_release(now=T0 + 2)))
    await unbuilt.apply([end])
    assert await told(unbuilt, end, T0 + 3) == ["ana"]


async def test_a_ledger_of_an_older_form_is_built_anew(unbuilt: RedisLedger, redis_server: RedisServer) -> None:
    await unbuilt.rebuild(history())
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        (key,) = [key async for key in client.scan_iter("*ready") if unbuilt._ready_key == key]
        generation, run, _ = str(await client.get(key)).split()
        await client.set(key, f"{generation} {run}")

    assert not await unbuilt.ready()
    assert await unbuilt.rebuild(history())


async def test_nobody_sees_a_ledger_before_it_is_complete(unbuilt: RedisLedger) -> None:
    ready = []

    async def watched() -> AsyncIterator[LedgerOperation]:
        for n in range(2 * OPERATIONS_PER_CALL):
            yield a_request(f"{n}", customer=f"{n}")
            if n % OPERATIONS_PER_CALL == 0:
                ready.append(await unbuilt.ready())

    assert await unbuilt.rebuild(watched())
    assert [*ready, await unbuilt.ready()] == [False, False, True]


async def test_of_several_rebuilds_at_a_time_one_wins_and_nothing_of_the_others_stays(
    redis_server: RedisServer, unbuilt: RedisLedger, request: pytest.FixtureRequest
) -> None:
    past = [a_request(f"{n}", customer=f"{n}") for n in range(700)]

    assert sorted(await asyncio.gather(*(unbuilt.rebuild(history(*past)) for _ in range(4)))) == [False] * 3 + [True]

    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        generations = {key.split(":")[2] async for key in client.scan_iter(f"{request.node.name}:*")}
    assert len(generations - {"ready", "generations"}) == 1


async def test_a_slower_rebuild_does_not_undo_what_happened_since_the_faster_one(unbuilt: RedisLedger) -> None:
    async def slow() -> AsyncIterator[LedgerOperation]:
        assert await unbuilt.rebuild(history())
        assert isinstance(await answer(unbuilt, a_request()), ReservationGranted)
        yield a_request("of the past", customer="ben")

    assert not await unbuilt.rebuild(slow())
    assert isinstance(await answer(unbuilt, a_request("command-2")), ReservationDenied)


async def test_a_rebuild_whose_server_was_emptied_meanwhile_fails(own_server: RedisServer) -> None:
    async def interrupted() -> AsyncIterator[LedgerOperation]:
        for n in range(OPERATIONS_PER_CALL):
            yield a_request(f"{n}", customer=f"{n}")
        async with Redis.from_url(own_server.url) as client:
            await client.flushall()

    async with RedisLedger.connect(own_server.url, Policy()) as ledger:
        with pytest.raises(LedgerUnavailable):
            await ledger.rebuild(interrupted())
        assert not await ledger.ready()


async def test_a_rebuild_leaves_a_live_ledger_alone(ledger: RedisLedger) -> None:
    assert not await ledger.rebuild(history(a_request()))

    assert isinstance(await answer(ledger, a_request("command-2")), ReservationGranted)
