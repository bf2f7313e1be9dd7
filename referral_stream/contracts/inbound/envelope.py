"""CloudEvents as producers send them, structured or binary → canonical events."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from referral_stream.contracts.inbound.attributes import (
    MAX_ID,
    Attributes,
    canonical_event,
    event_time,
    position_id,
    trace_of,
)
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.validation import is_too_deep, json_problem
from referral_stream.contracts.versions import LINEAGES, current_body
from referral_stream.core.events import Event


def binary_attributes(record: RawRecord) -> dict[str, Any]:
    """The ``ce_`` headers as attributes; empty unless the record is a CloudEvent in binary mode."""
    attributes = {
        name[3:].lower(): value.decode("utf-8", "replace")
        for name, value in record.headers
        if name[:3].lower() == "ce_"
    }
    return attributes if "specversion" in attributes or "type" in attributes else {}


def cloud_event(
    kind: str,
    attributes: dict[str, Any],
    body: bytes | None,
    record: RawRecord,
    now: int,
    *,
    topic: str,
    historical: bool,
) -> Event | Refused:
    """The canonical event of a CloudEvent of a known type; ``topic`` is the source of one that names none.

    ``body`` is the record's value in binary mode, else the data is among the attributes.
    """
    version = attributes.get("specversion")
    if type(version) is not str or not version.startswith("1."):
        return Refused("invalid", "specversion: must be 1.0")
    data = parsed(body) if body else structured_data(attributes)
    if type(data) is Refused:
        return data
    get = attributes.get
    for name in ("id", "source", "accountid"):
        text = get(name)
        if text is not None and (type(text) is not str or not 0 < len(text) <= MAX_ID):
            return Refused("invalid", f"{name}: must be text of 1 to {MAX_ID} characters")
    time = get("time")
    if time is not None and type(time) is not str:
        return Refused("invalid", "time: must be RFC 3339")  # a bare number could mean seconds or milliseconds
    if data is None:
        data = {}
    named = get("dataschema")
    if named is not None or kind in LINEAGES:
        data = current_body(kind, named, data)
        if type(data) is Refused:
            return data
    given = Attributes(
        kind=kind,
        data=data,
        when=event_time(time, record, now),
        id=get("id") or position_id(record),
        source=get("source") or topic,
        subject=get("subject"),
        account=get("accountid"),
        timezone=get("timezone"),
        traceparent=trace_of(get("traceparent"), record),
        historical=historical,
    )
    return canonical_event(given)


def structured_data(attributes: dict[str, Any]) -> Any:
    """The data of a structured event, parsed; Refused where it cannot be."""
    encoded = attributes.get("data_base64")
    if encoded is None:
        return attributes.get("data")
    if type(encoded) is not str:
        return Refused("invalid", "data_base64: must be text")
    try:
        return parsed(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return Refused("undecodable", "data_base64: not base64")


def parsed(value: bytes) -> Any:
    """JSON → Python; Refused if it is not JSON."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refused("too_deep" if is_too_deep(error) else "undecodable", json_problem(error))
