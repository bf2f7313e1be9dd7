from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from batch_builders import SOURCE, an_app
from faust_batches import BatchResult, Read, Record, run_worker


def nothing(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
    return BatchResult()


def test_a_worker_without_a_broker_says_so_and_fails(caplog: pytest.LogCaptureFixture) -> None:
    app = an_app()
    app.stateless([SOURCE], nothing)
    assert run_worker(app) == 1
    (failed,) = [record for record in caplog.records if record.message == "worker_not_started"]
    assert vars(failed)["cause"].startswith("no Kafka broker at ")


def test_a_worker_leaves_no_watchdog_behind() -> None:
    app = an_app()
    app.stateless([SOURCE], nothing)
    run_worker(app)
    assert all(thread.finished.is_set() for thread in threading.enumerate() if isinstance(thread, threading.Timer))
