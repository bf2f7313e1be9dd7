"""Where services are required, an integration test that skips itself, for whatever reason, is a failure.

And the one run of the script that several modules look at.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.integration.live import Pipeline
from tests.integration.scripted import POLICY
from tests.integration.scripted_run import ScriptedRun, run_script
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer
from tests.services.required import REQUIRE_SERVICES, services_are_required


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and services_are_required():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_SERVICES}=1, and this test did not run: {reason}"
    return report


@pytest.fixture(scope="session")
def scripted_pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """The pipeline that has run the script, undisturbed; its worker has stopped, its topics can be read."""
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("scripted"), policy=POLICY) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


@pytest.fixture(scope="session")
def scripted_run(scripted_pipeline: Pipeline) -> ScriptedRun:
    """What came of it, and what should have."""
    return run_script(scripted_pipeline)
