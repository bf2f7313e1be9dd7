"""``referral-stream audit``: reads all topics of a deployment from outside, and reports what breaks its promises.

It joins no group, commits nothing and writes nothing, so it may run alongside live workers at any time. A live system
moves while it is read; these are the cuts at which it is judged:

1. The ends of the outbound topics are noted first. All before them is *out*: it must follow from the logs.
2. A moment later the changelog of ``customers`` is read, a partition at a time. Each state carries its mark, the offset
   in ``customer-events`` behind the last record it has seen. This is the cut of that customer: the log below the mark
   is folded with the core (recorded wake-ups and answers as they are) and must give this state.
3. The outbound topics are read on to their ends of then. What a fold makes below a mark went out with its state in one
   transaction, so it must be there, byte for byte. Anything after the ends of 1 that does not follow is *in flight*:
   it belongs to records after the mark, and the next audit judges it.
4. Wake-ups are read after the states, and then the states once more: a customer whose state has not moved in between
   must have the wake-up that follows from it.

The markers of one transaction become visible on different partitions at slightly different times. So what looks broken
is checked again, some seconds later, from the beginning; only what is broken both times is reported.

The fold depends on the policy. Decisions name theirs; where a log spans several, each is needed. Customers
decided on under one that is not given are counted, not judged. A log whose beginning is no longer retained cannot be
folded: the report says which checks that leaves out.

Memory: one partition at a time, its customers as values (some 30 KB each) and 1 KB for each of its decisions; of all
partitions the commands, and 300 bytes for each request to the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from referral_stream.audit.context import Names, Progress, Scene
from referral_stream.audit.findings import AuditReport
from referral_stream.audit.reading import KafkaLogs, Logs
from referral_stream.audit.scan import Look
from referral_stream.core.policy import Policy
from referral_stream.runtime.settings import Settings

SETTLE_SECONDS: Final = 1.0
"""How long after a transaction is visible on one partition it is assumed to be visible on all."""
PATIENCE_SECONDS: Final = 10.0
"""How long to wait before a second look at what seems broken."""


def audit(
    settings: Settings,
    policies: Sequence[Policy],
    *,
    uncommitted: bool = False,
    progress: Progress = lambda _read, _of: None,
    settle_seconds: float = SETTLE_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AuditReport:
    """Audit the deployment's topics as they are now. Raises Unreadable, and ValueError without a policy.

    ``policies``: the one in force, and earlier ones that the logs still refer to. ``uncommitted``: compare the
    bodies of commands in open and aborted transactions too.
    """
    with KafkaLogs(settings) as logs:

        def look() -> AuditReport:
            return look_at(
                logs,
                Names.of(settings),
                policies,
                fenced=settings.fencing == "transactions",
                uncommitted=uncommitted,
                progress=progress,
                settle_seconds=settle_seconds,
            )

        return confirmed(look, patience_seconds)


def look_at(
    logs: Logs,
    names: Names,
    policies: Sequence[Policy],
    *,
    fenced: bool = True,
    uncommitted: bool = False,
    progress: Progress = lambda _read, _of: None,
    settle_seconds: float = 0.0,
) -> AuditReport:
    """One pass over everything. ``fenced``: the workers write in transactions. Raises as :func:`audit`."""
    if not policies:
        raise ValueError("an audit needs the policy in force")
    known = {policy.hash: policy for policy in policies}
    scene = Scene(logs, names, known, fenced, progress)
    return Look(scene).run(uncommitted=uncommitted, settle_seconds=settle_seconds)


def confirmed(look: Callable[[], AuditReport], patience_seconds: float) -> AuditReport:
    """The outcome of a pass; if it finds something, what a second pass finds again."""
    first = look()
    if not first.findings:
        return first
    time.sleep(patience_seconds)
    second = look()
    before = {(finding.invariant, finding.positions) for finding in first.findings}
    lasting = tuple(each for each in second.findings if (each.invariant, each.positions) in before)
    names = {finding.invariant for finding in lasting}
    broken = {name: count for name, count in second.broken.items() if name in names}
    return replace(second, findings=lasting, broken=broken)
