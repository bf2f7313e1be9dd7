"""The log tells what happened and where; whom it happened to, as a person, it does not know."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust_batches import Output

from referral_stream.contracts import applying
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.topics import Topics
from referral_stream.core.events import Event
from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import Policy
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.log_throttle import LogThrottle
from referral_stream.runtime.logs import TEXT_FORMAT, JsonFormatter, TextFormatter, Unrepeated
from referral_stream.stream.decide import Decide
from referral_stream.stream.ingest import Ingest
from tests.stream.records import Consumed

NOW = 1_781_596_800_000
PERSONAL = ("Ana", "Example", "ana.example@", "+49 30", "your invoices are a mess", "Musterstra")
"""A name, an address, a number, a text: what must not be found in any log."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, down to DEBUG, as a worker would write it."""
    written = io.StringIO()
    handlers = [logging.StreamHandler(written), logging.StreamHandler(written)]
    handlers[0].setFormatter(JsonFormatter())
    handlers[1].setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    for handler in handlers:
        root.addHandler(handler)
    yield written
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(level)


def unknown(_table: str, _key: bytes) -> None:
    """Nothing is known of anybody."""


def cloud_event(kind: str, subject: object, **data: object) -> bytes:
    event: dict[str, Any] = {"specversion": "1.0", "id": f"{kind}/Ana Example", "source": "shop", "type": kind}
    return json.dumps(event | {"subject": subject, "time": rfc3339(NOW), "data": data}).encode()


GOOD = (
    ("nps", cloud_event("nps.responded", "cus-1", response_id="r1", score=9, comment="your invoices are a mess, Ana")),
    ("profile", cloud_event("customer.profile_changed", "cus-1", email="ana.example@example.com", name="Ana Example")),
    ("support", cloud_event("feedback.shared", "cus-1", positive=True, text="your invoices are a mess")),
    ("product-usage", cloud_event("goal.achieved", "cus-1", goal="Musterstraße 1")),
)
BAD = (
    ("nps", b"\xffana.example@example.com"),
    ("nps", b'"Ana Example, +49 30 1234"'),
    ("nps", cloud_event("nps.responded", "cus-1", response_id="r1", score="Ana Example")),
    ("profile", cloud_event("customer.profile_changed", {"name": "Ana Example"}, email=["ana.example@example.com"])),
    ("profile", cloud_event("customer.profile_changed", "cus-1", time_zone="Musterstraße 1", email="Ana Example")),
    ("profile", cloud_event("Ana Example", "cus-1")),
    ("billing", json.dumps({"object": "event", "type": "Ana Example", "data": "+49 30 1234"}).encode()),
    ("support", b'{"ticket": {"requester": {"name": "Ana Example", "email": "ana.example@example.com"}}}'),
)


def ingested(values: Sequence[tuple[str, bytes]]) -> tuple[Ingest, list[Output]]:
    ingest = Ingest(Topics(), Boundary(email_key=b"k" * 16), Clock(NOW, 1))
    records = [Consumed(topic, 0, n, NOW, b"ana.example@example.com", value) for n, (topic, value) in enumerate(values)]
    return ingest, ingest(0, records, unknown).outputs


def on_customer_events(outputs: Sequence[Output]) -> list[Consumed]:
    events = [output for output in outputs if output.topic == "customer-events"]
    return [Consumed(e.topic, 0, n, NOW, e.key, e.value, e.headers) for n, e in enumerate(events)]


def test_no_record_good_or_bad_leaves_anything_personal_in_the_log(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_policy: Policy, _customer: object, inputs: Sequence[Event], _now: int) -> object:
        raise ValueError(repr(inputs))

    ingest, outputs = ingested([*GOOD, *BAD])
    assert ingest.counts["accepted"] >= len(GOOD)
    assert sum(count for what, count in ingest.counts.items() if what.startswith("refused")) >= 4
    events = on_customer_events(outputs)
    broken = [Consumed("customer-events", 0, 100 + n, NOW, b"cus-1", value) for n, (_, value) in enumerate(BAD)]
    Decide(Topics(), Policy())(0, [*events, *broken], unknown)
    monkeypatch.setattr(applying, "step", failing)
    Decide(Topics(), Policy())(0, events, unknown)

    text = log.getvalue()
    assert "step_failed" in text
    assert "GoalAchieved" not in text
    assert [word for word in PERSONAL if word in text] == []


def caught(error: BaseException) -> Any:
    """As logging is told of an exception that was raised and caught."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


def written(error: BaseException, message: str = "batch_failed", **fields: object) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "test", "levelname": "ERROR", "msg": message, "exc_info": caught(error)})
    vars(record).update(fields)
    entry: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return entry


def test_an_exception_that_may_hold_a_record_is_logged_by_type_and_place() -> None:
    error = ValueError("Ana Example")
    error.__cause__ = KeyError("ana.example@example.com")
    told = written(error)["exception"]
    assert told.endswith("ValueError")
    assert "KeyError" in told
    assert "in caught" in told
    assert not any(word in told for word in PERSONAL)


def test_an_exception_of_a_connection_is_told_in_its_own_words() -> None:
    assert written(KafkaConnectionError("no broker at kafka:9092"))["exception"].endswith("no broker at kafka:9092")
    assert written(ConnectionRefusedError(111, "refused"))["exception"].endswith("[Errno 111] refused")


def test_json_is_one_object_per_line_with_the_fields_of_the_event() -> None:
    record = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": "two\nlines of %s", "args": ("text",)})
    record.created = 1_795_947_461.609
    record.partition = 3
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("at") == "2026-11-29T10:17:41.609Z"
    assert entry == {"level": "INFO", "logger": "test", "event": "two\nlines of text", "partition": 3}


def test_what_lasts_is_told_once_until_it_changes_or_is_over(caplog: pytest.LogCaptureFixture) -> None:
    complaints = LogThrottle(logging.getLogger("complaining"))
    with caplog.at_level(logging.WARNING, "complaining"):
        for cause in ("timeout", "timeout", "refused", "timeout"):
            complaints.warn("redis_away", cause)
        complaints.settled()
        complaints.warn("redis_away", "timeout")
    assert [vars(record)["cause"] for record in caplog.records] == ["timeout", "refused", "timeout", "timeout"]


def test_what_is_over_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints = LogThrottle(logging.getLogger("complaining"))
    with caplog.at_level(logging.INFO, "complaining"):
        complaints.settled()
        complaints.warn("redis_away", "timeout")
        complaints.settled()
        complaints.settled()
    assert [record.getMessage() for record in caplog.records] == ["redis_away", "recovered"]
    assert vars(caplog.records[1])["was"] == "redis_away"


@pytest.mark.parametrize("formatter", [TextFormatter(TEXT_FORMAT), JsonFormatter()])
def test_times_are_rfc_3339_in_utc(formatter: logging.Formatter) -> None:
    record = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": "x"})
    record.created = 1_795_947_461.609
    assert "2026-11-29T10:17:41.609Z" in formatter.format(record)


def test_a_repeated_line_of_the_kafka_client_is_logged_once_with_its_count() -> None:
    unrepeated = Unrepeated("aiokafka")

    def told(name: str, words: str, second: float) -> tuple[bool, object]:
        record = logging.makeLogRecord({"name": name, "msg": words, "created": second})
        return bool(unrepeated.filter(record)), vars(record).get("kept_back")

    assert told("aiokafka.consumer", "node 1 is away", 100.0) == (True, None)
    assert [told("aiokafka.consumer", "node 1 is away", 100 + n / 10) for n in range(1, 200)] == [(False, None)] * 199
    assert told("aiokafka.consumer", "node 2 is away", 120.0) == (True, None)
    assert told("aiokafka.consumer", "node 1 is away", 130.0) == (True, 199)
    assert told("aiokafka.consumer", "node 1 is away", 160.0) == (True, None)
    assert [told("referral_stream.stream", "said twice", 100.0) for _ in range(2)] == [(True, None)] * 2
