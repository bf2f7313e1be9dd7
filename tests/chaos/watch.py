"""What can be seen from outside while the pipeline runs: one reader of its topics that survives whatever happens."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, TopicPartition

from referral_stream.core.events import FACT_TYPES
from tests.integration.live import PARTITIONS

_WATCHED: Final = ("customer-events", "ledger-requests", "referral-decisions", "referral-asks", "referral-rewards")
_ASKED: Final = frozenset({"asked", "soft", "holdout"})


class Watch:
    """Follows the topics as a reader with read_committed; call `look` again and again from one thread.

    Attributes: `facts` the ids of the producers' events on `customer-events` and of the switches on `ledger-requests`;
    `commanded` the customers to whom a command belongs, `asked` those and the ones held out; `released` the commands
    whose reservation was given back; `rewarded` the grants of which something was said;
    `passed_on` to whom each event was passed on, by its id.
    """

    def __init__(self, client: Mapping[str, Any], prefix: str) -> None:
        self._prefix = prefix
        self._consumer = Consumer(
            {
                **client,
                "group.id": f"{prefix}watch",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 500,  # the outage that is measured is the pipeline's, not this reader's
            }
        )
        self._consumer.assign([TopicPartition(f"{prefix}{t}", p, 0) for t in _WATCHED for p in range(PARTITIONS)])
        self.facts: set[str] = set()
        self.asked: set[str] = set()
        self.commanded: set[str] = set()
        self.released: set[str] = set()
        self.rewarded: set[str] = set()
        self.passed_on: dict[str, set[str]] = defaultdict(set)
        self._said_since: dict[str, set[str]] = {}
        self._merged: set[str] = set()
        self._erasures: dict[str, str] = {}
        self._waiting: dict[str, dict[str, bool]] = defaultdict(dict)
        self._seen_at: dict[tuple[str, int], list[float]] = defaultdict(list)

    def look(self) -> None:
        """Take in what has come; waits for at most some hundredths of a second."""
        now = time.monotonic()
        for message in self._consumer.consume(2_000, 0.02):
            if message.error() is not None:
                continue  # the broker is away: librdkafka goes on by itself
            name = str(message.topic()).removeprefix(self._prefix)
            self._take(name, (message.key() or b"").decode(), message.value() or b"{}")
            times = self._seen_at[name, message.partition() or 0]
            if not times or times[-1] != now:
                times.append(now)

    def close(self) -> None:
        self._consumer.close()

    def is_settled(self, customer: str) -> bool:
        """Whether something was decided about the customer, and it waits for no instant, no switch and no ledger."""
        waiting = self._waiting.get(customer)
        return waiting is not None and not any(waiting.values())

    def is_still(self, seconds: float) -> bool:
        """Whether nothing new has come on any topic for so long."""
        return all(times[-1] < time.monotonic() - seconds for times in self._seen_at.values())

    def longest_silence(self, topic: str, begin: float, end: float, horizon: float) -> float:
        """Of the silences that began between two `monotonic()` instants, or were on at the first, the longest.

        In seconds, on whichever partition it was. It counts to its own end, be that after `end`, but to `horizon` only.
        """
        silences = []
        for partition in range(PARTITIONS):
            instants = [begin, *(at for at in self._seen_at[topic, partition] if begin < at < horizon), horizon]
            silences += [after - before for before, after in pairwise(instants) if before < end]
        return max(silences)

    def is_one_person(self, id_: str) -> bool:
        """Whether what was said under an id that was merged away is with the customer by now."""
        if id_ not in self._merged:
            return False
        said = self._said_since[id_]
        erasures = said & self._erasures.keys()  # of an erased id nothing else is passed on
        awaited = erasures if id_ in self._erasures.values() else said
        return all(self.passed_on[each] for each in awaited)

    def _take(self, topic: str, key: str, value: bytes) -> None:
        body = orjson.loads(value)
        kind, said = body.get("type"), body.get("data", {})
        match topic:
            case "customer-events" if kind in FACT_TYPES and "via" in body:
                self.passed_on[body["id"]].add(key)
            case "customer-events" if kind in FACT_TYPES:
                self.facts.add(body["id"])
                if kind == "customer.erasure_requested":
                    self._erasures[body["id"]] = key
                if key in self._said_since:
                    self._said_since[key].add(body["id"])
            case "customer-events" if kind == "merge.requested":
                self._said_since.setdefault(key, set())
            case "customer-events" if kind == "merge.delivered":
                self._merged.add(said["of"])
            case "ledger-requests" if kind == "reservation.released":
                self.released.add(said["command_id"])
            case "ledger-requests" if str(kind).startswith("control."):
                self.facts.add(body["id"])
            case "referral-rewards":
                self.rewarded.add(said["grant_id"])
            case "referral-decisions":
                self._decided(said, out_of_reach=b"ledger_unavailable" in value)
            case "referral-asks" if kind == "referral.ask.requested":
                self.commanded.add(said["customer_id"])

    def _decided(self, decision: Mapping[str, Any], *, out_of_reach: bool) -> None:
        customer, outcome = decision["customer_id"], decision["outcome"]
        blocking = {reason["gate"]: reason["answer"] for reason in decision["reasons"] if reason["answer"] != "pass"}
        waits = outcome == "pending" and blocking.get("moment") == "until"
        if outcome != "duplicate":
            held = outcome == "deferred" and (out_of_reach or "paused" in blocking)
            self._waiting[customer][decision["opportunity_id"]] = waits or held
        if outcome in _ASKED:
            self.asked.add(customer)
