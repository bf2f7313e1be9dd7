"""Facts as records of a recorded log: CloudEvents on the topics that producers write to."""

from __future__ import annotations

from typing import Any, TypeAlias

from referral_stream.contracts.catalogue import MESSAGES
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import rfc3339
from tests.worlds.customers import Body, Fact

Record: TypeAlias = dict[str, Any]
"""One line of a recorded log: ``topic``, ``timestamp``, ``value``; where there is one, ``key`` and ``headers``."""


def cloud_event(
    kind: str, customer: str | None, time: int, body: Body, *, id: str = "", source: str = "test"
) -> Record:
    """Without an ``id``, what is the same has the same one. Without a customer it is an operator's."""
    return {
        "specversion": "1.0",
        "id": id or derived_id(kind, customer, time, body),
        "source": source,
        "type": kind,
        **({} if customer is None else {"subject": customer}),
        "time": rfc3339(time),
        "data": body,
    }


def recorded(
    kind: str,
    customer: str | None,
    time: int,
    body: Body | None = None,
    *,
    arrived: int | None = None,
    historical: bool = False,
    id: str = "",
    source: str = "test",
) -> Record:
    """The record of an event that happened at ``time``, and arrived then unless it says otherwise."""
    value = cloud_event(kind, customer, time, body or {}, id=id, source=source)
    record: Record = {"topic": MESSAGES[kind].topic, "timestamp": rfc3339(time if arrived is None else arrived)}
    if customer is not None:
        record["key"] = customer
    if historical:
        record["headers"] = {"historical": "true"}
    return record | {"value": value}


def past(facts: list[Fact], customer: str, now: int) -> list[Record]:
    """These facts of a customer, each arrived when it happened."""
    return [recorded(fact.type, customer, now - fact.age, fact.body) for fact in facts]
