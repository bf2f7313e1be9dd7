"""Where services are required, an integration test that skips itself, for whatever reason, is a failure."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.services.required import REQUIRE_SERVICES, services_are_required


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and services_are_required():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_SERVICES}=1, and this test did not run: {reason}"
    return report
