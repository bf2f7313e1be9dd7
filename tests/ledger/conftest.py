"""Ledgers on a real Redis, each test with keys of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from referral_stream.core.policy import Policy
from referral_stream.ledger import RedisLedger
from tests.ledger.builders import history
from tests.services.redis import RedisServer


@pytest.fixture
async def unbuilt(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisLedger]:
    """A ledger that nobody has built yet."""
    async with RedisLedger.connect(redis_server.url, Policy(), prefix=request.node.name) as ledger:
        yield ledger


@pytest.fixture
async def ledger(unbuilt: RedisLedger) -> RedisLedger:
    """A ledger without a past."""
    assert await unbuilt.rebuild(history())
    return unbuilt


@pytest.fixture
def own_server(redis_server: RedisServer) -> Iterator[RedisServer]:  # noqa: ARG001  # skips where there is no Redis
    """A Redis of the test's own, to stop, kill and freeze."""
    with RedisServer() as server:
        yield server
