"""The real services a test may ask for: a missing one skips it loudly, or fails it where that is asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests import night
from tests.services.kafka import KafkaServer
from tests.services.process import ServiceUnavailable
from tests.services.redis import RedisServer
from tests.services.required import REQUIRE_SERVICES, services_are_required

night.examples()

_missing: dict[str, str] = {}
_SERVED = tuple(Path(__file__).parent / room for room in ("chaos", "integration", "local"))
_LONGEST = (
    "test_soak",
    "test_order_of_effects",
    "test_stopping",
    "test_outages",
    "test_transport_torture",
    "test_kill9",
)


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
    """Files with real services last, since a broker is never quite idle; the longest of them first."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if not any(room in item.path.parents for room in _SERVED):
        return 0
    return 1 if item.path.stem in _LONGEST else 2


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
