"""The ledger: caps shared across partitions and workers, and the switches, in Redis."""

from referral_stream.ledger.answering import Answered, Rounds, Turn, answered, in_rounds, resumption, turns, unanswered
from referral_stream.ledger.ledger import LedgerError, LedgerNotReady, LedgerUnavailable, RedisLedger

__all__ = [
    "Answered",
    "LedgerError",
    "LedgerNotReady",
    "LedgerUnavailable",
    "RedisLedger",
    "Rounds",
    "Turn",
    "answered",
    "in_rounds",
    "resumption",
    "turns",
    "unanswered",
]
