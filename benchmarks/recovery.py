"""What a restart costs: reading the state back, and the time without progress after kill -9; and what state weighs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import mean, median

from benchmarks.deployment import Deployment, Services, Worker, canonical
from benchmarks.gauged import Reading, readings
from benchmarks.hops import STANDING_CLOCK
from benchmarks.load import Trickle, in_turn, usage
from benchmarks.mix import mix, promoters
from benchmarks.table import Figure
from benchmarks.watch import TAIL
from tests.services.process import wait_until

MEGABYTE = 1_000_000
CUSTOMERS = 20_000
"""Of the worker that is killed."""

READY_SECONDS = 120.0
SETTLED_SECONDS = 2.0
PER_SECOND = 500


def reading_back(services: Services, customers: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """State of so many customers, from nothing, and from a RocksDB that is there already."""
    with Deployment(services) as deployment:
        say(f"making the states of {customers:,} customers")
        before, after = _filled(deployment, customers)
        sizes = [len(value) for value in deployment.watch.values(deployment.changelog("customers"))]
        yield Figure("a state there, mean", mean(sizes), "bytes")
        yield Figure(f"memory of a worker with {customers:,} customers, just decided on", after / MEGABYTE, "MB")
        yield Figure("memory per customer, just decided on", (after - before) / customers, "bytes")

        say("recovery into memory")
        recovered = _recovered(deployment, "memory")
        yield Figure(
            "recovery, memory", recovered.customers / (recovered.recovered_in or 0), "customers/s", at_least=100_000
        )
        yield Figure("memory of that worker, recovered", recovered.resident_bytes / MEGABYTE, "MB")
        yield Figure(
            "memory per customer, recovered", (recovered.resident_bytes - before) / recovered.customers, "bytes"
        )
        say("recovery into RocksDB")
        fresh = _recovered(deployment, "rocksdb")
        yield Figure("recovery, RocksDB, from nothing", fresh.customers / (fresh.recovered_in or 0), "customers/s")
        say("RocksDB as it was left")
        again = _recovered(deployment, "rocksdb")
        yield Figure("restart with RocksDB: until ready", again.recovered_in or 0, "s")
        yield Figure("restart with RocksDB: changelog records read", again.replayed, "records", at_most=0)


def _filled(deployment: Deployment, customers: int) -> tuple[int, int]:
    """The worker's resident bytes before and after it has taken in the histories of so many customers."""
    records = canonical(promoters(customers)[0])
    with deployment.worker("decide", **STANDING_CLOCK) as worker:
        deployment.await_members([f"{deployment.group}-decide"])
        before = worker.resident_bytes()
        deployment.fill(records)
        deployment.await_done(deployment.decided)
        return before, worker.resident_bytes()


def _recovered(deployment: Deployment, store: str) -> Reading:
    """A new process's last reading, some time after it was ready."""
    file = deployment.folder / f"gauges-{time.monotonic_ns()}"
    settings = {"STORE": store, **STANDING_CLOCK}
    with deployment.process("-m", "benchmarks.gauged", str(file), **settings):
        wait_until(
            lambda: any(reading.recovered_in is not None for reading in readings(file)),
            "the partitions are recovered",
            seconds=READY_SECONDS,
        )
        since = time.time()
        wait_until(lambda: readings(file)[-1].at > since + SETTLED_SECONDS, "it has settled")
        return readings(file)[-1]


def restarts(services: Services, customers: int, times: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """Time without progress when a worker is killed under load and started again at once, as its supervisor would."""
    with Deployment(services) as deployment:
        settings = {"SESSION_TIMEOUT_SECONDS": "10", "STATIC_MEMBER": "first"}
        say(f"a worker with {customers:,} customers")
        worker = deployment.start("-m", "referral_stream", "run", "all", **settings)
        deployment.load(mix(2 * customers, customers))
        deployment.await_members(deployment.groups)
        deployment.await_done(deployment.ingested + deployment.decided)
        gaps = []
        with Trickle(deployment, PER_SECOND, usage(in_turn(customers))) as trickle:
            for number in range(times):
                say(f"kill -9, {number + 1} of {times}")
                trickle.run_for(SETTLED_SECONDS)
                gaps.append(_gap(deployment, worker, trickle, settings))
                worker = deployment.running[-1]
        deployment.end(worker)
        yield Figure("kill -9, static member: without progress, median", median(gaps), "s")
        yield Figure("kill -9, static member: without progress, worst", max(gaps), "s", at_most=4)


def _gap(deployment: Deployment, worker: Worker, trickle: Trickle, settings: dict[str, str]) -> float:
    """Seconds between the last state written before a kill and the first one after it."""
    changelog = deployment.changelog("customers")
    begins = {partition: max(0, end - TAIL) for partition, end in deployment.watch.ends(changelog).items()}
    killed_at = time.time() * 1000
    deployment.kill9(worker)
    deployment.start("-m", "referral_stream", "run", "all", **settings)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        trickle.run_for(0.2)
        ends = deployment.watch.ends(changelog)
        spans = {partition: (begin, ends[partition]) for partition, begin in begins.items() if ends[partition] > begin}
        written = [message.timestamp()[1] for message in deployment.watch.messages(changelog, spans)]
        after = [at for at in written if at > killed_at]
        if after:
            return (min(after) - max(at for at in written if at <= killed_at)) / 1000
    raise TimeoutError("no progress after the restart")
