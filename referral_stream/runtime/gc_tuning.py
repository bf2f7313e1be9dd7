"""Python's cyclic garbage collector, set for long runs over many small values."""

from __future__ import annotations

import gc

THRESHOLD = 50_000
"""New objects between two collections. Workers and replays make thousands per batch, none of them in cycles: with
Python's default thresholds a sixth of the time goes into looking for cycles (docs/benchmarks.md)."""


def spare_values() -> None:
    """Look for cycles rarely, and never in imported modules. For a process that does one thing until it ends."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 20, 20)
