"""A payload tried against mappings: who recognises it, which rules read it, and what it becomes or why not."""

from __future__ import annotations

from dataclasses import dataclass

from referral_stream.contracts.inbound.adapt import Boundary, adapt, recognised
from referral_stream.contracts.json_reading import read_json
from referral_stream.contracts.mapping.language import MappingRule, Path
from referral_stream.contracts.outcomes import Adapted
from referral_stream.contracts.records import Headers, RawRecord


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule and one notification; ``unmet``: the paths whose condition does not hold."""

    rule: MappingRule
    unmet: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class MappingTrial:
    """``adapter``: what reads the payload; None: nothing. ``tried``: the rules of that adapter, per notification."""

    adapter: str | None
    tried: tuple[tuple[Tried, ...], ...]
    adapted: Adapted


def try_mappings(
    value: bytes, boundary: Boundary, now: int, *, topic: str = "product-usage", headers: Headers = ()
) -> MappingTrial:
    """The payload as a record of ``topic``, arrived ``now`` (epoch ms). Raises ValueError unless it is JSON."""
    payload = read_json(value)
    record = RawRecord(topic=topic, partition=0, offset=0, timestamp=now, key=None, value=value, headers=headers)
    adapter, parts = recognised(payload, record, boundary)
    rules = boundary.mappings.by_adapter.get(adapter, ()) if adapter else ()
    tried = tuple(tuple(Tried(rule, tuple(rule.unmet(part, topic))) for rule in rules) for part in parts)
    return MappingTrial(adapter, tried, adapt(record, now, boundary))
