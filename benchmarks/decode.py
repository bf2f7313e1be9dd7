"""What one core decodes: records as producers send them → canonical events. CPU time, no broker.

Vendors' payloads are the samples of the adapters' tests, most of which become two or three events. A mapping of five
rules reads a webhook of its own source: as JSON, and as a form.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from statistics import median
from typing import Any
from urllib.parse import urlencode

import orjson

from benchmarks.mix import START, mix
from benchmarks.table import Figure
from referral_stream.contracts.adapters import REGISTRY
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.mapping.parsing import parse_mappings
from referral_stream.contracts.records import CONTENT_TYPE_HEADER, SOURCE_HEADER, Headers, RawRecord
from referral_stream.runtime.gc_tuning import spare_values
from tests.contracts.building import bodies

MAPPINGS = b"""
[source.acme]
topic = "nps"
body = "form"
event = "$.event"
subject = ["$.user.external_id", "$.user.id"]
link.email = "$.user.email"
account = "$.user.company"
id = "$.id"
time = { path = "$.at", format = "%Y-%m-%d %H:%M:%S", zone = "Europe/Berlin" }
[[mapping]]
when = { adapter = "acme", event = "contact.unsubscribed" }
type = "customer.suppressed"
data.reason = "unsubscribe"
[[mapping]]
when = { adapter = "acme", event = "ticket.rated" }
type = "ticket.rated"
data.ticket_id = "$.ticket.id"
data.rating = { path = "$.ticket.face", table = { happy = "positive", "*" = "negative" } }
[[mapping]]
when = { adapter = "acme", event = { in = ["survey.opened", "survey.sent"] } }
ignore = true
[[mapping]]
when = { adapter = "acme", event = "survey.answered", "answer.scale" = "nps", "answer.score" = { at_most = 10 } }
type = "nps.responded"
data.response_id = "$.answer.id"
data.score = { path = "$.answer.score", as = "int" }
data.comment = "$.answer.text"
[[mapping]]
when = { adapter = "acme", event = "survey.answered", "answer.scale" = "stars" }
type = "csat.responded"
data.response_id = "$.answer.id"
data.score = { path = "$.answer.score", as = "float" }
data.scale_max = 5
"""
MAPPED_PAYLOAD: dict[str, Any] = {
    "id": "ev-8801", "event": "survey.answered", "at": "2026-06-16 09:28:20", "plan": "team", "attempt": 1,
    "user": {"id": 7, "external_id": "cus-ana", "email": "ana@customer.com", "company": "acme", "seats": 12},
    "answer": {"id": "r-17", "scale": "nps", "score": 9, "text": "Your support answers within minutes"},
}  # fmt: skip

BOUNDARY = Boundary(
    email_key=b"a key for benchmarks only",
    questions={"surveymonkey": {"q-nps": "nps", "q-why": "comment"}},
    mappings=parse_mappings(MAPPINGS),
)
"""SurveyMonkey's scales are nobody's but the deployment's: without one, its sample would be no work."""

TARGET = 30_000
"""Payloads a second that one core has to read, whoever sent them."""
ROUNDS = 3
VARIANTS = 50
"""Of every sample, each with words of its own: what was remembered of the payload before is of no use."""


def measure(events: int, customers: int, payloads: int) -> Iterator[Figure]:
    """CloudEvents in both modes, then every vendor: ``payloads`` of each, the best of some rounds."""
    structured = [_record(sourced.value, sourced.topic) for sourced in mix(events, customers)]
    yield Figure("decode: CloudEvents, structured", _rate(structured, events), "events/s", at_least=100_000)
    binary = [_binary(record) for record in structured]
    yield Figure("decode: CloudEvents, binary", _rate(binary, events), "events/s", at_least=100_000)
    vendors = []
    for name, records in _vendors():
        vendors.append(Figure(f"decode: {name}", _rate(records, payloads), "payloads/s", at_least=TARGET))
        yield vendors[-1]
    yield Figure("decode: vendors, lowest", min(figure.value for figure in vendors), "payloads/s", at_least=TARGET)
    yield Figure("decode: vendors, median", median(figure.value for figure in vendors), "payloads/s")
    for name, records in _mapped():
        yield Figure(f"decode: a mapping, {name}", _rate(records, payloads), "payloads/s", at_least=TARGET)


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
    """The value, in which every text of several words has one more, and every address is another."""
    if isinstance(value, dict):
        return {name: _worded(inner, variant) for name, inner in value.items()}
    if isinstance(value, list):
        return [_worded(inner, variant) for inner in value]
    if not isinstance(value, str):
        return value
    return f"{value} {variant}" if value.count(" ") > 1 else f"{variant}.{value}" if "@" in value else value


def _mapped() -> Iterator[tuple[str, list[RawRecord]]]:
    """A webhook of a source of the mapping file, in both of its forms."""
    headers = ((SOURCE_HEADER, b"acme"),)
    sent = [_worded(MAPPED_PAYLOAD, number) for number in range(VARIANTS)]
    yield "as JSON", [_record(orjson.dumps(each), headers=headers) for each in sent]
    yield "as a form", [_record(_form(each), headers=headers) for each in sent]


def _form(payload: dict[str, Any]) -> bytes:
    fields = {name: value for name, value in payload.items() if not isinstance(value, dict)}
    inner = {
        f"{name}[{key}]": text for name, each in payload.items() if isinstance(each, dict) for key, text in each.items()
    }
    return urlencode(fields | inner).encode()


def _record(value: bytes, topic: str = "product-usage", headers: Headers = ()) -> RawRecord:
    return RawRecord(topic=topic, partition=0, offset=0, timestamp=START, key=None, value=value, headers=headers)


def _binary(record: RawRecord) -> RawRecord:
    """The same CloudEvent with its attributes as headers."""
    attributes = orjson.loads(record.value or b"")
    data = attributes.pop("data")
    named = ((f"ce_{name}", text.encode()) for name, text in attributes.items() if name != "datacontenttype")
    return _record(orjson.dumps(data), record.topic, (*named, (CONTENT_TYPE_HEADER, b"application/json")))
