"""One customer, in plain words: what happened, what was decided and why, and what would change it."""
