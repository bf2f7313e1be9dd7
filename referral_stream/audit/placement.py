"""Which partition a key belongs to, computed independently: the audit does not take the writers' word for it."""

from __future__ import annotations

from functools import lru_cache

_MULTIPLIER = 0x5BD1E995
_SEED = 0x9747B28C
_32_BITS = 0xFFFFFFFF


@lru_cache(maxsize=1 << 17)  # keys recur, and a miss takes ten times as long
def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's Java client chooses it: MurmurHash2 of the key, its sign bit cleared, modulo the partitions."""
    mixed = _SEED ^ len(key)
    cut = len(key) - len(key) % 4
    for at in range(0, cut, 4):
        block = int.from_bytes(key[at : at + 4], "little") * _MULTIPLIER & _32_BITS
        block = (block ^ block >> 24) * _MULTIPLIER & _32_BITS
        mixed = mixed * _MULTIPLIER & _32_BITS ^ block
    if cut < len(key):
        mixed = (mixed ^ int.from_bytes(key[cut:], "little")) * _MULTIPLIER & _32_BITS
    mixed = (mixed ^ mixed >> 13) * _MULTIPLIER & _32_BITS
    return (mixed ^ mixed >> 15) % 2**31 % partitions
