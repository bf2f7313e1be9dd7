"""A messaging worker: reads `referral-asks` and `referral-followups`, writes to people, reports on `responses`.

The order of effects, and what a crash right after each of them does:

1. a command is remembered    Kafka delivers it again, and its id is known
2. its offset is committed    nothing is lost: it is remembered
3. the message is delivered   it is delivered again after the restart, under the same Message-ID
4. the outcome is remembered  it is reported after the restart
5. the report is published    it is published again, with the same id and body; it counts once

So a person gets a message at least once, with the command id as idempotency key, and twice only if the worker dies
between 3 and 4. Settings come from the environment: see README.md.
"""

import asyncio
import json
import logging
import os
import signal
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context
from catalogue import Catalogue
from memory import Command, Memory
from senders import Person, Sender, Undeliverable, smtp, to_console

SOURCE = "messaging-worker"
REQUESTS = {
    "referral.ask.requested": "command_id",
    "referral.reason.asked": "command_id",
    "referral.followup.requested": "followup_id",
}
CANCELLATIONS = {"referral.ask.cancelled": "command_id", "referral.followup.cancelled": "followup_id"}
"""Type of a record → the field with its id. Ids of both kinds are drawn from one space; below, both are commands."""

log = logging.getLogger(SOURCE)


class Worker:
    gathers = 1.0
    """How long it reads on before it delivers, in seconds at most: what cancels a command may be the next record."""

    def __init__(self, env: Mapping[str, str], now: Callable[[], float] = time) -> None:
        self.now, book, address = now, env.get("ADDRESS_BOOK"), env.get("SENDER_ADDRESS", "team@localhost")
        named = ("sender", env.get("SENDER_NAME")), ("product", env.get("PRODUCT"))
        self.responses = env.get("RESPONSES_TOPIC", "responses")
        self.memory = Memory(env.get("MEMORY_FILE", "messaging-worker.sqlite"), now())
        self.catalogue = Catalogue(Path(__file__).parent / "templates", {key: name for key, name in named if name})
        self.people: dict[str, Person] = tomllib.loads(Path(book).read_text("utf-8")) if book else {}
        # Who reads the replies of customers has to hear of what is to be done for them, unless you name somebody else.
        self.owner = {"name": "the owner", "email": env.get("OWNER_ADDRESS", address)}
        self.owner["language"] = env.get("OWNER_LANGUAGE", "en")
        self.senders: dict[str, Sender] = dict.fromkeys(("email", "in_app", "phone", "owner"), to_console)
        if server := env.get("SMTP_SERVER"):
            mail = smtp(server, env.get("SENDER_NAME", ""), address, env.get("SMTP_PASSWORD", ""))
            self.senders |= {"email": mail, "owner": mail}

    async def work(self, consumer: Any, producer: Any, stop: asyncio.Event) -> None:
        """One delivery at a time, reading the topics before each: a cancellation that has arrived by then counts."""
        while not stop.is_set():
            wait, latest = 50 if self.memory.due(self.now()) else 500, monotonic() + self.gathers
            while read := await consumer.getmany(timeout_ms=wait):
                for record in (record for records in read.values() for record in records):
                    self.remember(record)
                await consumer.commit()
                if monotonic() >= latest:
                    break
                wait = 50
            if command := self.memory.due(self.now()):
                await self.deliver(command)
            await self.report(producer)

    def remember(self, record: Any) -> None:
        """Anything but a command is ignored; a broken record is logged, without its content."""
        try:
            event = json.loads(record.value)
            if id_ := REQUESTS.get(event["type"]):
                body = event["data"]
                due, expires = (datetime.fromisoformat(body[key]).timestamp() for key in ("not_before", "expires_at"))
                kept = json.dumps(body | {"channels": channels_of(body)})
                self.memory.accept(body[id_], body["customer_id"], due, expires, kept, self.now())
            elif id_ := CANCELLATIONS.get(event["type"]):
                self.memory.cancel(event["data"][id_], event["data"]["customer_id"], self.now())
        except (KeyError, TypeError, ValueError) as broken:
            log.error("skipped %d/%d: %s", record.partition, record.offset, type(broken).__name__)  # noqa: TRY400

    async def deliver(self, command: Command) -> None:
        """Send what is due, on the first of its channels that works, and remember the outcome."""
        if self.now() >= command["expires"]:
            return self.memory.finish(command["id"], "dropped_expired", self.now())
        body, person = json.loads(command["body"]), self.people.get(command["customer"], {})
        for channel in body["channels"]:
            try:
                if self.people and channel == "email" and not person.get("email"):
                    raise Undeliverable("no address")  # noqa: TRY301 (as a sender would)
                reader = self.owner_of(person, command) if channel == "owner" else person
                message = self.catalogue.message(body, channel, reader)
                await asyncio.to_thread(self.senders[channel], channel, command["id"], reader, message)
            except OSError as away:
                log.warning("%s: %s later (%s)", command["id"], channel, type(away).__name__)
                return self.memory.postpone(command["id"], self.now() + 5)  # seconds
            except (KeyError, TypeError, ValueError, Undeliverable) as impossible:
                log.warning("%s: not by %s (%s)", command["id"], channel, impossible)
            else:
                return self.memory.finish(command["id"], "sent", self.now())
        return self.memory.finish(command["id"], "failed", self.now())

    def owner_of(self, customer: Person, command: Command) -> Person:
        """Who looks after the customer, and how the customer is called in what they read."""
        named = {"customer": customer.get("name") or command["customer"]}
        return self.owner | named | ({"email": customer["owner"]} if customer.get("owner") else {})

    async def report(self, producer: Any) -> None:
        for told in self.memory.unreported():
            await producer.send_and_wait(self.responses, acknowledgement(told), told["customer"].encode())
            self.memory.reported(told["id"], told["status"])


def channels_of(body: Mapping[str, Any]) -> list[str]:
    """In order. What is for the owner has no way to the customer, and what is for nobody we know has none at all."""
    if "followup_id" in body and body["audience"] != "customer":
        return ["owner"] if body["audience"] == "owner" else []
    return list(body["channels"])


def topics(env: Mapping[str, str]) -> list[str]:
    """What is read. Where the asks are those of a sandbox, the follow-ups are too."""
    asks = env.get("ASKS_TOPIC", "referral-asks")
    return [asks, env.get("FOLLOWUPS_TOPIC", f"{asks.removesuffix('asks')}followups")]


def acknowledgement(command: Command) -> bytes:
    """A CloudEvent whose id and body are the same whenever it is published."""
    id_ = str(uuid5(NAMESPACE_URL, f"{SOURCE}|{command['id']}|{command['status']}"))
    at = datetime.fromtimestamp(command["changed"], UTC).isoformat(timespec="milliseconds")
    event = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": "ask.acknowledged", "time": at}
    data = {"command_id": command["id"], "status": command["status"]}
    return json.dumps({**event, "subject": command["customer"], "data": data}).encode()


async def run(worker: Worker, env: Mapping[str, str], **reading: Any) -> None:
    """Work until SIGINT or SIGTERM. ``reading``: more settings of the consumer."""
    client = dict[str, Any](bootstrap_servers=env.get("KAFKA_BROKERS", "127.0.0.1:9092"))
    if user := env.get("KAFKA_USERNAME"):
        client |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": user}
        client |= {"sasl_plain_password": env["KAFKA_PASSWORD"], "security_protocol": "SASL_SSL"}
        client |= {"ssl_context": create_ssl_context(cafile=env.get("KAFKA_CA_FILE"))}
    group = {"group_id": env.get("GROUP", SOURCE), "session_timeout_ms": 6_000, "heartbeat_interval_ms": 2_000}
    reading |= {"isolation_level": "read_committed", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(*topics(env), **client, **group, **reading)
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with AIOKafkaProducer(**client, acks="all", enable_idempotence=True) as producer, consumer:
        await worker.work(consumer, producer, stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(run(Worker(os.environ), os.environ))
