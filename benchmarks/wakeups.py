"""A million pending wake-ups: reading them, being on time, and a burst that all falls due in the same second.

The changelogs are written as a decide agent would have left them: customers with a live opportunity that waits for its
moment. Those that fall due during the run have states of their own, made by the core; the others never wake, and share
the bytes of one.

Instants are read from outside: a wake-up was *appended* at its record's timestamp, and *handled* at that of the record
by which the decide agent moved or cleared its entry. *Probes* are events of other customers at a steady rate: how long
each takes from its own record to that of its state says whether wake-ups starve the stream.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from faust_batches import partition_of

from benchmarks.deployment import Deployment, Services, canonical, writing
from benchmarks.gauged import Reading, readings
from benchmarks.hops import STANDING_CLOCK, decide_hop
from benchmarks.latency import percentile
from benchmarks.load import Trickle, usage
from benchmarks.mix import START, Sourced, mix, promoters
from benchmarks.table import Figure
from referral_stream.contracts.codec import decode_event
from referral_stream.contracts.state import encode_customer, encode_wakeup
from referral_stream.core.customer import Customer
from referral_stream.core.events import WakeupDue
from referral_stream.core.instants import DAY, MINUTE, SECOND
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.stream.wakeups import Wakeups
from tests.services.process import wait_until

STEADY_SECONDS = 20
BURST_AFTER_SECONDS = 10
AFTER_BURST_SECONDS = 25
"""Less than the 30 s after which what was asked of the ledger, and never answered here, wakes the customer again."""

SETTLES_AFTER = 20 * MINUTE
"""A survey's opportunity waits so long: 15 minutes to settle, 5 for rivals."""

PROBES_PER_SECOND = 200
LEAD_SECONDS = 10.0
READY_SECONDS = 180.0


class Size(NamedTuple):
    """How many are pending, how many fall due in each second, how many in one; and the events of a job meanwhile."""

    pending: int
    per_second: int
    burst: int
    events: int


class _Due(NamedTuple):
    """Customer → due instant on the worker's clock."""

    steady: dict[bytes, int]
    burst: dict[bytes, int]


class _Seen(NamedTuple):
    """Customer → epoch ms at which a wake-up was appended, and handled; and of probes, the ms each took, by instant."""

    appended: dict[bytes, int]
    handled: dict[bytes, int]
    probes: list[tuple[int, int]]


def measure(services: Services, size: Size, say: Callable[[str], None]) -> Iterator[Figure]:
    """All of it, on a worker of the decide role."""
    with Deployment(services) as deployment:
        say(f"writing {size.pending:,} pending wake-ups")
        due = _write(deployment, size)
        say("reading them")
        file = deployment.folder / "gauges-standing"
        with deployment.process("-m", "benchmarks.gauged", str(file), **STANDING_CLOCK) as worker:
            lead, found = _reading(file, size)
            yield from found
            say("a job meanwhile")
            job = canonical(mix(size.events))
            deployment.await_done(deployment.decided)
            meanwhile = deployment.rate(
                [worker], lambda: deployment.fill(job), len(job), done=deployment.decided, written=deployment.outbound
            )
        say("the same job without them")
        without, _ = decide_hop(services, job)
        yield Figure(
            f"decide hop with {size.pending:,} pending, against none (CPU)", meanwhile.cpu, "events/s", without.cpu
        )
        say(f"{size.per_second} a second for {STEADY_SECONDS} s, then {size.burst:,} in one")
        file = deployment.folder / "gauges"
        begin = int((time.time() + LEAD_SECONDS + 2 * lead) * 1000)
        settings = {"CLOCK_STARTED_AT": str(begin)}
        offsets = {topic: deployment.watch.ends(topic) for topic in _topics(deployment)}
        with deployment.process("-m", "benchmarks.gauged", str(file), **settings):
            _ = _reading(file, size)
            spare = begin / 1000 - time.time()
            if spare < 0:
                raise RuntimeError(f"the worker was ready {-spare:.0f} s too late to be measured")
            probes = (f"probe_{number:08d}" for number in range(10_000_000))
            canonically = (output for probe in probes for output in canonical(_source(probe)))
            with Trickle(deployment, PROBES_PER_SECOND, canonically) as trickle:
                trickle.run_for(spare + STEADY_SECONDS + BURST_AFTER_SECONDS + AFTER_BURST_SECONDS)
        yield from _punctuality(due, _seen(deployment, offsets), readings(file), begin)


def _source(customer: str) -> Iterator[Sourced]:
    return (Sourced(each.topic, each.key or b"", each.value or b"") for each in usage([customer]))


def _topics(deployment: Deployment) -> list[str]:
    return [deployment.topic("customer-events"), *map(deployment.changelog, ("wakeups", "customers"))]


def _write(deployment: Deployment, size: Size) -> _Due:
    """Fill the changelogs of the decide agent; the worker's clock will show START when the first falls due."""
    steady = STEADY_SECONDS * size.per_second
    burst_at = START + (STEADY_SECONDS + BURST_AFTER_SECONDS) * SECOND
    rng = random.Random(5)
    instants = [START + number * SECOND // size.per_second for number in range(steady)]
    instants += [burst_at + rng.randrange(SECOND) for _ in range(size.burst)]
    due = _Due({}, {})
    with writing(deployment.services.kafka.bootstrap) as producer:

        def put(customer: bytes, state: bytes, at: int) -> None:
            partition = partition_of(customer, deployment.partitions)
            producer.produce(deployment.changelog("customers"), state, customer, partition)
            producer.produce(deployment.changelog("wakeups"), encode_wakeup(at, 0), customer, partition)
            producer.poll(0)

        state = b""
        for number, customer in enumerate(_waiting(instants)):
            key, at = customer.id.encode(), instants[number]
            if customer.wake_at != at:
                raise RuntimeError(f"{customer.id} wakes at {customer.wake_at} instead of {at}")
            (due.steady if number < steady else due.burst)[key] = at
            state = encode_customer(customer, 0)
            put(key, state, at)
        for number in range(size.pending - len(instants)):
            put(b"far_%08d" % number, state, START + DAY + rng.randrange(90 * DAY))
    return due


def _waiting(instants: list[int]) -> Iterator[Customer]:
    """Customers whose opportunity may first speak at these instants."""
    policy = Policy()
    histories, surveys = promoters(len(instants))
    events = [decode_event(output.value or b"") for output in canonical(histories)]
    answers = [decode_event(output.value or b"") for output in canonical(surveys)]
    each = len(events) // len(answers)
    for number, (answer, at) in enumerate(zip(answers, instants, strict=True)):
        answered = msgspec.structs.replace(answer, time=at - SETTLES_AFTER)
        past = events[number * each : (number + 1) * each]
        yield step(policy, Customer(id=answer.subject), [*past, answered], answered.time + SECOND).customer


def _reading(file: Path, size: Size) -> tuple[float, list[Figure]]:
    """Seconds until a worker that has been started has read what is pending; and what there is to say about it."""
    begun = time.time()

    def read() -> bool:
        last = readings(file)[-2:]
        return len(last) == 2 and last[0].pending == last[1].pending >= size.pending

    wait_until(read, f"{size.pending:,} wake-ups are read", seconds=READY_SECONDS)
    found = readings(file)
    recovered = next(reading for reading in found if reading.recovered_in is not None)
    complete = next(reading for reading in found if reading.pending == found[-1].pending)
    return time.time() - begun, [
        Figure("wake-ups: pending", found[-1].pending, "wake-ups"),
        Figure("wake-ups: states and entries recovered in", recovered.recovered_in or 0, "s"),
        Figure("wake-ups: then read in", complete.at - recovered.at, "s"),
        Figure("wake-ups: longest turn of the event loop while reading", _longest_turn(found) * 1000, "ms"),
        Figure("wake-ups: memory per pending one, beside its table", _weight(), "bytes"),
        Figure("wake-ups: memory of the worker", found[-1].resident_bytes / 1_000_000, "MB"),
    ]


def _weight(entries: int = 100_000) -> float:
    """Bytes per pending wake-up that `Wakeups` needs beside what the table holds."""
    rng = random.Random(5)
    table = {b"cus_%08d" % number: encode_wakeup(START + rng.randrange(90 * DAY), 0) for number in range(entries)}
    tracemalloc.start()
    wakeups = Wakeups()
    wakeups.load(0, table.items())
    while wakeups.read_on():
        pass
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / wakeups.pending()


def _longest_turn(found: Iterable[Reading]) -> float:
    """Seconds; once the partitions are there."""
    return max(reading.worst_turn for reading in found if reading.recovered_in is not None)


def _seen(deployment: Deployment, offsets: dict[str, dict[int, int]]) -> _Seen:
    """What the topics say of the time since these offsets."""
    seen = _Seen({}, {}, [])
    probed: dict[bytes, int] = {}
    events, wakeups, customers = offsets
    for message in deployment.watch.messages(events, _spans(deployment, events, offsets)):
        key, at = message.key() or b"", message.timestamp()[1]
        if decode_event(message.value() or b"").type == WakeupDue.type:
            seen.appended.setdefault(key, at)
        else:
            probed[key] = at
    for message in deployment.watch.messages(wakeups, _spans(deployment, wakeups, offsets)):
        seen.handled.setdefault(message.key() or b"", message.timestamp()[1])
    for message in deployment.watch.messages(customers, _spans(deployment, customers, offsets)):
        begun = probed.get(message.key() or b"")
        if begun is not None:
            seen.probes.append((begun, message.timestamp()[1] - begun))
    return seen


def _spans(deployment: Deployment, topic: str, offsets: dict[str, dict[int, int]]) -> dict[int, tuple[int, int]]:
    ends = deployment.watch.ends(topic)
    return {
        partition: (begin, ends[partition]) for partition, begin in offsets[topic].items() if ends[partition] > begin
    }


def _punctuality(due: _Due, seen: _Seen, found: list[Reading], begin: int) -> Iterator[Figure]:
    """``begin``: the epoch ms at which the worker's clock showed START."""

    def late(instants: dict[bytes, int], happened: dict[bytes, int]) -> list[float]:
        """Seconds each."""
        missing = instants.keys() - happened.keys()
        if missing:
            raise RuntimeError(f"{len(missing)} wake-ups never came")
        return [(happened[key] - begin - (at - START)) / 1000 for key, at in instants.items()]

    appended, handled = late(due.steady, seen.appended), late(due.steady, seen.handled)
    yield Figure("punctuality, appended: p50", percentile(appended, 50), "s")
    yield Figure("punctuality, appended: p99", percentile(appended, 99), "s", at_most=1)
    yield Figure("punctuality, handled: p99", percentile(handled, 99), "s", at_most=1)
    of_burst = late(due.burst, seen.handled)
    yield Figure(f"a burst of {len(of_burst):,} in one second: handled, p50", percentile(of_burst, 50), "s")
    yield Figure(f"a burst of {len(of_burst):,} in one second: all handled", max(of_burst), "s")
    burst_at = begin + (STEADY_SECONDS + BURST_AFTER_SECONDS) * SECOND
    over_at = burst_at + round(max(of_burst) * 1000)
    calm = [took for at, took in seen.probes if begin <= at < burst_at]
    during = [took for at, took in seen.probes if burst_at <= at <= over_at]
    yield Figure("an event's way through the decide hop: p99, before the burst", percentile(calm, 99), "ms")
    yield Figure("an event's way through the decide hop: p99, during the burst", percentile(during, 99), "ms")
    turns = [reading for reading in found if begin <= reading.at * 1000 <= over_at]
    yield Figure("wake-ups: longest turn of the event loop while they fall due", _longest_turn(turns) * 1000, "ms")
