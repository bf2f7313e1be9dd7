"""The console's pages over read models that are full: the server's time for each, from the request to the last byte.

CPU time of the process and of Redis together, since on a machine that others use the clock on the wall says little. The
application is called without a socket.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from httpx import ASGITransport, AsyncClient
from redis.asyncio import Redis

from benchmarks.mix import START
from benchmarks.table import Figure
from referral_stream.console.app import make_app
from referral_stream.core.instants import HOUR
from tests.console.world import OPERATORS, console_over
from tests.services.redis import RedisServer

PAGES = 100
PAGE_TARGET_MS, CUSTOMER_TARGET_MS = 100.0, 50.0


def measure(server: RedisServer, prefix: str, customers: int) -> Iterator[Figure]:
    """All figures, of a Redis that ``benchmarks.read_models`` has filled."""
    yield from asyncio.run(_measured(server, prefix, customers))


async def _measured(server: RedisServer, prefix: str, customers: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        console = console_over(server.url, Path(folder), prefix="bench-console", models=prefix, at=START + HOUR)
        called: Any = make_app(console)
        pages = {
            "now": lambda _: "/",
            "customer": lambda n: f"/customer?id=cus-{n * 7_919 % customers:07d}",
            "customer who waits": lambda n: f"/customer?id=cus-{customers - 1 - n:07d}",
            "decisions": lambda _: "/decisions",
            "decisions, two filters": lambda _: "/decisions?outcome=suppressed&gate=moment",
            "works": lambda _: "/works",
            "policy": lambda _: "/policy?show=all",
            "controls": lambda _: "/controls",
        }
        found = []
        async with (
            Redis.from_url(server.url) as redis,
            AsyncClient(
                transport=ASGITransport(called),
                base_url="http://127.0.0.1",
                headers={"Authorization": f"Bearer {OPERATORS}"},
            ) as client,
        ):
            for name, address in pages.items():
                took, theirs = [], await _cpu(redis)
                for n in range(-5, PAGES):
                    begun = time.process_time()
                    answer = await client.get(address(max(n, 0)))
                    if n >= 0:
                        took.append((time.process_time() - begun) * 1_000)
                    assert answer.status_code in (200, 404), answer.text
                redis_ms = (await _cpu(redis) - theirs) * 1_000 / (PAGES + 5)
                p95 = sorted(took)[int(0.95 * PAGES)] + redis_ms
                target = CUSTOMER_TARGET_MS if name.startswith("customer") else PAGE_TARGET_MS
                found.append(Figure(f"console: page {name}, p95 (CPU)", p95, "ms", at_most=target))
        await console.reader.aclose()
    return found


async def _cpu(redis: Redis) -> float:
    about: Any = await redis.info("cpu")
    return float(about["used_cpu_user"]) + float(about["used_cpu_sys"])
