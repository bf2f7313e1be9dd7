"""Consumed records for tests of the processors, as aiokafka would deliver them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from referral_stream.contracts.codec import encode_event, event_headers, event_key
from referral_stream.core.events import TYPES, Event


@dataclass(frozen=True)
class Consumed:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def an_event(kind: str, time: int, customer: str = "cus-ana", /, **data: object) -> Event:
    """A fact of that type; its id follows from type and time."""
    return Event(
        id=f"{kind}-{time}",
        source="tests",
        type=kind,
        subject=customer,
        time=time,
        data=TYPES[kind].model_validate(data),
    )


def on_customer_events(event: Event, now: int, offset: int) -> Consumed:
    """The record that ingest makes of an event."""
    return Consumed("customer-events", 0, offset, now, event_key(event), encode_event(event), event_headers(event, now))
