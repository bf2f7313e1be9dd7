"""How many files a worker may open: as many as it may come to need, or it says so before it begins."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from batch_builders import PARTITIONS, an_app
from faust_batches import BatchApp, BatchResult
from faust_batches.errors import NeedsOperator
from faust_batches.file_limit import files_needed, raise_file_limit
from faust_batches.stores import FILES_PER_STORE


class Limits:
    """A process's soft and hard limit."""

    def __init__(self, soft: int, hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", lambda _, given: setattr(self, "now", given))


def on_disk(path: Path) -> BatchApp:
    app = an_app(store="rocksdb", datadir=path)
    app.stateful("a", lambda *_: BatchResult(), ["one", "two"])
    return app


def test_tables_on_disk_and_fenced_partitions_need_files_each(tmp_path: Path) -> None:
    assert files_needed(on_disk(tmp_path)) >= 2 * PARTITIONS * FILES_PER_STORE + 2 * PARTITIONS
    plain = an_app()
    plain.stateless(["a"], lambda *_: BatchResult())
    assert files_needed(plain) < 100


def test_a_low_limit_is_raised_as_far_as_it_has_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(256, 1_000_000, monkeypatch)
    raise_file_limit([on_disk(tmp_path)])
    assert files_needed(on_disk(tmp_path)) < limits.now[0] < 2_000
    assert limits.now[1] == 1_000_000


@pytest.mark.parametrize("soft", [100_000, resource.RLIM_INFINITY])
def test_a_sufficient_limit_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    limits = Limits(soft, resource.RLIM_INFINITY, monkeypatch)
    raise_file_limit([on_disk(tmp_path)])
    assert limits.now == (soft, resource.RLIM_INFINITY)


def test_a_limit_that_cannot_be_raised_far_enough_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(100, 200, monkeypatch)
    raise_file_limit([on_disk(tmp_path)])
    assert limits.now == (200, 200)
    (record,) = caplog.records
    assert (record.message, vars(record)["limit"]) == ("file_limit_low", 200)
    assert "ulimit -n" in vars(record)["to_fix"]


def test_a_system_that_refuses_to_raise_it_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    Limits(256, resource.RLIM_INFINITY, monkeypatch)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_file_limit([on_disk(tmp_path)])


def test_a_worker_that_may_open_next_to_nothing_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    Limits(40, 40, monkeypatch)
    with pytest.raises(NeedsOperator, match=r"may open 40 files, and needs up to \d+: raise its limit"):
        raise_file_limit([an_app()])


def test_a_worker_process_says_so_in_one_line() -> None:
    program = """
import logging, sys
from faust_batches import WorkerConfig, create_app, run_worker
app = create_app(WorkerConfig(id="app", brokers=("127.0.0.1:9",), partitions=4))
logging.basicConfig(format="%(message)s %(cause)s")
sys.exit(run_worker(app))
"""
    limited = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", sys.executable, "-c", program]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("worker_not_started this process may open 40 files")
