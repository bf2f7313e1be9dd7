"""The Faust apps: topics, agents, tables and timers around the core."""
