"""CloudEvents over HTTP become the records that ingest reads from any producer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted, Refused
from referral_stream.contracts.records import CLOUD_EVENT, RawRecord
from referral_stream.core.instants import parse_instant
from referral_stream.receiver.cloud_events import (
    BATCH,
    JSON,
    NotAnEvent,
    NotForUs,
    Received,
    SourceRecord,
    Way,
    records_of,
)
from tests.rules import rule

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "shop",
    "type": "goal.achieved",
    "subject": "cus-ana",
    "time": "2026-06-16T08:00:00Z",
    "data": {"goal": "first report"},
}
BINARY = {f"ce-{name}": value for name, value in EVENT.items() if name != "data"}


FACTS = Way("events", "profile")
OPERATORS = Way("control", "responses", is_operators=True)


def taken(
    media_type: str, body: Any, headers: dict[str, str] | None = None, way: Way = FACTS
) -> Received | NotAnEvent | NotForUs:
    given = body if isinstance(body, bytes) else orjson.dumps(body)
    return records_of(media_type, CIMultiDict(headers or {}), given, way)


def records(media_type: str, body: Any, headers: dict[str, str] | None = None) -> tuple[SourceRecord, ...]:
    found = taken(media_type, body, headers)
    assert isinstance(found, Received)
    return found.records


def the_record(media_type: str, body: Any, headers: dict[str, str]) -> SourceRecord:
    (record,) = records(media_type, body, headers)
    return record


def read(record: SourceRecord) -> Any:
    """What ingest makes of it."""
    raw = RawRecord(
        topic=record.topic,
        partition=0,
        offset=0,
        timestamp=0,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
    return adapt(raw, parse_instant("2026-06-16T09:00:00Z")[0], Boundary(email_key=b"key"))


def test_a_structured_event_goes_on_as_it_is() -> None:
    body = b'{ "specversion": "1.0", "id": "e1", "source": "s", "type": "t", "subject": "cus-ana" }'
    assert records(CLOUD_EVENT, body) == (
        SourceRecord(
            "profile", body, b"cus-ana", (("content-type", CLOUD_EVENT.encode()), ("referral-endpoint", b"events"))
        ),
    )


def test_structured_binary_and_batched_say_the_same() -> None:
    sent = [
        records(CLOUD_EVENT, EVENT),
        records(BATCH, [EVENT]),
        records(JSON, EVENT["data"], BINARY),
    ]
    events = []
    for made in sent:
        (record,) = made
        assert record.key == b"cus-ana"
        adapted = read(record)
        assert isinstance(adapted, Accepted)
        events.append(adapted.events)
    assert events[0] == events[1] == events[2]
    assert events[0][0].subject == "cus-ana"


def test_a_batch_keeps_its_order() -> None:
    made = records(BATCH, [EVENT | {"id": f"e{number}"} for number in range(5)])
    assert [orjson.loads(record.value)["id"] for record in made] == ["e0", "e1", "e2", "e3", "e4"]


def test_binary_attributes_are_decoded_and_other_headers_stay_outside() -> None:
    headers = {"CE-" + name[3:]: value for name, value in BINARY.items()} | {
        "ce-subject": "cus-%C3%A4na%20x",
        "Authorization": "Bearer secret",
        "X-Other": "1",
    }
    record = the_record(JSON, EVENT["data"], headers)
    assert dict(record.headers)["ce_subject"] == "cus-äna x".encode()
    attributes = {f"ce_{name}" for name in EVENT if name != "data"}
    assert {name for name, _ in record.headers} == {"content-type", "referral-endpoint", *attributes}


def test_a_binary_event_may_have_no_body() -> None:
    record = the_record(JSON, b"", BINARY | {"ce-type": "onboarding.completed"})
    assert isinstance(read(record), Accepted)


@pytest.mark.parametrize(
    ("media_type", "body", "told"),
    [
        (CLOUD_EVENT, b"", "the body is not JSON"),
        (CLOUD_EVENT, b"\xff", "the body is not JSON"),
        (CLOUD_EVENT, [EVENT], "an event is a JSON object"),
        (CLOUD_EVENT, EVENT | {"specversion": "0.3"}, "specversion: must be 1.0"),
        (CLOUD_EVENT, EVENT | {"id": 7}, "id: must be text"),
        (CLOUD_EVENT, EVENT | {"source": ""}, "source: must be text"),
        (CLOUD_EVENT, {"specversion": "1.0", "id": "e", "source": "s"}, "type: must be text"),
        (BATCH, EVENT, "a batch is a JSON array of events"),
        (BATCH, [], "a batch is a JSON array of events"),
        (BATCH, [{"specversion": "1.0"}], "[0] id: must be text"),
        (BATCH, [5, {"specversion": "1.0"}], "[0] an event is a JSON object"),
    ],
)
def test_what_is_no_event_is_told_where_and_never_quoted(media_type: str, body: Any, told: str) -> None:
    assert taken(media_type, body) == NotAnEvent(told)


def test_a_binary_event_lacks_what_its_headers_lack() -> None:
    assert taken(JSON, {}, {"ce-specversion": "1.0", "ce-id": "e"}) == NotAnEvent("source: must be text")


@rule("I1.3")
def test_each_event_of_a_batch_stands_by_itself() -> None:
    opt_out = {"specversion": "1.0", "type": "customer.suppressed", "subject": "cus-ana"}
    deep = b"[" * 1_000 + b"]" * 1_000
    found = taken(BATCH, orjson.dumps([EVENT, {"specversion": "1.0"}, 5, opt_out])[:-1] + b"," + deep + b"]")
    assert isinstance(found, Received)
    assert (len(found.records), found.letters) == (5, 3)
    became = [read(record) for record in found.records]
    assert [type(adapted) for adapted in became] == [Accepted, Refused, Refused, Accepted, Refused]
    assert became[3].events[0].type == "customer.suppressed"


@rule("I6.5")
@pytest.mark.parametrize("levels", [250, 254, 300, 1_000, 2_000])
def test_no_depth_of_a_batch_is_an_error_of_ours(levels: int) -> None:
    deep = b'{"specversion":"1.0","id":"e2","source":"shop","type":"goal.achieved","subject":"cus-ben","data":{"goal":'
    deep += b"[" * levels + b"]" * levels + b"}}"
    found = taken(BATCH, b"[" + orjson.dumps(EVENT) + b"," + deep + b"]")
    assert isinstance(found, Received)
    assert [isinstance(read(record), Accepted) for record in found.records] == [True, False]


@rule("I1.3")
@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"customer.suppressed","subject":"cus-ana","data":{"note":"\\ud83d"}}',
        b'\xef\xbb\xbf{"type":"customer.suppressed","subject":"cus-ana"}',
        b'{"type":"customer.suppressed","subject":"cus-ana","id":7,"data":{"weight":NaN}}',
    ],
)
def test_an_opt_out_is_taken_as_badly_as_it_may_be_written(body: bytes) -> None:
    record = the_record(CLOUD_EVENT, body, {})
    assert record.value == body
    adapted = read(record)
    assert isinstance(adapted, Accepted)
    assert (adapted.events[0].type, adapted.events[0].subject) == ("customer.suppressed", "cus-ana")


PAUSED = EVENT | {"type": "control.paused", "data": {"scope": "all", "by": "zoe", "why": "incident"}}


@rule("I5.2", "I5.3")
def test_facts_and_an_operators_word_come_by_ways_of_their_own() -> None:
    refusal = NotForUs("only /control takes this type")
    assert taken(CLOUD_EVENT, PAUSED) == refusal
    assert taken(JSON, {}, BINARY | {"ce-type": "ask.approved"}) == refusal
    assert taken(CLOUD_EVENT, EVENT, way=OPERATORS) == NotForUs("facts go to /events")
    assert taken(BATCH, [PAUSED, EVENT], way=OPERATORS) == NotForUs("[1] facts go to /events")
    found = taken(BATCH, [PAUSED], way=OPERATORS)
    assert isinstance(found, Received)
    (record,) = found.records
    assert record.topic == "responses"
    adapted = read(record)
    assert isinstance(adapted, Accepted)
    assert adapted.events[0].type == "control.paused"


@rule("I5.2", "I5.3")
def test_an_operators_word_in_a_batch_of_facts_is_a_letter_whatever_topic_they_go_to() -> None:
    found = records_of(BATCH, CIMultiDict({}), orjson.dumps([EVENT, PAUSED]), Way("events", "responses"))
    assert isinstance(found, Received)
    assert found.letters == 1
    fact, word = map(read, found.records)
    assert isinstance(fact, Accepted)
    assert word == Refused("not_authorised", "counts on responses and at /control alone")


def test_an_endless_subject_is_no_key() -> None:
    assert the_record(CLOUD_EVENT, EVENT | {"subject": "x" * 513}, {}).key is None
    assert the_record(CLOUD_EVENT, EVENT | {"subject": "x" * 512}, {}).key == b"x" * 512
