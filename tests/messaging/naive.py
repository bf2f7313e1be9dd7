"""A worker that keeps the rules it is told to heed and no others: what the kit has to find out."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Collection
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

Rule: TypeAlias = Literal["expiry", "repeats", "not_before", "cancellations", "commits", "subjects", "ids", "types"]

RULES: Final[tuple[Rule, ...]] = (
    "expiry",
    "repeats",
    "not_before",
    "cancellations",
    "commits",
    "subjects",
    "ids",
    "types",
)

_COMMANDS: Final = ("referral.ask.requested", "referral.reason.asked")


class NaiveWorker:
    """In a thread of this process, with its memory in RAM; reads from where the topic ends when it starts."""

    def __init__(
        self,
        bootstrap: str,
        heeds: Collection[Rule],
        *,
        asks_topic: str = "referral-asks",
        responses_topic: str = "responses",
    ) -> None:
        self._bootstrap, self._asks, self._responses = bootstrap, asks_topic, responses_topic
        self._heeds = frozenset(heeds)
        self._reading, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        self._done: dict[str, str] = {}
        self._waiting: list[tuple[float, dict[str, Any]]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._reading.wait(30), "the worker reads its topic"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _work(self) -> None:
        isolation = "read_committed" if "commits" in self._heeds else "read_uncommitted"
        consumer = AIOKafkaConsumer(
            self._asks, bootstrap_servers=self._bootstrap, isolation_level=isolation, enable_auto_commit=False
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
        async with producer, consumer:
            for partition in consumer.assignment():
                await consumer.position(partition)
            self._reading.set()
            while not self._stop.is_set():
                read = await consumer.getmany(timeout_ms=20)
                for record in (record for records in read.values() for record in records):
                    await self._take(json.loads(record.value), producer)
                for due, body in list(self._waiting):
                    if due <= time.time():
                        self._waiting.remove((due, body))
                        await self._end(body, "sent", producer)

    async def _take(self, event: dict[str, Any], producer: Any) -> None:
        body = event["data"]
        command = body["command_id"]
        if event["type"] == "referral.ask.cancelled":
            if "cancellations" not in self._heeds:
                await self._end(body, "cancelled", producer)
            elif waiting := [each for each in self._waiting if each[1]["command_id"] == command]:
                self._waiting.remove(waiting[0])
                await self._end(body, "cancelled", producer)
        elif self._is_to_be_left(event["type"], command):
            return
        elif "expiry" in self._heeds and _seconds(body["expires_at"]) <= time.time():
            await self._end(body, "dropped_expired", producer)
        else:
            self._done[command] = "waiting"
            due = _seconds(body["not_before"]) if "not_before" in self._heeds else 0
            self._waiting.append((due, body))

    def _is_to_be_left(self, kind: str, command: str) -> bool:
        is_unknown, is_repeated = kind not in _COMMANDS, command in self._done
        return ("types" in self._heeds and is_unknown) or ("repeats" in self._heeds and is_repeated)

    async def _end(self, body: dict[str, Any], status: str, producer: Any) -> None:
        command = body["command_id"]
        self._done[command] = status
        event = {
            "specversion": "1.0",
            "id": uuid4().hex if "ids" in self._heeds else "acknowledgement",
            "source": "naive",
            "type": "ask.acknowledged",
            "subject": body["customer_id"] if "subjects" in self._heeds else "somebody",
            "data": {"command_id": command, "status": status},
        }
        await producer.send_and_wait(self._responses, json.dumps(event).encode())


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
