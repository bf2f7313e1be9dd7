"""The largest state that there can be: every table at its bound, with names as long as they are kept."""

from __future__ import annotations

import types
import typing
from itertools import count
from random import Random
from typing import Any, Literal, get_args, get_origin

from referral_stream.core.bounds import BOUNDS
from referral_stream.core.customer import LONGEST_NAME, LONGEST_SUBJECT, Customer
from referral_stream.core.opportunity import Denial, Opportunity
from referral_stream.core.rules.gates import GATES
from referral_stream.core.stamps import LONGEST_ID, LONGEST_SOURCE, Stamp

LONGEST_CUSTOMER = 256
"""Bytes of an id, as ingest takes it."""

NAMES = {
    "advocacy": 10,
    "emails": 64, "answers": 5, "reachable": 6, "consent": 6, "stops": 26, "overfull": 13, "forgotten": 25,
    "merging": LONGEST_CUSTOMER, "held": LONGEST_CUSTOMER, "ids": LONGEST_CUSTOMER, "holds": LONGEST_CUSTOMER,
}  # fmt: skip
"""Bytes of the names in a table that is not of objects."""

FEWER = {"referrals": 6, "followups": 20, "months": 24}
"""Of what a person's own referrals lead to there may be more than fits, if every name is as long as can be: then the
customer is on hold (``state_too_large``). So much of it fits beside everything else at its bound."""

LATEST = 4_000_000_000_000
"""An instant (epoch ms), as long in bytes as they get."""

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:~"
_random = Random(12)
_number = count(1)


def text(size: int) -> str:
    """Never the same twice, and nothing that a compression could make smaller."""
    return "".join(_random.choices(_LETTERS, k=size))


def filled(kind: Any, size: int = LONGEST_NAME) -> Any:
    """A value of a type that takes as many bytes as any."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return max(parts, key=len)
    if origin in (typing.Union, types.UnionType):
        return filled(next(part for part in parts if part is not type(None)), size)
    if origin is typing.Annotated:
        return filled(parts[0], size)
    if kind is Stamp:
        return Stamp(LATEST + next(_number), protective=True, source=text(LONGEST_SOURCE), id=text(LONGEST_ID))
    if kind is str:
        return text(size)
    if kind is Opportunity:
        return an_opportunity()
    if kind is bool:
        return True
    if kind is int:
        return 2**63 + _random.getrandbits(62)
    if kind is float:
        return _random.random()
    if origin is dict:  # gates
        return {text(12): filled(parts[1], size) for _ in range(len(GATES))}
    if origin is tuple:
        if parts[-1] is Ellipsis:  # rivals of one instant, and the channels of a command
            return tuple(filled(parts[0], size) for _ in range(BOUNDS["live"].most))
        return tuple(filled(part, size) for part in parts)
    hints = typing.get_type_hints(kind)
    return kind(**{name: filled(hints[name], size) for name in kind.__struct_fields__})


def an_opportunity() -> Opportunity:
    long, instant = text(LONGEST_SUBJECT), LATEST
    return Opportunity(
        id=text(36), trigger=text(64), subject=long, t0=instant, deadline=instant, settled=instant, opened_at=instant,
        ready=instant, survey=True, response=text(LONGEST_SUBJECT), theme=text(24),
        variables={"kind": "testimonial", "peer_ref": text(LONGEST_CUSTOMER)},
        flags=("field_dropped", "time_clamped", "time_unreadable", "time_naive", "timezone_invalid", "browser"),
        traceparent=text(55), denial=Denial("overasking", text(200), instant, text(32)), tries=1_000, written=100_000,
        last=2**63, reason_asked_at=instant, owner=text(LONGEST_CUSTOMER),
    )  # fmt: skip


def fullest() -> Customer:
    """With every table at its bound."""
    hints = typing.get_type_hints(Customer)
    made: dict[str, Any] = {}
    for name in Customer.__struct_fields__:
        kind = hints[name]
        origin, parts = get_origin(kind), get_args(kind)
        most = min(BOUNDS[name].most, FEWER.get(name, 1 << 60)) if name in BOUNDS else 0
        size = NAMES.get(name, LONGEST_NAME)
        if origin is dict:
            made[name] = {filled(parts[0], size): filled(parts[1]) for _ in range(most)}
        elif origin is tuple:
            made[name] = tuple(filled(parts[0], size) for _ in range(most))
        else:
            made[name] = filled(kind, LONGEST_CUSTOMER)
    return Customer(**made)
