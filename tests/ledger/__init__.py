"""The ledger: its agent's pure part, and Redis against the rules in memory."""
