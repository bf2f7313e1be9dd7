"""Customer states as values, kept between batches: decoding a long one costs more than applying the event."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from referral_stream.contracts.state import Stored

SHORT_BYTES: Final = 512
"""Shorter states are not kept: decoding one is as cheap as finding its many small parts in cold memory."""


class DecodedStates:
    """The long states written last, within ``limit`` bytes of encoded form; decoded they take 12 to 14 times as much.

    Each is kept with the very bytes that were written and found only for equal ones: whatever a rebalance or an aborted
    batch does to the table, nothing here has to be invalidated.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[bytes, tuple[bytes, Stored[Any]]] = OrderedDict()

    def find(self, key: bytes, value: bytes) -> Stored[Any] | None:
        """The state these bytes encode, if it is kept."""
        if len(value) < SHORT_BYTES:
            return None
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] == value else None

    def keep(self, key: bytes, value: bytes, stored: Stored[Any]) -> None:
        """Keep what was written under the key, and evict what was written longest ago."""
        if len(value) < SHORT_BYTES:
            return
        former = self._kept.pop(key, None)
        self._size += len(value) - (0 if former is None else len(former[0]))
        self._kept[key] = (value, stored)
        while self._size > self._limit:
            _, (forgotten, _) = self._kept.popitem(last=False)
            self._size -= len(forgotten)

    def __len__(self) -> int:
        return len(self._kept)
