"""Asks customers for referrals at the right moment.

The rooms: ``core`` decides (pure), ``contracts`` reads and writes messages, ``stream`` and ``ledger`` run it on Kafka
and Redis, ``replay`` runs it on a recorded log, ``local`` is the embedded default. Importing any of them does nothing.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
