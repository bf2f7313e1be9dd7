"""Whatever arrives, ``adapt`` answers, and what it accepts can be written and read back."""

from __future__ import annotations

from time import process_time
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.inbound.adapt import adapt
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import LATEST
from tests.contracts.building import BOUNDARY, NOW, cloud_event, record, samples
from tests.contracts.examples import FACT_DATA

SAMPLES = [each.payload for vendor in BY_NAME for each in samples(vendor)]
EVENTS = [cloud_event(kind, data) for kind, data in FACT_DATA.items()]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
header_names = st.sampled_from(
    [
        "content-type",
        "referral-source",
        "historical",
        "traceparent",
        "ce_type",
        "ce_specversion",
        "ce_time",
        "ce_id",
        "x",
    ]
)
header_values = st.sampled_from([b"application/cloudevents+json", b"stripe", b"segment", b"nps.responded", b"1.0"])
headers = st.lists(st.tuples(header_names, header_values | st.binary(max_size=8) | st.none()), max_size=4).map(tuple)


@st.composite
def mutilated(draw: st.DrawFn) -> Any:
    """A good payload with one value, anywhere in it, replaced or taken away."""
    payload = orjson.loads(orjson.dumps(draw(st.sampled_from([*SAMPLES, *EVENTS]))))
    here = payload
    while True:
        name = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        deeper = here[name]
        if isinstance(deeper, (dict, list)) and deeper and draw(st.booleans()):
            here = deeper
            continue
        if isinstance(here, dict) and draw(st.booleans()):
            del here[name]
        else:
            here[name] = draw(values)
        return payload


def holds(raw: RawRecord) -> None:
    """The record is answered with a value; accepted events survive being written; the answer is the same again."""
    adapted = adapt(raw, NOW, BOUNDARY)
    assert isinstance(adapted, (Accepted, Skipped, Refused))
    assert adapt(raw, NOW, BOUNDARY) == adapted
    if isinstance(adapted, Accepted):
        assert adapted.events or adapted.letters
        assert len({event.id for event in adapted.events}) == len(adapted.events)
        for event in adapted.events:
            assert 0 <= event.time <= NOW
            assert event.id
            assert decode_event(encode_event(event)) == event


@settings(deadline=None)
@given(st.none() | st.binary(max_size=60), headers)
def test_any_bytes(value: bytes | None, given_headers: Any) -> None:
    holds(record(value, headers=given_headers))


@settings(deadline=None)
@given(values.map(orjson.dumps), headers)
def test_any_json(value: bytes, given_headers: Any) -> None:
    holds(record(value, headers=given_headers))


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutilated(), headers, st.integers(-1, LATEST))
def test_any_damage_to_a_good_payload(payload: Any, given_headers: Any, timestamp: int) -> None:
    holds(record(payload, headers=given_headers, timestamp=timestamp))


MARKS = "\u0301" * 60_000 + "\u0316" * 60_000
"""Marks in an order that composing would have to sort, in the square of their number: half a minute."""


@pytest.mark.parametrize(
    "text", [f"a{MARKS}", f"a{MARKS}@firm.com", "a@" + "example." * 14_000 + "\nx"], ids=["id", "address", "domain"]
)
def test_no_text_takes_more_time_than_it_is_long(text: str) -> None:
    """Whoever may send one event must not stop everybody's."""
    began = process_time()
    for payload in (
        {"type": "identify", "userId": text, "messageId": "m", "timestamp": "2026-06-16T07:30:00Z", "traits": {}},
        {"type": "identify", "userId": "u", "messageId": "m", "traits": {"email": text}},
        cloud_event("customer.suppressed", {}, subject=text),
        cloud_event("customer.linked", {"kind": "email", "value": text}),
        cloud_event("customer.profile_changed", {"email_hmac": text, "account_id": text}),
    ):
        adapt(record(payload), NOW, BOUNDARY)
    assert process_time() - began < 3
