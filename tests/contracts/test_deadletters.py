"""Dead letters keep the record as it came and say where it came from and why it is here."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.contracts.deadletters import (
    PAYLOAD_OMITTED_HEADER,
    DeadLetter,
    Failure,
    Replayed,
    attempt_of,
    dead_letter,
    failure,
    original,
    replayed,
    replayed_headers,
)
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import RawRecord
from referral_stream.core.ids import derived_id
from tests.contracts.building import NOW, record

SPOILT = record(
    b"\xff not json",
    topic="acme-nps",
    key=None,
    timestamp=NOW - 5,
    headers=(("referral-source", b"stripe"), ("x", b"1"), ("x", b"\xfe")),
)


def stored(letter: DeadLetter, offset: int = 0) -> RawRecord:
    """The letter as it lies on its topic."""
    return RawRecord(
        topic="dead-letters",
        partition=0,
        offset=offset,
        timestamp=NOW + 9,
        key=letter.key,
        value=letter.value,
        headers=letter.headers,
    )


def test_a_dead_letter_keeps_the_record_and_adds_its_headers() -> None:
    letter = dead_letter(SPOILT, error="undecodable: at character 0", stage="ingest", occurred_at=NOW)
    assert (letter.key, letter.value) == (None, b"\xff not json")
    assert letter.headers[:3] == SPOILT.headers
    assert dict(letter.headers[3:]) == {
        "error": b"undecodable: at character 0",
        "stage": b"ingest",
        "source-topic": b"acme-nps",
        "source-partition": b"3",
        "source-offset": b"14",
        "source-timestamp": b"1781596799995",
        "occurred-at": b"2026-06-16T08:00:00.000Z",
        "attempt": b"1",
        "dead-letter-id": derived_id("dead-letter", "acme-nps", 3, 14, "ingest").encode(),
    }


def test_the_original_record_comes_back_exactly() -> None:
    assert original(stored(dead_letter(SPOILT, error="e", stage="ingest", occurred_at=NOW))) == SPOILT


def test_a_second_failure_replaces_the_headers_of_the_first() -> None:
    first = dead_letter(SPOILT, error="first", stage="ingest", occurred_at=NOW)
    again = dead_letter(stored(first, offset=8), error="second", stage="decide", occurred_at=NOW + 1, attempt=2)
    assert [value for name, value in again.headers if name == "error"] == [b"second"]
    assert [value for name, value in again.headers if name == "source-topic"] == [b"dead-letters"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ("error", "Error", "stage", "attempt", "dead-letter-id", "payload-omitted", "original-error",
                 "original-original-Stage", "original-", "original-x", "x"),
            ),
            st.none() | st.binary(max_size=4),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_a_producers_headers_come_back_whatever_their_names(headers: list[tuple[str, bytes | None]]) -> None:
    spoilt = msgspec.structs.replace(SPOILT, headers=tuple(headers))
    letter = stored(dead_letter(spoilt, error="invalid: x", stage="ingest", occurred_at=NOW, attempt=2))
    assert original(letter) == spoilt
    told = failure(letter)
    assert (told.error, told.stage, told.attempt) == ("invalid: x", "ingest", 2)


def test_a_producers_header_of_a_name_of_ours_is_kept_beside_ours() -> None:
    spoilt = msgspec.structs.replace(SPOILT, headers=(("error", b"E42"), ("payload-omitted", b"no")))
    letter = dead_letter(spoilt, error="invalid: x", stage="ingest", occurred_at=NOW)
    assert letter.headers[:2] == (("original-error", b"E42"), ("original-payload-omitted", b"no"))
    assert [value for name, value in letter.headers if name == "error"] == [b"invalid: x"]
    assert stored(letter).header(PAYLOAD_OMITTED_HEADER) is None


def test_the_attempt_that_a_replay_wrote_on_our_record_is_told_once() -> None:
    ours = msgspec.structs.replace(SPOILT, headers=(("now", b"1"), ("attempt", b"2")))
    letter = stored(dead_letter(ours, error="e", stage="decide", occurred_at=NOW, attempt=attempt_of(ours)))
    assert original(letter).headers == (("now", b"1"),)
    assert failure(letter).attempt == 2


def test_the_id_is_that_of_position_and_stage() -> None:
    def id_of(spoilt: RawRecord, stage: str) -> str:
        letter = dead_letter(spoilt, error="e", stage=stage, occurred_at=NOW)  # type: ignore[arg-type]  # any stage
        return failure(stored(letter)).id

    elsewhere = msgspec.structs.replace(SPOILT, offset=15)
    assert id_of(SPOILT, "ingest") == id_of(SPOILT, "ingest")
    assert len({id_of(SPOILT, "ingest"), id_of(SPOILT, "decide"), id_of(elsewhere, "ingest")}) == 3


def test_a_letter_tells_its_failure() -> None:
    letter = dead_letter(SPOILT, error="größe: " + "x" * 5_000, stage="decide", occurred_at=NOW, attempt=3)
    told = failure(stored(letter))
    assert told == Failure(id=told.id, error=told.error, stage="decide", occurred_at=NOW, attempt=3)
    assert told.error.startswith("größe: x")
    assert len(told.error) == 2_000


@pytest.mark.parametrize(
    ("name", "value"),
    [("source-topic", None), ("source-offset", b"x"), ("source-partition", b""), ("source-timestamp", None)],
)
def test_a_letter_without_its_position_cannot_be_tried_again(name: str, value: bytes | None) -> None:
    letter = stored(dead_letter(SPOILT, error="e", stage="ingest", occurred_at=NOW))
    kept = tuple((header, found) for header, found in letter.headers if header != name)
    broken = msgspec.structs.replace(letter, headers=kept if value is None else (*kept, (name, value)))
    with pytest.raises(Undecodable, match=f"header {name}"):
        original(broken)


def test_a_letter_with_a_broken_time_does_not_tell_its_failure() -> None:
    letter = stored(dead_letter(SPOILT, error="e", stage="ingest", occurred_at=NOW))
    broken = msgspec.structs.replace(letter, headers=(*letter.headers, ("occurred-at", b"soon")))
    with pytest.raises(Undecodable, match="header occurred-at"):
        failure(broken)


def test_the_mark_of_a_replay_tells_the_letter_and_the_attempt() -> None:
    mark = Replayed(id="l1", attempt=3)
    assert replayed(record(None, topic="dead-letters", headers=replayed_headers(mark))) == mark


def test_a_letter_is_no_mark_even_if_its_record_had_the_header_of_one() -> None:
    spoilt = msgspec.structs.replace(SPOILT, value=None, headers=(("replayed", b"l1"),))
    assert replayed(stored(dead_letter(spoilt, error="invalid: x", stage="ingest", occurred_at=NOW))) is None


@pytest.mark.parametrize(
    ("header", "attempt"),
    [(None, 1), (b"2", 2), (b"17", 17), (b"0", 1), (b"-3", 1), (b"two", 1), (b"", 1), (b"9" * 5_000, 1)],
)
def test_which_attempt_a_record_is(header: bytes | None, attempt: int) -> None:
    headers = () if header is None else (("attempt", header),)
    assert attempt_of(record(b"", headers=headers)) == attempt
