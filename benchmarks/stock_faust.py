"""The same job, core and codecs on faust-streaming as it comes: the baseline of our transport.

Written as Faust's own guide does it: an agent per source topic, an agent with tables on ``customer-events``, a Table
write for every event, sends awaited into the producer's buffer. No transactions: its guarantees are weaker than ours.

    python -m benchmarks.stock_faust both|decide|ingest      (settings as for `referral-stream run`)
"""

from __future__ import annotations

import sys
from typing import Any

import faust

from referral_stream.clock import Clock
from referral_stream.contracts.adapted import Accepted, Refused
from referral_stream.contracts.inbound import adapt
from referral_stream.contracts.outbound import (
    arrival,
    decode_event,
    effect_key,
    encode_effect,
    encode_event,
    event_headers,
    event_key,
)
from referral_stream.contracts.policy_file import read_policy
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_customer, encode_customer, encode_wakeup
from referral_stream.core.asks import AskCancelled, AskRequested, Decision
from referral_stream.core.customer import Customer
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.settings import read_settings
from referral_stream.stream.apps import Deployment
from referral_stream.stream.ingest import dead_letter_output

LINGER_MS = 5


def stock_app(deployment: Deployment, hops: str) -> faust.App:
    """The app with the agents of one hop, or of both. Its group is the deployment's group of that hop."""
    s, topics, clock = deployment.settings, deployment.topics, deployment.clock
    role = "ingest" if hops == "ingest" else "decide"
    app = faust.App(
        deployment.group(role),
        broker=[f"kafka://{broker}" for broker in s.kafka_brokers],
        store="memory://",
        datadir=str(s.data_dir),
        topic_partitions=s.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        producer_linger=LINGER_MS / 1000,
        producer_max_batch_size=200_000,
        web_enabled=False,
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "value_serializer": "raw", "key_serializer": "raw"}
    ours = ("customer-events", "ledger-requests", "referral-asks", "referral-decisions", "dead-letters")
    targets = {name: app.topic(name, **raw) for name in (f"{topics.prefix}{name}" for name in ours)}
    destinations: dict[type, str] = {
        AskRequested: topics.referral_asks,
        AskCancelled: topics.referral_asks,
        Decision: topics.referral_decisions,
    }

    async def ingest(stream: Any) -> None:
        async for event in stream.events():
            record = _raw(event.message)
            now = clock.now()
            match adapt(record, now, deployment.boundary):
                case Accepted(events=events):
                    for fact in events:
                        await targets[topics.customer_events].send(
                            key=event_key(fact), value=encode_event(fact), headers=dict(event_headers(fact, now))
                        )
                case Refused(cause=cause):
                    letter = dead_letter_output(topics, record, cause, "ingest", now)
                    await targets[letter.topic].send(key=letter.key, value=letter.value, headers=dict(letter.headers))
                case _:
                    pass

    async def decide(stream: Any) -> None:
        async for event in stream.events():
            record, key = _raw(event.message), event.key
            known = customers.get(key)
            customer = Customer(id=key.decode()) if known is None else decode_customer(known).customer
            woken = customer.wake_at
            advanced = step(deployment.policy, customer, [decode_event(event.value)], arrival(record))
            now = advanced.customer.now
            for effect in advanced.effects:
                target = targets[destinations.get(type(effect), topics.ledger_requests)]
                await target.send(
                    key=effect_key(effect), value=encode_effect(effect, now), headers={"now": b"%d" % now}
                )
            customers[key] = encode_customer(advanced.customer, record.offset + 1)
            if advanced.wake_at is not None and advanced.wake_at != woken:
                wakeups[key] = encode_wakeup(advanced.wake_at, record.offset + 1)

    if hops in ("both", "ingest"):
        for name in topics.sources:
            app.agent(app.topic(name, **raw), name=f"ingest {name}")(ingest)
    if hops in ("both", "decide"):
        tables: dict[str, Any] = {"partitions": s.partitions, "key_type": bytes, "value_type": bytes}
        customers, wakeups = app.Table("customers", **tables), app.Table("wakeups", **tables)
        app.agent(targets[topics.customer_events], name="decide")(decide)
    return app


def _raw(message: Any) -> RawRecord:
    return RawRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=round(message.timestamp * 1000),
        key=message.key,
        value=message.value,
        headers=tuple(message.headers or ()),
    )


def main() -> None:
    (hops,) = sys.argv[1:]
    sys.argv[1:] = ["worker", "-l", "warn", "--without-web"]
    settings = read_settings()
    policy = read_policy(settings.policy_file) if settings.policy_file else Policy()
    clock = Clock(settings.clock_start or 0, settings.clock_started_at or 0, settings.clock_speed)
    stock_app(Deployment(settings, policy, clock), hops).main()


if __name__ == "__main__":
    main()
