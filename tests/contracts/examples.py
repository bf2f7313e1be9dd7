"""One good body of every message type, with every optional field set: those that are published too."""

from __future__ import annotations

from referral_stream.published.examples import EFFECTS, FACT_DATA, INTERNAL_DATA

__all__ = ["EFFECTS", "FACT_DATA", "INTERNAL_DATA"]
