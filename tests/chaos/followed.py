"""What followed the asks of a soak: follow-ups, rewards and records of the topics against a replay and the oracle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.records import RawRecord
from referral_stream.core.effects import Effect
from tests.chaos.afterwards import NOT_COMPARED
from tests.integration.live import parsed

AFTER = ("referral-followups", "referral-rewards")


@dataclass
class Followed:
    """By customer: the values of ``streams`` in their order, by topic; and the newest of the ``records``."""

    streams: dict[tuple[str, str], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    records: dict[str, bytes | None] = field(default_factory=dict)

    def take_effect(self, effect: Effect, now: int) -> bool:
        """Whether it is of these; a tombstone has no value."""
        message = EFFECT_MESSAGES[type(effect)]
        if message.topic == "referral-records":
            self.records[message.key(effect)] = None if message.tombstone else encode_effect(effect, now)
        elif message.topic in AFTER:
            self.streams[message.topic, effect.customer_id].append(encode_effect(effect, now))
        else:
            return message.topic == "referral-contacts"  # of which the audit says whose names may be there
        return True


def on_topics(followups: Iterable[RawRecord], rewards: Iterable[RawRecord], records: Iterable[RawRecord]) -> Followed:
    """The same from what the topics held."""
    found = Followed()
    for topic, these in zip(AFTER, (followups, rewards), strict=True):
        for record in these:
            found.streams[topic, (record.key or b"").decode()].append(record.value or b"")
    for record in records:
        found.records[(record.key or b"").decode()] = record.value
    return found


def differing(live: Followed, made: Followed, topic: str) -> Iterator[str]:
    """Customers of whom the topic does not hold what the replay gives."""
    for of, customer in sorted(live.streams.keys() | made.streams.keys()):
        mine, other = live.streams.get((of, customer), []), made.streams.get((of, customer), [])
        if of == topic and mine != other:
            yield f"{topic} of {customer}: {len(mine)} live, {len(other)} replayed"


def differing_records(live: Followed, made: Followed) -> Iterator[str]:
    """Customers whose newest record is not the replay's; a tombstone and nothing are alike."""
    for customer in sorted(live.records.keys() | made.records.keys()):
        if live.records.get(customer) != made.records.get(customer):
            yield customer


def granted(of: Followed) -> Counter[str]:
    """How often each grant was granted."""
    values = [value for (topic, _), found in of.streams.items() if topic == "referral-rewards" for value in found]
    told: list[Any] = list(map(orjson.loads, values))
    return Counter(each["data"]["grant_id"] for each in told if each["type"] == "referral.reward.granted")


def names_of(messages: Iterable[Mapping[str, object]]) -> frozenset[str]:
    """What the oracle and the pipeline must agree on: ids of follow-ups, words on rewards."""
    found = set()
    for message in messages:
        data = message["data"]
        if not isinstance(data, Mapping):
            continue
        if message["type"] == "referral.followup.requested" and data["kind"] not in NOT_COMPARED:
            found.add(f"follow-up {data['kind']} {data['followup_id']}")
        elif str(message["type"]).startswith("referral.reward."):
            found.add(f"{message['type']} {data['grant_id']}")
    return frozenset(found)


def names_by_customer(records: Iterable[RawRecord]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        found[(record.key or b"").decode()] |= names_of([parsed(record)])
    return found


def after_a_stop(events: Iterable[RawRecord], followups: Sequence[RawRecord]) -> list[str]:
    """Follow-ups to a customer that were requested after they said stop, by the instants at which they arrived."""
    stopped: dict[str, int] = {}
    seen: dict[str, int] = {}
    for record in events:
        name, body = (record.key or b"").decode(), parsed(record)
        seen[name] = max(seen.get(name, 0), int(record.header("now") or 0))
        if body.get("type") == "ask.answered" and body["data"].get("answer") == "stop":
            stopped.setdefault(name, seen[name])
    return [
        f"{data['customer_id']} {data['kind']} {data['followup_id']}"
        for record in followups
        if (message := parsed(record))["type"] == "referral.followup.requested"
        and (data := message["data"])["audience"] == "customer"
        and int(record.header("now") or 0) > stopped.get(data["customer_id"], int(record.header("now") or 0))
    ]
