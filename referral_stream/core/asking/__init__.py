"""From an occasion to ask to the ask: the process ``asking``, one decision per module."""
