"""A broker for the receiver's tests, and what is on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from referral_stream.local.broker import EmbeddedBroker


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker
