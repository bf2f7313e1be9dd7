"""Throughput of the ledger on a local redis-server: reservations per second, a batch being one round trip.

    python -m benchmarks.ledger [--url redis://HOST:PORT] [--requests 50000]

Without `--url` it starts the Redis of the test suite. *granted*: every request is another customer of another account,
with an e-mail HMAC, so that each writes a reservation and three counts. *denied*: the same people are asked again.
*repeated*: the same commands again. *rebuild*: the requests of *granted* as a history. Prints the memory of one
reservation, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from uuid import uuid4

import uvloop
from redis.asyncio import Redis

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import SECOND, parse_instant
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import RedisLedger
from tests.services.redis import RedisServer

NOON = parse_instant("2026-06-19T12:00:00Z")[0]


def requests(count: int, attempt: str) -> list[ReservationRequested]:
    return [
        ReservationRequested(
            command_id=derived_id("command", attempt, number),
            opportunity_id=derived_id("opportunity", number),
            customer_id=f"customer-{number:08d}",
            account_id=f"account-{number:08d}",
            email_hmac=sha256(b"%d" % number).hexdigest(),
            segment="smb",
            trigger="nps_promoter",
            priority=40,
            raw_score=number % 100,
            due=NOON,
            valid_until=NOON + 30 * SECOND,
            now=NOON,
        )
        for number in range(count)
    ]


async def history(records: Sequence[LedgerOperation]) -> AsyncIterator[LedgerOperation]:
    for record in records:
        yield record


async def rate(ledger: RedisLedger, asked: Sequence[ReservationRequested], batch: int) -> float:
    began = time.perf_counter()
    kinds = set()
    for start in range(0, len(asked), batch):
        kinds |= {type(each) for each in await ledger.apply(asked[start : start + batch])}
    elapsed = time.perf_counter() - began
    if len(kinds) != 1:
        raise SystemExit(f"not what was to be measured: {kinds}")
    return len(asked) / elapsed


async def measure(url: str, count: int) -> None:
    first, again = requests(count, "1"), requests(count, "2")
    async with Redis.from_url(url) as client:
        print(f"{'batch':>6} {'granted/s':>12} {'denied/s':>12} {'repeated/s':>12}")
        for batch in (1, 10, 100, 500, 1000):
            asked = slice(0, min(count, 200 * batch + 3000))
            async with RedisLedger.connect(url, Policy(), prefix=f"bench-{uuid4().hex[:8]}") as ledger:
                await ledger.rebuild(history([]))
                granted = await rate(ledger, first[asked], batch)
                denied = await rate(ledger, again[asked], batch)
                repeated = await rate(ledger, first[asked], batch)
            print(f"{batch:>6} {granted:>12,.0f} {denied:>12,.0f} {repeated:>12,.0f}")
        before = (await client.info("memory"))["used_memory"]
        async with RedisLedger.connect(url, Policy(), prefix=f"bench-{uuid4().hex[:8]}") as ledger:
            began = time.perf_counter()
            await ledger.rebuild(history(first))
            elapsed = time.perf_counter() - began
        size = (await client.info("memory"))["used_memory"] - before
        print(f"rebuild: {count / elapsed:,.0f} requests/s; {size / count:,.0f} bytes of Redis for each reservation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="an empty Redis; its keys are left to lapse")
    parser.add_argument("--requests", type=int, default=50_000)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        url = arguments.url or stack.enter_context(RedisServer()).url
        uvloop.run(measure(url, arguments.requests))


if __name__ == "__main__":
    main()
