"""faust-streaming with `take`: up to a thousand events at a time, each state written once for all of its events.

Faust refuses table writes in `take`, so the event that a write belongs to is set by hand. The batch counts as processed
when it is taken: if its processing fails, all of it is lost. Otherwise as `benchmarks.engines.stock_faust`.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from typing import Any

from faust.streams import _current_event

from benchmarks.engines.faust_app import Stock, raw
from benchmarks.engines.job import MAX_RECORDS, read_job

WITHIN_SECONDS = 0.1

if __name__ == "__main__":
    stock = Stock(read_job())

    @stock.app.agent(stock.source)
    async def decide(stream: Any) -> None:
        async for taken in stream.take_events(MAX_RECORDS, within=WITHIN_SECONDS):
            of_partition: defaultdict[int, list[Any]] = defaultdict(list)
            for event in taken:
                of_partition[event.message.partition].append(event)
            for partition, events in of_partition.items():
                result = stock.decide(partition, [raw(event.message) for event in events])
                await stock.say(result)
                token = _current_event.set(weakref.ref(events[-1]))
                stock.keep(result)
                _current_event.reset(token)

    stock.run()
