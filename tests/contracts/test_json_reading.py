"""One reader of JSON: whatever it takes can be written again, wherever it goes."""

from __future__ import annotations

import json

import orjson
import pytest

from referral_stream.cli.render.deadletters import _ascii
from referral_stream.contracts.codec import decode_effect, decode_event
from referral_stream.contracts.errors import Undecodable, UnreadableLog
from referral_stream.contracts.json_reading import DEEPEST, NotJson, parse_json, read_json
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.outcomes import Accepted, Refused
from tests.contracts.building import NOW, only, read, record
from tests.rules import rule


def nested(levels: int) -> bytes:
    return b'{"a":[' * (levels // 2) + b"[" * (levels % 2) + b"]" * (levels % 2) + b"]}" * (levels // 2)


@pytest.mark.parametrize("levels", [0, 1, DEEPEST - 1, DEEPEST])
def test_what_is_read_can_be_written_again(levels: int) -> None:
    text = nested(levels) or b"1"
    assert orjson.dumps(read_json(text)) == text


@pytest.mark.parametrize("levels", [DEEPEST + 1, 500, 1_024, 1_025, 100_000])
def test_what_could_not_be_written_again_is_not_read(levels: int) -> None:
    with pytest.raises(NotJson) as raised:
        read_json(nested(levels))
    assert raised.value.cause == "too_deep"


def test_brackets_in_texts_are_no_depth() -> None:
    many = orjson.dumps([{"a": "[{" * 400}] * 300)
    assert orjson.dumps(read_json(many)) == many


def test_what_is_wrong_is_said_without_quoting_it() -> None:
    with pytest.raises(NotJson) as raised:
        read_json(b'{"mail": "ana@example.com"')
    assert raised.value.cause == "undecodable"
    assert "ana" not in str(raised.value)
    assert parse_json(nested(1_000)) is not None


@rule("I6.5")
@pytest.mark.parametrize("levels", [DEEPEST, DEEPEST + 1, 1_000, 1_025])
def test_a_record_of_any_depth_can_be_recorded_listed_and_read_back(levels: int) -> None:
    for value in (nested(levels), b'{"specversion":"1.0","type":"nps.responded","data":' + nested(levels) + b"}"):
        raw = record(value)
        assert parse_line(render_line(raw), file="f", number=1) == raw
        assert json.loads(_ascii(raw))["topic"] == raw.topic
        assert isinstance(read(value), Refused)


@rule("I6.5")
@pytest.mark.parametrize("levels", [300, 1_000, 5_000])
def test_a_line_of_a_log_that_is_too_deep_is_named(levels: int) -> None:
    line = b'{"topic":"nps","timestamp":"2026-06-16T08:00:00Z","value":' + nested(levels) + b"}"
    with pytest.raises(UnreadableLog, match="f:7: "):
        parse_line(line, file="f", number=7)


@rule("I6.5")
@pytest.mark.parametrize("levels", [300, 1_000, 5_000])
def test_on_our_own_topics_too(levels: int) -> None:
    value = b'{"id":"1","type":"nps.responded","data":{"score":' + nested(levels) + b"}}"
    for decode in (decode_event, decode_effect):
        with pytest.raises(Undecodable):
            decode(value)


@rule("I1.3")
@pytest.mark.parametrize("levels", [300, 1_000, 5_000])
def test_what_protects_is_heard_from_a_body_that_is_too_deep(levels: int) -> None:
    value = b'{"specversion":"1.0","type":"customer.suppressed","subject":"cus-1","note":' + nested(levels) + b"}"
    assert isinstance(read(value), Accepted)
    assert (only(read(value)).type, only(read(value)).time) == ("customer.suppressed", NOW)


@rule("I6.5")
def test_a_name_that_conditions_may_look_at_is_bounded() -> None:
    def used(feature: str) -> bytes:
        return orjson.dumps({
            "specversion": "1.0", "id": "e", "source": "s", "type": "usage.recorded", "subject": "cus-1",
            "time": "2026-06-16T08:00:00Z", "data": {"feature": feature},
        })  # fmt: skip

    assert only(read(used("x" * 1_000))).data.feature == "x" * 1_000
    cut = only(read(used("x" * 1_001)))
    assert (cut.data.feature, cut.flags) == (None, ("field_dropped",))
