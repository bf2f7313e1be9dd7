"""The real services a test may ask for: a missing one skips it loudly, or fails it where that is asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.services.kafka import KafkaServer
from tests.services.process import ServiceUnavailable
from tests.services.redis import RedisServer
from tests.services.required import REQUIRE_SERVICES, services_are_required

_missing: dict[str, str] = {}
_SLOW = tuple(Path(__file__).parent / room for room in ("chaos", "integration", "local"))


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """One Apache Kafka for the whole run. Tests that stop, kill or secure a broker start their own."""
    try:
        server = KafkaServer()
    except ServiceUnavailable as reason:
        _absent("Apache Kafka", str(reason))
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the whole run; a test keeps to its own keys. Tests that stop or kill a Redis start their own."""
    try:
        server = RedisServer()
    except ServiceUnavailable as reason:
        _absent("Redis", str(reason))
    with server:
        yield server


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with real services first: they take longest and mostly wait, and the others fill the time beside them."""
    items.sort(
        key=lambda item: next((rank for rank, room in enumerate(_SLOW) if room in item.path.parents), len(_SLOW))
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """What a test that starts a server of its own cannot have is told as what a fixture cannot have."""
    try:
        return (yield)
    except ServiceUnavailable as reason:
        _absent("server of the test's own", str(reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for service, reason in _missing.items():
        terminalreporter.write_line(f"NOT TESTED against {service}: {reason}", yellow=True, bold=True)


def _absent(service: str, reason: str) -> NoReturn:
    if services_are_required():
        pytest.fail(f"{service} is required here ({REQUIRE_SERVICES}=1): {reason}", pytrace=False)
    _missing[service] = reason
    pytest.skip(f"no {service}: {reason}")
