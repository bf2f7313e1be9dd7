"""Phrases for people, as data: what happened, what was decided, and why."""
