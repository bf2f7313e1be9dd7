"""How an app ends when its group rebalances meanwhile."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from batch_builders import PARTITIONS, an_app
from faust_batches import BatchResult, running


async def test_a_rebalance_during_shutdown_leaves_the_client_to_the_loop_that_owns_it(broker: str) -> None:
    app = an_app(id=uuid4().hex, brokers=(broker,), partitions=PARTITIONS, fencing="none")
    app.stateless([uuid4().hex], lambda _partition, _records, _read: BatchResult())
    async with running(app), asyncio.timeout(60):
        while not app.ready:  # noqa: ASYNC110 (Faust offers nothing to wait for)
            await asyncio.sleep(0.05)
        client = app.batch_consumer._thread._ensure_consumer()
        app._on_rebalance_when_stopped()  # as Faust calls it when it is told of a rebalance while stopping
        assert not client._closed
    assert client._closed
    assert app.failure is None
