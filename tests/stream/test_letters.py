"""Dead letters on a broker: listed, replayed once, counted up when they fail again; and how a hold ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from referral_stream.cli.render import deadletters as page
from referral_stream.contracts import applying
from referral_stream.contracts.applying import names_of
from referral_stream.contracts.codec import decode_event, encode_event, event_headers, event_key
from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.state import decode_customer
from referral_stream.contracts.topics import Topics
from referral_stream.core import step as core_step
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import Holdout, Policy
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker
from referral_stream.ops import deadletters
from referral_stream.ops.deadletters import Filters
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings
from referral_stream.runtime.topic_log import TopicReader
from referral_stream.stream import decide
from tests.stream.records import Consumed, an_event

NOW = 1_781_596_800_000
EVERYBODY = Policy(holdout=Holdout(percent=0))


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def deployment(broker: EmbeddedBroker) -> Deployment:
    """Topics of its own for each test; its clock is stopped as far as a test can tell."""
    settings = {
        "kafka_brokers": (broker.bootstrap,),
        "email_key": "a key for the tests",
        "topic_prefix": f"{uuid4().hex[:8]}-",
        "partitions": PARTITIONS,
        "fencing": "none",
    }
    started = Clock().now()
    return Deployment(Settings.model_validate(settings), EVERYBODY, Clock(NOW, started, 0.001), 0.01)


class Topic:
    """A hand on the deployment's topics."""

    def __init__(self, deployment: Deployment, producer: AIOKafkaProducer) -> None:
        self.deployment, self.producer = deployment, producer

    async def post(self, record: RawRecord, error: str, stage: str, attempt: int = 1) -> None:
        letter = dead_letter(record, error=error, stage=stage, occurred_at=NOW, attempt=attempt)  # type: ignore[arg-type]  # any stage
        await self.write("dead-letters", letter.value, letter.key, letter.headers)

    async def write(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        name = f"{self.deployment.topics.prefix}{topic}"
        await self.producer.send_and_wait(name, value, key=key, headers=list(headers))

    async def read(self, topic: str) -> list[RawRecord]:
        name = f"{self.deployment.topics.prefix}{topic}"
        async with TopicReader(self.deployment.client(), name) as reader:
            return [record async for records in reader.present() for record in records]

    async def events(self) -> list[Event]:
        return [decode_event(record.value or b"") for record in await self.read("customer-events")]

    async def replay(self, **filters: str) -> deadletters.ReplayOutcome:
        box = await deadletters.read_dead_letters(self.deployment)
        chosen = deadletters.together(Filters(**filters).select(box.open), box)  # type: ignore[arg-type]  # texts only
        return await deadletters.replay(self.deployment, chosen)


@pytest.fixture
async def topic(deployment: Deployment) -> AsyncIterator[Topic]:
    producer = AIOKafkaProducer(**deployment.client())
    await producer.start()
    yield Topic(deployment, producer)
    await producer.stop()


def a_record(value: object, offset: int, *, topic: str = "nps", headers: Headers = ()) -> RawRecord:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return RawRecord(
        topic=topic, partition=1, offset=offset, timestamp=NOW - HOUR, key=b"a key", value=raw, headers=headers
    )


def goal(customer: str | None = "ana", **attributes: object) -> dict[str, object]:
    event = {"specversion": "1.0", "type": "goal.achieved", "data": {"goal": "x"}}
    return event | ({"subject": customer} if customer else {}) | attributes


def on_our_log(event: Event, offset: int) -> RawRecord:
    return RawRecord(
        topic="customer-events", partition=0, offset=offset, timestamp=NOW - HOUR, key=event_key(event),
        value=encode_event(event), headers=event_headers(event, NOW - HOUR),
    )  # fmt: skip


async def test_letters_are_listed_newest_attempt_only_and_counted_by_cause(topic: Topic) -> None:
    await topic.post(a_record(b"\xff", 1), "undecodable: at character 0", "ingest")
    await topic.post(a_record(b"\xff", 1), "undecodable: at character 0", "ingest")
    await topic.post(a_record(goal(None), 2), "unusable_id: names no customer", "ingest")
    await topic.post(a_record(goal(None), 2), "unusable_id: names no customer", "ingest", attempt=2)
    await topic.write("dead-letters", b"stray", None, ())

    box = await deadletters.read_dead_letters(topic.deployment)
    told = page.as_json(box, box.open, box.open, {})

    assert told["counts"] == {"ingest": {"unusable_id": 1, "undecodable": 1}}
    assert sorted((letter["offset"], letter["attempt"]) for letter in told["letters"]) == [(1, 1), (2, 2)]
    assert told["unreadable"] == 1


@pytest.mark.parametrize(
    ("filters", "offsets"),
    [
        ({}, [1, 2, 3, 4]),
        ({"stage": "decide"}, [3, 4]),
        ({"cause": "unusable_id"}, [2]),
        ({"topic": "nps"}, [1, 2]),
        ({"customer": "ana"}, [3]),
        ({"customer": "~ana"}, [4]),
        ({"since": NOW}, [1, 2, 3, 4]),
        ({"since": NOW + 1}, []),
        ({"stage": "ingest", "cause": "fault"}, []),
    ],
)
async def test_filters_select(topic: Topic, filters: Mapping[str, object], offsets: Sequence[int]) -> None:
    await topic.post(a_record(b"\xff", 1), "undecodable: at character 0", "ingest")
    await topic.post(a_record(goal(None), 2), "unusable_id: names no customer", "ingest")
    await topic.post(on_our_log(an_event("goal.achieved", NOW, "ana", goal="x"), 3), "fault: Broken", "decide")
    await topic.post(on_our_log(an_event("goal.achieved", NOW, "~ana", goal="x"), 4), "fault: Broken", "decide")

    box = await deadletters.read_dead_letters(topic.deployment)

    selected = Filters(**filters).select(box.open)  # type: ignore[arg-type]  # as the table says
    assert sorted(letter.source_offset for letter in selected) == offsets


async def test_payloads_and_source_keys_are_shown_only_where_asked_for(topic: Topic) -> None:
    await topic.post(a_record({"email": "ana@example.com"}, 1), "unrecognised: nobody's", "ingest")
    box = await deadletters.read_dead_letters(topic.deployment)

    without = json.dumps(page.as_json(box, box.open, box.open, {}))
    records = await deadletters.originals(topic.deployment, box.open)
    with_payload = json.dumps(page.as_json(box, box.open, box.open, records))

    assert "ana@example.com" not in without
    assert "a key" not in without
    assert "ana@example.com" in with_payload


async def test_a_letter_accepted_now_is_appended_once_with_the_id_of_its_position(topic: Topic) -> None:
    await topic.post(a_record(goal(), 7), "unrecognised: by an older version", "ingest")

    first = await topic.replay()
    second = await topic.replay()

    (event,) = await topic.events()
    assert (first.letters, first.events) == ({"appended": 1}, 1)
    assert (second.letters, second.events) == ({}, 0)
    assert (event.subject, event.time) == ("ana", NOW - HOUR)
    (record,) = await topic.read("customer-events")
    assert record.key == b"ana"
    assert record.header("attempt") == "2"


async def test_a_replay_that_broke_off_before_its_mark_appends_the_same_event_again(topic: Topic) -> None:
    await topic.post(a_record(goal(), 7), "unrecognised: by an older version", "ingest")
    box = await deadletters.read_dead_letters(topic.deployment)

    await deadletters.replay(topic.deployment, box.open)
    await deadletters.replay(topic.deployment, box.open)  # knows nothing of the mark

    one, other = await topic.events()
    assert one == other


async def test_what_fails_again_is_the_same_letter_with_the_next_attempt(topic: Topic) -> None:
    await topic.post(a_record(goal(None, type="customer.suppressed"), 7), "unusable_id: names no customer", "ingest")
    (before,) = (await deadletters.read_dead_letters(topic.deployment)).open

    outcome = await topic.replay()

    (after,) = (await deadletters.read_dead_letters(topic.deployment)).open
    assert outcome.failed_again == 1
    assert (after.failure.id, after.failure.attempt, after.source_offset) == (before.failure.id, 2, 7)
    assert await topic.events() == []


async def test_a_letter_whose_payload_was_left_out_stays_open(topic: Topic) -> None:
    record = a_record(b"x", 7)
    letter = dead_letter(record, error="too_large: 3000000 bytes", stage="ingest", occurred_at=NOW)
    await topic.write("dead-letters", None, letter.key, (*letter.headers, ("payload-omitted", b"3000000")))

    outcome = await topic.replay()

    assert outcome.letters == {"without payload": 1}
    assert len((await deadletters.read_dead_letters(topic.deployment)).open) == 1


async def test_a_hold_of_a_merge_ends_when_its_letter_is_replayed(topic: Topic) -> None:
    """The record of a circle was taken: it is a repeat now, and what ends is the hold."""
    passed_on = replace(an_event("goal.achieved", NOW - DAY, "ben", goal="x"), via=("ana", "ben"))
    record = replace(on_our_log(passed_on, 3), key=b"ana")
    await topic.post(record, "merge_cycle: the ids of one person are merged in a circle", "decide")

    outcome = await topic.replay()

    again, ended = await topic.read("customer-events")
    assert (again.key, again.value, outcome.released) == (b"ana", record.value, 1)
    event = decode_event(ended.value or b"")
    assert (event.type, event.subject, ended.key) == ("deadletter.replayed", "ana", b"ana")
    assert event.data.events == names_of([passed_on])


# ---- a customer on hold


class Broken(Exception):
    pass


class Decider:
    """The decide agent's state, taking whatever is new on ``customer-events``."""

    def __init__(self) -> None:
        self.decide = decide.Decide(Topics(), EVERYBODY)
        self.tables: dict[tuple[str, bytes], bytes] = {}

    def run(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """Takes the records; the letters among what it says."""
        consumed = [
            Consumed("customer-events", 0, n, r.timestamp, r.key, r.value, r.headers) for n, r in records_at(records)
        ]
        result = self.decide(0, consumed, lambda table, key: self.tables.get((table, key)))
        for table, changes in result.changes.items():
            self.tables |= {(table, key): value for key, value in changes.items() if value is not None}
        return [
            RawRecord(
                topic="dead-letters", partition=0, offset=0, timestamp=NOW, key=o.key, value=o.value, headers=o.headers
            )
            for o in result.outputs
            if o.topic == "dead-letters"
        ]

    @property
    def on_hold(self) -> bool:
        return decode_customer(self.tables["customers", b"ana"]).entity.quarantined

    @property
    def has_reached_goal(self) -> bool:
        return decode_customer(self.tables["customers", b"ana"]).entity.goal


def records_at(records: Sequence[RawRecord]) -> list[tuple[int, RawRecord]]:
    return list(enumerate(records))


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Types of events on which our own code fails; a test takes one out, as a new version would."""
    broken = ["goal.achieved"]
    real = core_step.step

    def failing(policy: Policy, customer: object, inputs: Sequence[Event], now: int) -> object:
        if any(event.type in broken for event in inputs):
            raise Broken
        return real(policy, customer, inputs, now)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(applying, "step", failing)
    return broken


async def held(topic: Topic, decider: Decider, *events: Event) -> None:
    """The customer is on hold for these events, and their letters are there."""
    log = await topic.read("customer-events")
    assert log == []
    for event in events:
        await topic.write("customer-events", encode_event(event), event_key(event), event_headers(event, NOW - HOUR))
    for letter in decider.run(await topic.read("customer-events")):
        await topic.write("dead-letters", letter.value, letter.key, letter.headers)
    assert decider.on_hold


async def test_a_hold_ends_when_the_event_went_through(topic: Topic, fault: list[str]) -> None:
    decider = Decider()
    await held(topic, decider, an_event("goal.achieved", NOW - DAY, "ana", goal="x"))
    fault.clear()

    outcome = await topic.replay()
    decider.run(await topic.read("customer-events"))

    assert (outcome.released, outcome.held) == (1, 0)
    assert not decider.on_hold
    assert decider.has_reached_goal, "the failing step had not remembered the event's id"
    assert (await deadletters.read_dead_letters(topic.deployment)).open == []


async def test_a_hold_stays_when_the_event_fails_again_and_its_letter_says_so(topic: Topic, fault: list[str]) -> None:
    decider = Decider()
    await held(topic, decider, an_event("goal.achieved", NOW - DAY, "ana", goal="x"))
    assert fault == ["goal.achieved"]

    await topic.replay()
    fresh = decider.run(await topic.read("customer-events"))

    assert decider.on_hold
    assert [letter.header("attempt") for letter in fresh] == ["2"]


async def test_the_letters_that_hold_a_customer_go_together(topic: Topic, fault: list[str]) -> None:
    decider = Decider()
    fault.append("feedback.shared")
    await held(
        topic,
        decider,
        an_event("goal.achieved", NOW - DAY, "ana", goal="x"),
        an_event("feedback.shared", NOW - DAY, "ana", positive=False),
    )
    fault.clear()
    box = await deadletters.read_dead_letters(topic.deployment)

    chosen = deadletters.together(box.open[:1], box)

    assert {letter.failure.id for letter in chosen} == {letter.failure.id for letter in box.open}


async def test_a_customer_with_another_such_letter_stays_on_hold_and_the_letter_open(
    topic: Topic, fault: list[str]
) -> None:
    decider = Decider()
    fault.append("feedback.shared")
    await held(
        topic,
        decider,
        an_event("goal.achieved", NOW - DAY, "ana", goal="x"),
        an_event("feedback.shared", NOW - DAY, "ana", positive=False),
    )
    fault.clear()
    box = await deadletters.read_dead_letters(topic.deployment)

    outcome = await deadletters.replay(topic.deployment, box.open[:1])
    decider.run(await topic.read("customer-events"))

    assert (outcome.released, outcome.held) == (0, 1)
    assert decider.on_hold
    assert len((await deadletters.read_dead_letters(topic.deployment)).open) == 2


async def test_an_end_of_a_hold_that_failed_itself_is_said_anew_and_once(topic: Topic) -> None:
    ended = an_event("deadletter.replayed", NOW - DAY, "ana")
    await topic.post(on_our_log(ended, 3), "fault: Broken", "decide")

    outcome = await topic.replay()

    (event,) = await topic.events()
    assert (event.type, event.subject, outcome.released) == ("deadletter.replayed", "ana", 1)
    assert event.id != ended.id, "the old one depended on nothing that must have gone through"


async def test_a_letter_of_the_ledger_goes_back_to_its_requests(topic: Topic) -> None:
    switch = {
        "specversion": "1.0", "id": "e1", "source": "ops", "type": "control.resumed", "time": "2026-06-16T08:00:00Z",
        "data": {"scope": "all", "by": "zoe", "why": "over"},
    }  # fmt: skip
    await topic.post(a_record(switch, 3, topic="ledger-requests"), "unknown_type: to an older version", "ledger")

    outcome = await topic.replay()

    assert outcome.letters == {"appended": 1}
    assert [record.value for record in await topic.read("ledger-requests")] == [orjson.dumps(switch)]
