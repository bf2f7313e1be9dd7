"""The recorded log: what a line may say, errors that name file and line, and an exact inverse."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import LAST_ARRIVAL, LATEST
from tests.contracts.building import NOW, cloud_event, record

LINE: dict[str, Any] = {"topic": "nps", "timestamp": "2026-06-16T08:00:00Z", "value": {"a": 1}}


def parse(entry: Any, number: int = 12) -> RawRecord:
    """The record of a line that is given as a value."""
    return parse_line(orjson.dumps(entry), file="week.jsonl", number=number)


def test_the_shortest_line() -> None:
    assert parse(LINE) == RawRecord(
        topic="nps", partition=0, offset=11, timestamp=NOW, key=None, value=b'{"a":1}', headers=()
    )


def test_a_line_with_everything() -> None:
    entry = LINE | {
        "key": "cus-1",
        "headers": {"historical": "true", "x": {"base64": "/w=="}, "y": None},
        "partition": 2,
        "offset": 7,
    }
    assert parse(entry) == RawRecord(
        topic="nps",
        partition=2,
        offset=7,
        timestamp=NOW,
        key=b"cus-1",
        value=b'{"a":1}',
        headers=(("historical", b"true"), ("x", b"\xff"), ("y", None)),
    )


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [
        ({"base64": "/w=="}, b"\xff"),
        ({"base64": ""}, b""),
        ({"base64": "/w==", "more": 1}, b'{"base64":"/w==","more":1}'),
        ({"base64": 7}, b'{"base64":7}'),
        ({"ü": "ß"}, '{"ü":"ß"}'.encode()),
        ([1, 2], b"[1,2]"),
        (None, None),
    ],
)
def test_a_value_is_json_or_base64(value: Any, bytes_: bytes | None) -> None:
    assert parse(LINE | {"value": value}).value == bytes_


@pytest.mark.parametrize(
    "timestamp", [NOW, "2026-06-16T10:00:00+02:00", "2026-06-16T08:00:00", "2026-06-16T08:00:00.000Z"]
)
def test_a_timestamp_is_rfc3339_or_epoch_milliseconds(timestamp: Any) -> None:
    assert parse(LINE | {"timestamp": timestamp}).timestamp == NOW


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ([], "not a JSON object"),
        ({"timestamp": NOW, "value": {}}, "topic: required"),
        (LINE | {"topic": ""}, "topic: required"),
        ({"topic": "nps", "timestamp": NOW}, "value: required"),
        ({"topic": "nps", "value": {}}, "timestamp: required"),
        (LINE | {"timestamp": "soon"}, "timestamp: not RFC 3339"),
        (LINE | {"timestamp": True}, "timestamp: required"),
        (LINE | {"timestamp": 1.5}, "timestamp: required"),
        (LINE | {"timestamp": LATEST + 1}, "out of range"),
        (LINE | {"timestamp": LAST_ARRIVAL + 1}, "out of range"),
        (LINE | {"timestamp": "9999-12-31T23:59:59Z"}, "timestamp: out of range: after 9899-"),
        (LINE | {"partition": -1}, "partition: must be"),
        (LINE | {"offset": "7"}, "offset: must be"),
        (LINE | {"key": 7}, "key: must be text"),
        (LINE | {"headers": "x"}, "headers: must be an object"),
        (LINE | {"headers": [["a"]]}, "headers: must be an object"),
        (LINE | {"headers": {"a": 1}}, "header 'a': must be text"),
        (LINE | {"value": {"base64": "%"}}, "value: not base64"),
        (LINE | {"ofset": 7}, "unknown field 'ofset'"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(entry: Any, problem: str) -> None:
    with pytest.raises(UnreadableLog) as raised:
        parse(entry)
    assert str(raised.value).startswith("week.jsonl:12: ")
    assert problem in str(raised.value)


def test_a_written_line_is_canonical_and_readable() -> None:
    event = orjson.dumps(cloud_event("onboarding.completed"))
    assert render_line(record(event, key=b"cus-1", headers=(("a", b"1"), ("b", b"2")))) == (
        b'{"headers":{"a":"1","b":"2"},"key":"cus-1","offset":14,"partition":3,'
        b'"timestamp":"2026-06-16T08:00:00.000Z","topic":"nps","value":' + event + b"}"
    )


header_pairs = st.tuples(st.sampled_from(["a", "b", "now", "Ü"]), st.none() | st.binary(max_size=6))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["base64", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def indented(value: Any) -> bytes:
    """JSON as people write it, which is not how we would."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


@settings(deadline=None)
@given(
    st.builds(
        RawRecord,
        topic=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
        partition=st.integers(0, 2**31),
        offset=st.integers(0, 2**53),
        timestamp=st.integers(-1, LAST_ARRIVAL),
        key=st.none() | st.binary(max_size=6),
        value=st.none() | st.binary(max_size=20) | json_values.map(orjson.dumps) | json_values.map(indented),
        headers=st.lists(header_pairs, max_size=4).map(tuple),
    )
)
def test_parsing_gives_back_exactly_what_was_written(written: RawRecord) -> None:
    line = render_line(written)
    assert b"\n" not in line
    assert parse_line(line, file="f", number=1) == written
    assert render_line(parse_line(line, file="f", number=1)) == line
