"""The kit as pytest fixtures, in a project that is not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pytest
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.testing import Limits
from referral_stream.testing.fixtures import WorkerUnderTest
from tests.messaging.naive import RULES, NaiveWorker

pytest_plugins = ["referral_stream.testing.fixtures"]

@pytest.fixture(scope="session")
def worker_under_test():
    limits = Limits(answer=2, early=1, quiet=0.3)
    with EmbeddedBroker() as broker, NaiveWorker(broker.bootstrap, [each for each in RULES if each != "repeats"]):
        yield WorkerUnderTest(broker.bootstrap, "referral-asks", "responses", limits=limits, transactions=False)
"""

TESTS = """
def test_the_contract_is_kept(worker_report):
    assert worker_report.passed, str(worker_report)

def test_it_is_checked_once(worker_report):
    assert worker_report.failed == ("repeated",)
"""


def run(folder: Path, conftest: str) -> str:
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_worker.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout


def test_the_report_is_a_fixture_that_shows_what_is_wrong(tmp_path: Path) -> None:
    shown = run(tmp_path, CONFTEST)
    assert "1 failed, 1 passed" in shown
    assert "FAILED  repeated: A repeated id is dropped. It said: sent, sent." in shown


def test_without_a_worker_it_says_which_fixture_to_define(tmp_path: Path) -> None:
    shown = run(tmp_path, 'pytest_plugins = ["referral_stream.testing.fixtures"]')
    assert "define a session fixture worker_under_test" in shown
