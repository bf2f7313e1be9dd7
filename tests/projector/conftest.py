"""A Redis client per test, with keys of its own."""

from tests.read_models.conftest import client, prefix

__all__ = ["client", "prefix"]
