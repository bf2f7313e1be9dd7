"""What a replay of dead letters appends, and in which order."""

from __future__ import annotations

import orjson

from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.records import RawRecord
from referral_stream.core.policy import Policy
from referral_stream.ops.deadletters import _letter, _Replay
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import read_settings
from tests.rules import rule

DEPLOYMENT = Deployment(read_settings({"REFERRAL_STREAM_EMAIL_KEY": "a key for these tests only"}), Policy(), Clock())


@rule("A5.5")
def test_a_referral_that_is_replayed_names_its_contact_before_the_event_is_appended() -> None:
    contact = {"ref": "c-1", "name": "Milton", "consented": True}
    event = {
        "specversion": "1.0", "id": "e1", "source": "crm", "type": "referral.given", "subject": "cus-ana",
        "time": "2026-06-16T08:00:00Z", "data": {"referral_id": "ref-1", "contact": contact},
    }  # fmt: skip
    source = RawRecord(
        topic="responses", partition=0, offset=7, timestamp=0, key=b"k", value=orjson.dumps(event), headers=()
    )
    letter = dead_letter(source, error="invalid: x", stage="ingest", occurred_at=0)
    record = RawRecord(
        topic="dead-letters", partition=0, offset=0, timestamp=0, key=letter.key, value=letter.value,
        headers=letter.headers,
    )  # fmt: skip
    names, events, marks = _Replay(DEPLOYMENT).take([(_letter(record), record)])
    assert [(each.topic, each.key) for each in names] == [("referral-contacts", b"ref-1")]
    assert [(each.topic, each.key) for each in events] == [("customer-events", b"cus-ana")]
    assert [each.topic for each in marks] == ["dead-letters"]
    assert b"Milton" in (names[0].value or b"")
    assert b"Milton" not in (events[0].value or b"")
