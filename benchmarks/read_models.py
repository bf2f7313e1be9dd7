"""Read models: decisions applied per second of CPU, bytes of Redis a customer, and how long a page takes.

Of customers there are as many as asked for, with states as the core makes them of the mix; everything is applied as the
projector applies it, without Kafka in front.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from benchmarks.core import BOUNDARY, _step_all
from benchmarks.mix import START, mix
from benchmarks.table import Figure
from referral_stream.contracts.inbound.adapt import adapt
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import encode_customer
from referral_stream.core.instants import HOUR, MINUTE
from referral_stream.core.policy import Policy
from referral_stream.read_models import DecisionFilter, Reader
from referral_stream.read_models.projecting import Operation, Projected, Projection, Touched
from referral_stream.read_models.writing import Writer
from tests.read_models.seeding import a_decision, a_followup, a_record, an_ask
from tests.services.redis import RedisServer

BATCH = 1_000
PREFIX = "bench"
NAMED = "cus-0000000"
"""In every template; replaced by a customer's number."""
PAGES = 200

DECISIONS_TARGET = 10_000.0
BYTES_TARGET = 1_024.0
PAGE_TARGET_MS = 100.0


class Size(NamedTuple):
    customers: int
    decisions: int


class _Deployment:
    """One topic after the other, as one partition each."""

    def __init__(self, client: Redis, log_kept: int) -> None:
        self.client, self.projection = client, Projection()
        self.writer = Writer(client, prefix=PREFIX, log_kept=log_kept, timeout_seconds=120)
        self.at: dict[str, int] = {}

    async def apply(
        self, topic: str, operations: Sequence[Operation], count: int, touched: dict[str, Touched] | None = None
    ) -> None:
        at = self.at.get(topic)
        self.at[topic] = (at or 0) + count
        now = START + HOUR
        applied = await self.writer.apply(
            topic, 0, at, self.at[topic], operations, touched or {}, now=now, real_now=now
        )
        assert applied.done

    async def bytes_used(self) -> int:
        about: Any = await self.client.info("memory")
        return int(about["used_memory"])

    async def cpu_seconds(self) -> float:
        about: Any = await self.client.info("cpu")
        return float(about["used_cpu_user"]) + float(about["used_cpu_sys"])


def measure(server: RedisServer, size: Size, say: Callable[[str], None]) -> Iterator[Figure]:
    """All figures."""
    yield from asyncio.run(_measured(server, size, say))


async def _measured(server: RedisServer, size: Size, say: Callable[[str], None]) -> list[Figure]:
    async with Redis.from_url(server.url) as client:
        found = await _weights(_Deployment(client, log_kept=1_000), size, say)
        found += await _rates(_Deployment(client, log_kept=100_000), size, say)
        return found + await _pages(Reader(client, prefix=PREFIX, timeout_seconds=60), size, say)


async def _weights(made: _Deployment, size: Size, say: Callable[[str], None]) -> list[Figure]:
    say(f"{size.customers:,} customers")
    states = _states()
    begin = await made.bytes_used()
    for first in range(0, size.customers, BATCH):
        some = [
            Projected(_name(n).encode(), states[n % len(states)])
            for n in range(first, min(first + BATCH, size.customers))
        ]
        operations, touched = made.projection.states(some)
        await made.apply("customers", operations, len(some), touched)
    known = await made.bytes_used()
    tenth = size.customers // 10
    say(f"{tenth:,} of them with a record and a decision")
    quiet = (("moment", "until", START),)
    suppressed = a_decision(NAMED, START + MINUTE, "suppressed", gates=(("trouble", "never", None),))
    await _tell(made, range(tenth), a_record(NAMED, START), [suppressed])
    considered = await made.bytes_used()
    say(f"and {tenth:,} who were asked")
    await _tell(made, range(tenth, 2 * tenth), a_record(NAMED, START, asks=[an_ask(NAMED, START)]), [
        a_decision(NAMED, START, "pending", gates=quiet),
        a_decision(NAMED, START + MINUTE, "deferred", n=2, gates=quiet),
        a_decision(NAMED, START + 2 * MINUTE, "asked", n=3),
    ], [a_followup(NAMED, START)])  # fmt: skip
    asked = await made.bytes_used()
    base = (known - begin) / size.customers
    return [
        Figure("read models: a state, mean", sum(map(len, states)) / len(states), "bytes"),
        Figure("read models: a customer, only known", base, "bytes", at_most=BYTES_TARGET),
        Figure(
            "read models: with a record and a decision, not asked", base + (considered - known) / tenth, "bytes",
            at_most=BYTES_TARGET,
        ),
        Figure("read models: asked once, a follow-up waits", base + (asked - considered) / tenth, "bytes"),
    ]  # fmt: skip


async def _tell(
    made: _Deployment, numbers: range, record: bytes, decisions: Sequence[bytes], followups: Sequence[bytes] = ()
) -> None:
    """The same about every one of these customers."""
    for first in range(numbers.start, numbers.stop, BATCH):
        some = range(first, min(first + BATCH, numbers.stop))
        told = [Projected(b"", _about(value, n)) for n in some for value in decisions]
        await made.apply("referral-decisions", made.projection.decisions(told), len(told))
        keyed = made.projection.records(Projected(_name(n).encode(), _about(record, n)) for n in some)
        await made.apply("referral-records", [], len(keyed), keyed)
        if followups:
            said = [Projected(b"", _about(value, n)) for n in some for value in followups]
            await made.apply("referral-followups", made.projection.followups(said), len(said))


async def _rates(made: _Deployment, size: Size, say: Callable[[str], None]) -> list[Figure]:
    """CPU time: on a machine that others use, too, the clock on the wall says little."""
    say(f"{size.decisions:,} decisions")
    made.at = {"referral-decisions": (await made.writer.positions())["referral-decisions", 0]}
    outcomes = ("pending", "deferred", "asked", "suppressed")
    quiet = (("moment", "until", START),)
    values = [
        a_decision(
            _name(n % size.customers), START + n * 10, outcomes[n % 4], n=10 + n, account=f"acc-{n % 5_000}",
            gates=() if n % 4 == 2 else quiet, subject=f"r-{n // 4}",
        )
        for n in range(size.decisions)
    ]  # fmt: skip
    begun, ours, theirs = time.perf_counter(), time.process_time(), await made.cpu_seconds()
    for first in range(0, len(values), BATCH):
        some = [Projected(b"", value) for value in values[first : first + BATCH]]
        await made.apply("referral-decisions", made.projection.decisions(some), len(some))
    wall, cpu = time.perf_counter() - begun, time.process_time() - ours
    served = await made.cpu_seconds() - theirs
    return [
        Figure("read models: decisions applied", len(values) / wall, "decisions/s"),
        Figure(
            "read models: decisions per core of the projector (CPU)", len(values) / cpu, "decisions/s",
            at_least=DECISIONS_TARGET,
        ),
        Figure(
            "read models: decisions per core of Redis (CPU)", len(values) / served, "decisions/s",
            at_least=DECISIONS_TARGET,
        ),
    ]  # fmt: skip


async def _pages(reader: Reader, size: Size, say: Callable[[str], None]) -> list[Figure]:
    say("pages")
    now = START + HOUR

    async def now_page(_: int) -> None:
        await asyncio.gather(
            reader.hours(now), reader.holding(), reader.pending(), reader.roles(), reader.controls(),
            reader.due_counts("asks", (0, now, now + HOUR)),
        )  # fmt: skip

    pages: dict[str, Callable[[int], Awaitable[object]]] = {
        "now": now_page,
        "customer": lambda n: reader.customer(_name(n * 7_919 % size.customers)),
        "decisions": lambda _: reader.decisions(),
        "decisions, two filters": lambda _: reader.decisions(DecisionFilter(outcome="suppressed", gate="moment")),
        "decisions, filters that never meet": lambda _: reader.decisions(
            DecisionFilter(outcome="asked", gate="moment")
        ),
        "works": lambda _: reader.works(now),
    }
    found = []
    for name, page in pages.items():
        took = []
        for n in range(PAGES):
            begun = time.perf_counter()
            await page(n)
            took.append((time.perf_counter() - begun) * 1_000)
        p95 = sorted(took)[int(0.95 * PAGES)]
        found.append(Figure(f"read models: page {name}, p95", p95, "ms", at_most=PAGE_TARGET_MS))
    return found


def _states() -> list[bytes]:
    """States of customers in the middle of the mix."""
    raw = [
        RawRecord(topic=record.topic, partition=0, offset=offset, timestamp=START, key=record.key, value=record.value)
        for offset, record in enumerate(mix(6_000, 2_000))
    ]
    facts = [event for each in (adapt(record, START, BOUNDARY) for record in raw) if isinstance(each, Accepted)
             for event in each.events]  # fmt: skip
    return [encode_customer(each, 1) for each in _step_all(Policy(), facts).values()]


def _name(number: int) -> str:
    return f"cus-{number:07d}"


def _about(value: bytes, number: int) -> bytes:
    """A template's record, of this customer; its ids are made other ones with the customer's number."""
    made = value.replace(NAMED.encode(), _name(number).encode())
    for name in (b'"decision_id":"', b'"opportunity_id":"', b'"followup_id":"', b'"command_id":"'):
        at = made.find(name)
        if at >= 0:
            begin = at + len(name)
            made = made[:begin] + b"%08x" % number + made[begin + 8 :]
    return made
