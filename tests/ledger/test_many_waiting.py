"""The end of a pause that stopped very many: told in pages while requests go on; no call holds the server for long."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from referral_stream.core.events import ReservationDenied, ReservationGranted
from referral_stream.core.ledger.caps import PAGE
from referral_stream.core.ledger.switches import Page
from referral_stream.core.policy import Policy
from referral_stream.ledger import RedisLedger
from tests.ledger.builders import T0, a_pause, a_request, a_resumption, answer, history
from tests.night import by_night
from tests.services.redis import RedisServer

LONGEST_CALL_MS = 250
"""On average, on a machine that does much else; a call of one page takes about 1 ms by itself."""


@pytest.mark.parametrize("stopped", [3_000, by_night(400_000)])
async def test_requests_go_on_while_the_end_of_a_pause_is_told(own_server: RedisServer, stopped: int) -> None:
    async with RedisLedger.connect(own_server.url, Policy(), timeout_seconds=20) as ledger:
        await ledger.rebuild(history())
        await ledger.apply([a_pause(now=T0)])
        for begin in range(0, stopped, 10_000):
            some = [a_request(f"{n}", customer=f"{n:06}") for n in range(begin, min(begin + 10_000, stopped))]
            assert {type(each) for each in await ledger.apply(some)} == {ReservationDenied}
        end = a_resumption(now=T0 + 1)
        await ledger.apply([end])
        async with Redis.from_url(own_server.url) as client:
            await client.config_resetstat()

            told, pages, page, granted = list[str](), 0, Page((), ""), 0
            while page.after is not None:
                page, asked = await asyncio.gather(
                    ledger.page(end.data, T0 + 1, page.after),
                    answer(ledger, a_request(f"new {pages}", customer=f"new {pages}", due=T0 + 2)),
                )
                told += page.customers
                pages += 1
                granted += isinstance(asked, ReservationGranted)
                assert len(page.customers) <= PAGE

            stats = (await client.info("commandstats"))["cmdstat_evalsha"]
            left = [key async for key in client.scan_iter("*:waiting:*")]
    assert told == [f"{n:06}" for n in range(stopped)]
    assert pages == granted == -(-stopped // PAGE) + 1
    assert stats["calls"] == 2 * pages
    assert stats["usec_per_call"] < LONGEST_CALL_MS * 1_000
    assert left == [], "who was told is forgotten"
