from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as their_murmur2
from faust_batches import partition_of
from faust_batches.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("key", "signed"),
    [  # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_of_javas_client_is_reproduced(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=64))
def test_the_hash_equals_that_of_aiokafka(key: bytes) -> None:
    assert murmur2(key) == their_murmur2(key)


@given(st.binary(max_size=64), st.integers(1, 1000))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == (their_murmur2(key) & 0x7FFFFFFF) % partitions
