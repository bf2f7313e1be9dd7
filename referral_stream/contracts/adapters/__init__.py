"""Vendors' webhooks → facts. One module per vendor, one row here; the order is that in which shapes are tried."""

from __future__ import annotations

from referral_stream.contracts.adapters import (
    delighted,
    dittofeed,
    formbricks,
    helpscout,
    hubspot,
    intercom,
    posthog,
    segment,
    stripe,
    surveymonkey,
    survicate,
    typeform,
    zendesk,
)
from referral_stream.contracts.adapters.reading import Adapter, Payload, Reading

__all__ = ["BY_NAME", "REGISTRY", "Adapter", "Payload", "Reading"]

REGISTRY: tuple[Adapter, ...] = (
    segment.ADAPTER,
    posthog.ADAPTER,
    stripe.ADAPTER,
    zendesk.ADAPTER,
    intercom.ADAPTER,
    hubspot.ADAPTER,
    delighted.ADAPTER,
    typeform.ADAPTER,
    formbricks.ADAPTER,
    survicate.ADAPTER,
    surveymonkey.ADAPTER,
    helpscout.ADAPTER,
    dittofeed.ADAPTER,
)
"""Every adapter. The most frequent webhooks come first; Dittofeed's after Segment's, whose calls it shares."""

BY_NAME: dict[str, Adapter] = {adapter.name: adapter for adapter in REGISTRY}
