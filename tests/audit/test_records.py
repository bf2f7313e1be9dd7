"""The referee reads every message that the catalogue puts on a topic, and nothing else there."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from referral_stream.audit import records
from referral_stream.audit.after_evidence import read_followup, read_reward
from referral_stream.audit.records import Misread, OtherCommand, read_ask, read_decision, read_request
from referral_stream.contracts.catalogue import messages_on
from referral_stream.contracts.records import RawRecord
from referral_stream.published.schemas import documents
from tests.audit.topics import NAMES, Deployment
from tests.builders import a_customer, nps

READERS: dict[str, Callable[[RawRecord], object]] = {
    "referral-asks": read_ask,
    "referral-decisions": read_decision,
    "ledger-requests": read_request,
    "referral-followups": read_followup,
    "referral-rewards": read_reward,
}
DOCUMENTS = documents()
EXAMPLES = {
    message.kind: DOCUMENTS[f"examples/{message.direction}/{message.kind}.valid.json"]
    for topic in READERS
    for message in messages_on(topic)
}


def a_record(value: bytes) -> RawRecord:
    return RawRecord(topic="any", partition=0, offset=0, timestamp=0, key=None, value=value)


@pytest.mark.parametrize("topic", READERS)
def test_every_message_of_a_topic_is_read_and_one_of_another_topic_is_not(topic: str) -> None:
    carried = {message.kind for message in messages_on(topic)}
    for kind, example in EXAMPLES.items():
        if kind in carried:
            READERS[topic](a_record(example))
        else:
            with pytest.raises(Misread, match="not a type of this topic"):
                READERS[topic](a_record(example))


@pytest.fixture
def newer_command(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A command of a type that the catalogue has, and that the referee has no rule for."""
    monkeypatch.setattr(records, "_ON_ASKS", frozenset({"referral.intro.requested"}))
    body = {"command_id": "cmd-9", "customer_id": "ana"}
    return orjson.dumps({"type": "referral.intro.requested", "subject": "ana", "data": body})


def test_a_command_without_a_rule_is_read_as_one_that_must_follow_from_the_log(newer_command: bytes) -> None:
    read = read_ask(a_record(newer_command))
    assert isinstance(read, OtherCommand)
    assert (read.command_id, read.customer_id) == ("cmd-9", "ana")


def test_a_command_without_a_rule_that_follows_from_nothing_is_found(newer_command: bytes) -> None:
    deployment = Deployment()
    deployment.tell(a_customer("ana"), nps(9, "Thu 12:30", customer="ana"), until="Thu 12:40")
    assert deployment.audit().findings == ()
    where = deployment.logs.append(NAMES.asks, b"ana", newer_command, (("now", b"1"),))
    report = deployment.audit()
    assert report.counts["other commands"] == 1
    (found,) = report.findings
    assert (found.invariant, found.positions) == ("decisions_follow", (where,))
