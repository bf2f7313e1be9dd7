"""States kept as values between batches: found for equal bytes only, and never more than was agreed."""

from __future__ import annotations

from referral_stream.contracts.state import Stored
from referral_stream.core.customer import Customer
from referral_stream.stream.decoded import DecodedStates

ANA = Stored(1, Customer(id="ana"))
BEN = Stored(2, Customer(id="ben"))


def test_a_state_is_found_for_the_bytes_that_were_written() -> None:
    states = DecodedStates(100)
    states.keep(b"ana", b"first", ANA)

    assert states.find(b"ana", bytes(bytearray(b"first"))) is ANA
    assert states.find(b"ana", b"of another owner") is None
    assert states.find(b"ben", b"first") is None


def test_what_was_written_longest_ago_is_forgotten_first() -> None:
    states = DecodedStates(10)
    states.keep(b"ana", b"12345", ANA)
    states.keep(b"ben", b"12345", BEN)
    states.keep(b"ana", b"54321", ANA)

    states.keep(b"cleo", b"1", BEN)

    assert states.find(b"ben", b"12345") is None
    assert states.find(b"ana", b"54321") is ANA
    assert states.find(b"cleo", b"1") is BEN


def test_a_state_that_is_written_again_and_again_counts_once() -> None:
    states = DecodedStates(10)
    states.keep(b"ben", b"123", BEN)
    for value in (b"1234567", b"7", b"7654321"):
        states.keep(b"ana", value, ANA)

    assert len(states) == 2
    assert states.find(b"ben", b"123") is BEN


def test_a_state_larger_than_all_that_may_be_kept_is_not_kept() -> None:
    states = DecodedStates(4)
    states.keep(b"ana", b"12345", ANA)

    assert len(states) == 0
