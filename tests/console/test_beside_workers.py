"""The console beside real workers, as `demo --keep` serves it: what is confirmed there reaches them, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

from httpx import AsyncClient

from referral_stream.core.effects import ReservationRequested
from referral_stream.demo.pages import console_beside
from referral_stream.demo.play import demo_policy
from referral_stream.demo.workers import FETCH_WAIT_SECONDS, demo_settings, workers
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.local.redis_server import EmbeddedRedis
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import cluster_id

PATIENCE_SECONDS = 60.0
USUAL_SECONDS = 2.0
"""How long a pause takes on a machine of its own, at most; the test allows for one that is busy."""


async def until(holds: Callable[[], Awaitable[Any]]) -> float:
    """How many seconds it took."""
    began = monotonic()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.05)
    return monotonic() - began


async def test_a_pause_reaches_the_workers_shows_in_the_list_and_is_taken_back(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, EmbeddedRedis() as redis:
        deployment = Deployment(demo_settings(broker, redis, tmp_path), demo_policy(), Clock(), FETCH_WAIT_SECONDS)
        async with (
            workers(deployment),
            console_beside(deployment, 0) as opened,
            deployment.ledger() as ledger,
        ):
            assert opened is not None
            ledger.cluster = await cluster_id(deployment.client())
            bearer = {"Authorization": f"Bearer {opened.token}"}
            async with AsyncClient(base_url=opened.url, headers=bearer, timeout=30) as client:

                async def projected() -> bool:
                    return (await client.get("/ready")).status_code == 200

                async def thrown(verb: str) -> str:
                    order = {"verb": verb, "scope": "trigger", "name": "renewal", "why": "the mails look odd"}
                    answer = await client.post("/api/controls", json=order)
                    assert answer.status_code == 202, answer.text
                    return str(answer.json()["event_id"])

                async def stopped() -> bool:
                    if not await ledger.ready():  # it is built with its first record
                        return False
                    return (await ledger.stopped([a_request(deployment.clock.now())])) == [True]

                async def released() -> bool:
                    return not await stopped()

                async def listed(number: int) -> bool:
                    return len((await client.get("/api/controls")).json()["audit"]) == number

                await until(projected)
                await thrown("pause")
                seconds = await until(stopped) + await until(lambda: listed(1))
                assert seconds < 10 * USUAL_SECONDS
                assert [each["name"] for each in (await client.get("/api/controls")).json()["paused"]] == ["renewal"]
                page = (await client.get("/controls")).text
                assert "the mails look odd" in page
                assert "not read by the workers yet" not in page
                await thrown("resume")
                await until(released)
                await until(lambda: listed(2))
                assert (await client.get("/api/controls")).json()["paused"] == []


def a_request(now: int) -> ReservationRequested:
    return ReservationRequested(
        command_id="any", opportunity_id="any", customer_id="cus-any", trigger="renewal", priority=0, raw_score=0,
        due=now, valid_until=now, now=now,
    )  # fmt: skip
