"""The shared rules across customers, in memory: the twin of the script that :mod:`referral_stream.ledger` runs."""
