"""What one core decodes: records as producers send them → canonical events. CPU time, no broker.

Vendors' payloads are the samples of the adapters' tests, most of which become two or three events.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from statistics import median
from typing import Any

import orjson

from benchmarks.mix import START, mix
from benchmarks.table import Figure
from referral_stream.contracts.adapters import REGISTRY
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.records import CONTENT_TYPE_HEADER, Headers, RawRecord
from referral_stream.runtime.gc_tuning import spare_values
from tests.contracts.building import bodies

BOUNDARY = Boundary(
    email_key=b"a key for benchmarks only", questions={"surveymonkey": {"q-nps": "nps", "q-why": "comment"}}
)
"""SurveyMonkey's scales are nobody's but the deployment's: without one, its sample would be no work."""

ROUNDS = 3
VARIANTS = 50
"""Of every sample, each with words of its own: what was remembered of the payload before is of no use."""


def measure(events: int, customers: int, payloads: int) -> Iterator[Figure]:
    """CloudEvents in both modes, then every vendor: ``payloads`` of each, the best of some rounds."""
    structured = [_record(sourced.value, sourced.topic) for sourced in mix(events, customers)]
    yield Figure("decode: CloudEvents, structured", _rate(structured, events), "events/s", at_least=100_000)
    binary = [_binary(record) for record in structured]
    yield Figure("decode: CloudEvents, binary", _rate(binary, events), "events/s", at_least=100_000)
    vendors = [Figure(f"decode: {name}", _rate(records, payloads), "payloads/s") for name, records in _vendors()]
    yield from vendors
    yield Figure("decode: vendors, lowest", min(figure.value for figure in vendors), "payloads/s", at_least=30_000)
    yield Figure("decode: vendors, median", median(figure.value for figure in vendors), "payloads/s")


def _rate(records: Sequence[RawRecord], count: int) -> float:
    """Records per second of the fastest round: whatever else the machine does only ever slows one down."""
    spare_values()  # as the workers do
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for record in islice(cycle(records), count):
            adapt(record, START, BOUNDARY)
        rounds.append(count / (time.process_time() - begun))
    return max(rounds)


def _vendors() -> Iterator[tuple[str, list[RawRecord]]]:
    for adapter in REGISTRY:
        samples = bodies(adapter.name)
        yield adapter.name, [_record(orjson.dumps(_worded(s, n))) for n in range(VARIANTS) for s in samples]


def _worded(value: Any, variant: int) -> Any:
    """The value, in which every text of several words has one more."""
    if isinstance(value, dict):
        return {name: _worded(inner, variant) for name, inner in value.items()}
    if isinstance(value, list):
        return [_worded(inner, variant) for inner in value]
    return f"{value} {variant}" if isinstance(value, str) and value.count(" ") > 1 else value


def _record(value: bytes, topic: str = "product-usage", headers: Headers = ()) -> RawRecord:
    return RawRecord(topic=topic, partition=0, offset=0, timestamp=START, key=None, value=value, headers=headers)


def _binary(record: RawRecord) -> RawRecord:
    """The same CloudEvent with its attributes as headers."""
    attributes = orjson.loads(record.value or b"")
    data = attributes.pop("data")
    named = ((f"ce_{name}", text.encode()) for name, text in attributes.items() if name != "datacontenttype")
    return _record(orjson.dumps(data), record.topic, (*named, (CONTENT_TYPE_HEADER, b"application/json")))
