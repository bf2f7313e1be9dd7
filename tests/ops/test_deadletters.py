"""What a replay of dead letters appends, and in which order."""

from __future__ import annotations

import orjson
import pytest

from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Adapted
from referral_stream.contracts.records import RawRecord
from referral_stream.core.policy import Policy
from referral_stream.ops import deadletters
from referral_stream.ops.deadletters import ListedLetter, _letter, _Replay
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import read_settings
from tests.rules import rule

DEPLOYMENT = Deployment(read_settings({"REFERRAL_STREAM_EMAIL_KEY": "a key for these tests only"}), Policy(), Clock())


def _letter_of(value: bytes, *, error: str, offset: int = 0) -> tuple[ListedLetter, RawRecord]:
    source = RawRecord(topic="responses", partition=0, offset=offset, timestamp=0, key=b"k", value=value, headers=())
    letter = dead_letter(source, error=error, stage="ingest", occurred_at=0)
    record = RawRecord(
        topic="dead-letters", partition=0, offset=offset, timestamp=0, key=letter.key, value=letter.value,
        headers=letter.headers,
    )  # fmt: skip
    return _letter(record), record


def _answer(id_: str) -> bytes:
    return orjson.dumps({
        "specversion": "1.0", "id": id_, "source": "worker", "type": "ask.answered", "subject": "cus-ana",
        "time": "2026-06-16T08:00:00Z", "data": {"command_id": "cmd-1", "answer": "stop"},
    })  # fmt: skip


def test_a_letter_on_which_our_code_fails_again_stays_and_the_others_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def adapt_but_for_one(record: RawRecord, now: int, boundary: Boundary) -> Adapted:
        if b'"broken"' in (record.value or b""):
            raise LookupError("a bug of ours")
        return adapt(record, now, boundary)

    monkeypatch.setattr(deadletters, "adapt", adapt_but_for_one)
    replay = _Replay(DEPLOYMENT)
    pairs = [_letter_of(_answer(id_), error="fault: LookupError", offset=n) for n, id_ in enumerate(("broken", "well"))]
    _, events, marks = replay.take(pairs)
    assert [orjson.loads(each.value or b"")["id"] for each in events] == ["well"]
    failed, done = marks
    assert dict(failed.headers)["error"] == b"fault: LookupError"
    assert (done.value, "replayed" in dict(done.headers)) == (None, True)
    assert (replay.outcome.failed_again, replay.outcome.events) == (1, 1)


@rule("A5.5")
def test_a_referral_that_is_replayed_names_its_contact_before_the_event_is_appended() -> None:
    contact = {"ref": "c-1", "name": "Milton", "consented": True}
    event = {
        "specversion": "1.0", "id": "e1", "source": "crm", "type": "referral.given", "subject": "cus-ana",
        "time": "2026-06-16T08:00:00Z", "data": {"referral_id": "ref-1", "contact": contact},
    }  # fmt: skip
    names, events, marks = _Replay(DEPLOYMENT).take([_letter_of(orjson.dumps(event), error="invalid: x")])
    assert [(each.topic, each.key) for each in names] == [("referral-contacts", b"ref-1")]
    assert [(each.topic, each.key) for each in events] == [("customer-events", b"cus-ana")]
    assert [each.topic for each in marks] == ["dead-letters"]
    assert b"Milton" in (names[0].value or b"")
    assert b"Milton" not in (events[0].value or b"")
