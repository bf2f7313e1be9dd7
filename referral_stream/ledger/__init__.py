"""The ledger: caps shared across partitions and workers, and the switches, in Redis."""

from referral_stream.ledger.client import (
    LedgerError,
    LedgerEvicting,
    LedgerLogCut,
    LedgerNotReady,
    LedgerOutdated,
    LedgerUnavailable,
    RedisLedger,
    Results,
)
from referral_stream.ledger.rounds import (
    Answered,
    Holding,
    LedgerBatch,
    Rounds,
    answered,
    batches,
    holds,
    passed_on,
    resumption,
    unanswered,
)

__all__ = [
    "Answered",
    "Holding",
    "LedgerBatch",
    "LedgerError",
    "LedgerEvicting",
    "LedgerLogCut",
    "LedgerNotReady",
    "LedgerOutdated",
    "LedgerUnavailable",
    "RedisLedger",
    "Results",
    "Rounds",
    "answered",
    "batches",
    "holds",
    "passed_on",
    "resumption",
    "unanswered",
]
