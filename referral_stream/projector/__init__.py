"""The role ``projector``: what the deciding roles have written, as read models in Redis, and how asking works."""
