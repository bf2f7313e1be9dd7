"""Vendors' webhooks → facts. One module per vendor, one row here; shapes are tried in this order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from referral_stream.contracts.adapters import (
    amplitude,
    asknicely,
    braze,
    chargebee,
    customerio,
    delighted,
    dittofeed,
    formbricks,
    freshdesk,
    gorgias,
    helpscout,
    hubspot,
    intercom,
    klaviyo,
    mixpanel,
    paddle,
    posthog,
    qualtrics,
    recurly,
    revenuecat,
    rudderstack,
    satismeter,
    segment,
    sendgrid,
    stripe,
    surveymonkey,
    survicate,
    typeform,
    wootric,
    zendesk,
)
from referral_stream.contracts.adapters.reading import Adapter, Payload, Reading

__all__ = ["BY_NAME", "HANDED_ON", "REGISTRY", "Adapter", "Payload", "Reading", "candidates"]

REGISTRY: tuple[Adapter, ...] = (
    segment.ADAPTER,
    posthog.ADAPTER,
    stripe.ADAPTER,
    chargebee.ADAPTER,
    paddle.ADAPTER,
    recurly.ADAPTER,
    revenuecat.ADAPTER,
    zendesk.ADAPTER,
    intercom.ADAPTER,
    hubspot.ADAPTER,
    delighted.ADAPTER,
    typeform.ADAPTER,
    formbricks.ADAPTER,
    survicate.ADAPTER,
    surveymonkey.ADAPTER,
    wootric.ADAPTER,
    asknicely.ADAPTER,
    qualtrics.ADAPTER,
    satismeter.ADAPTER,
    amplitude.ADAPTER,
    mixpanel.ADAPTER,
    helpscout.ADAPTER,
    dittofeed.ADAPTER,
    customerio.ADAPTER,
    sendgrid.ADAPTER,
    klaviyo.ADAPTER,
    braze.ADAPTER,
    freshdesk.ADAPTER,
    gorgias.ADAPTER,
    rudderstack.ADAPTER,
)
"""Every adapter. The most frequent webhooks come first; Segment's before those who share its calls."""

BY_NAME: dict[str, Adapter] = {adapter.name: adapter for adapter in REGISTRY}

_MARKED: dict[str, frozenset[str]] = {
    mark: frozenset(adapter.name for adapter in REGISTRY if mark in adapter.marks)
    for mark in {mark for adapter in REGISTRY for mark in adapter.marks}
}
"""Name in a body → the adapters it marks."""


HANDED_ON = tuple(adapter for adapter in REGISTRY if adapter.in_cloud_events)
"""Those whose own notifications an event of somebody else may bring."""
_SPLITTING = tuple(adapter for adapter in REGISTRY if adapter.split is not None)
"""Those that may find something in a body that is no object."""


def candidates(body: Any) -> tuple[Adapter, ...]:
    """The adapters that may recognise a JSON body, by the names in it: no other one does."""
    if type(body) is not dict:
        return _SPLITTING
    return _marked_by(tuple([name for name in body if name in _MARKED]))


@lru_cache(maxsize=4_096)
def _marked_by(marks: tuple[str, ...]) -> tuple[Adapter, ...]:
    """The adapters of these marks, in their order; the same few marks come all the time."""
    names = {name for mark in marks for name in _MARKED[mark]}
    return tuple(adapter for adapter in REGISTRY if adapter.name in names)
