"""A heartbeat that is not answered means that every connection that has been silent since may be dead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    InvalidSessionTimeoutError,
    KafkaError,
    UnknownError,
)
from batch_builders import an_app
from faust_batches import BatchApp
from faust_batches.errors import RefusedByBroker


@dataclass
class Connection:
    """One that received something last at ``_last_action``."""

    _last_action: float
    _loop: asyncio.AbstractEventLoop
    closed: list[Any] = field(default_factory=list)

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)


async def answered(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


def an_app_with(monkeypatch: pytest.MonkeyPatch, *connections: Connection) -> BatchApp:
    monkeypatch.setattr("faust_batches.consumer_thread._PULSE_SECONDS", 0.0)
    app = an_app(session_timeout_seconds=0.2, rebalance_timeout_seconds=1.0)
    client = SimpleNamespace(_conns=dict(enumerate(connections)))
    monkeypatch.setattr(app, "clients", lambda: [client])
    return app


async def test_what_was_silent_since_the_heartbeat_is_closed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    silent, alive = Connection(99.0, loop), Connection(101.0, loop)
    an_app_with(monkeypatch, silent, alive).batch_consumer._thread._drop_silent(100.0)
    await asyncio.sleep(0)
    assert (silent.closed, alive.closed) == ([CloseReason.CONNECTION_TIMEOUT], [])
    (record,) = caplog.records
    assert (record.message, vars(record)["connections"]) == ("connections_dropped", 1)


@pytest.mark.parametrize(("seconds", "comes"), [(0.0, True), (60.0, False)])
async def test_half_a_session_is_the_patience_for_a_heartbeat(
    seconds: float, comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = asyncio.ensure_future(answered(seconds))
    assert await an_app_with(monkeypatch).batch_consumer._thread._comes(beat) is comes
    beat.cancel()


async def test_a_process_that_was_frozen_has_not_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come meanwhile is read before the connection is judged."""
    thread = an_app_with(monkeypatch).batch_consumer._thread
    beat = asyncio.ensure_future(answered(0.02))
    waits = asyncio.ensure_future(thread._comes(beat))
    await asyncio.sleep(0)
    frozen = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < frozen:
        pass
    assert await waits is True


@pytest.mark.parametrize(
    ("refusal", "fails"),
    [(GroupAuthorizationFailedError(), True), (UnknownError(), True), (GroupCoordinatorNotAvailableError(), False)],
)
async def test_a_worker_without_partitions_ends_if_its_group_refuses_it_for_good(
    refusal: KafkaError, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiokafka would wait until somebody fetches."""
    monkeypatch.setattr("faust_batches.consumer_thread._REFUSED_SECONDS", 0.0)
    app = an_app()
    thread, failures = app.batch_consumer._thread, list[BaseException]()
    monkeypatch.setattr(thread, "_consumer", SimpleNamespace(assignment=frozenset))
    monkeypatch.setattr(app.membership, "fail", lambda exc, *_: failures.append(exc))

    async def push(exc: KafkaError) -> None:
        raise AssertionError(exc)

    await thread._heed_refusal(push, refusal)
    assert failures == ([refusal] if fails else [])


async def test_a_session_timeout_that_the_brokers_refuse_is_told_with_both_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("faust_batches.consumer_thread._REFUSED_SECONDS", 0.0)
    app = an_app(session_timeout_seconds=3)
    thread, failures = app.batch_consumer._thread, list[BaseException]()
    monkeypatch.setattr(thread, "_consumer", SimpleNamespace(assignment=frozenset))
    monkeypatch.setattr(app.membership, "fail", lambda exc, *_: failures.append(exc))

    async def push(exc: KafkaError) -> None:
        raise AssertionError(exc)

    await thread._heed_refusal(push, InvalidSessionTimeoutError())
    (refused,) = failures
    assert isinstance(refused, RefusedByBroker)
    for named in ("3 s", "session_timeout_seconds", "group.min.session.timeout.ms", "group.max.session.timeout.ms"):
        assert named in str(refused)
