"""Names of topics and groups, with the deployment's prefix; which topic is cut and kept how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from referral_stream.core.instants import DAY

SOURCES: Final = ("product-usage", "nps", "billing", "support", "relationship", "profile", "responses")
"""What producers write to, in the order of the contract."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of this deployment's topics."""

    prefix: str = ""

    def __getattr__(self, name: str) -> str:
        """``topics.customer_events`` → ``PREFIXcustomer-events``. Raises AttributeError for a topic we do not have."""
        topic = name.replace("_", "-")
        if topic not in KEPT:
            raise AttributeError(name)
        return f"{self.prefix}{topic}"

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(f"{self.prefix}{name}" for name in SOURCES)


@dataclass(frozen=True, slots=True)
class Kept:
    """How a topic is retained: for how long, or compacted. ``ours``: partitions fixed by the settings."""

    retention_ms: int | None = 400 * DAY
    compacted: bool = False
    ours: bool = True
    max_message_bytes: int | None = None

    def config(self) -> dict[str, str]:
        """The topic's settings on the broker."""
        if self.compacted:
            return {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY)}
        found = {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        if self.max_message_bytes is not None:
            found["max.message.bytes"] = str(self.max_message_bytes)
        return found


KEPT: Final[dict[str, Kept]] = {
    **{name: Kept(ours=False) for name in SOURCES},
    "customer-events": Kept(),
    "ledger-requests": Kept(),
    "referral-asks": Kept(),
    "referral-decisions": Kept(),
    "customer-aliases": Kept(compacted=True),
    "dead-letters": Kept(retention_ms=30 * DAY, max_message_bytes=2 << 20),
}
"""Every topic of this version (semantics §7: logs lapse after 400 days, dead letters after 30)."""

TABLES: Final = ("customers", "wakeups")


def changelogs(group: str) -> tuple[str, ...]:
    """The changelog topics of the decide agent's group."""
    return tuple(f"{group}-{table}-changelog" for table in TABLES)
