"""How the example worker takes records and what it does with one command: step by step, without a broker."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.adapted import Accepted
from referral_stream.contracts.inbound import Boundary, adapt
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import HOUR, MINUTE, rfc3339
from tests.messaging.example import FOLDER, module

worker = module("worker")
senders = module("senders")

PEOPLE = {"cus-1": {"name": "Ana Example", "email": "ana@customers.example", "language": "de"}}


@dataclass
class Record:
    value: bytes | None
    partition: int = 3
    offset: int = 7


@dataclass
class Outbox:
    """A sender that answers as told, and keeps what it was given."""

    raises: Exception | None = None
    dies_after: bool = False
    sent: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, channel: str, command: str, _person: Any, _subject: str, _text: str) -> None:
        if self.raises is not None:
            raise self.raises
        self.sent.append((channel, command))
        if self.dies_after:
            raise Death


class Death(BaseException):
    """The end of the process, in the middle of whatever it was doing."""


def a_command(now: int, **changes: Any) -> dict[str, Any]:
    data = {
        "command_id": "cmd-1",
        "customer_id": "cus-1",
        "mode": "direct",
        "template": "nps",
        "variables": {},
        "channels": ["email", "in_app"],
        "not_before": rfc3339(now),
        "expires_at": rfc3339(now + HOUR),
    }
    return {"type": "referral.ask.requested", "data": data | changes}


@pytest.fixture
def outboxes() -> dict[str, Outbox]:
    return {channel: Outbox() for channel in ("email", "in_app", "phone")}


@pytest.fixture
def working(tmp_path: Path, outboxes: dict[str, Outbox]) -> Any:
    catalogue = module("catalogue").Catalogue(FOLDER / "templates", {"sender": "Robin", "product": "Acme"})
    memory = module("memory").Memory(tmp_path / "memory.sqlite", worker.now())
    return worker.Worker(memory, catalogue, PEOPLE, outboxes)


async def after_delivery(working: Any, **changes: Any) -> str:
    """The status of the command after one turn with it."""
    working.remember(Record(orjson.dumps(a_command(worker.now(), **changes))))
    await working.deliver(working.memory.next())
    (command,) = working.memory.unreported()
    return str(command.status)


async def test_the_first_channel_that_works_is_used_and_no_other(working: Any, outboxes: dict[str, Outbox]) -> None:
    assert await after_delivery(working) == "sent"
    assert outboxes["email"].sent == [("email", "cmd-1")]
    assert outboxes["in_app"].sent == []


async def test_where_one_channel_cannot_reach_the_person_the_next_is_tried(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    outboxes["email"].raises = senders.Undeliverable("no address")
    assert await after_delivery(working, channels=["pigeon", "email", "in_app"]) == "sent"
    assert outboxes["in_app"].sent == [("in_app", "cmd-1")]


async def test_it_has_failed_when_no_channel_is_left(working: Any, outboxes: dict[str, Outbox]) -> None:
    outboxes["email"].raises = senders.Undeliverable("no address")
    assert await after_delivery(working, channels=["email"]) == "failed"


async def test_a_service_that_is_away_is_tried_again_some_seconds_later(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    outboxes["email"].raises = senders.NotNow("away")
    before = worker.now()
    assert await after_delivery(working) == "accepted"
    assert working.memory.next().due >= before + worker.RETRY_MS
    assert outboxes["in_app"].sent == [], "another channel is no remedy for a service that will be back"


async def test_what_expires_while_it_waits_is_dropped(working: Any, outboxes: dict[str, Outbox]) -> None:
    now = worker.now()
    working.memory.accept("cmd-1", "cus-1", now - MINUTE, now - 1, '{"channels": ["email"]}', now - HOUR)
    await working.deliver(working.memory.next())
    assert [command.status for command in working.memory.unreported()] == ["dropped_expired"]
    assert outboxes["email"].sent == []


async def test_who_dies_after_sending_sends_again_under_the_same_id_and_reports_it_once(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    outboxes["email"].dies_after = True
    with pytest.raises(Death):
        await after_delivery(working)
    outboxes["email"].dies_after = False
    await working.deliver(working.memory.next())
    assert outboxes["email"].sent == [("email", "cmd-1"), ("email", "cmd-1")]
    assert [(command.id, command.status) for command in working.memory.unreported()] == [("cmd-1", "sent")]


async def test_a_style_nobody_has_words_for_fails_instead_of_stopping_the_worker(working: Any) -> None:
    assert await after_delivery(working, mode="flattery") == "failed"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"type": "referral.ask.requested"}',
        b'{"type": "referral.ask.requested", "data": null}',
        b'{"type": "referral.ask.requested", "data": {"command_id": "secret@person.example"}}',
        b'{"type": "referral.ask.cancelled", "data": {}}',
        orjson.dumps(a_command(0, not_before="soon")),
        orjson.dumps(a_command(0, not_before=17)),
    ],
)
def test_a_broken_record_is_skipped_with_its_place_and_without_its_words(
    working: Any, caplog: pytest.LogCaptureFixture, value: bytes | None
) -> None:
    with caplog.at_level(logging.INFO):
        working.remember(Record(value))
    (line,) = caplog.messages
    assert line.startswith("skipped 3/7: ")
    assert "person" not in line
    assert working.memory.unreported() == []


@pytest.mark.parametrize("kind", ["referral.decision.made", "referral.of.a.later.version"])
def test_what_is_no_command_is_left_alone(working: Any, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    working.remember(Record(orjson.dumps(a_command(worker.now()) | {"type": kind})))
    assert working.memory.unreported() == []
    assert caplog.messages == []


async def test_the_log_names_the_command_and_the_channel_and_no_person(
    working: Any, outboxes: dict[str, Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    outboxes["email"].raises = senders.Undeliverable("no address")
    await after_delivery(working)
    assert caplog.messages == ["cmd-1: not by email (no address)"]


def test_an_acknowledgement_is_what_the_pipeline_reads(working: Any) -> None:
    now = worker.now()
    working.remember(Record(orjson.dumps(a_command(now))))
    (command,) = working.memory.unreported()
    value = worker.acknowledgement(command)
    record = RawRecord(topic="responses", partition=0, offset=0, timestamp=now, key=b"cus-1", value=value)
    adapted = adapt(record, now + MINUTE, Boundary(b"key"))
    assert isinstance(adapted, Accepted)
    (event,) = adapted.events
    assert (event.type, event.subject, event.source, event.flags) == (
        "ask.acknowledged",
        "cus-1",
        "messaging-worker",
        (),
    )
    assert event.time == command.changed
    assert (event.data.command_id, event.data.status) == ("cmd-1", "accepted")
    assert worker.acknowledgement(command) == value
