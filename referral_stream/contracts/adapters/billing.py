"""What the vendors that bill subscriptions have in common: rows of a table, from the vendor's event to facts.

A row says which fact an event is and where the id of its object stands. What is owed, and what was paid again, is read
from the state that comes along wherever a vendor sends one: events may be lost, or overtake each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from referral_stream.contracts.adapters.reading import Facts, Payload, at, epoch_millis, id_at, whole_number
from referral_stream.contracts.outcomes import Fact

BillingRow: TypeAlias = Callable[[Payload], Facts]
"""What an event becomes."""


def moment(value: Any) -> int | None:
    """A count since 1970, also one sent as text, as an instant; None for anything else."""
    return epoch_millis(whole_number(value) if isinstance(value, str) else value)


def path(where: str) -> Callable[[Payload], Any]:
    """The value at a dotted path of the payload."""
    return lambda payload: at(payload, where)


def row(kind: str, field: str, *paths: str, **more: Any) -> BillingRow:
    """One fact of type ``kind``, whose object's id (``field``) stands at the first of the paths that holds one."""
    return lambda payload: (Fact(kind, {field: id_at(payload, *paths), **more}),)


def rows(*each: BillingRow) -> BillingRow:
    """What several rows say of one event, in their order."""
    return lambda payload: tuple(fact for one in each for fact in one(payload))


def plain(kind: str, **data: Any) -> BillingRow:
    """One fact of type ``kind`` that is about no object."""
    return lambda _: (Fact(kind, data),)


def nothing(_: Payload) -> Facts:
    """What is listed, and says nothing: its words are not read."""
    return ()


def where(holds: Callable[[Payload], bool], then: BillingRow, other: BillingRow = nothing) -> BillingRow:
    """One row where the payload is such, else the other one."""
    return lambda payload: then(payload) if holds(payload) else other(payload)


def by_state(
    state: Callable[[Payload], Any], states: Mapping[str, BillingRow], other: BillingRow = nothing
) -> BillingRow:
    """The row of the state that the payload says (in any case); ``other`` if the table does not list it."""

    def read(payload: Payload) -> Facts:
        said = state(payload)
        return (states.get(said.casefold(), other) if isinstance(said, str) else other)(payload)

    return read
