"""Records and boundaries to test with: everything sound unless a test says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import orjson

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted, Adapted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.events import Event
from referral_stream.core.instants import parse_instant

SAMPLES = Path(__file__).parent / "samples"
KEY = b"a key for tests"
BOUNDARY = Boundary(email_key=KEY)


Said: TypeAlias = list[tuple[str, dict[str, Any]]]


def sample(name: str) -> Any:
    """A committed webhook body."""
    return orjson.loads((SAMPLES / f"{name}.json").read_bytes())


def said(payload: Any, boundary: Boundary = BOUNDARY) -> Said:
    """(type, data) of every event the payload becomes; nothing when it is skipped as irrelevant."""
    adapted = read(payload, boundary=boundary)
    if getattr(adapted, "reason", None) == "irrelevant":
        return []
    return [(event.type, event.data.model_dump(exclude_none=True)) for event in accepted(adapted)]


def instant(text: str) -> int:
    """``"2026-06-16T08:00:00Z"`` → epoch ms."""
    return parse_instant(text)[0]


NOW = instant("2026-06-16T08:00:00Z")


def record(
    value: Any,
    *,
    topic: str = "nps",
    partition: int = 3,
    offset: int = 14,
    timestamp: int = NOW,
    headers: Headers = (),
    key: bytes | None = b"whatever the producer hashed by",
) -> RawRecord:
    """A record; a ``value`` that is not bytes or None is written as JSON."""
    raw = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return RawRecord(
        topic=topic, partition=partition, offset=offset, timestamp=timestamp, key=key, value=raw, headers=headers
    )


def cloud_event(kind: str, data: Any = None, **attributes: Any) -> dict[str, Any]:
    """A structured CloudEvent; an attribute given as None is left out."""
    whole = {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "shop",
        "type": kind,
        "subject": "cus-1",
        "time": "2026-06-16T07:59:00Z",
        "data": data,
        **attributes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def accepted(adapted: Adapted) -> tuple[Event, ...]:
    """The events, or a failure that says what came instead."""
    assert isinstance(adapted, Accepted), adapted
    return adapted.events


def only(adapted: Adapted) -> Event:
    """The one event."""
    (event,) = accepted(adapted)
    return event


def refused(adapted: Adapted) -> Refused:
    """The refusal, or a failure that says what came instead."""
    assert isinstance(adapted, Refused), adapted
    return adapted


def skipped(adapted: Adapted) -> Skipped:
    """The skip, or a failure that says what came instead."""
    assert isinstance(adapted, Skipped), adapted
    return adapted


def read(value: Any, now: int = NOW, boundary: Boundary = BOUNDARY, **about: Any) -> Adapted:
    """``adapt`` of a record with that value, arrived ``now``."""
    return adapt(record(value, **about), now, boundary)
