"""States kept as values between batches: found for equal bytes only, and never more than was agreed."""

from __future__ import annotations

import pytest

from referral_stream.contracts.state import Stored
from referral_stream.core.customer import Customer
from referral_stream.stream.state_cache import SHORT_BYTES, DecodedStates

ANA = Stored(1, Customer(id="ana"))
BEN = Stored(2, Customer(id="ben"))
LONG = SHORT_BYTES


def some(byte: bytes, size: int = LONG) -> bytes:
    """Bytes that stand for a state."""
    return byte * size


def test_a_state_is_found_for_the_bytes_that_were_written() -> None:
    states = DecodedStates(10 * LONG)
    states.keep(b"ana", some(b"1"), ANA)

    assert states.find(b"ana", some(b"1")) is ANA
    assert states.find(b"ana", some(b"2")) is None
    assert states.find(b"ben", some(b"1")) is None


def test_what_was_written_longest_ago_is_forgotten_first() -> None:
    states = DecodedStates(2 * LONG)
    states.keep(b"ana", some(b"1"), ANA)
    states.keep(b"ben", some(b"1"), BEN)
    states.keep(b"ana", some(b"2"), ANA)

    states.keep(b"cleo", some(b"1"), BEN)

    assert states.find(b"ben", some(b"1")) is None
    assert states.find(b"ana", some(b"2")) is ANA
    assert states.find(b"cleo", some(b"1")) is BEN


def test_a_state_that_is_written_again_and_again_counts_once() -> None:
    states = DecodedStates(3 * LONG)
    states.keep(b"ben", some(b"1"), BEN)
    for size in (2 * LONG, LONG, 2 * LONG):
        states.keep(b"ana", some(b"1", size), ANA)

    assert len(states) == 2
    assert states.find(b"ben", some(b"1")) is BEN


@pytest.mark.parametrize("size", [LONG - 1, 4 * LONG + 1])
def test_a_state_too_short_to_be_worth_it_or_too_long_to_fit_is_not_kept(size: int) -> None:
    states = DecodedStates(4 * LONG)
    states.keep(b"ana", some(b"1", size), ANA)

    assert states.find(b"ana", some(b"1", size)) is None
    assert len(states) == 0
