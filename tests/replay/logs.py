"""Recorded logs written from events: facts as producers send them, and ``customer-events`` as the workers keep it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import orjson

from referral_stream.contracts.codec import encode_event, event_headers, event_key
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.events import is_operators
from referral_stream.replay.virtual_run import Arrival
from tests.builders import POLICY, Told, _arrivals
from tests.properties.recording import Recording

Row: TypeAlias = dict[str, Any]

BOUNDARY = Boundary(email_key=b"tests")
PARTITIONS = 3


def arrivals(*told: Told) -> list[Arrival]:
    """Each event at its own time unless it says otherwise, in the order of arrival."""
    return sorted(_arrivals(told), key=lambda arrival: arrival.now)


def fact_lines(*told: Told) -> list[bytes]:
    """A log of one source topic."""
    lines = []
    for now, event, _ in arrivals(*told):
        topic = "responses" if is_operators(event.type) else "product-usage"
        line: Row = {"topic": topic, "timestamp": now, "value": orjson.loads(encode_event(event))}
        if event.historical:
            line["headers"] = {"historical": "true"}
        lines.append(orjson.dumps(line))
    return lines


def recorded_records(log: Iterable[Arrival]) -> list[RawRecord]:
    """The records of ``customer-events`` that hold these events."""
    offsets: Counter[int] = Counter()
    records = []
    for now, event, lies in log:
        key = event_key(event) if lies is None else lies.key
        partition = _partition(key or b"")
        records.append(
            RawRecord(
                topic="customer-events",
                partition=partition,
                offset=offsets[partition],
                timestamp=now,
                key=key,
                value=encode_event(event),
                headers=event_headers(event, now),
            )
        )
        offsets[partition] += 1
    return records


def recorded_lines(*told: Told, one_after_the_other: bool = False) -> list[bytes]:
    """The log of ``customer-events`` of a run over these facts; perhaps with its partitions one after the other."""
    records = recorded_records(Recording(POLICY).run(arrivals(*told)).log)
    if one_after_the_other:
        records.sort(key=lambda record: record.partition)
    return [render_line(record) for record in records]


def write(file: Path, lines: Iterable[bytes]) -> Path:
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def rows(folder: Path, name: str) -> list[Row]:
    """What a replay wrote into one of its files."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def _partition(key: bytes) -> int:
    return crc32(key) % PARTITIONS
