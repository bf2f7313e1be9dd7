"""Whether a server may throw away what it holds: an ask that it has evicted would be an ask forgotten.

The policy may be changed while the server runs, so it is looked at every few seconds. What was evicted in between the
script itself sees: the server's count of it belongs to what the ledger was built on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LOOK_SECONDS: Final = 5.0
"""How old the last look at the server may be when it is used."""

NOT_TOLD: Final = "not told"
"""What stands for the policy of a server that keeps it to itself: it is taken at its word."""
KEEPS_ALL: Final = "noeviction"


def policy_of(about: Mapping[str, Any]) -> str:
    """The ``maxmemory-policy`` in what the server's INFO says, or NOT_TOLD."""
    return str(about.get("maxmemory_policy") or NOT_TOLD)


def evicts(about: Mapping[str, Any]) -> bool:
    """Whether a server of which INFO says this would evict; one without a limit never does."""
    return policy_of(about) not in (KEEPS_ALL, NOT_TOLD) and str(about.get("maxmemory", "")) != "0"


def why_evicting(policy: str) -> str:
    """What is wrong, and what helps, in one line."""
    return (
        f"the server may throw away asks and pauses (maxmemory-policy {policy}), so nobody is asked: "
        f"CONFIG SET maxmemory-policy {KEEPS_ALL}, and in its configuration"
    )
