"""Dead letters: a record that could not be used, untouched, with what is needed to find out why and to try again."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import EARLIEST, LATEST, parse_instant, rfc3339

Stage: TypeAlias = Literal["ingest", "decide", "ledger"]

ATTEMPT_HEADER = "attempt"
"""On a record that a replay has appended: which attempt it is, from 2 on."""
REPLAYED_HEADER = "replayed"
"""On a record without a value on ``dead-letters``: the id of the letter that was replayed; ``attempt`` says which."""
PAYLOAD_OMITTED_HEADER = "payload-omitted"
"""On a letter whose payload no broker would accept: its size in bytes."""
MAX_LETTER_BYTES = 1_500_000
"""What a producer could write under the broker's default limit fits, untouched and with our headers."""

_OURS = (
    "error",
    "stage",
    "source-topic",
    "source-partition",
    "source-offset",
    "source-timestamp",
    "occurred-at",
    "attempt",
    "dead-letter-id",
)
_RESERVED = frozenset({*_OURS, PAYLOAD_OMITTED_HEADER})
_KEPT = "original-"
"""Precedes the name of a record's own header that clashes with one of the letter's."""
_MAX_ERROR = 2_000
_ATTEMPT_DIGITS = 9
_NUMBER_DIGITS = 20
_LARGEST = 2**64
"""Kafka's numbers are below, and the clock of a test may round them."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record for ``dead-letters``: key and value as they came, the original headers followed by ours.

    An original header with the name of one of the letter's own is kept as ``original-NAME``.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a dead letter say: why, in which stage, when (epoch ms), at which attempt."""

    id: str
    error: str
    stage: str
    occurred_at: int
    attempt: int


def dead_letter(record: RawRecord, *, error: str, stage: Stage, occurred_at: int, attempt: int = 1) -> DeadLetter:
    """The dead letter of a record. ``error`` is ``cause: detail`` and quotes no payload.

    The id follows from position and stage: a redelivered record may be written twice, and is the same letter.
    """
    element = () if stage != "ingest" or record.element_number is None else (record.element_number,)
    ours = (
        error[:_MAX_ERROR],
        stage,
        record.topic,
        str(record.partition),
        str(record.offset),
        str(record.timestamp),
        rfc3339(min(max(occurred_at, EARLIEST), LATEST)),  # a foreign record's own time may be any number
        str(attempt),
        derived_id("dead-letter", record.topic, record.partition, record.offset, stage, *element),
    )
    # On our own records the attempt comes from a replay: the letter has its own header for it.
    own = {ATTEMPT_HEADER} if stage != "ingest" else frozenset[str]()
    kept = tuple((_kept_name(name), value) for name, value in record.headers if name not in own)
    added = tuple((name, value.encode("utf-8", "replace")) for name, value in zip(_OURS, ours, strict=True))
    return DeadLetter(key=record.key, value=record.value, headers=kept + added)


def attempt_of(record: RawRecord) -> int:
    """Which attempt one of our records is: 1, unless a replay has appended it."""
    text = record.header(ATTEMPT_HEADER) or ""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < _ATTEMPT_DIGITS else 1


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A record of ``dead-letters`` that is not a letter: up to ``attempt``, the letter ``id`` has been replayed."""

    id: str
    attempt: int


def replayed_headers(replayed: Replayed) -> Headers:
    """The headers of the record, without a value, that says so."""
    return ((REPLAYED_HEADER, replayed.id.encode()), (ATTEMPT_HEADER, b"%d" % replayed.attempt))


def replayed(record: RawRecord) -> Replayed | None:
    """What a record of ``dead-letters`` says of a letter's replay; None for a letter.

    A letter keeps the headers of its record, whatever their names: its own headers distinguish it.
    """
    told = record.header(REPLAYED_HEADER)
    if told is None or record.value is not None or record.header("dead-letter-id") is not None:
        return None
    return Replayed(id=told, attempt=attempt_of(record))


def original(letter: RawRecord) -> RawRecord:
    """A record of ``dead-letters`` → the record it was made from, ready for another try. Raises Undecodable."""
    return RawRecord(
        topic=_text(letter, "source-topic"),
        partition=_number(letter, "source-partition"),
        offset=_number(letter, "source-offset"),
        timestamp=_number(letter, "source-timestamp"),
        key=letter.key,
        value=letter.value,
        headers=tuple((_own_name(name), value) for name, value in letter.headers if name.lower() not in _RESERVED),
    )


def _kept_name(name: str) -> str:
    """The name of a record's own header on its letter; a name that has the prefix already gets another."""
    return f"{_KEPT}{name}" if _meant(name) in _RESERVED else name


def _own_name(name: str) -> str:
    """The name of a letter's header on its record again."""
    return name[len(_KEPT) :] if name.lower().startswith(_KEPT) and _meant(name) in _RESERVED else name


def _meant(name: str) -> str:
    meant = name.lower()
    while meant.startswith(_KEPT):
        meant = meant[len(_KEPT) :]
    return meant


def failure(letter: RawRecord) -> Failure:
    """What a record of ``dead-letters`` says about itself. Raises Undecodable."""
    try:
        occurred_at = parse_instant(_text(letter, "occurred-at"))[0]
    except ValueError:
        raise Undecodable("invalid", "header occurred-at: must be RFC 3339") from None
    return Failure(
        id=_text(letter, "dead-letter-id"),
        error=_text(letter, "error"),
        stage=_text(letter, "stage"),
        occurred_at=occurred_at,
        attempt=_number(letter, "attempt"),
    )


def _text(letter: RawRecord, name: str) -> str:
    value = letter.header(name)
    if value is None:
        raise Undecodable("invalid", f"header {name}: required")
    return value


def _number(letter: RawRecord, name: str) -> int:
    text = _text(letter, name)
    try:
        number = int(text) if len(text) <= _NUMBER_DIGITS else None
    except ValueError:
        number = None
    if number is None or not -_LARGEST <= number < _LARGEST:
        raise Undecodable("invalid", f"header {name}: must be a whole number")
    return number
