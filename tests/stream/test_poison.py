"""Nothing in a record, a header, a key or a payload, alone or in any number, ends a worker, or touches anybody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from faust_batches import Output

from referral_stream.contracts.codec import decode_event, encode_effect
from referral_stream.contracts.deadletters import failure, original
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.left_out import notes_in
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.outcomes import Adapted
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_customer
from referral_stream.contracts.topics import Topics
from referral_stream.core.customer import Customer
from referral_stream.core.effects import ReservationRequested
from referral_stream.core.instants import LAST_ARRIVAL
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import Results
from referral_stream.replay.files import replay_file
from referral_stream.stream import decide as decide_module
from referral_stream.stream import ingest as ingest_module
from referral_stream.stream.ingest import Ingest
from referral_stream.stream.ledger_agent import LedgerAgent
from tests.ledger.builders import T0, a_request
from tests.rules import rule
from tests.stream import poison
from tests.stream.records import Consumed
from tests.stream.test_decide import TUESDAY, Table, happy, outcomes, promoter
from tests.stream.test_ingest import ARRIVAL, Stopped, cloud_event, unread
from tests.stream.test_ledger_agent import EmptyLog, FlakyLedger

BATCH = 500
BOUNDARY = Boundary(email_key=b"k" * 16)


def on(topic: str, outputs: Sequence[Output]) -> list[RawRecord]:
    """The outputs to a topic, as records."""
    return [
        RawRecord(topic=o.topic, partition=0, offset=n, timestamp=0, key=o.key, value=o.value, headers=o.headers)
        for n, o in enumerate(outputs)
        if o.topic == topic
    ]


def letters(outputs: Sequence[Output]) -> list[RawRecord]:
    """The dead letters among the outputs: each can be listed, shown and tried again."""
    found = on("dead-letters", outputs)
    for letter in found:
        failure(letter)
        original(letter)
        assert parse_line(render_line(letter), file="f", number=1) == letter
    return found


@rule("I6.5")
@pytest.mark.parametrize("topic", ["nps", "profile", "responses"])
def test_no_record_of_a_source_ends_ingest(topic: str) -> None:
    ingest = Ingest(Topics(), BOUNDARY, Stopped(ARRIVAL))
    records = poison.records(topic, seed=len(topic))
    batches = (records[begin : begin + BATCH] for begin in range(0, len(records), BATCH))
    assert letters([output for batch in batches for output in ingest(0, batch, unread).outputs])
    assert ingest.counts["refused_fault"] == 0


@rule("I6.5")
@pytest.mark.parametrize("stamp", [True, False], ids=["with a sound stamp", "without"])
def test_no_record_of_customer_events_ends_decide_or_touches_anybody_else(stamp: bool) -> None:
    table = Table()
    odd = poison.records("customer-events", seed=7, stamp=stamp)
    result = table.run(odd)
    assert letters(result.outputs)
    assert not any(key.startswith(b"\x00") for changes in result.changes.values() for key in changes)
    table.offset = len(odd)
    sound = [*happy("cus-ana", TUESDAY), promoter("cus-ana", TUESDAY)]
    assert outcomes(table.run(table.records(sound))) == ["pending"]
    assert table.decide.counts["refused_fault"] == 0


@rule("I6.5")
def test_a_recorded_log_of_odd_records_is_replayed_like_any_other(tmp_path: Path) -> None:
    for topic in ("customer-events", "nps"):
        odd = [each for each in poison.records(topic, seed=8, stamp=True) if -1 <= each.timestamp <= LAST_ARRIVAL]
        # A note that no worker of ours has written would be believed.
        records = [record for record in map(RawRecord.of, odd) if record.header("not-applied") is None]
        log = tmp_path / f"{topic}.jsonl"
        log.write_bytes(b"".join(render_line(record) + b"\n" for record in records))
        summary = replay_file(log, tmp_path / topic, Policy(), BOUNDARY)
        assert summary.records == len(records)
        assert summary.refused.total() > 0


class Ledger(FlakyLedger):
    """In memory; our own code fails on one request."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = True  # nothing else fails

    async def apply(self, operations: Sequence[LedgerOperation]) -> Results:
        if any(isinstance(each, ReservationRequested) and each.command_id == "odd" for each in operations):
            raise TypeError("ana@example.com")
        return await super().apply(operations)


@rule("I6.5")
async def test_no_request_ends_the_ledger_and_all_others_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Output] = []
    grants: list[Output] = []

    async def send(outputs: Sequence[Output]) -> None:
        for output in outputs:
            (grants if output.topic == "ledger-requests" else answers).append(output)

    agent = LedgerAgent(Topics(), Ledger(), Stopped(T0), send=send, log=EmptyLog())
    names = ("ana", "odd", "ben")
    requests = [encode_effect(a_request(name, customer=name), T0) for name in names]
    asked = [
        Consumed("ledger-requests", 0, 10_000 + number, T0, name.encode(), requests[number])
        for number, name in enumerate(names)
    ]
    odd = poison.records("ledger-requests", seed=9)
    result = await agent(0, [*odd[::2], *asked, *odd[1::2]], unread)
    logged = [Consumed("ledger-requests", 0, 20_000 + n, T0, each.key, each.value) for n, each in enumerate(grants)]
    await agent(0, logged, unread)
    told = {event.subject: event.type for event in (decode_event(each.value or b"") for each in answers)}
    assert {name: told.get(name) for name in names} == {
        "ana": "reservation.granted",
        "odd": None,
        "ben": "reservation.granted",
    }
    (letter,) = [each for each in letters(result.outputs) if each.key == b"odd"]
    assert (failure(letter).error, failure(letter).stage) == ("fault: TypeError", "ledger")
    assert [entry.message for entry in caplog.records] == ["request_failed"]


@rule("I6.5")
def test_a_record_on_which_our_own_code_fails_in_ingest_is_a_letter_and_a_loud_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = adapt

    def failing(record: RawRecord, now: int, boundary: Boundary) -> Adapted:
        if record.key == b"odd":
            raise TypeError("ana@example.com")
        return real(record, now, boundary)

    monkeypatch.setattr(ingest_module, "adapt", failing)
    ingest = Ingest(Topics(), BOUNDARY, Stopped(ARRIVAL))
    records = [
        Consumed("nps", 0, number, ARRIVAL, key, cloud_event("goal.achieved", f"cus-{number}", goal="x"))
        for number, key in enumerate((b"ana", b"odd", b"ben"))
    ]
    outputs = ingest(0, records, unread).outputs
    assert [(o.topic, o.key) for o in outputs] == [
        ("customer-events", b"cus-0"),
        ("dead-letters", b"odd"),
        ("customer-events", b"cus-2"),
    ]
    (letter,) = letters(outputs)
    assert (failure(letter).error, failure(letter).stage) == ("fault: TypeError", "ingest")
    assert [(entry.levelname, entry.message) for entry in caplog.records] == [("ERROR", "record_failed")]


@rule("I6.5")
@pytest.mark.parametrize("name", ["encode_effect", "encode_state"])
def test_a_record_on_which_decide_fails_outside_of_the_step_holds_its_customer_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    table = Table()
    table.run(table.records([*happy("cus-odd", TUESDAY), *happy("cus-ana", TUESDAY)]))
    real = getattr(decide_module, name)

    def failing(value: Any, number: int) -> bytes:
        of_effect = getattr(value, "customer_id", "") == "cus-odd"
        if of_effect or (isinstance(value, Customer) and value.id == "cus-odd" and value.live):
            raise OverflowError("ana@example.com")
        written: bytes = real(value, number)
        return written

    monkeypatch.setattr(decide_module, name, failing)
    batch = table.records([promoter("cus-odd", TUESDAY), promoter("cus-ana", TUESDAY)])
    result = table.run(batch)
    (letter,) = letters(result.outputs)
    assert (letter.key, failure(letter).error) == (b"cus-odd", "fault: OverflowError")
    assert outcomes(result) == ["pending"]
    odd = decode_customer(table.values["customers", b"cus-odd"]).entity
    assert (odd.quarantined, odd.live) == (True, ())
    (note,) = notes_in(on("customer-events", result.outputs)).values()
    assert (note.offset, note.how, note.cause) == (batch[0].offset, "held", "fault")
