"""CloudEvents over HTTP become the records that ingest reads from any producer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import CLOUD_EVENT, RawRecord
from referral_stream.core.instants import parse_instant
from referral_stream.receiver.cloud_events import BATCH, JSON, NotAnEvent, SourceRecord, records_of

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


def records(media_type: str, body: Any, headers: dict[str, str] | None = None) -> tuple[SourceRecord, ...] | NotAnEvent:
    given = body if isinstance(body, bytes) else orjson.dumps(body)
    return records_of(media_type, CIMultiDict(headers or {}), given, "profile")


def the_record(media_type: str, body: Any, headers: dict[str, str]) -> SourceRecord:
    made = records(media_type, body, headers)
    assert isinstance(made, tuple)
    (record,) = made
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
        SourceRecord("profile", body, b"cus-ana", (("content-type", CLOUD_EVENT.encode()),)),
    )


def test_structured_binary_and_batched_say_the_same() -> None:
    sent = [
        records(CLOUD_EVENT, EVENT),
        records(BATCH, [EVENT]),
        records(JSON, EVENT["data"], BINARY),
    ]
    events = []
    for made in sent:
        assert isinstance(made, tuple)
        (record,) = made
        assert record.key == b"cus-ana"
        adapted = read(record)
        assert isinstance(adapted, Accepted)
        events.append(adapted.events)
    assert events[0] == events[1] == events[2]
    assert events[0][0].subject == "cus-ana"


def test_a_batch_keeps_its_order() -> None:
    made = records(BATCH, [EVENT | {"id": f"e{number}"} for number in range(5)])
    assert isinstance(made, tuple)
    assert [orjson.loads(record.value)["id"] for record in made] == ["e0", "e1", "e2", "e3", "e4"]


def test_binary_attributes_are_decoded_and_other_headers_stay_outside() -> None:
    headers = {"CE-" + name[3:]: value for name, value in BINARY.items()} | {
        "ce-subject": "cus-%C3%A4na%20x",
        "Authorization": "Bearer secret",
        "X-Other": "1",
    }
    record = the_record(JSON, EVENT["data"], headers)
    assert dict(record.headers)["ce_subject"] == "cus-äna x".encode()
    assert {name for name, _ in record.headers} == {"content-type", *(f"ce_{name}" for name in EVENT if name != "data")}


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
        (BATCH, [EVENT, {"specversion": "1.0"}], "[1] id: must be text"),
        (BATCH, [EVENT, 5], "[1] an event is a JSON object"),
    ],
)
def test_what_is_no_event_is_told_where_and_never_quoted(media_type: str, body: Any, told: str) -> None:
    assert records(media_type, body) == NotAnEvent(told)


def test_a_binary_event_lacks_what_its_headers_lack() -> None:
    assert records(JSON, {}, {"ce-specversion": "1.0", "ce-id": "e"}) == NotAnEvent("source: must be text")
