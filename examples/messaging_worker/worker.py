"""A messaging worker: reads commands from `referral-asks`, writes to people, says on `responses` what came of it.

The order of effects, and what a crash right after each of them does:

1. a command is remembered            Kafka delivers it again, and it is known
2. its offset is committed            -
3. the message is delivered           it is delivered again after the restart, under the same Message-ID
4. outcome and report are remembered  the report is published after the restart
5. the report is published            it is published again, with the same id and body
6. the report is forgotten            -

So a person is written to at least once, with the command id as idempotency key, and twice only if the worker dies between
3 and 4. Settings come from the environment: see README.md.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context
from catalogue import Catalogue
from memory import Memory, Report, Waiting
from senders import NotNow, Person, Sender, Undeliverable, smtp, to_console

COMMANDS = ("referral.ask.requested", "referral.reason.asked")
SOURCE = "messaging-worker"
IDLE_MS = 500
RETRY_MS = 5_000

log = logging.getLogger(SOURCE)


def now() -> int:
    return time.time_ns() // 1_000_000


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


class Worker:
    def __init__(
        self, memory: Memory, catalogue: Catalogue, people: Mapping[str, Person], senders: Mapping[str, Sender]
    ) -> None:
        self.memory, self.catalogue, self.people, self.senders = memory, catalogue, people, senders

    def take(self, value: bytes) -> None:
        """Remember what a record says. What is no command is none of our business, what is broken is logged."""
        event = json.loads(value)
        if event["type"] in COMMANDS:
            body = event["data"]
            due, expires = instant(body["not_before"]), instant(body["expires_at"])
            self.memory.accept(body["command_id"], body["customer_id"], due, expires, body, now())
        elif event["type"] == "referral.ask.cancelled":
            self.memory.cancel(event["data"]["command_id"], event["data"]["customer_id"], now())

    async def deliver(self, command: Waiting) -> None:
        """Send a command that is due, on the first of its channels that works, and remember what came of it."""
        if now() >= command.expires:
            return self.memory.finish(command.id, "dropped_expired", now())
        person = self.people.get(command.body["customer_id"], {})
        for channel in command.body["channels"]:
            try:
                wording = self.catalogue.message(
                    command.body, channel, person.get("name", ""), person.get("language", "")
                )
                sending = (channel, command.id, person, wording.subject, wording.text)
                await asyncio.to_thread(self.senders[channel], *sending)
                return self.memory.finish(command.id, "sent", now())
            except NotNow as away:
                log.warning("%s: %s later (%s)", command.id, channel, away)
                return self.memory.postpone(command.id, now() + RETRY_MS)
            except (KeyError, Undeliverable) as impossible:
                log.warning("%s: not by %s (%s)", command.id, channel, impossible)
        return self.memory.finish(command.id, "failed", now())

    async def work(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, topic: str, stop: asyncio.Event) -> None:
        """One delivery at a time: a cancellation that has come by then still counts."""
        while not stop.is_set():
            command = self.memory.next()
            wait = IDLE_MS if command is None else min(max(command.due - now(), 0), IDLE_MS)
            read = await consumer.getmany(timeout_ms=wait, max_records=500)
            for record in (record for records in read.values() for record in records):
                try:
                    self.take(record.value)
                except (AttributeError, KeyError, TypeError, ValueError) as broken:
                    log.error("skipped %s/%d: %s", record.partition, record.offset, type(broken).__name__)  # noqa: TRY400
            if read:
                await consumer.commit()
            if (command := self.memory.next()) and command.due <= now():
                await self.deliver(command)
            reports = self.memory.reports()
            sent = [await producer.send(topic, acknowledgement(each), each.customer.encode()) for each in reports]
            await asyncio.gather(*sent)
            self.memory.published(reports)


def acknowledgement(report: Report) -> bytes:
    """A CloudEvent whose id and body are the same whenever it is published."""
    event = {
        "specversion": "1.0",
        "id": str(uuid5(NAMESPACE_URL, f"{SOURCE}|{report.command}|{report.status}")),
        "source": SOURCE,
        "type": "ask.acknowledged",
        "subject": report.customer,
        "time": datetime.fromtimestamp(report.time / 1_000, UTC).isoformat(timespec="milliseconds"),
        "data": {"command_id": report.command, "status": report.status},
    }
    return json.dumps(event).encode()


def kafka_client(env: Mapping[str, str]) -> dict[str, Any]:
    client: dict[str, Any] = {"bootstrap_servers": env["KAFKA_BROKERS"]}
    if security := env.get("KAFKA_SECURITY"):  # SASL_SSL
        client |= {"security_protocol": security, "ssl_context": create_ssl_context(), "sasl_mechanism": "SCRAM-SHA-512"}
        client |= {"sasl_plain_username": env["KAFKA_USERNAME"], "sasl_plain_password": env["KAFKA_PASSWORD"]}
    return client


async def main(env: Mapping[str, str]) -> None:
    sender, address = env.get("SENDER_NAME", "Your team"), env.get("SENDER_ADDRESS", "team@localhost")
    senders: dict[str, Sender] = dict.fromkeys(("email", "in_app", "phone"), to_console)
    if server := env.get("SMTP_SERVER"):
        senders["email"] = smtp(server, sender, address, env.get("SMTP_PASSWORD", ""))
    deployment = {"sender": sender, "product": env.get("PRODUCT", "our product")}
    book = env.get("ADDRESS_BOOK")
    worker = Worker(
        Memory(Path(env.get("MEMORY_FILE", "messaging-worker.sqlite")), now()),
        Catalogue(Path(env.get("TEMPLATES") or Path(__file__).parent / "templates"), deployment),
        tomllib.loads(Path(book).read_text("utf-8")) if book else {},
        senders,
    )
    consumer = AIOKafkaConsumer(
        env.get("ASKS_TOPIC", "referral-asks"), **kafka_client(env), group_id=env.get("GROUP", SOURCE),
        isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest",
        session_timeout_ms=6_000, heartbeat_interval_ms=2_000,
    )  # fmt: skip
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with AIOKafkaProducer(**kafka_client(env), acks="all", enable_idempotence=True) as producer, consumer:
        log.info("reading")
        await worker.work(consumer, producer, env.get("RESPONSES_TOPIC", "responses"), stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main(os.environ))
