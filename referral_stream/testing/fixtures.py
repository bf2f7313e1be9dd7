"""The kit as pytest fixtures. In a conftest.py of the worker's own project:

    pytest_plugins = ["referral_stream.testing.fixtures"]

    @pytest.fixture(scope="session")
    def worker_under_test() -> Iterator[WorkerUnderTest]:
        ...start a broker and the worker...
        yield WorkerUnderTest(
            "127.0.0.1:9092", "sandbox-asks", "sandbox-responses", followups_topic="sandbox-followups",
            restart=worker.restart,
        )

and in a test:

    def test_the_worker_keeps_the_contract(worker_report: Report) -> None:
        assert worker_report.passed, str(worker_report)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from referral_stream.testing.checking import check_worker
from referral_stream.testing.report import Report
from referral_stream.testing.timing import Limits

__all__ = ["WorkerUnderTest", "worker_report", "worker_under_test"]


@dataclass(frozen=True, slots=True)
class WorkerUnderTest:
    """The arguments of :func:`check_worker`."""

    bootstrap: str
    asks_topic: str
    responses_topic: str
    limits: Limits | None = None
    restart: Callable[[], object] | None = None
    deliveries: Callable[[], Iterable[str]] | None = None
    transactions: bool = True
    client: Mapping[str, Any] | None = None
    followups_topic: str | None = None
    owner_items: Callable[[], Iterable[str]] | None = None


@pytest.fixture(scope="session")
def worker_under_test() -> WorkerUnderTest:
    """To be overridden: where the worker is."""
    pytest.fail("define a session fixture worker_under_test that returns a WorkerUnderTest", pytrace=False)


@pytest.fixture(scope="session")
def worker_report(worker_under_test: WorkerUnderTest) -> Report:
    """What the kit found, once per session."""
    worker = worker_under_test
    return check_worker(
        worker.bootstrap,
        asks_topic=worker.asks_topic,
        responses_topic=worker.responses_topic,
        followups_topic=worker.followups_topic,
        limits=worker.limits,
        restart=worker.restart,
        deliveries=worker.deliveries,
        owner_items=worker.owner_items,
        transactions=worker.transactions,
        client=worker.client,
    )
