"""The ledger: caps shared across partitions and workers, and the switches, in Redis."""

from referral_stream.ledger.client import LedgerError, LedgerNotReady, LedgerUnavailable, RedisLedger
from referral_stream.ledger.rounds import (
    Answered,
    LedgerBatch,
    Rounds,
    answered,
    batches,
    in_rounds,
    passed_on,
    resumption,
    unanswered,
)

__all__ = [
    "Answered",
    "LedgerBatch",
    "LedgerError",
    "LedgerNotReady",
    "LedgerUnavailable",
    "RedisLedger",
    "Rounds",
    "answered",
    "batches",
    "in_rounds",
    "passed_on",
    "resumption",
    "unanswered",
]
