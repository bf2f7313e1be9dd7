"""The lines of ``kcat -J``: read byte for byte, and refused where kcat has damaged what it could not write."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import RawRecord
from tests.contracts.building import NOW

LINE: dict[str, Any] = {
    "topic": "nps",
    "partition": 3,
    "offset": 41,
    "tstype": "create",
    "ts": NOW,
    "broker": 1,
    "headers": ["historical", "true", "x", None, "x", "y"],
    "key": "cus-1",
    "payload": '{ "a": "ß" }',
}


def parse(line: bytes) -> RawRecord:
    return parse_line(line, file="week.jsonl", number=12)


def test_a_line_is_its_record_byte_for_byte() -> None:
    read = parse(orjson.dumps(LINE))
    assert read == RawRecord(
        topic="nps",
        partition=3,
        offset=41,
        timestamp=NOW,
        key=b"cus-1",
        value='{ "a": "ß" }'.encode(),
        headers=(("historical", b"true"), ("x", None), ("x", b"y")),
    )
    assert parse(render_line(read)) == read


def test_a_tombstone_and_a_record_without_key_and_headers() -> None:
    line = {name: value for name, value in LINE.items() if name != "headers"} | {"key": None, "payload": None}
    read = parse(orjson.dumps(line))
    assert (read.key, read.value, read.headers) == (None, None, ())


def test_a_payload_that_is_no_json_is_kept_for_the_adapter_to_refuse() -> None:
    assert parse(orjson.dumps(LINE | {"payload": "{"})).value == b"{"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"payload": {"a": 1}}, "payload: must be text or null; kcat -J cannot carry it"),
        ({"payload": "\ufffd("}, "payload: holds bytes that were no text"),
        ({"key": "\ufffd"}, "key: holds bytes that were no text"),
        ({"headers": ["a", "\ufffd"]}, "header 'a': holds bytes that were no text"),
        ({"headers": ["a"]}, "names and values in turn"),
        ({"headers": {"a": "b"}}, "names and values in turn"),
        ({"value_schema_id": 7}, "'value_schema_id' in a line of kcat's: a payload decoded from a schema"),
        ({"ts": None}, "ts: required"),
        ({"ts": True}, "ts: required"),
        ({"offset": -1}, "offset: must be"),
        ({"partition": None}, "partition: must be"),
        ({"topic": ""}, "topic: required"),
    ],
)
def test_what_cannot_be_known_is_refused_with_the_remedy(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(UnreadableLog) as raised:
        parse(orjson.dumps(LINE | changed))
    assert str(raised.value).startswith("week.jsonl:12: ")
    assert problem in str(raised.value)


def test_bytes_that_are_no_text_are_refused_with_the_remedy() -> None:
    line = orjson.dumps(LINE).replace("ß".encode(), b"\xff")
    with pytest.raises(UnreadableLog, match=r"not JSON: .*; kcat -J cannot carry it; record the topic with"):
        parse(line)


def test_a_line_without_payload_is_not_read_as_a_tombstone() -> None:
    with pytest.raises(UnreadableLog, match="payload: required"):
        parse(orjson.dumps({name: value for name, value in LINE.items() if name != "payload"}))
