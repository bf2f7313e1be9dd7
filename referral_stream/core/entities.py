"""The entities of ``customer-events``, by key: customers, and links that say who is meant (identity §4)."""

from __future__ import annotations

from typing import TypeAlias

from referral_stream.core.customer import Customer
from referral_stream.core.keys import parse_key
from referral_stream.core.links import LinkState

Entity: TypeAlias = Customer | LinkState
"""The state of one key."""


def new_entity(key: bytes) -> Entity:
    """The state of a key under which nothing has come yet."""
    name = parse_key(key)
    return Customer(id=name) if isinstance(name, str) else LinkState(name)
