"""A messaging worker: reads commands from `referral-asks`, writes to people, says on `responses` what came of it.

The order of effects, and what a crash right after each of them does:

1. a command is remembered    Kafka delivers it again, and its id is known
2. its offset is committed    nothing is lost: it is remembered
3. the message is delivered   it is delivered again after the restart, under the same Message-ID
4. the outcome is remembered  it is reported after the restart
5. the report is published    it is published again, with the same id and body; nobody counts it twice

So a person is written to at least once, with the command id as idempotency key, and twice only if the worker dies
between 3 and 4. Settings come from the environment: see README.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context
from catalogue import Catalogue
from memory import Command, Memory
from senders import NotNow, Person, Sender, Undeliverable, smtp, to_console

COMMANDS = ("referral.ask.requested", "referral.reason.asked")
CANCELLATION = "referral.ask.cancelled"
SOURCE = "messaging-worker"
IDLE_MS = 500
RETRY_MS = 5_000

log = logging.getLogger(SOURCE)


def now() -> int:
    return time.time_ns() // 1_000_000


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


@dataclass(frozen=True)
class Worker:
    memory: Memory
    catalogue: Catalogue
    people: Mapping[str, Person]
    senders: Mapping[str, Sender]

    async def work(self, consumer: Any, producer: Any, responses: str, stop: asyncio.Event) -> None:
        """One delivery at a time, and a look at the topic before each: a cancellation that has come by then counts."""
        while not stop.is_set():
            command = self.memory.next()
            wait = IDLE_MS if command is None else min(max(command.due - now(), 0), IDLE_MS)
            if read := await consumer.getmany(timeout_ms=wait):
                for record in (record for records in read.values() for record in records):
                    self.remember(record)
                await consumer.commit()
            await self.report(producer, responses)
            if (command := self.memory.next()) and command.due <= now():
                await self.deliver(command)
                await self.report(producer, responses)

    def remember(self, record: Any) -> None:
        """What is no command is none of our business; what is broken is logged, without what it says."""
        try:
            event = json.loads(record.value)
            if event["type"] in COMMANDS:
                body = event["data"]
                due, expires = instant(body["not_before"]), instant(body["expires_at"])
                needed = {key: body[key] for key in ("channels", "template")}
                wording = {key: body[key] for key in ("mode", "variables", "reason_theme") if key in body}
                kept = json.dumps(needed | wording)
                self.memory.accept(body["command_id"], body["customer_id"], due, expires, kept, now())
            elif event["type"] == CANCELLATION:
                self.memory.cancel(event["data"]["command_id"], event["data"]["customer_id"], now())
        except (KeyError, TypeError, ValueError) as broken:
            log.error("skipped %d/%d: %s", record.partition, record.offset, type(broken).__name__)  # noqa: TRY400

    async def deliver(self, command: Command) -> None:
        """Send what is due, on the first of its channels that works, and remember what came of it."""
        if now() >= command.expires:
            self.memory.finish(command.id, "dropped_expired", now())
            return
        body, person = json.loads(command.body), self.people.get(command.customer, {})
        for channel in body["channels"]:
            try:
                said = self.catalogue.message(body, channel, person.get("name", ""), person.get("language", ""))
                await asyncio.to_thread(self.senders[channel], channel, command.id, person, said.subject, said.text)
            except NotNow as away:
                log.warning("%s: %s later (%s)", command.id, channel, away)
                self.memory.postpone(command.id, now() + RETRY_MS)
            except (KeyError, Undeliverable) as impossible:
                log.warning("%s: not by %s (%s)", command.id, channel, impossible)
                continue
            else:
                self.memory.finish(command.id, "sent", now())
            return
        self.memory.finish(command.id, "failed", now())

    async def report(self, producer: Any, responses: str) -> None:
        told = self.memory.unreported()
        sent = [await producer.send(responses, acknowledgement(each), each.customer.encode()) for each in told]
        await asyncio.gather(*sent)
        self.memory.reported(told)


def acknowledgement(command: Command) -> bytes:
    """A CloudEvent whose id and body are the same whenever it is published."""
    at = datetime.fromtimestamp(command.changed / 1_000, UTC).isoformat(timespec="milliseconds")
    id_ = str(uuid5(NAMESPACE_URL, f"{SOURCE}|{command.id}|{command.status}"))
    event = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": "ask.acknowledged", "time": at}
    said = {"subject": command.customer, "data": {"command_id": command.id, "status": command.status}}
    return json.dumps(event | said).encode()


async def run(worker: Worker, env: Mapping[str, str]) -> None:
    """Work until SIGINT or SIGTERM."""
    client: dict[str, Any] = {"bootstrap_servers": env["KAFKA_BROKERS"]}
    if user := env.get("KAFKA_USERNAME"):
        client |= {"security_protocol": "SASL_SSL", "ssl_context": create_ssl_context(cafile=env.get("KAFKA_CA_FILE"))}
        client |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": user}
        client |= {"sasl_plain_password": env["KAFKA_PASSWORD"]}
    consumer = AIOKafkaConsumer(
        env.get("ASKS_TOPIC", "referral-asks"), **client, group_id=env.get("GROUP", SOURCE),
        isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest",
        session_timeout_ms=6_000, heartbeat_interval_ms=2_000,
    )  # fmt: skip
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with AIOKafkaProducer(**client, acks="all", enable_idempotence=True) as producer, consumer:
        await worker.work(consumer, producer, env.get("RESPONSES_TOPIC", "responses"), stop)


def from_settings(env: Mapping[str, str]) -> Worker:
    sender, address = env.get("SENDER_NAME", "Your team"), env.get("SENDER_ADDRESS", "team@localhost")
    senders: dict[str, Sender] = dict.fromkeys(("email", "in_app", "phone"), to_console)
    if server := env.get("SMTP_SERVER"):
        senders["email"] = smtp(server, sender, address, env.get("SMTP_PASSWORD", ""))
    book, templates = env.get("ADDRESS_BOOK"), Path(__file__).parent / "templates"
    return Worker(
        Memory(Path(env.get("MEMORY_FILE", "messaging-worker.sqlite")), now()),
        Catalogue(templates, {"sender": sender, "product": env.get("PRODUCT", "our product")}),
        tomllib.loads(Path(book).read_text("utf-8")) if book else {},
        senders,
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(run(from_settings(os.environ), os.environ))
