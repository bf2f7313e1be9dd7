"""Whatever arrives ends as a dead letter with its cause and position, or mended and flagged; the next is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pytest
from confluent_kafka import Producer
from faust_batches import record_bytes

from referral_stream.contracts.codec import decode_event
from referral_stream.contracts.deadletters import failure, original
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.state import decode_wakeup
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, HOUR, MINUTE
from tests.integration.live import Message, Pipeline, cloud_event, facts
from tests.integration.scripted import a_promoter
from tests.integration.test_topics_cli import alter
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer
from tests.stream import poison

SCORE = {"response_id": "r1", "score": 9}


@dataclass(frozen=True)
class Bad:
    """A value, or a change to a sound NPS answer; and the cause that its dead letter names."""

    name: str
    cause: str
    value: bytes | None = None
    attributes: dict[str, Any] | None = None
    data: Any = None
    headers: Headers = ()


REFUSED = (
    Bad("bytes that are no text", "undecodable", b"\xff\xfe\x00\x01"),
    Bad("JSON that breaks off", "undecodable", b'{"specversion": "1.0", "id": "e'),
    Bad("nothing at all", "undecodable", b""),
    Bad("a list", "not_an_object", b"[1, 2, 3]"),
    Bad("a text", "not_an_object", b'"hello"'),
    Bad("an object nobody knows", "unrecognised", b'{"hello": "world"}'),
    Bad("nesting without end", "too_deep", b"[" * 5_000 + b"]" * 5_000),
    Bad("a score of eleven", "invalid", data={"response_id": "r1", "score": 11}),
    Bad("a score of minus one", "invalid", data={"response_id": "r1", "score": -1}),
    Bad("a score in words", "invalid", data={"response_id": "r1", "score": "nine"}),
    Bad(
        "a score that is no number", "undecodable", b'{"specversion":"1.0","type":"nps.responded","data":{"score":NaN}}'
    ),
    Bad("no response id", "invalid", data={"score": 9}),
    Bad("a body that is a list", "invalid", data=[9]),
    Bad("a type that is no text", "invalid", attributes={"type": 7}),
    Bad("another major version", "invalid", attributes={"specversion": "2.0"}),
    Bad("no subject", "unusable_id", data={"response_id": "r1", "score": 3}, attributes={"subject": None}),
    Bad("a list as subject", "unusable_id", data={"response_id": "r1", "score": 3}, attributes={"subject": ["a"]}),
    Bad("an endless subject", "unusable_id", data={"response_id": "r1", "score": 3}, attributes={"subject": "x" * 600}),
    Bad("a time in words", "invalid", attributes={"time": "yesterday"}),
    Bad("a time that is a number", "invalid", attributes={"time": 1_750_000_000}),
    Bad("300 KB", "too_large", b'{"specversion": "1.0", "fill": "' + b"x" * 300_000 + b'"}'),
    Bad("900 KB", "too_large", b'{"specversion": "1.0", "fill": "' + b"x" * 900_000 + b'"}'),
    Bad("a header that names no vendor", "unknown_adapter", b"{}", headers=(("referral-source", b"nobody"),)),
    Bad("a vendor's header on another shape", "unrecognised", b'{"a": 1}', headers=(("referral-source", b"stripe"),)),
    Bad(
        "a binary event with a bad body",
        "invalid",
        b'{"score": "high"}',
        headers=(("ce_specversion", b"1.0"), ("ce_type", b"nps.responded"), ("ce_subject", b"someone")),
    ),
)


def customer_of(number: int) -> str:
    return f"after-{number}"


def bad_message(bad: Bad, number: int, now: int) -> Message:
    value = bad.value
    if value is None:
        event = cloud_event("nps.responded", customer_of(number), now, SCORE if bad.data is None else bad.data)
        event |= bad.attributes or {}
        value = orjson.dumps({name: given for name, given in event.items() if given is not None})
    return Message("nps", value, customer_of(number).encode(), bad.headers)


def a_good_one(customer: str, now: int, **attributes: Any) -> Message:
    event = cloud_event("nps.responded", customer, now, SCORE, **attributes)
    given = {name: value for name, value in event.items() if value is not None}
    return Message("nps", orjson.dumps(given), customer.encode())


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("bad-input")) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


@dataclass(frozen=True)
class Aftermath:
    """The bad records and their dead letters, by the key that they have in common."""

    sources: dict[bytes, RawRecord]
    letters: dict[bytes, RawRecord]


@pytest.fixture(scope="module")
def aftermath(pipeline: Pipeline) -> Aftermath:
    """All bad records have been published, each followed by a good one on its partition."""
    now = pipeline.now()
    for number, bad in enumerate(REFUSED):
        pipeline.publish([bad_message(bad, number, now), a_good_one(customer_of(number), now)])
    reader = pipeline.reader("dead-letters")
    wait_until(lambda: len(reader.read()) >= len(REFUSED), "every bad record is a dead letter", seconds=90)
    sources: dict[bytes, RawRecord] = {}
    for record in pipeline.read("nps"):
        sources.setdefault(record.key or b"", record)
    return Aftermath(sources, {letter.key or b"": letter for letter in reader.records})


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[bad.name for bad in REFUSED])
def test_a_bad_record_is_a_dead_letter_as_it_came_with_cause_and_position(
    pipeline: Pipeline, aftermath: Aftermath, number: int
) -> None:
    source, letter = aftermath.sources[customer_of(number).encode()], aftermath.letters[customer_of(number).encode()]
    failed, again = failure(letter), original(letter)
    assert (failed.error.partition(":")[0], failed.stage, failed.attempt) == (REFUSED[number].cause, "ingest", 1)
    assert (again.topic, again.partition, again.offset) == (pipeline.topic("nps"), source.partition, source.offset)
    assert (again.key, again.value, again.headers) == (source.key, source.value, source.headers)


@pytest.mark.usefixtures("aftermath")
@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[bad.name for bad in REFUSED])
def test_the_good_event_after_a_bad_one_is_decided(pipeline: Pipeline, number: int) -> None:
    assert pipeline.await_outcome(customer_of(number), "deferred").trigger == "nps_promoter"


@pytest.mark.parametrize(
    ("customer", "time", "cause"),
    [
        ("a day and a minute ahead", DAY + MINUTE, "time_in_future"),
        ("a year ahead", 365 * DAY, "time_in_future"),
    ],
)
def test_a_time_that_no_clock_can_be_wrong_by_is_refused(
    pipeline: Pipeline, customer: str, time: int, cause: str
) -> None:
    pipeline.publish([a_good_one(customer, pipeline.now() + time), a_good_one(customer, pipeline.now())])
    pipeline.await_outcome(customer, "deferred")
    (letter,) = [each for each in pipeline.read("dead-letters") if each.key == customer.encode()]
    assert failure(letter).error.startswith(cause)


@pytest.mark.parametrize(
    ("customer", "attributes", "flag"),
    [
        ("naive", {"time": "2026-06-16T08:00:00"}, "time_naive"),
        ("without a time", {"time": None}, "time_unreadable"),
        ("ten minutes ahead", {"ahead": 10 * MINUTE}, "time_clamped"),
        ("almost a day ahead", {"ahead": DAY - HOUR}, "time_clamped"),
        ("in a zone that is none", {"timezone": "Mars/Olympus"}, "timezone_invalid"),
    ],
)
def test_what_can_be_mended_is_mended_flagged_and_decided(
    pipeline: Pipeline, customer: str, attributes: dict[str, Any], flag: str
) -> None:
    given = dict(attributes)
    pipeline.publish([a_good_one(customer, pipeline.now() + given.pop("ahead", 0), **given)])
    assert flag in pipeline.await_outcome(customer, "deferred").flags
    (event, now) = _arrived(pipeline, customer)
    assert flag in event.flags
    assert event.time <= now


def test_what_is_none_of_our_business_is_left_out_without_a_trace(pipeline: Pipeline) -> None:
    customer = "with unknown types"
    now = pipeline.now()
    unknown = orjson.dumps(cloud_event("coffee.brewed", customer, now, {"cups": 2}))
    broken = orjson.dumps({"specversion": "9", "type": "coffee.brewed", "subject": 5})
    key = customer.encode()
    tombstone = Message("nps", None, key)
    pipeline.publish([Message("nps", unknown, key), Message("nps", broken, key), tombstone, a_good_one(customer, now)])
    pipeline.await_outcome(customer, "deferred")
    assert [each for each in pipeline.read("dead-letters") if each.key == key] == []
    assert _arrived(pipeline, customer)[0].type == "nps.responded"


def test_a_binary_event_is_as_good_as_a_structured_one(pipeline: Pipeline) -> None:
    attributes = {"specversion": "1.0", "id": "b1", "source": "shop", "type": "nps.responded", "subject": "in binary"}
    headers = tuple((f"ce_{name}", value.encode()) for name, value in attributes.items())
    pipeline.publish([Message("nps", orjson.dumps(SCORE), b"in binary", headers)])
    assert pipeline.await_outcome("in binary", "deferred").flags == ("time_unreadable",)


@pytest.mark.parametrize(
    ("customer", "value", "now", "cause"),
    [
        ("garbage", b"\xff\xff", b"1781000000000", "undecodable"),
        ("no event", b'{"hello": "world"}', b"1781000000000", "unknown_type"),
        ("no arrival stamp", None, None, "invalid"),
        ("an arrival stamp in words", None, b"yesterday", "invalid"),
        ("under another's key", None, b"1781000000000", "invalid"),
    ],
)
def test_poison_on_our_own_log_stops_no_partition(
    pipeline: Pipeline, customer: str, value: bytes | None, now: bytes | None, cause: str
) -> None:
    subject = "another" if customer.startswith("under") else customer
    sound = orjson.dumps({**cloud_event("goal.achieved", subject, pipeline.now(), {"goal": "g"})})
    _append(pipeline, "customer-events", customer, sound if value is None else value, {"now": now} if now else {})
    pipeline.publish([a_good_one(customer, pipeline.now())])
    pipeline.await_outcome(customer, "deferred")
    (letter,) = [each for each in pipeline.read("dead-letters") if each.key == customer.encode()]
    failed, again = failure(letter), original(letter)
    assert (failed.error.partition(":")[0], failed.stage) == (cause, "decide")
    assert again.topic == pipeline.topic("customer-events")
    assert again.value == (sound if value is None else value)


@rule("I6.5")
def test_a_few_thousand_odd_records_on_every_topic_end_no_role_and_all_others_are_asked(pipeline: Pipeline) -> None:
    odd = [
        Message(record.topic, record.value, record.key, tuple(record.headers))
        for number, topic in enumerate(("nps", "customer-events", "ledger-requests"))
        for record in poison.records(topic, seed=20 + number, stamp=topic == "customer-events")
        if record_bytes(record.key, record.value, tuple(record.headers)) < 50_000
    ]
    assert len(odd) > 3_000
    after = [f"after the flood {number}" for number in range(6)]
    pipeline.publish(odd[: len(odd) // 2])
    pipeline.publish(message for customer in after for message in a_promoter(customer, pipeline.now()))
    pipeline.publish(odd[len(odd) // 2 :])
    for customer in after:
        pipeline.await_outcome(customer, "soft", "holdout")
    assert [worker.running for worker in pipeline._workers] == [True]
    assert "Traceback" not in pipeline.log()


@rule("I6.4")
def test_a_limit_that_is_lowered_below_a_state_holds_its_customer_and_nobody_else(
    kafka: KafkaServer, pipeline: Pipeline
) -> None:
    now, changelog = pipeline.now(), f"{pipeline.name}-decide-customers-changelog"
    tickets = [
        cloud_event("ticket.opened", "fat", now, {"ticket_id": f"{uuid4()}{uuid4()}{uuid4()}{uuid4()}"})
        for _ in range(150)
    ]
    pipeline.publish(Message("support", orjson.dumps(ticket), b"fat") for ticket in tickets)
    wait_until(lambda: len(pipeline.changelog("customers").get(b"fat", b"")) > 15_000, "the state is large", every=1)
    alter(kafka, changelog, "max.message.bytes", "10000")
    try:
        pipeline.publish([a_good_one("fat", now)])
        pipeline.publish(a_promoter("beside the fat", pipeline.now()))
        pipeline.await_outcome("beside the fat", "soft", "holdout")
        letters = pipeline.reader("dead-letters")
        wait_until(lambda: any(each.key == b"fat" for each in letters.read()), "what does not fit is a dead letter")
        assert {failure(each).error.partition(":")[0] for each in letters.records if each.key == b"fat"} == {
            "state_too_large"
        }
        checked = pipeline.run_command("topics", "check")
        assert f"{changelog}: max.message.bytes is 10000, should be at least" in checked.stdout
    finally:
        alter(kafka, changelog, "max.message.bytes", "1048588")
    assert decode_wakeup(pipeline.changelog("wakeups")[b"fat"]).held
    assert [worker.running for worker in pipeline._workers] == [True]
    assert "state_too_large" in pipeline.log()
    assert "Traceback" not in pipeline.log()


def test_poison_among_the_ledgers_requests_stops_no_reservation(pipeline: Pipeline) -> None:
    customer = "asked after the poison"
    for value in (b"\x00", b"{}", b'{"type": "reservation.requested", "data": {"command_id": 5}}', b"[]"):
        _append(pipeline, "ledger-requests", customer, value, {})
    pipeline.publish(a_promoter(customer, pipeline.now()))
    assert pipeline.await_outcome(customer, "soft", "holdout").trigger == "nps_promoter"
    letters = [each for each in pipeline.read("dead-letters") if each.key == customer.encode()]
    assert {failure(each).stage for each in letters} == {"ledger"}
    assert {original(each).value for each in letters} >= {b"\x00", b"{}", b"[]"}


def _append(pipeline: Pipeline, topic: str, key: str, value: bytes, headers: dict[str, bytes]) -> None:
    producer = Producer({**pipeline.kafka.client_settings(), "partitioner": "murmur2_random"})
    producer.produce(pipeline.topic(topic), value, key.encode(), headers={**headers})
    assert producer.flush(20) == 0


def _arrived(pipeline: Pipeline, customer: str) -> tuple[Event, int]:
    """The one fact of a customer on ``customer-events``, and its arrival stamp."""
    (record,) = [each for each in facts(pipeline.read("customer-events")) if each.key == customer.encode()]
    return decode_event(record.value or b""), int(record.header("now") or 0)
