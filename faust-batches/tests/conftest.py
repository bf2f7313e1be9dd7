"""A broker for tests that need one and no transactions: librdkafka's mock cluster, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """Its ``host:port``. It creates topics at their first use, with four partitions (`PARTITIONS`)."""
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 2})
    (node,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{node.host}:{node.port}"
    cluster.flush(0)
