"""Dead letters: a record that could not be used, untouched, with what is needed to find out why and to try again."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.asks import derived_id
from referral_stream.core.instants import parse_instant, rfc3339

Stage: TypeAlias = Literal["ingest", "decide", "ledger", "projector"]

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
_MAX_ERROR = 2_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record for ``dead-letters``: key and value as they came, the original headers followed by ours."""

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
    ours = (
        error[:_MAX_ERROR],
        stage,
        record.topic,
        str(record.partition),
        str(record.offset),
        str(record.timestamp),
        rfc3339(occurred_at),
        str(attempt),
        derived_id("dead-letter", record.topic, record.partition, record.offset, stage),
    )
    # Headers of ours on the record itself are those of an earlier letter: what counts now is this failure.
    kept = tuple((name, value) for name, value in record.headers if name not in _OURS)
    added = tuple((name, value.encode("utf-8", "replace")) for name, value in zip(_OURS, ours, strict=True))
    return DeadLetter(key=record.key, value=record.value, headers=kept + added)


def original(letter: RawRecord) -> RawRecord:
    """A record of ``dead-letters`` → the record it was made of, ready for another try. Raises Undecodable."""
    return RawRecord(
        topic=_text(letter, "source-topic"),
        partition=_number(letter, "source-partition"),
        offset=_number(letter, "source-offset"),
        timestamp=_number(letter, "source-timestamp"),
        key=letter.key,
        value=letter.value,
        headers=tuple((name, value) for name, value in letter.headers if name not in _OURS),
    )


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
    try:
        return int(_text(letter, name))
    except ValueError:
        raise Undecodable("invalid", f"header {name}: must be a whole number") from None
