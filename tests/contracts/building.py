"""Records and boundaries to test with: everything sound unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import orjson

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted, Adapted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.events import Event
from referral_stream.core.instants import parse_instant

KEY = b"a key for tests"
BOUNDARY = Boundary(email_key=KEY)


Said: TypeAlias = list[tuple[str, dict[str, Any]]]

_SAMPLES = Path(__file__).parent / "samples"


class Sample(NamedTuple):
    """A webhook as a vendor sends it, and what it becomes: ``samples/README.md`` describes the files.

    ``expected`` is the list of its events or the reason for which it is skipped; ``is_whole`` is false where the file
    gives only the difference from another sample.
    """

    vendor: str
    name: str
    payload: Any
    boundary: Boundary
    headers: Headers
    expected: list[dict[str, Any]] | str
    is_whole: bool

    def adapted(self) -> Adapted:
        """What the boundary makes of it."""
        return read(self.payload, boundary=self.boundary, headers=self.headers)


def sample(name: str) -> Any:
    """The payload of a sample, by ``vendor.name``."""
    vendor, _, own = name.partition(".")
    return _payload(_file(vendor), own)


def samples(vendor: str) -> Iterator[Sample]:
    """Every sample of a vendor."""
    file = _file(vendor)
    for name, entry in file.items():
        yield Sample(
            vendor=vendor,
            name=name,
            payload=_payload(file, name),
            boundary=Boundary(
                email_key=KEY,
                questions={vendor: entry.get("questions", {})},
                customer_paths={vendor: tuple(entry.get("customer_paths", BY_NAME[vendor].customer_paths))},
            ),
            headers=tuple((header, value.encode()) for header, value in entry.get("headers", {}).items()),
            expected=entry["events"] if "events" in entry else entry["skipped"],
            is_whole="like" not in entry,
        )


def bodies(vendor: str) -> list[Any]:
    """The payloads of a vendor that differ in shape, for those who damage or time them."""
    return [each.payload for each in samples(vendor) if each.is_whole]


def _file(vendor: str) -> dict[str, dict[str, Any]]:
    """A file of samples, parsed anew: tests change what they are given."""
    entries: dict[str, dict[str, Any]] = orjson.loads(_content(vendor))
    return entries


@cache
def _content(vendor: str) -> bytes:
    return (_SAMPLES / f"{vendor}.json").read_bytes()


def _payload(file: dict[str, dict[str, Any]], name: str) -> Any:
    entry = file[name]
    return _merged(file[entry["like"]]["payload"], entry["payload"]) if "like" in entry else entry["payload"]


def _merged(base: Any, change: Any) -> Any:
    """``base`` with what ``change`` says: objects name by name, everything else as a whole."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return base | {name: _merged(base.get(name), value) for name, value in change.items()}


def said(payload: Any, boundary: Boundary = BOUNDARY) -> Said:
    """(type, data) of every event the payload becomes but the links it teaches; nothing when it is irrelevant."""
    return [(event.type, event.data.model_dump(exclude_none=True)) for event in facts(payload, boundary)]


def facts(payload: Any, boundary: Boundary = BOUNDARY) -> tuple[Event, ...]:
    """Every event the payload becomes but the links it teaches; none when it is skipped as irrelevant."""
    adapted = read(payload, boundary=boundary)
    if getattr(adapted, "reason", None) == "irrelevant":
        return ()
    return tuple(event for event in accepted(adapted) if event.type != "customer.linked")


def taught(payload: Any, boundary: Boundary = BOUNDARY) -> list[tuple[str, str]]:
    """(kind, value) of every link the payload teaches."""
    adapted = read(payload, boundary=boundary)
    events = adapted.events if isinstance(adapted, Accepted) else ()
    return [(event.data.kind, event.data.value) for event in events if event.type == "customer.linked"]


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
