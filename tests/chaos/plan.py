"""Which faults there are, a seeded plan of them, and what the workers' logs must say about each."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    KILL = "worker: kill -9"
    KILL_ALL = "all workers: kill -9"
    TERM = "worker: SIGTERM"
    STOP = "worker: SIGSTOP beyond its session"
    BROKER = "broker: kill -9"
    REDIS = "Redis: kill -9"
    REDIS_FORGETS = "Redis: kill -9, memory lost"
    JOIN = "a worker joins"
    LEAVE = "a worker leaves"
    BROKER_MOVES = "broker: back at another address"
    HALF_OPEN = "broker: connections half-open"
    RESETS = "broker: connections reset again and again"
    REDIS_DEMOTED = "Redis: failover, old master demoted"
    REDIS_SPLIT = "Redis: failover, old master alive"
    DAMAGE = "store: bytes of a table flipped"
    SMALL_RECORDS = "changelog: max.message.bytes lowered"
    GROWTH = "source: one more partition"
    POISON = "input: poison of every kind"
    NULL_HEADERS = "input: null headers"
    FAT = "input: a customer with 12,000 tickets"


LIGHT: Final = {
    Fault.KILL: 42,
    Fault.KILL_ALL: 2,
    Fault.TERM: 6,
    Fault.STOP: 6,
    Fault.BROKER: 9,
    Fault.REDIS: 3,
    Fault.REDIS_FORGETS: 3,
    Fault.JOIN: 6,
    Fault.LEAVE: 6,
}
"""How often in twenty minutes: those of the short soak in every test run."""
HEAVY: Final = {
    Fault.BROKER_MOVES: 2,
    Fault.HALF_OPEN: 3,
    Fault.RESETS: 3,
    Fault.REDIS_DEMOTED: 3,
    Fault.REDIS_SPLIT: 2,
    Fault.DAMAGE: 3,
    Fault.SMALL_RECORDS: 2,
    Fault.GROWTH: 1,
    Fault.POISON: 3,
    Fault.NULL_HEADERS: 2,
    Fault.FAT: 1,
}
"""The others, and what they need: connections through proxies, a second Redis."""
PER_TWENTY_MINUTES: Final = LIGHT | HEAVY
_TWENTY_MINUTES: Final = 1_200.0


_SERVICES: Final = frozenset(fault for fault in Fault if fault.value.startswith(("broker", "Redis")))
_INPUT: Final = frozenset(fault for fault in Fault if fault.value.startswith(("input", "source", "changelog")))


@dataclass(frozen=True, slots=True)
class Planned:
    """`at` in seconds from the begin."""

    at: float
    fault: Fault


def plan(rng: random.Random, seconds: float, numbers: Mapping[Fault, int] = PER_TWENTY_MINUTES) -> list[Planned]:
    """So many of each kind as the duration asks for, at least one; at any time, so that some come close together."""
    faults = [fault for fault, number in numbers.items() for _ in range(math.ceil(number * seconds / _TWENTY_MINUTES))]
    rng.shuffle(faults)
    # Nobody can leave who has not joined.
    turns = iter([Fault.JOIN, Fault.LEAVE] * len(faults))
    faults = [next(turns) if fault in {Fault.JOIN, Fault.LEAVE} else fault for fault in faults]
    return list(map(Planned, sorted(rng.uniform(0, seconds) for _ in faults), faults))


def lane_of(fault: Fault) -> str:
    """Faults of one lane follow each other; those of two may overlap."""
    return "services" if fault in _SERVICES else "input" if fault in _INPUT else "workers"


@dataclass(frozen=True, slots=True)
class Named:
    """One of these events must be in a worker's log if the fault lasted so long; what is shorter may pass unnoticed."""

    events: frozenset[str]
    seconds: float = 0.0


AIOKAFKA: Final = "aiokafka"
"""Stands for any line of the library itself, which has no names for what it says: that a connection is lost, and
which."""
_STARTED: Final = Named(frozenset({"starting"}))
_STOPPED: Final = Named(frozenset({"stopped", "worker_stuck", "starting", "partitions_ready"}))
"""Before it has taken over the signal, Python itself ends by it, without a word: then it is seen by what follows."""
_NO_BROKER: Final = frozenset(
    {
        "brokers_awaited",
        "brokers_silent",
        "fetch_failed",
        "batch_repeated",
        "batch_put_back",
        "not_published",
        "offsets_not_committed",
    }
)
_NO_LEDGER: Final = frozenset({"ledger_unavailable", "ledger_outdated", "ledger_rebuild_failed", "ledger_rebuilt"})
NAMED: Final[Mapping[Fault, Named]] = {
    Fault.KILL: _STARTED,
    Fault.KILL_ALL: _STARTED,
    Fault.JOIN: _STARTED,
    Fault.TERM: _STOPPED,
    Fault.LEAVE: _STOPPED,
    Fault.STOP: Named(frozenset({"starting", "partitions_ready", *_NO_BROKER})),
    Fault.BROKER: Named(_NO_BROKER | {"worker_not_started"}, 8.0),
    Fault.BROKER_MOVES: Named(_NO_BROKER | {"brokers_moved", "worker_not_started"}),
    Fault.HALF_OPEN: Named(_NO_BROKER),
    Fault.RESETS: Named(_NO_BROKER | {AIOKAFKA}),
    Fault.REDIS: Named(_NO_LEDGER, 4.0),
    Fault.REDIS_FORGETS: Named(frozenset({"ledger_rebuilt"})),
    Fault.REDIS_DEMOTED: Named(_NO_LEDGER),
    Fault.REDIS_SPLIT: Named(_NO_LEDGER),
    Fault.DAMAGE: Named(frozenset({"store_damaged", "store_read_again", "app_failed", "worker_not_started"})),
    Fault.SMALL_RECORDS: Named(frozenset({"record_limit_lowered", "one_record_per_batch", "state_too_large"})),
    Fault.FAT: Named(frozenset({"state_too_large", "customer_overfull"})),
}
"""No fault ends in silence. Poison is named by its dead letters, which are compared one by one; null headers and new
partitions of a source do no harm, and need no line: their records arrive."""
