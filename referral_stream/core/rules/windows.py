"""Windows: from the event that opens an opportunity to its deadline, and when it has settled (semantics §3, §10)."""

from __future__ import annotations

from referral_stream.core import zones
from referral_stream.core.customer import Customer
from referral_stream.core.instants import HOUR, SECOND
from referral_stream.core.policy import Policy, Trigger
from referral_stream.core.zones import Zone


def zone_of(c: Customer, policy: Policy) -> Zone:
    """The customer's zone: profile, else the newest event's, else the deployment's default."""
    if c.time_zone is not None:
        return Zone(c.time_zone.value, "profile", (c.time_zone.value,))
    if c.event_zone is not None:
        return Zone(c.event_zone.value, "event", (c.event_zone.value,))
    setting = policy.time_zone
    names = (setting.zones or (setting.default,)) if setting.strict else (setting.default,)
    return Zone(setting.default, "default", names)


def deadline(trigger: Trigger, t0: int, zone: Zone) -> int:
    """End of the window that opens at ``t0``; of several possible zones the earliest end."""
    match trigger.window:
        case "duration":
            return t0 + (trigger.window_hours or 0) * HOUR
        case "local_day":
            return min(zones.next_midnight(t0, name) for name in zone.names)
        case "local_days":
            return min(zones.same_wall_time(t0, trigger.window_days or 0, name) for name in zone.names)


def settled(trigger: Trigger, t0: int, end: int, policy: Policy) -> int:
    """min(t0 + settle + the wait for rivals, max(t0, deadline − last call))."""
    wait = (trigger.settle_seconds + policy.moments.rival_wait_seconds) * SECOND
    return min(t0 + wait, max(t0, end - policy.moments.last_call_seconds * SECOND))
