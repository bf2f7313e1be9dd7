"""The two questions of a supervisor: should this process be restarted, and is it doing its work?

They differ in scope. ``trouble`` is what only a restart can fix, so an unreachable broker or Redis does not count: the
worker waits for them, and a new process could do no better. ``waiting_for`` is whatever keeps records from being
processed, wherever the fault lies.
"""

from __future__ import annotations

from typing import Final

from faust_batches import AppStatus

from referral_stream.stream.apps import Role
from referral_stream.stream.ledger_agent import LedgerAgent

STUCK_SECONDS: Final = 120.0
"""Far beyond what a batch may take: requests to the broker end within 20 s (or the session timeout).

And long enough for a password that is being changed in several places."""

STANDING_SECONDS: Final = 600.0
"""Longer than whatever makes a partition wait and passes by itself, such as a topic without a leader."""


def trouble(role: Role, now: AppStatus) -> str:
    """Why the process should be restarted; empty: it should not.

    What makes no progress counts only while the broker confirms that we are there, and for the ledger while Redis is
    not known to be away: without them, waiting is right.
    """
    if now.failure:
        return f"failed: {now.failure}"
    if now.refused_seconds > STUCK_SECONDS:
        return f"refused: the brokers have refused our credentials for {now.refused_seconds:.0f} s"
    if (refused := _refused_by_redis(role)) > STUCK_SECONDS:
        return f"refused: Redis has refused our login for {refused:.0f} s"
    waits = not now.in_touch or _without_redis(role)
    if now.attempt_seconds > STUCK_SECONDS and not waits:
        return f"stuck: a batch has been running for {now.attempt_seconds:.0f} s"
    if now.standing_seconds > STANDING_SECONDS and not waits:
        return f"standing: there is work, and nothing has moved for {now.standing_seconds:.0f} s"
    return ""


def waiting_for(role: Role, now: AppStatus) -> str:
    """What the role lacks to do its work; empty: nothing. Owning nothing because others own all is no lack."""
    if now.failure:
        return f"failed: {now.failure}"
    if now.stopping:
        return "stopping"
    if left := sum(now.recovery_left.values()):
        return f"recovering: {left} changelog records left"
    if not now.joined:
        return "joining its group"
    if not now.in_touch:
        return "the broker does not answer"
    if now.clock_refused:
        return "the broker refuses our time: the clock of this host is wrong"
    if isinstance(role.processor, LedgerAgent) and role.processor.available is False:
        return role.processor.lacks or "Redis does not answer"
    if isinstance(role.processor, LedgerAgent) and role.processor.available is None:
        return "Redis has not been asked yet"
    return ""


def _refused_by_redis(role: Role) -> float:
    return role.processor.login.refused_seconds if isinstance(role.processor, LedgerAgent) else 0.0


def _without_redis(role: Role) -> bool:
    return isinstance(role.processor, LedgerAgent) and role.processor.available is False
