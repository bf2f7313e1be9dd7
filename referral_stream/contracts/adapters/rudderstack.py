"""RudderStack: the calls of Segment's spec, with a place of its own for what an ``identify`` says of a person.

A call shows by nothing for sure whose it is, so one that comes without header or configured topic is Segment's; what it
means is the same except for that place (``context.traits``).
"""

from __future__ import annotations

from dataclasses import replace

from referral_stream.contracts.adapters import segment
from referral_stream.contracts.adapters.reading import Payload, Reading, object_at
from referral_stream.contracts.outcomes import Skipped, Webhook


def recognises(payload: Payload) -> bool:
    """A call about a person; also ``merge``, which Segment does not have."""
    return segment.is_call(payload | {"type": "track"} if payload.get("type") == "merge" else payload)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One call. What ``merge`` joins in a warehouse are not people here: it says nothing."""
    if payload.get("type") == "identify":
        traits = object_at(payload, "context.traits") | object_at(payload, "traits")
        payload = payload | {"traits": traits}
    return segment.read(payload, reading)


ADAPTER = replace(segment.ADAPTER, name="rudderstack", recognises=recognises, read=read)
