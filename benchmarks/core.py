"""What the core and the codecs cost by themselves: one thread, no broker, CPU time."""

from __future__ import annotations

import gc
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.mix import START, behind, customer_id, mix
from benchmarks.table import Figure
from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.log import render_line
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core.customer import Customer
from referral_stream.core.events import Event, UsageRecorded
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.replay.files import replay_file
from referral_stream.replay.virtual_run import Arrival
from referral_stream.runtime.gc_tuning import spare_values
from tests.contracts.examples import FACT_DATA
from tests.properties.recording import Recording
from tests.replay.logs import recorded_records

BOUNDARY = Boundary(email_key=b"a key for benchmarks only")

TYPICAL_DAYS, TYPICAL_PER_DAY = 60, 3


def measure(events: int, customers: int) -> Iterator[Figure]:
    """All figures, one after the other."""
    raw = [
        RawRecord(topic=record.topic, partition=0, offset=offset, timestamp=START, key=record.key, value=record.value)
        for offset, record in enumerate(mix(events, customers))
    ]
    adapted, took = _timed(lambda: [adapt(record, START, BOUNDARY) for record in raw])
    facts = [event for each in adapted if isinstance(each, Accepted) for event in each.events]
    yield Figure("adapt", len(raw) / took, "events/s")
    values, took = _timed(lambda: [encode_event(event) for event in facts])
    yield Figure("encode event", len(facts) / took, "events/s")
    _, took = _timed(lambda: _exhaust(decode_event(value) for value in values))
    yield Figure("decode event", len(facts) / took, "events/s")

    policy = Policy()
    _, took = _timed(lambda: _step_all(policy, facts))
    yield Figure("step, mix", len(facts) / took, "events/s")
    usage = [event for event in facts if event.type == UsageRecorded.type]
    _, took = _timed(lambda: _step_all(policy, usage))
    yield Figure("step, typical events", len(usage) / took, "events/s")
    _, took = _timed(lambda: _step_encoded(policy, facts))
    yield Figure("step, mix, state decoded and encoded", len(facts) / took, "events/s")

    state = typical_customer(policy)
    encoded = encode_customer(state, 0)
    yield Figure("state of a typical customer", len(encoded), "bytes")
    _, took = _timed(lambda: _exhaust(encode_customer(state, 0) for _ in range(20_000)))
    yield Figure("encode typical state", 20_000 / took, "states/s")
    _, took = _timed(lambda: _exhaust(decode_customer(encoded) for _ in range(20_000)))
    yield Figure("decode typical state", 20_000 / took, "states/s")

    yield from _replays(policy, raw, facts)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and its CPU seconds. What lies around is hidden from the garbage collector."""
    gc.collect()
    gc.freeze()
    begun = time.process_time()
    result = work()
    took = time.process_time() - begun
    gc.unfreeze()
    return result, took


def _exhaust(results: Iterable[object]) -> None:
    """Make them all and keep none: memory has a price of its own."""
    deque(results, maxlen=0)


def _step_all(policy: Policy, events: Sequence[Event]) -> dict[str, Customer]:
    customers: dict[str, Customer] = {}
    for event in events:
        known = customers.get(event.subject) or Customer(id=event.subject)
        customers[event.subject] = step(policy, known, [event], START).customer
    return customers


def _step_encoded(policy: Policy, events: Sequence[Event]) -> dict[str, bytes]:
    """As if every event were a batch of its own, and no decoded state were kept."""
    states: dict[str, bytes] = {}
    for mark, event in enumerate(events):
        known = states.get(event.subject)
        customer = Customer(id=event.subject) if known is None else decode_customer(known).entity
        states[event.subject] = encode_customer(step(policy, customer, [event], START).customer, mark)
    return states


def typical_customer(policy: Policy) -> Customer:
    """Eligible, with three usage events a day over sixty days, a subscription, a survey answer and a solved ticket."""
    rng = random.Random(2)
    happened = [(planned.type, planned.body, START - planned.age) for planned in behind(rng, 7)]
    for kind, days_ago in (
        ("subscription.started", 50),
        ("ticket.opened", 30),
        ("ticket.solved", 29),
        ("invoice.paid", 20),
    ):
        happened.append((kind, FACT_DATA[kind], START - days_ago * DAY))
    happened.append(("nps.responded", {"response_id": "rsp_00000007", "score": 8}, START - 10 * DAY))
    for day in range(TYPICAL_DAYS):
        for n in range(TYPICAL_PER_DAY):
            at = START - (TYPICAL_DAYS - day) * DAY + n * 3 * HOUR + rng.randrange(HOUR)
            happened.append((UsageRecorded.type, {"feature": "reports", "count": 3}, at))
    customer = Customer(id=customer_id(7))
    for kind, body, at in sorted(happened, key=lambda fact: fact[2]):
        event = Event(
            id=f"evt_{rng.getrandbits(96):024x}",
            source="https://app.example.com/tracking",
            type=kind,
            subject=customer.id,
            time=at,
            data=FACT_BODIES[kind](body),
        )
        customer = step(policy, customer, [event], at).customer
    return customer


def _replays(policy: Policy, raw: Sequence[RawRecord], facts: Sequence[Event]) -> Iterator[Figure]:
    """``referral-stream replay`` without its start: from the file on disk to the files it writes."""
    spare_values()  # as the command does
    recorded = recorded_records(Recording(policy).run(Arrival(START, event) for event in facts).log)
    with tempfile.TemporaryDirectory() as folder:
        for name, records in (("replay of source topics", raw), ("exact replay of customer-events", recorded)):
            log = Path(folder, "log.jsonl")
            log.write_bytes(b"\n".join(map(render_line, records)))
            _, took = _timed(partial(replay_file, log, Path(folder, "out"), policy, BOUNDARY))
            yield Figure(name, len(records) / took, "events/s")
