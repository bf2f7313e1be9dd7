"""How the example worker takes records and what it does with one command: step by step, without a broker."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

import orjson
import pytest

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import HOUR, MINUTE, SECOND, rfc3339
from tests.messaging.example import module
from tests.rules import rule

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
    readers: list[Any] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __call__(self, channel: str, command: str, person: Any, message: Any) -> None:
        if self.raises is not None:
            raise self.raises
        self.sent.append((channel, command))
        self.readers.append(person)
        self.texts.append(message.text)
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


def a_followup(now: int, **changes: Any) -> dict[str, Any]:
    data = {
        "followup_id": "fol-1",
        "kind": "thank",
        "audience": "customer",
        "customer_id": "cus-1",
        "referral_id": "ref-1",
        "channels": ["email", "in_app"],
        "not_before": rfc3339(now),
        "due_by": rfc3339(now + HOUR),
        "expires_at": rfc3339(now + 2 * HOUR),
        "late": False,
        "variables": {},
        "requested_at": rfc3339(now),
    }
    return {"type": "referral.followup.requested", "data": data | changes}


def for_owner(kind: str, **variables: str) -> dict[str, Any]:
    """What makes of ``a_followup`` one to the owner, as the contract has it: without channels."""
    return {"kind": kind, "audience": "owner", "channels": None, "variables": variables}


def a_cancellation() -> dict[str, Any]:
    data = {"followup_id": "fol-1", "kind": "thank", "customer_id": "cus-1", "reason": "stop"}
    return {"type": "referral.followup.cancelled", "data": data}


@pytest.fixture
def outboxes() -> dict[str, Outbox]:
    return {channel: Outbox() for channel in ("email", "in_app", "phone", "owner")}


@pytest.fixture
def working(tmp_path: Path, outboxes: dict[str, Outbox]) -> Any:
    working = worker.Worker({"MEMORY_FILE": str(tmp_path / "memory.sqlite")})
    working.people, working.senders = PEOPLE, outboxes
    return working


def now() -> int:
    """Epoch ms."""
    return int(time() * SECOND)


def statuses(working: Any) -> list[tuple[str, str]]:
    """(command, status) of all that is still to be reported."""
    return [(command["id"], command["status"]) for command in working.memory.unreported()]


async def after_delivery(working: Any, **changes: Any) -> str:
    """The status of the command after one turn with it."""
    working.remember(Record(orjson.dumps(a_command(now(), **changes))))
    await working.deliver(working.memory.due(time()))
    ((_, status),) = statuses(working)
    return status


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


def booked(tmp_path: Path) -> Any:
    """A worker that writes to the console, with an address book that knows one customer."""
    book = tmp_path / "addresses.toml"
    book.write_text('[cus-1]\nname = "Ana Example"\n')
    return worker.Worker({"MEMORY_FILE": ":memory:", "ADDRESS_BOOK": str(book)})


@pytest.mark.parametrize("customer", ["cus-1", "cus-2"])
@pytest.mark.parametrize(
    ("channels", "status", "written"), [(["email", "in_app"], "sent", 1), (["email"], "failed", 0)]
)
async def test_who_has_no_address_is_tried_on_the_next_channel_on_the_console_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], customer: str, channels: list[str], status: str, written: int
) -> None:
    assert await after_delivery(booked(tmp_path), customer_id=customer, channels=channels) == status
    said = capsys.readouterr().out
    assert (said.count("--- in_app to "), said.count("--- email to ")) == (written, 0)


async def test_without_an_address_book_the_console_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert await after_delivery(worker.Worker({"MEMORY_FILE": ":memory:"})) == "sent"
    said = capsys.readouterr().out
    assert said.startswith("--- email to the customer (cmd-1)\nThank you for your answer\n")
    assert "the top score you gave our product" in said


async def test_beside_the_demo_the_time_is_that_of_the_command_read_last(capsys: pytest.CaptureFixture[str]) -> None:
    beside = module("beside_demo").DemoWorker({})
    for customer, day in (("cus-ana", "2026-09-15"), ("cus-kim", "2046-09-19"), ("cus-ben", "2026-09-16")):
        times = {"not_before": f"{day}T08:00:00Z", "expires_at": f"{day}T18:00:00Z"}
        command = a_command(0, customer_id=customer, command_id=f"for-{customer}", **times)
        beside.remember(Record(orjson.dumps(command | {"time": f"{day}T08:00:00.100Z"})))
        await beside.deliver(beside.memory.due(beside.now()))
    assert [status for _, status in statuses(beside)] == ["sent", "sent", "sent"]
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines() if line.startswith("--- ")] == [
        "Ana", "Kim", "Ben",
    ]  # fmt: skip
    (ana, *_) = beside.memory.unreported()
    assert orjson.loads(worker.acknowledgement(ana))["time"].startswith("2026-09-15T08:00:00.")


async def test_it_has_failed_when_no_channel_is_left(working: Any, outboxes: dict[str, Outbox]) -> None:
    outboxes["email"].raises = senders.Undeliverable("no address")
    assert await after_delivery(working, channels=["email"]) == "failed"


async def test_a_service_that_is_away_is_tried_again_some_seconds_later(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    outboxes["email"].raises = ConnectionRefusedError("away")
    before = time()
    assert await after_delivery(working) == "accepted"
    assert working.memory.due(before + 5 - 0.001) is None
    assert working.memory.due(time() + 5)["id"] == "cmd-1"
    assert outboxes["in_app"].sent == [], "another channel is no remedy for a service that will be back"


@pytest.mark.parametrize(("left", "status"), [(-1, "dropped_expired"), (0, "dropped_expired"), (MINUTE, "sent")])
async def test_nothing_is_sent_from_the_instant_on_at_which_it_expires(
    working: Any, outboxes: dict[str, Outbox], left: int, status: str
) -> None:
    start = now()
    assert await after_delivery(working, not_before=rfc3339(start - HOUR), expires_at=rfc3339(start + left)) == status
    assert len(outboxes["email"].sent) == (status == "sent")


async def test_a_worker_killed_after_sending_repeats_the_id_and_reports_once(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    outboxes["email"].dies_after = True
    with pytest.raises(Death):
        await after_delivery(working)
    outboxes["email"].dies_after = False
    await working.deliver(working.memory.due(time()))
    assert outboxes["email"].sent == [("email", "cmd-1"), ("email", "cmd-1")]
    assert statuses(working) == [("cmd-1", "sent")]


@pytest.mark.parametrize(
    "changes",
    [{"mode": "flattery"}, {"variables": ["csat"]}, {"template": "feedback", "variables": {"kind": {"is": "csat"}}}],
    ids=["a style of a later version", "variables without names", "a variable that is no text"],
)
async def test_what_cannot_be_said_fails_instead_of_stopping_the_worker(working: Any, changes: dict[str, Any]) -> None:
    assert await after_delivery(working, **changes) == "failed"


@pytest.mark.parametrize("text", ["Only for {nobody}.", "Half a {placeholder"])
async def test_a_text_that_cannot_be_filled_in_fails_instead_of_stopping_the_worker(working: Any, text: str) -> None:
    working.catalogue.files["nps"] = {language: {"email": {"opening": [text]}} for language in ("de", "en")}
    assert await after_delivery(working, channels=["email"]) == "failed"


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
    working.remember(Record(orjson.dumps(a_command(now()) | {"type": kind})))
    assert working.memory.unreported() == []
    assert caplog.messages == []


async def test_the_log_names_the_command_and_the_channel_and_no_person(
    working: Any, outboxes: dict[str, Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    outboxes["email"].raises = senders.Undeliverable("no address")
    await after_delivery(working)
    assert caplog.messages == ["cmd-1: not by email (no address)"]


# ---- follow-ups


@dataclass
class Topics:
    """A consumer that gives its records one by one, as a broker may, and then ends the work."""

    records: list[dict[str, Any]]
    stop: asyncio.Event
    committed: int = 0

    async def getmany(self, timeout_ms: int) -> dict[str, list[Record]]:
        assert timeout_ms > 0, "nothing that is on its way has arrived after no time at all"
        if self.records:
            return {"partition": [Record(orjson.dumps(self.records.pop(0)))]}
        self.stop.set()
        return {}

    async def commit(self) -> None:
        self.committed += 1


class Reports:
    async def send_and_wait(self, _topic: str, _value: bytes, _key: bytes) -> None:
        """Published."""


async def test_a_cancellation_that_has_arrived_counts_even_if_it_is_read_after_what_is_due(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    stop = asyncio.Event()
    consumer = Topics([a_followup(now() - MINUTE), a_cancellation()], stop)
    await working.work(consumer, Reports(), stop)
    assert [command["status"] for command in working.memory._db.execute("SELECT status FROM commands")] == ["cancelled"]
    assert all(outbox.sent == [] for outbox in outboxes.values())
    assert consumer.committed == 2


async def test_records_that_never_end_keep_nothing_from_being_delivered(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    stop, working.gathers = asyncio.Event(), 0
    consumer = Topics([a_followup(now() - MINUTE), *({"type": "something.else"} for _ in range(5))], stop)
    await working.work(consumer, Reports(), stop)
    assert outboxes["email"].sent == [("email", "fol-1")]
    assert consumer.committed == 6


async def after_followup(working: Any, **changes: Any) -> str:
    """The status of the follow-up after one turn with it."""
    working.remember(Record(orjson.dumps(a_followup(now(), **changes))))
    await working.deliver(working.memory.due(time()))
    ((_, status),) = statuses(working)
    return status


async def test_a_follow_up_goes_out_on_the_first_channel_that_works(working: Any, outboxes: dict[str, Outbox]) -> None:
    outboxes["email"].raises = senders.Undeliverable("no address")
    assert await after_followup(working) == "sent"
    assert outboxes["in_app"].sent == [("in_app", "fol-1")]
    assert outboxes["owner"].sent == outboxes["phone"].sent == []


@rule("A2.7")
def test_a_follow_up_waits_for_the_instant_that_it_names(working: Any) -> None:
    start = now()
    working.remember(Record(orjson.dumps(a_followup(start, not_before=rfc3339(start + HOUR)))))
    assert working.memory.due((start + HOUR) / SECOND - 0.001) is None
    assert working.memory.due((start + HOUR) / SECOND)["id"] == "fol-1"
    assert statuses(working) == [("fol-1", "accepted")]


async def test_a_follow_up_is_dropped_from_the_instant_on_at_which_it_expires(
    working: Any, outboxes: dict[str, Outbox]
) -> None:
    start = now()
    changes = {"not_before": rfc3339(start - HOUR), "expires_at": rfc3339(start)}
    assert await after_followup(working, **changes) == "dropped_expired"
    assert outboxes["email"].sent == []


@pytest.mark.parametrize("order", ["before", "after"])
@rule("A2.2")
def test_a_follow_up_that_is_cancelled_is_never_sent_whichever_comes_first(working: Any, order: str) -> None:
    records = [a_followup(now()), a_cancellation()]
    for event in records if order == "after" else reversed(records):
        working.remember(Record(orjson.dumps(event)))
    assert working.memory.due(time()) is None
    assert statuses(working) == [("fol-1", "cancelled")]


@pytest.mark.parametrize("first", ["sent", "dropped_expired", "cancelled", "failed"])
def test_a_follow_up_whose_id_is_repeated_is_dropped_also_after_a_crash(tmp_path: Path, first: str) -> None:
    settings = {"MEMORY_FILE": str(tmp_path / "memory.sqlite")}
    before = worker.Worker(settings)
    before.remember(Record(orjson.dumps(a_followup(now()))))
    before.memory.finish("fol-1", first, time())
    after = worker.Worker(settings)
    after.remember(Record(orjson.dumps(a_followup(now()))))
    assert after.memory.due(time()) is None
    assert statuses(after) == [("fol-1", first)]


@rule("A2.14")
@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("read_answer", {"trigger": "nps_promoter", "answer": "unclear"}),
        ("take_care", {"consented": "false"}),
        ("approve_reward", {"grant_id": "grant-1", "hints": "rate"}),
        ("read_reward", {"grant_id": "grant-1", "reason": "duplicate"}),
        ("reward_failed", {"grant_id": "grant-1", "reference": "payout-7"}),
    ],
)
async def test_what_is_for_the_owner_goes_to_their_inbox_and_nowhere_else(
    working: Any, outboxes: dict[str, Outbox], kind: str, variables: dict[str, str]
) -> None:
    assert await after_followup(working, **for_owner(kind, **variables)) == "sent"
    assert outboxes["owner"].sent == [("owner", "fol-1")]
    assert all(outboxes[channel].sent == [] for channel in ("email", "in_app", "phone"))
    (reader,), (text,) = outboxes["owner"].readers, outboxes["owner"].texts
    assert (reader["email"], reader["customer"]) == ("team@localhost", "Ana Example")
    assert "customer_id: cus-1\nreferral_id: ref-1" in text
    assert all(f"{name}: {variables[name]}" in text for name in ("grant_id", "reference") if name in variables)


async def test_channels_on_what_is_for_the_owner_are_not_looked_at(working: Any, outboxes: dict[str, Outbox]) -> None:
    outboxes["owner"].raises = senders.Undeliverable("no inbox")
    changes = for_owner("take_care") | {"channels": ["email", "in_app", "phone"]}
    assert await after_followup(working, **changes) == "failed"
    assert all(outbox.sent == [] for outbox in outboxes.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": "everybody"},
        {"kind": "of_a_later_version"},
        {"kind": "take_care"},
        {"audience": "owner", "kind": "thank"},
        {"channels": ["owner"]},
        {"kind": "report_back", "variables": {"status": "of_a_later_version"}},
        {"kind": "report_back", "variables": {}},
        {"kind": "reward_told", "variables": {}},
        {"kind": "reward_told", "variables": {"reward_kind": "cash", "amount_minor": "5000", "currency": "EUX"}},
        {"kind": "reward_told", "variables": {"reward_kind": "cash", "amount_minor": "fifty", "currency": "EUR"}},
        {"kind": "reward_told", "variables": {"reward_kind": "cash", "amount_minor": "-1", "currency": "EUR"}},
        {"kind": "reward_told", "variables": {"reward_kind": "cash", "currency": "EUR"}},
        {"kind": "reward_told", "variables": {"reward_kind": "shares", "benefit": "of the company"}},
    ],
    ids=str,
)
async def test_a_follow_up_that_is_not_certain_to_be_right_is_sent_to_nobody(
    working: Any, outboxes: dict[str, Outbox], changes: dict[str, Any]
) -> None:
    assert await after_followup(working, **changes) == "failed"
    assert all(outbox.sent == [] for outbox in outboxes.values())


@pytest.mark.parametrize(
    ("settings", "entry", "inbox"),
    [
        ({}, {}, "team@localhost"),
        ({"SENDER_ADDRESS": "robin@acme.example"}, {}, "robin@acme.example"),
        ({"SENDER_ADDRESS": "robin@acme.example", "OWNER_ADDRESS": "success@acme.example"}, {}, "success@acme.example"),
        ({"OWNER_ADDRESS": "success@acme.example"}, {"owner": "sam@acme.example"}, "sam@acme.example"),
    ],
)
async def test_the_owner_is_the_customers_own_else_the_deployments_else_who_reads_the_replies(
    outboxes: dict[str, Outbox], settings: dict[str, str], entry: dict[str, str], inbox: str
) -> None:
    working = worker.Worker({"MEMORY_FILE": ":memory:", "OWNER_LANGUAGE": "fr", **settings})
    working.people, working.senders = {"cus-1": {"email": "ana@customers.example", **entry}}, outboxes
    assert await after_followup(working, **for_owner("take_care")) == "sent"
    (reader,) = outboxes["owner"].readers
    assert (reader["email"], reader["customer"]) == (inbox, "cus-1")
    assert outboxes["owner"].texts[0].startswith("cus-1 nous a recommandés à quelqu’un.")


@pytest.mark.parametrize(
    ("settings", "read"),
    [
        ({}, ["referral-asks", "referral-followups"]),
        ({"ASKS_TOPIC": "sandbox-asks"}, ["sandbox-asks", "sandbox-followups"]),
        ({"ASKS_TOPIC": "acme.referral-asks"}, ["acme.referral-asks", "acme.referral-followups"]),
        ({"ASKS_TOPIC": "a", "FOLLOWUPS_TOPIC": "b"}, ["a", "b"]),
    ],
)
def test_a_worker_of_a_sandbox_reads_no_follow_ups_of_the_deployment(settings: dict[str, str], read: list[str]) -> None:
    assert worker.topics(settings) == read


def test_an_acknowledgement_is_what_the_pipeline_reads(working: Any) -> None:
    started = now()
    working.remember(Record(orjson.dumps(a_command(started))))
    (command,) = working.memory.unreported()
    value = worker.acknowledgement(command)
    record = RawRecord(topic="responses", partition=0, offset=0, timestamp=started, key=b"cus-1", value=value)
    adapted = adapt(record, started + MINUTE, Boundary(b"key"))
    assert isinstance(adapted, Accepted)
    (event,) = adapted.events
    assert (event.type, event.subject, event.source, event.flags) == (
        "ask.acknowledged",
        "cus-1",
        "messaging-worker",
        (),
    )
    assert event.time == int(command["changed"] * SECOND)
    assert (event.data.command_id, event.data.status) == ("cmd-1", "accepted")
    assert worker.acknowledgement(command) == value
