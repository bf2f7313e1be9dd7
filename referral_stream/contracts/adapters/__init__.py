"""Vendors' webhooks → facts. One module per vendor, one row here; the order is that in which shapes are tried."""

from __future__ import annotations

from referral_stream.contracts.adapters import delighted, segment, stripe, zendesk
from referral_stream.contracts.adapters.reading import Adapter, Payload, Reading

__all__ = ["BY_NAME", "REGISTRY", "Adapter", "Payload", "Reading"]

REGISTRY: tuple[Adapter, ...] = (stripe.ADAPTER, delighted.ADAPTER, zendesk.ADAPTER, segment.ADAPTER)
"""Every adapter. A shape that says little (Segment's) comes after those that say more."""

BY_NAME: dict[str, Adapter] = {adapter.name: adapter for adapter in REGISTRY}
