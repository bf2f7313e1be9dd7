"""Python's cyclic garbage collector, set for long runs over many small values."""

from __future__ import annotations

import gc

THRESHOLD = 50_000
"""New objects between two looks. Workers and replays make thousands a batch, and none of them in cycles: with Python's
default thresholds a sixth of the time goes into looking for some (docs/benchmarks.md)."""


def spare_values() -> None:
    """Look for cycles rarely, and never among what has been imported. For a process that does one thing to its end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 20)
