"""The log is the ledger: what Redis forgot is built again from ``ledger-requests``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.events import ControlPaused, Event, ReservationDenied, ReservationGranted
from referral_stream.core.instants import MINUTE, SECOND
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerUnavailable, RedisLedger, Rounds, answered, batches, holds
from referral_stream.ledger.client import OPERATIONS_PER_CALL
from referral_stream.ledger.unsettled import BEHIND, Unsettled
from tests.ledger.builders import (
    T0,
    a_pause,
    a_release,
    a_request,
    a_resumption,
    an_opening,
    answer,
    granted,
    history,
    told,
)
from tests.ledger.test_equivalence import REWARDS, TIGHT, a_log
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


async def live(ledger: RedisLedger, log: Iterable[tuple[int, LedgerOperation]]) -> list[LedgerOperation]:
    """What the agent does when every record reaches it at its own instant; the log as it is then, with the grants."""
    written: list[LedgerOperation] = []
    for now, record in log:
        written.append(record)
        for turn in batches([record], Rounds(), now):
            outcome = answered(turn, await ledger.apply(turn.operations), now)
            grants = holds(outcome.grants, 1, now)
            await ledger.apply(grants)
            written += grants
            for each in turn.operations:
                if isinstance(each, Event) and isinstance(each.data, ControlPaused):
                    await told(ledger, each, each.time)
    return written


@rule("A10.5")
@pytest.mark.parametrize("mix", [(), REWARDS], ids=["anything", "rewards"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_rebuilt_ledger_holds_what_the_lost_one_held(
    redis_server: RedisServer, seed: int, mix: Sequence[str]
) -> None:
    log = list(punctual(a_log(Random(seed), 300, mix)))
    async with (
        Redis.from_url(redis_server.url, decode_responses=True) as client,
        RedisLedger(client, TIGHT, prefix=f"live-{len(mix)}-{seed}") as lost,
        RedisLedger(client, TIGHT, prefix=f"rebuilt-{len(mix)}-{seed}") as rebuilt,
    ):
        assert await lost.rebuild(history())
        written = await live(lost, log)
        assert await rebuilt.rebuild(history(*written))

        expected, found = [await content(client, f"{which}-{len(mix)}-{seed}") for which in ("live", "rebuilt")]
        assert expected
        assert _but_for_who_waits(found) == _but_for_who_waits(expected)
        for key in filter(_waits, expected):
            assert all(each in found[key] for each in expected[key])


def _waits(key: str) -> bool:
    return key.startswith("waiting:")


def _but_for_who_waits(found: dict[str, Any]) -> dict[str, Any]:
    """More may wait than did: see :mod:`referral_stream.ledger.unsettled`."""
    return {key: value for key, value in found.items() if not _waits(key)}


async def test_a_history_longer_than_one_call_is_complete(unbuilt: RedisLedger) -> None:
    many = [a_request(f"{n}", customer=f"{n}") for n in range(2 * OPERATIONS_PER_CALL + 1)]

    assert await unbuilt.rebuild(history(*granted(*many)))

    again = [a_request(f"again {n}", customer=f"{n}") for n in range(len(many))]
    assert {type(each) for each in await unbuilt.apply(again)} == {ReservationDenied}


async def test_a_rebuild_judges_nothing_anew_it_takes_what_was_granted(unbuilt: RedisLedger) -> None:
    denied = a_request("denied", customer="ana", account="acme", score=90)
    chosen = a_request("chosen", customer="ben", account="acme", score=70)

    assert await unbuilt.rebuild(history(denied, *granted(chosen)))

    later = [a_request("ana later", customer="ana"), a_request("ben later", customer="ben")]
    assert [type(each) for each in await unbuilt.apply(later)] == [ReservationGranted, ReservationDenied]


async def test_whom_a_switch_stopped_is_told_of_its_end_after_a_rebuild(unbuilt: RedisLedger) -> None:
    end = a_resumption(now=T0 + 3)
    assert await unbuilt.rebuild(history(a_pause(now=T0), a_request(now=T0 + 1)))
    await unbuilt.apply([end])
    assert await told(unbuilt, end, T0 + 3) == ["ana"]


async def test_switches_survive(unbuilt: RedisLedger) -> None:
    assert await unbuilt.rebuild(history(a_pause("segment", "smb")))

    assert await unbuilt.stopped([a_request(segment="smb"), a_request(segment="enterprise")]) == [True, False]


@rule("11.3")
@pytest.mark.parametrize(
    ("past", "told_of_it"),
    [
        pytest.param([a_request(now=T0), a_pause(now=T0 + 1)], True, id="answered after a pause that came later"),
        pytest.param(
            [a_request(now=T0), a_pause(now=T0 + 30 * SECOND)], True, id="a pause in the last instant of an answer"
        ),
        pytest.param([a_request(now=T0), a_pause(now=T0 + 30 * SECOND + 1)], False, id="a pause after every answer"),
        pytest.param(
            [a_pause(now=T0), a_resumption(now=T0 + 3), a_request(now=T0 + 4)], True, id="the end was not read yet"
        ),
        pytest.param(
            [a_pause(now=T0), a_resumption(now=T0 + 3), *granted(a_request(now=T0 + 4))], False, id="granted behind it"
        ),
        pytest.param(
            [a_request(now=T0, trigger="milestone"), a_pause("trigger", "nps_promoter", now=T0 + 1)],
            False,
            id="another trigger",
        ),
        pytest.param(
            [a_request(now=T0), *(an_opening(f"{n}", now=T0 + 1) for n in range(Policy().breaker.floor * 2 + 1))],
            True,
            id="the breaker's",
        ),
    ],
)
async def test_whom_a_pause_may_have_stopped_is_told_of_its_end_after_a_rebuild(
    unbuilt: RedisLedger, past: Sequence[LedgerOperation], told_of_it: bool
) -> None:
    thrown = next((each for each in past if isinstance(each, Event)), a_pause("trigger", "nps_promoter"))
    assert isinstance(thrown.data, ControlPaused)
    assert await unbuilt.rebuild(history(*past))
    end = a_resumption(thrown.data.scope, thrown.data.name, now=T0 + MINUTE)
    await unbuilt.apply([end])
    assert await told(unbuilt, end, T0 + MINUTE) == (["ana"] if told_of_it else [])


async def test_a_rebuild_keeps_no_request_longer_than_the_end_of_a_pause_may_be_unread() -> None:
    unsettled = Unsettled()
    for number in range(50_000):
        unsettled.follow(a_request(f"{number}", now=T0 + number * SECOND))
    assert len(unsettled._requests) <= 2 * BEHIND // SECOND + 1_000


@rule("11.3")
async def test_who_was_told_of_a_pause_is_told_of_its_end_after_a_rebuild(unbuilt: RedisLedger) -> None:
    end = a_resumption(now=T0 + 3)
    assert await unbuilt.rebuild(history(*granted(a_request()), a_pause(now=T0 + 1), a_release(now=T0 + 2)))
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


async def test_of_several_rebuilds_at_a_time_the_newest_wins_and_nothing_of_the_others_stays(
    redis_server: RedisServer, unbuilt: RedisLedger, request: pytest.FixtureRequest
) -> None:
    past = [a_request(f"{n}", customer=f"{n}") for n in range(700)]

    built = await asyncio.gather(*(unbuilt.rebuild(history(*past), number) for number in (2, 4, 3)))

    assert built[1]
    assert (await unbuilt.apply([a_release("nobody's")])).generation == 4
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        generations = {key.split(":")[2] async for key in client.scan_iter(f"{request.node.name}:*")}
    assert {name.partition("-")[0] for name in generations} <= {"4", "ready", "generations"}


async def test_an_older_rebuild_does_not_undo_what_happened_since_the_newer_one(unbuilt: RedisLedger) -> None:
    async def slow() -> AsyncIterator[LedgerOperation]:
        assert await unbuilt.rebuild(history(), 2)
        assert isinstance(await answer(unbuilt, a_request()), ReservationGranted)
        yield a_request("of the past", customer="ben")

    assert not await unbuilt.rebuild(slow(), 1)
    assert isinstance(await answer(unbuilt, a_request("command-2")), ReservationDenied)


async def test_a_newer_rebuild_takes_the_place_of_the_live_ledger(ledger: RedisLedger) -> None:
    await answer(ledger, a_request())

    assert await ledger.rebuild(history(*granted(a_request("other", customer="ben"))), 2)

    kinds = [type(each) for each in await ledger.apply([a_request("x"), a_request("y", customer="ben")])]
    assert kinds == [ReservationGranted, ReservationDenied]


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


async def test_two_clusters_that_share_a_redis_and_a_name_have_a_ledger_each(redis_server: RedisServer) -> None:
    """The numbers of their generations come from two logs: one would answer from what the other has recorded."""
    async with (
        RedisLedger.connect(redis_server.url, TIGHT, prefix="shared") as here,
        RedisLedger.connect(redis_server.url, TIGHT, prefix="shared") as there,
    ):
        here.cluster, there.cluster = "6PBIwC7mR9mXyHEm9Ub1Jw", "Xq9nBrFmTDyHbGhUnXb6FA"
        assert await here.rebuild(history(), 7)
        assert not await there.ready()
        assert await there.rebuild(history(), 1)
        assert await answer(here, a_request("one", customer="ana")) == ReservationGranted(command_id="one")
        # Asked by the other deployment, which may be another company's test system, she was not asked by this one.
        assert await answer(there, a_request("two", customer="ana")) == ReservationGranted(command_id="two")
        assert await here.ready()
