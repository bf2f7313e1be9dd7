"""A batch without state: compute, publish, wait for the acknowledgements. The ack follows in the lane."""

from __future__ import annotations

from time import monotonic
from typing import NoReturn

from faust_batches.batch import AsyncProcessor, BatchResult, Processor, Rest
from faust_batches.lanes import Batch
from faust_batches.meter import Meter
from faust_batches.plain_producer import PlainSender


class Stateless:
    """At least once: after a crash or a rebalance, outputs of the last batches are published again."""

    def __init__(self, processor: Processor | AsyncProcessor, plain: PlainSender, meter: Meter) -> None:
        self._processor = processor
        self._plain = plain
        self._meter = meter

    async def __call__(self, batch: Batch) -> Rest | None:
        begun = monotonic()
        computed = self._processor(batch.tp.partition, batch.records, _no_tables)
        result = computed if isinstance(computed, BatchResult) else await computed
        self._meter.step_seconds[batch.tp.topic].observe(monotonic() - begun)
        if result.changes:
            raise TypeError("a stateless processor has no tables to change")
        await self._plain.send(result.first)
        await self._plain.send(result.outputs)
        return result.rest


def _no_tables(table: str, key: bytes) -> NoReturn:  # noqa: ARG001  (the signature of `Read`)
    raise LookupError(f"a stateless processor has no table {table!r} to read")
