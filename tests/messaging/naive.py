"""A worker that keeps the rules it is told to heed and no others: what the kit has to find out."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Collection
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, get_args
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from referral_stream.core.effects import FollowupKind

Rule: TypeAlias = Literal[
    "expiry", "repeats", "not_before", "cancellations", "early_cancellations", "commits", "subjects", "ids", "types",
    "kinds", "fields", "audience",
]  # fmt: skip

RULES: Final[tuple[Rule, ...]] = get_args(Rule)

_COMMANDS: Final = ("referral.ask.requested", "referral.reason.asked", "referral.followup.requested")


class NaiveWorker:
    """In a thread of this process, with its memory in RAM; reads from where the topics end when it starts.

    ``unsaid``: kinds of follow-ups for which it has no words. ``customers``, ``owners``: the ids of what reached whom.
    """

    def __init__(
        self,
        bootstrap: str,
        heeds: Collection[Rule],
        *,
        asks_topic: str = "referral-asks",
        responses_topic: str = "responses",
        followups_topic: str = "referral-followups",
        unsaid: Collection[str] = (),
    ) -> None:
        self._bootstrap, self._responses = bootstrap, responses_topic
        self._topics = asks_topic, followups_topic
        self._heeds, self._unsaid = frozenset(heeds), frozenset(unsaid)
        self.customers: list[str] = []
        self.owners: list[str] = []

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        self._reading, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        self._done: dict[str, str] = {}
        self._cancelled: set[str] = set()
        self._waiting: list[tuple[float, dict[str, Any]]] = []
        self._thread.start()
        assert self._reading.wait(30), "the worker reads its topics"

    def restart(self) -> None:
        """It forgets everything."""
        self.__exit__(None, None, None)
        self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _work(self) -> None:
        isolation = "read_committed" if "commits" in self._heeds else "read_uncommitted"
        consumer = AIOKafkaConsumer(
            *self._topics, bootstrap_servers=self._bootstrap, isolation_level=isolation, enable_auto_commit=False
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
        command = _id_of(body)
        if event["type"] in ("referral.ask.cancelled", "referral.followup.cancelled"):
            await self._cancel(body, command, producer)
        elif self._is_to_be_left(event["type"], command, body):
            return
        elif "kind" in body and self._cannot_say(body["kind"]):
            await self._end(body, "failed", producer)
        elif "expiry" in self._heeds and _seconds(body["expires_at"]) <= time.time():
            await self._end(body, "dropped_expired", producer)
        else:
            self._done[command] = "waiting"
            due = _seconds(body["not_before"]) if "not_before" in self._heeds else 0
            self._waiting.append((due, body))

    async def _cancel(self, body: dict[str, Any], command: str, producer: Any) -> None:
        waiting = [each for each in self._waiting if _id_of(each[1]) == command]
        if "cancellations" not in self._heeds:
            await self._end(body, "cancelled", producer)
        elif waiting:
            self._waiting.remove(waiting[0])
            await self._end(body, "cancelled", producer)
        elif "early_cancellations" in self._heeds and command not in self._done:
            self._cancelled.add(command)
            await self._end(body, "cancelled", producer)

    def _is_to_be_left(self, kind: str, command: str, body: dict[str, Any]) -> bool:
        is_unknown, is_repeated = kind not in _COMMANDS, command in self._done
        return (
            ("types" in self._heeds and is_unknown)
            or ("repeats" in self._heeds and is_repeated)
            or ("fields" not in self._heeds and "kit_field" in body)
            or command in self._cancelled
        )

    def _cannot_say(self, kind: str) -> bool:
        return kind in self._unsaid or ("kinds" in self._heeds and kind not in get_args(FollowupKind))

    async def _end(self, body: dict[str, Any], status: str, producer: Any) -> None:
        command = _id_of(body)
        self._done[command] = status
        if status == "sent":
            is_owners = "audience" in self._heeds and body.get("audience") == "owner"
            (self.owners if is_owners else self.customers).append(command)
        event = {
            "specversion": "1.0",
            "id": uuid4().hex if "ids" in self._heeds else "acknowledgement",
            "source": "naive",
            "type": "ask.acknowledged",
            "subject": body["customer_id"] if "subjects" in self._heeds else "somebody",
            "data": {"command_id": command, "status": status},
        }
        await producer.send_and_wait(self._responses, json.dumps(event).encode())


def _id_of(body: dict[str, Any]) -> str:
    return str(body.get("followup_id") or body["command_id"])


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
