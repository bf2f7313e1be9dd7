"""faust-streaming as its guide shows it: an agent on `customer-events`, tables written with every event.

An event whose processing fails is committed all the same, the offset can overtake the changelog, and acknowledgements
are awaited at the next commit only.
"""

from __future__ import annotations

from typing import Any

from benchmarks.engines.faust_app import Stock, raw
from benchmarks.engines.job import read_job

if __name__ == "__main__":
    stock = Stock(read_job())

    @stock.app.agent(stock.source)
    async def decide(stream: Any) -> None:
        async for event in stream.events():
            result = stock.decide(event.message.partition, [raw(event.message)])
            await stock.say(result)
            stock.keep(result)

    stock.run()
