"""The referee computes partitions by itself, and agrees with the writers."""

from __future__ import annotations

from faust_batches import partitioner
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.audit.placement import partition_of


@given(st.binary(max_size=70), st.integers(1, 1_000))
def test_the_referee_and_the_writers_place_a_key_alike(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == partitioner.partition_of(key, partitions)
