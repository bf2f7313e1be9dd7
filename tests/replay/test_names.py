"""No file of a replay names a contact, but for the letters, which hold what their producers wrote (after §5)."""

from __future__ import annotations

from pathlib import Path

import orjson

from referral_stream.core.instants import rfc3339
from referral_stream.replay.files import replay_file
from tests.builders import POLICY, a_customer, at, nps
from tests.replay.logs import BOUNDARY, fact_lines, write
from tests.rules import rule

WORDS = (b"Waddams", b"waddams", b"Initech", b"initech", b"lead-4711")


def given(**data: object) -> bytes:
    contact = {
        "ref": "lead-4711",
        "email": "waddams@initech.io",
        "name": "Waddams",
        "company": "Initech",
        "consented": True,
    }
    event = {
        "specversion": "1.0", "id": f"given-{len(data)}", "source": "crm", "type": "referral.given", "subject": "ana",
        "time": rfc3339(at("Fri 12:00")), "data": {"contact": contact, **data},
    }  # fmt: skip
    return orjson.dumps({"topic": "responses", "timestamp": at("Fri 12:00"), "value": event})


@rule("A5.7")
def test_no_file_of_a_replay_but_the_letters_names_a_contact(tmp_path: Path) -> None:
    known = fact_lines(*a_customer("ana"), nps(9, "Thu 12:30", customer="ana"))
    log = write(tmp_path / "log", [*known, given(referral_id="ref-1"), given()])
    summary = replay_file(log, tmp_path / "out", POLICY, BOUNDARY, as_csv=True)
    assert summary.refused == {"invalid": 1}, "a referral without an id"
    files = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    letters = files.pop("dead-letters.jsonl")
    assert all(word in letters for word in WORDS)
    assert [(name, word) for name, content in files.items() for word in WORDS if word in content] == []
