from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from faust_batches import BatchResult, Read, Record, run_worker

from tests.stream.transport.builders import SOURCE, an_app


def nothing(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
    return BatchResult()


def test_a_worker_without_a_broker_says_so_and_fails(caplog: pytest.LogCaptureFixture) -> None:
    app = an_app()
    app.stateless([SOURCE], nothing)
    assert run_worker(app) == 1
    assert "no Kafka broker at" in caplog.text


def test_a_worker_leaves_no_watchdog_behind() -> None:
    app = an_app()
    app.stateless([SOURCE], nothing)
    run_worker(app)
    assert all(thread.finished.is_set() for thread in threading.enumerate() if isinstance(thread, threading.Timer))
