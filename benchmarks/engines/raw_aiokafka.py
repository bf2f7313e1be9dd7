"""A loop around aiokafka: fetch, decide, send everything, wait for all sent, commit, and again.

It does not read its changelog back: one that is restarted, or given a partition, would begin with empty states.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.engines.job import MAX_RECORDS, Job, aiokafka_settings, read_job


async def work(job: Job, consumer: Any, producer: Any, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        sent = []
        for tp, records in (await consumer.getmany(timeout_ms=250, max_records=MAX_RECORDS)).items():
            result = job.step(tp.partition, records)
            for output in result.outputs:
                headers = list(output.headers)
                sent.append(await producer.send(output.topic, output.value, output.key, headers=headers))
            for table, changes in result.changes.items():
                for key, value in changes.items():
                    sent.append(await producer.send(job.changelog(table), value, key, tp.partition))
        if sent:
            await asyncio.gather(*sent)
            await consumer.commit()


async def run(job: Job) -> None:
    settings = aiokafka_settings(job)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(AIOKafkaProducer(**settings["producer"]))
        consumer = await stack.enter_async_context(AIOKafkaConsumer(job.topics.customer_events, **settings["consumer"]))
        await work(job, consumer, producer, stopping)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(run(read_job()))
